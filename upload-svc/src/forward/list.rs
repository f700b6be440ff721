//! The unfinished uploads of an account on the other nodes, each asked for its own.

use std::{collections::BTreeMap, time::Duration};

use axum::body::{Body, to_bytes};
use cloudstore_proto::http::{Upload, Uploads};
use cloudstore_service::{Problem, Result};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use tokio::time::timeout;

use super::Forward;
use crate::{dialect, engine::session::Facts, peers::Place};

/// Time for the answer of one node. What nobody answers for is shown from the rows.
const BUDGET: Duration = Duration::from_secs(2);
/// Nodes asked side by side.
const NODES_AT_ONCE: usize = 16;
/// Longest list of a node in bytes: all uploads an account may have, with gaps in some.
const MAX_LIST: usize = 16 << 20;
/// What is asked for.
const LIST: &str = "/api/v1/uploads";

impl Forward {
    /// What other nodes say of their uploads. `headers`: of the request that is being answered.
    pub(crate) async fn list(
        &self,
        headers: &HeaderMap,
        elsewhere: Vec<(String, Facts)>,
    ) -> Vec<Upload> {
        let mut nodes: BTreeMap<String, Vec<Facts>> = BTreeMap::new();
        for (node, facts) in elsewhere {
            nodes.entry(node).or_default().push(facts);
        }
        let lists = nodes.into_iter().map(|(node, rows)| async move {
            match self.list_of(&node, headers).await {
                Ok(uploads) => uploads,
                Err(problem) => {
                    tracing::warn!(node, %problem, "a node does not list its uploads");
                    rows.iter().map(dialect::unreachable_view).collect()
                }
            }
        });
        let lists = stream::iter(lists).buffer_unordered(NODES_AT_ONCE);
        lists.collect::<Vec<_>>().await.concat()
    }

    async fn list_of(&self, node: &str, headers: &HeaderMap) -> Result<Vec<Upload>> {
        let Place::At(address) = self.directory.find(node) else {
            return Err(Problem::internal("it is away"));
        };
        let mut parts = Request::new(()).into_parts().0;
        (parts.method, parts.uri) = (Method::GET, Uri::from_static(LIST));
        parts.headers = headers.clone();
        for name in [
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::ACCEPT_ENCODING,
        ] {
            parts.headers.remove(name);
        }
        let ask = async {
            let answer = self.client.send(address, &parts, Body::empty()).await?;
            if answer.status() != StatusCode::OK {
                let status = answer.status().to_string();
                return Err(Problem::internal(status));
            }
            let list = to_bytes(answer.into_body(), MAX_LIST).await?;
            let list: Uploads = serde_json::from_slice(&list).map_err(Problem::internal)?;
            Ok(list.uploads)
        };
        timeout(BUDGET, ask).await.map_err(Problem::internal)?
    }
}
