//! Accounts: registration and profile.

use cloudstore_proto::{
    account::{
        self, CreateAccountRequest, GetAccountRequest, UpdateAccountRequest,
        account_store_client::AccountStoreClient,
    },
    convert::{id, rfc3339, unsigned},
    http,
};
use cloudstore_service::{
    Problem, Result,
    rpc::{Channel, deadline},
};
use uuid::Uuid;

use crate::{fields, password::Passwords};

/// Registers, shows and changes accounts.
pub(crate) struct Accounts {
    store: AccountStoreClient<Channel>,
    passwords: Passwords,
    quota_bytes: u64,
}

impl Accounts {
    pub(crate) fn new(
        store: AccountStoreClient<Channel>,
        passwords: Passwords,
        quota_bytes: u64,
    ) -> Self {
        Self {
            store,
            passwords,
            quota_bytes,
        }
    }

    /// # Errors
    /// `invalid-fields`, `name-taken`, `overloaded`.
    pub(crate) async fn register(&self, new: http::Register) -> Result<http::Account> {
        fields::check(&[
            ("username", Some(&new.username), fields::username),
            ("password", Some(&new.password), fields::password),
            ("email", new.email.as_deref(), fields::email),
            (
                "display_name",
                new.display_name.as_deref(),
                fields::display_name,
            ),
        ])?;
        let request = CreateAccountRequest {
            id: Uuid::now_v7().into_bytes().to_vec().into(),
            username: new.username,
            password_hash: self.passwords.hash(new.password).await?,
            email: new.email.unwrap_or_default(),
            display_name: new.display_name.unwrap_or_default(),
            quota_bytes: i64::try_from(self.quota_bytes).map_err(Problem::internal)?,
        };
        let account = self.store.clone().create_account(deadline(request)).await?;
        Ok(shown(account.into_inner()))
    }

    pub(crate) async fn get(&self, account_id: Uuid) -> Result<http::Account> {
        let request = GetAccountRequest {
            id: account_id.into_bytes().to_vec().into(),
        };
        let account = self.store.clone().get_account(deadline(request)).await?;
        Ok(shown(account.into_inner()))
    }

    /// # Errors
    /// `invalid-fields`.
    pub(crate) async fn update(
        &self,
        account_id: Uuid,
        change: http::UpdateMe,
    ) -> Result<http::Account> {
        fields::check(&[
            ("email", change.email.as_deref(), fields::email),
            (
                "display_name",
                change.display_name.as_deref(),
                fields::display_name,
            ),
        ])?;
        let request = UpdateAccountRequest {
            id: account_id.into_bytes().to_vec().into(),
            email: change.email,
            display_name: change.display_name,
        };
        let account = self.store.clone().update_account(deadline(request)).await?;
        Ok(shown(account.into_inner()))
    }
}

/// An account as its owner sees it.
fn shown(account: account::Account) -> http::Account {
    http::Account {
        id: id(&account.id),
        username: account.username,
        email: account.email,
        display_name: account.display_name,
        quota_bytes: unsigned(account.quota_bytes),
        used_bytes: unsigned(account.used_bytes),
        reserved_bytes: unsigned(account.reserved_bytes),
        created_at: rfc3339(account.created_at_ms),
    }
}
