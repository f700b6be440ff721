//! An upload whose length is told after it has begun.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use tokio::task::spawn_blocking;

use super::{
    Facts, Session,
    append::Turn,
    files::{self, check_room},
    sidecar,
};
use crate::engine::{Error, Result, sidecar::Tail};

impl Session {
    /// Can this be the length? Not while anybody writes.
    ///
    /// # Errors
    /// [`Error::LengthConflict`], [`Error::NoSpace`].
    pub(crate) async fn check_length(self: &Arc<Self>, length: u64) -> Result<()> {
        let received = self.contiguous();
        if length < received {
            return Err(Error::LengthConflict {
                known: received,
                told: length,
            });
        }
        let files = self.files().await?;
        let room = spawn_blocking(move || check_room(&files.data, length - received)).await;
        Ok(room.map_err(io::Error::other)??)
    }

    /// From now on the upload has this length. Consumes the turn: nobody wrote since the length
    /// was checked.
    pub(crate) async fn settle_length(self: &Arc<Self>, length: u64, turn: Turn) -> Result<()> {
        let files = self.files().await?;
        let session = self.clone();
        let settle = spawn_blocking(move || {
            let (mut values, mut tail) = {
                let map = session.map();
                (map.values.clone(), map.tail.clone())
            };
            files::settle(&files.data, length, &mut values, &mut tail)?;
            files.data.set_len(length)?;
            let record = tail.as_ref().map(Tail::of);
            sidecar::settle(&files.side, length, &values, record.as_ref())?;
            {
                let mut map = session.map();
                (map.values, map.tail, map.run) = (values, tail, 0);
            }
            let mut facts = session.facts.lock().unwrap_or_else(PoisonError::into_inner);
            *facts = Arc::new(Facts {
                size: Some(length),
                ..Facts::clone(&facts)
            });
            drop((facts, turn));
            Ok(())
        });
        settle.await.map_err(io::Error::other)?
    }
}
