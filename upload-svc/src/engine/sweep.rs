//! What nobody asks for: expired uploads end, idle ones leave memory, and files that a crash or a
//! lost answer left behind are removed once dbproxy says that nothing refers to them.

use std::{sync::Arc, time::Duration};

use cloudstore_proto::upload::{ExpireUploadsRequest, StagingUse};
use cloudstore_service::rpc::deadline;
use tokio::{task::spawn_blocking, time};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Engine, Result};

/// How often the sweep runs.
const PERIOD: Duration = Duration::from_secs(60);
/// How often uploads that wait for their parts look for those on other nodes, and reservations that
/// could not be given back are tried again.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
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
        // A direct upload cannot be resumed; its reservation would last until it expires.
        while self.end(&self.settings.node, true).await? >= PAGE {}
        self.remove_unreferenced().await
    }

    /// Runs until shutdown. `lost` names the nodes that do not sweep for themselves any more.
    pub(crate) async fn sweep(
        self: Arc<Self>,
        lost: impl Fn() -> Vec<String>,
        shutdown: CancellationToken,
    ) {
        let due = |period| shutdown.run_until_cancelled(time::sleep(period));
        let sweep = async {
            while due(PERIOD).await.is_some() {
                if let Err(error) = self.sweep_once(&lost()).await {
                    tracing::warn!(%error, "the sweep of staged uploads failed, it will be repeated");
                }
            }
        };
        let parts = async {
            while due(RETRY_PERIOD).await.is_some() {
                self.retry_waiting().await;
            }
        };
        let reservations = async {
            while due(RETRY_PERIOD).await.is_some() {
                self.release_waiting().await;
            }
        };
        tokio::join!(sweep, parts, reservations);
    }

    async fn sweep_once(&self, lost: &[String]) -> Result<()> {
        while self.end(&self.settings.node, false).await? >= PAGE {}
        for node in lost {
            // What they reserved comes back when its time is over. Should the node return, it finds
            // the rows ended and removes its files.
            while self.end(node, false).await? >= PAGE {}
        }
        self.close_idle();
        self.remove_unreferenced().await
    }

    /// Ends a node's uploads whose time is over, and all direct ones if wanted; returns how many.
    async fn end(&self, node: &str, direct: bool) -> Result<usize> {
        let request = ExpireUploadsRequest {
            node: node.to_owned(),
            limit: u32::try_from(PAGE).unwrap_or(u32::MAX),
            direct,
        };
        let ended = self
            .client()
            .expire_uploads(deadline(request))
            .await?
            .into_inner()
            .ids;
        for id in ended.iter().filter_map(|id| Uuid::from_slice(id).ok()) {
            self.discard(id).await;
        }
        Ok(ended.len())
    }

    /// Files that cannot be removed now must not keep the others, or the node from starting.
    async fn discard(&self, id: Uuid) {
        if let Err(error) = self.drop_session(id).await {
            tracing::warn!(upload = %id, %error, "cannot remove the files of an ended upload");
        }
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

    /// Removes files that nothing refers to, and ends their sessions: the answer to a cancellation
    /// or expiry may have been lost. Only a direct upload may be without a row.
    async fn remove_unreferenced(&self) -> Result<()> {
        let layout = self.layout.clone();
        let ids = spawn_blocking(move || layout.ids())
            .await
            .map_err(std::io::Error::other)??;
        // Asked after the directory was read: an upload that ended in between has been committed
        // by now, and dbproxy knows its files.
        let ids: Vec<Uuid> = ids
            .into_iter()
            .filter(|id| !self.direct_ids().contains_key(id))
            .collect();
        for page in ids.chunks(PAGE) {
            let uses = self.resolve(page).await?;
            for (id, staging_use) in page.iter().zip(uses) {
                if staging_use == StagingUse::Unreferenced {
                    self.discard(*id).await;
                }
            }
        }
        Ok(())
    }
}
