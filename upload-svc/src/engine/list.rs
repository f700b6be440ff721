//! What an account has not finished, on this node and on others.

use std::sync::Arc;

use cloudstore_proto::upload::{ListUploadsRequest, Upload};
use cloudstore_service::rpc::deadline;
use uuid::Uuid;

use super::{
    Engine, Error, Found, Result, bytes, facts,
    session::{Facts, Session},
};

/// Unfinished uploads asked for at a time.
const PAGE: u32 = 1_000;

/// The unfinished uploads of an account, oldest first.
pub struct Listed {
    /// Those whose bytes are on this node.
    pub own: Vec<Arc<Session>>,
    /// The others, with their nodes.
    pub elsewhere: Vec<(String, Facts)>,
}

impl Engine {
    /// The account's unfinished uploads.
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub async fn list(&self, account: Uuid) -> Result<Listed> {
        let mut listed = Listed {
            own: Vec::new(),
            elsewhere: Vec::new(),
        };
        for upload in self.list_rows(account).await? {
            if upload.node != self.settings.node {
                // One without chunks is a direct upload under way, which nobody can join.
                if upload.chunk_size > 0 {
                    listed
                        .elsewhere
                        .push((upload.node.clone(), facts(&upload)?));
                }
                continue;
            }
            let id = Uuid::from_slice(&upload.id).map_err(|_| Error::NotFound)?;
            match self.find(account, id).await {
                Ok(Found::Open(session)) => listed.own.push(session),
                // It ended, or a direct upload is under way and cannot be joined.
                Ok(Found::Done(_)) | Err(Error::NotFound | Error::Gone | Error::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// All of them: an account can have [`super::MAX_OPEN_UPLOADS`] at most.
    async fn list_rows(&self, account: Uuid) -> Result<Vec<Upload>> {
        let mut uploads: Vec<Upload> = Vec::new();
        loop {
            let request = ListUploadsRequest {
                account_id: bytes(account),
                after: uploads
                    .last()
                    .map(|last| last.id.clone())
                    .unwrap_or_default(),
                limit: PAGE,
            };
            let page = self.client().list_uploads(deadline(request)).await?;
            let page = page.into_inner().uploads;
            let last = page.len() < PAGE as usize;
            uploads.extend(page);
            if last {
                return Ok(uploads);
            }
        }
    }
}
