//! API tokens: what an account's programs authenticate with. They live until they expire or are
//! revoked: neither a new password nor the end of every login ends them, so that what runs
//! unattended goes on. Their owner sees all of them in one list.

use std::ops::RangeInclusive;

use cloudstore_proto::{
    account::{
        CreateApiTokenRequest, ListApiTokensRequest, RevokeApiTokenRequest,
        account_store_client::AccountStoreClient,
    },
    convert, http,
};
use cloudstore_service::{
    Problem, Result,
    auth::ApiToken,
    json::invalid_fields,
    rpc::{Channel, deadline},
};
use uuid::Uuid;

use crate::fields;

const DAY_SECS: u64 = 24 * 60 * 60;
/// Life of a token for which none was asked, seconds: forgotten ones must not stay good for ever.
const DEFAULT_SECS: u64 = 90 * DAY_SECS;
/// Lives that may be asked for, seconds: as long as dbproxy takes.
const LIFETIME_SECS: RangeInclusive<u64> = 1..=10 * 365 * DAY_SECS;
/// Tokens of one account: more than anybody has programs, few enough for one page.
const MAX_TOKENS: u32 = 100;

/// Makes, lists and revokes tokens.
pub(crate) struct Tokens {
    store: AccountStoreClient<Channel>,
}

impl Tokens {
    pub(crate) fn new(store: AccountStoreClient<Channel>) -> Self {
        Self { store }
    }

    /// A new token, with its secret, which is in no other answer.
    ///
    /// # Errors
    /// `invalid-fields`, `too-many-tokens`.
    pub(crate) async fn create(
        &self,
        account_id: Uuid,
        new: http::CreateToken,
    ) -> Result<http::CreatedToken> {
        let lifetime_secs = lifetime(&new)?;
        let secret = ApiToken::generate()?;
        let request = CreateApiTokenRequest {
            id: bytes(Uuid::now_v7()).into(),
            account_id: bytes(account_id).into(),
            hash: secret.hash().to_vec().into(),
            name: new.name,
            scope: convert::token_scope(new.scope).into(),
            lifetime_ms: i64::try_from(lifetime_secs * 1_000).map_err(Problem::internal)?,
            max_tokens: MAX_TOKENS,
        };
        let mut store = self.store.clone();
        let created = store.create_api_token(deadline(request)).await?;
        let created = created.into_inner();
        Ok(http::CreatedToken {
            token: secret.text(),
            about: convert::token(&created)
                .ok_or_else(|| Problem::internal("a token without a scope"))?,
        })
    }

    /// Those that work now, oldest first.
    pub(crate) async fn list(&self, account_id: Uuid) -> Result<http::TokenList> {
        let request = ListApiTokensRequest {
            account_id: bytes(account_id).into(),
        };
        let mut store = self.store.clone();
        let listed = store.list_api_tokens(deadline(request)).await?;
        let tokens = listed.into_inner().tokens;
        // One with a scope that only a later version knows cannot be shown by this one.
        let tokens = tokens.iter().filter_map(convert::token).collect();
        Ok(http::TokenList { tokens })
    }

    /// Ends a token: everywhere within about a second. One that ended lately may be revoked again.
    ///
    /// # Errors
    /// `not-found` for unknown tokens and those of other accounts.
    pub(crate) async fn revoke(&self, account_id: Uuid, id: Uuid) -> Result<()> {
        let request = RevokeApiTokenRequest {
            account_id: bytes(account_id).into(),
            id: bytes(id).into(),
        };
        let mut store = self.store.clone();
        store.revoke_api_token(deadline(request)).await?;
        Ok(())
    }
}

/// The life of a token in seconds, after its fields were checked, all of them.
fn lifetime(new: &http::CreateToken) -> Result<u64> {
    let secs = new.expires_in.unwrap_or(DEFAULT_SECS);
    let wrong_life = (!LIFETIME_SECS.contains(&secs)).then_some("must be 1 to 315360000 seconds");
    let errors = [
        ("name", fields::token_name(&new.name)),
        ("expires_in", wrong_life),
    ];
    let mut errors = errors
        .into_iter()
        .filter_map(|(field, error)| Some((field, error?)))
        .peekable();
    if errors.peek().is_some() {
        return Err(invalid_fields(errors));
    }
    Ok(secs)
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_and_names_are_bounded() {
        let checked = |name: &str, expires_in| {
            let new = http::CreateToken {
                name: name.to_owned(),
                scope: http::Scope::Read,
                expires_in,
            };
            lifetime(&new).map_err(|problem| {
                let errors = problem.extension("errors").unwrap().as_object().unwrap();
                errors.keys().cloned().collect::<Vec<_>>()
            })
        };
        let longest = *LIFETIME_SECS.end();
        assert_eq!(checked("backup", None), Ok(DEFAULT_SECS));
        assert_eq!(checked("backup", Some(1)), Ok(1));
        assert_eq!(checked(&"ü".repeat(128), Some(longest)), Ok(longest));
        for secs in [0, longest + 1, u64::MAX] {
            assert_eq!(checked("x", Some(secs)), Err(vec!["expires_in".to_owned()]));
        }
        for name in ["", " ", "a\nb", &"x".repeat(129)] {
            assert_eq!(checked(name, None), Err(vec!["name".to_owned()]), "{name}");
        }
        assert_eq!(checked("", Some(0)).unwrap_err().len(), 2);
    }
}
