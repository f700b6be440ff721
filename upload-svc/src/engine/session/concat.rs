//! Bytes that come from the file of another upload.

use std::{fs::File, io, ops::Range, sync::Arc};

use tokio::task::spawn_blocking;

use super::{Session, append::AppendSink};
use crate::engine::{Error, Result};

impl Session {
    /// Appends a range of a file at offset `at`; returns where the content ends then.
    ///
    /// # Errors
    /// As for any bytes that are appended. What was copied before a failure is kept.
    pub(crate) async fn copy_from(
        self: &Arc<Self>,
        at: u64,
        from: Arc<File>,
        range: Range<u64>,
    ) -> Result<u64> {
        let turn = self.take_turn().await?;
        let expected = self.contiguous();
        if expected != at {
            let provided = at;
            return Err(Error::OffsetMismatch { expected, provided });
        }
        let mut sink = AppendSink::new(turn, self.files().await?, false);
        let copy = spawn_blocking(move || {
            let copied = sink.copy(&from, range);
            drop(sink);
            copied
        });
        copy.await.map_err(io::Error::other)??;
        Ok(self.contiguous())
    }

    /// All bytes are kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.facts().size == Some(self.contiguous())
    }
}
