//! Where an archive finds its entries.

use std::sync::Arc;

use cloudstore_proto::file::{Entry, ListResponse};
use cloudstore_service::{Result, auth::ShareToken};
use uuid::Uuid;

use crate::{
    catalog::{Catalog, Page},
    shares::Shares,
};

/// Paths begin at the root folder of an account, or at what is shared.
#[derive(Clone)]
pub(crate) enum Source {
    /// Everything that the account has.
    Account(Catalog, Uuid),
    /// What a share shows, for as long as it does.
    Share(Shares, Arc<ShareToken>),
}

impl Source {
    /// What a path names.
    pub(super) async fn stat(&self, path: &str) -> Result<Entry> {
        match self {
            Self::Account(catalog, owner) => catalog.stat(*owner, path).await,
            Self::Share(shares, token) => Ok(shares.find(token, path).await?.1),
        }
    }

    /// A page of a folder.
    pub(super) async fn list(&self, path: &str, page: Page) -> Result<ListResponse> {
        match self {
            Self::Account(catalog, owner) => catalog.list(*owner, path, page).await,
            Self::Share(shares, token) => Ok(shares.list(token, path, page).await?.1),
        }
    }
}
