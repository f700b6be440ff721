//! What nobody asks for: expired uploads end, idle ones leave memory, and files that a crash or a
//! lost answer left behind are removed once dbproxy says that nothing refers to them.

use std::{sync::Arc, time::Duration};

use cloudstore_proto::upload::{ExpireUploadsRequest, ResolveStagingRequest, StagingUse};
use cloudstore_service::rpc::deadline;
use tokio::{task::spawn_blocking, time};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Engine, Result, bytes};

/// How often the sweep runs.
const PERIOD: Duration = Duration::from_secs(60);
/// A session that nobody used for this long is closed in memory; its files stay.
const IDLE_MS: i64 = 15 * 60 * 1_000;
/// Ids per question to dbproxy.
const PAGE: usize = 1_000;

impl Engine {
    /// Cleans up after the last run of this node, before the first request is served.
    ///
    /// # Errors
    /// When dbproxy or the staging directory cannot be read; starting without the answer would
    /// risk nothing, but it means that the node cannot work.
    pub(crate) async fn recover(&self) -> Result<()> {
        let abandoned = self.remove_unreferenced().await?;
        self.end_broken_direct_uploads(abandoned).await
    }

    /// Runs until shutdown.
    pub(crate) async fn sweep(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = time::sleep(PERIOD) => {}
            }
            if let Err(error) = self.sweep_once().await {
                tracing::warn!(%error, "the sweep of staged uploads failed, it will be repeated");
            }
        }
    }

    async fn sweep_once(&self) -> Result<()> {
        while self.end(Vec::new()).await? >= PAGE {}
        self.close_idle();
        self.remove_unreferenced().await.map(drop)
    }

    /// Ends the uploads whose time is over, and those named; returns how many.
    async fn end(&self, ids: Vec<Uuid>) -> Result<usize> {
        let request = ExpireUploadsRequest {
            node: self.settings.node.clone(),
            limit: u32::try_from(PAGE).unwrap_or(u32::MAX),
            ids: ids.into_iter().map(bytes).collect(),
        };
        let ended = self
            .client()
            .expire_uploads(deadline(request))
            .await?
            .into_inner()
            .ids;
        for id in ended.iter().filter_map(|id| Uuid::from_slice(id).ok()) {
            self.drop_session(id).await?;
        }
        Ok(ended.len())
    }

    /// A session stays while anybody holds it: two copies of one session would write at once.
    fn close_idle(&self) {
        self.sessions().retain(|_, slot| {
            let unused = Arc::strong_count(slot) == 1
                && slot.get().is_none_or(|session| {
                    Arc::strong_count(session) == 1 && session.idle_ms() > IDLE_MS
                });
            !unused
        });
    }

    /// Removes files that nothing refers to; returns the ids of unfinished uploads.
    async fn remove_unreferenced(&self) -> Result<Vec<Uuid>> {
        let layout = self.layout.clone();
        let ids = spawn_blocking(move || layout.ids())
            .await
            .map_err(std::io::Error::other)??;
        // Asked after the directory was read: an upload that ended in between has been committed
        // by now, and dbproxy knows its files.
        let ids: Vec<Uuid> = ids.into_iter().filter(|id| !self.is_active(*id)).collect();
        let mut unfinished = Vec::new();
        for page in ids.chunks(PAGE) {
            let request = ResolveStagingRequest {
                node: self.settings.node.clone(),
                ids: page.iter().copied().map(bytes).collect(),
            };
            let answer = self
                .client()
                .resolve_staging(deadline(request))
                .await?
                .into_inner();
            for (id, staging_use) in page.iter().zip(answer.uses()) {
                match staging_use {
                    StagingUse::Unreferenced => self.drop_session(*id).await?,
                    StagingUse::Upload => unfinished.push(*id),
                    StagingUse::Blob | StagingUse::Unspecified => {}
                }
            }
        }
        Ok(unfinished)
    }

    fn is_active(&self, id: Uuid) -> bool {
        self.direct_ids().contains(&id) || self.sessions().contains_key(&id)
    }

    /// A direct upload cannot be resumed: what a crash left of one is data without a sidecar,
    /// and a reservation that would last until the upload expires.
    async fn end_broken_direct_uploads(&self, unfinished: Vec<Uuid>) -> Result<()> {
        let layout = self.layout.clone();
        let broken = spawn_blocking(move || {
            let broken = unfinished
                .into_iter()
                .filter(|id| !layout.side(*id).exists());
            broken.collect::<Vec<_>>()
        });
        let broken = broken.await.map_err(std::io::Error::other)?;
        for page in broken.chunks(PAGE) {
            self.end(page.to_vec()).await?;
        }
        Ok(())
    }
}
