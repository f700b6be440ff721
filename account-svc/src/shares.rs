//! Shares: an entry of the account for whoever knows a token. Made and ended here, where passwords are
//! hashed; what they show is download-svc's.

use std::ops::RangeInclusive;

use cloudstore_proto::{
    convert,
    http::shares as http,
    path::{self, InvalidPath},
    share::{
        CreateShareRequest, FindSharedRequest, GetShareRequest, ListSharesRequest,
        RevokeShareRequest, SharedEntry, share_store_client::ShareStoreClient,
    },
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{SHARE_TICKET_TTL, ShareToken},
    guesses::Guesses,
    json::invalid_fields,
    listener::ClientAddress,
    rpc::{Channel, deadline},
};
use uuid::Uuid;

use crate::{attempts::Attempts, fields, keys::Signer, password::Passwords};

/// Lives that may be asked for, seconds: as long as dbproxy takes.
const LIFETIME_SECS: RangeInclusive<u64> = 1..=10 * 365 * 24 * 60 * 60;
/// Limits of downloads that may be set: more is as good as none.
const DOWNLOADS: RangeInclusive<u64> = 1..=1_000_000_000;
/// Shares of one account: more than people keep an eye on, and, with paths of 4 KiB, one page of 1 MiB.
const MAX_SHARES: u32 = 250;

/// Makes, lists, ends and unlocks shares.
pub(crate) struct Shares {
    store: ShareStoreClient<Channel>,
    passwords: Passwords,
    attempts: Attempts,
    guesses: Guesses,
    signer: Signer,
}

impl Shares {
    /// `attempts` are those at passwords of shares.
    pub(crate) fn new(
        channel: Channel,
        passwords: Passwords,
        attempts: Attempts,
        signer: Signer,
    ) -> Self {
        Self {
            store: ShareStoreClient::new(channel),
            passwords,
            attempts,
            guesses: Guesses::default(),
            signer,
        }
    }

    /// A new share, with its token, which is in no other answer. `origin` is where the address begins.
    ///
    /// # Errors
    /// `invalid-fields`, `invalid-path`, `not-found`, `limit-reached`, `overloaded`.
    pub(crate) async fn create(
        &self,
        account_id: Uuid,
        new: http::CreateShare,
        origin: &str,
    ) -> Result<http::CreatedShare> {
        check(&new)?;
        let path = path::normalize(&new.path)?;
        if path == "/" {
            return Err(InvalidPath::Root.into());
        }
        let password_hash = match new.password {
            Some(password) => self.passwords.hash(password).await?,
            None => String::new(),
        };
        let secret = ShareToken::generate()?;
        let lifetime_ms = new.expires_in.unwrap_or_default() * 1_000;
        let request = CreateShareRequest {
            id: bytes(Uuid::now_v7()).into(),
            account_id: bytes(account_id).into(),
            hash: secret.hash().to_vec().into(),
            path,
            lifetime_ms: i64::try_from(lifetime_ms).map_err(Problem::internal)?,
            password_hash,
            max_downloads: i64::try_from(new.max_downloads.unwrap_or_default())
                .map_err(Problem::internal)?,
            max_shares: MAX_SHARES,
            uploads: new.uploads,
        };
        let mut store = self.store.clone();
        let created = store.create_share(deadline(request)).await?.into_inner();
        let token = secret.text();
        Ok(http::CreatedShare {
            url: format!("{origin}/s/{token}"),
            token,
            about: convert::share(&created),
        })
    }

    /// Those that have not ended, oldest first: [`MAX_SHARES`] at most.
    pub(crate) async fn list(&self, account_id: Uuid) -> Result<http::ShareList> {
        let request = ListSharesRequest {
            account_id: bytes(account_id).into(),
        };
        let mut store = self.store.clone();
        let listed = store.list_shares(deadline(request)).await?.into_inner();
        let shares = listed.shares.iter().map(convert::share).collect();
        Ok(http::ShareList { shares })
    }

    /// # Errors
    /// `not-found`, also for what has ended and for those of other accounts.
    pub(crate) async fn get(&self, account_id: Uuid, id: Uuid) -> Result<http::Share> {
        let request = GetShareRequest {
            account_id: bytes(account_id).into(),
            id: bytes(id).into(),
        };
        let share = self.store.clone().get_share(deadline(request)).await?;
        Ok(convert::share(&share.into_inner()))
    }

    /// Ends a share, at once and everywhere.
    ///
    /// # Errors
    /// As [`Shares::get`].
    pub(crate) async fn revoke(&self, account_id: Uuid, id: Uuid) -> Result<()> {
        let request = RevokeShareRequest {
            account_id: bytes(account_id).into(),
            id: bytes(id).into(),
        };
        self.store.clone().revoke_share(deadline(request)).await?;
        Ok(())
    }

    /// A ticket for whoever knows token and password. A share without a password takes any.
    ///
    /// Only wrong guesses cost attempts, and only for a while: nobody is locked out by others for long.
    ///
    /// # Errors
    /// `not-found` for a token that opens nothing, `invalid-fields` for a wrong password,
    /// `rate-limited`, `overloaded`.
    pub(crate) async fn unlock(
        &self,
        client: ClientAddress,
        token: &str,
        unlock: http::UnlockShare,
    ) -> Result<http::UnlockedShare> {
        let token = ShareToken::parse(token).ok_or_else(not_found)?;
        let found = self.guesses.look_up(client, &token, self.find(&token));
        let (id, password_hash) = found.await?;
        if !password_hash.is_empty() {
            let name = id.to_string();
            self.attempts.take(&name)?;
            let right = self.passwords.verify(unlock.password, Some(password_hash));
            let right = right.await;
            if !matches!(right, Ok(false)) {
                self.attempts.give_back(&name);
            }
            if !right? {
                return Err(invalid_fields([("password", "is wrong")]));
            }
        }
        Ok(http::UnlockedShare {
            ticket: self.signer.sign_share(id)?,
            expires_in: SHARE_TICKET_TTL.as_secs(),
        })
    }

    /// Id and password hash of the share with a token.
    async fn find(&self, token: &ShareToken) -> Result<(Uuid, String)> {
        let request = FindSharedRequest {
            hash: token.hash().to_vec().into(),
            path: "/".to_owned(),
        };
        let found = self.store.clone().find_shared(deadline(request)).await;
        let found = found.map_err(|status| match Problem::from(status) {
            problem if problem.kind() == Kind::NotFound => not_found(),
            problem => problem,
        })?;
        let SharedEntry {
            share,
            password_hash,
            ..
        } = found.into_inner();
        let share = share.ok_or_else(|| Problem::internal("an answer without a share"))?;
        let id = Uuid::from_slice(&share.id).map_err(Problem::internal)?;
        Ok((id, password_hash))
    }
}

/// One answer for tokens that never were and for those that ended.
fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "there is no such share")
}

/// Checks the fields, all of them.
fn check(new: &http::CreateShare) -> Result<()> {
    let beyond = |value: Option<u64>, range: RangeInclusive<u64>| {
        value.is_some_and(|value| !range.contains(&value))
    };
    let errors = [
        (
            "password",
            new.password.as_deref().and_then(fields::password),
        ),
        (
            "expires_in",
            beyond(new.expires_in, LIFETIME_SECS).then_some("must be 1 to 315360000 seconds"),
        ),
        (
            "max_downloads",
            beyond(new.max_downloads, DOWNLOADS)
                .then_some("must be 1 to 1000000000")
                .or((new.uploads && new.max_downloads.is_some())
                    .then_some("nothing is downloaded from a share that collects uploads")),
        ),
    ];
    let mut errors = errors
        .into_iter()
        .filter_map(|(field, error)| Some((field, error?)))
        .peekable();
    if errors.peek().is_some() {
        return Err(invalid_fields(errors));
    }
    Ok(())
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_for_is_bounded() {
        let wrong = |password: Option<&str>, expires_in, max_downloads| {
            let new = http::CreateShare {
                path: "/a".to_owned(),
                expires_in,
                password: password.map(str::to_owned),
                max_downloads,
                uploads: false,
            };
            check(&new).err().map(|problem| {
                let errors = problem.extension("errors").unwrap().as_object().unwrap();
                errors.keys().cloned().collect::<Vec<_>>().join(" ")
            })
        };
        let longest = *LIFETIME_SECS.end();
        assert_eq!(wrong(None, None, None), None);
        assert_eq!(wrong(Some("12345678"), Some(1), Some(1)), None);
        assert_eq!(wrong(None, Some(longest), Some(1_000_000_000)), None);
        for secs in [0, longest + 1, u64::MAX] {
            assert_eq!(wrong(None, Some(secs), None).unwrap(), "expires_in");
        }
        for count in [0, 1_000_000_001, u64::MAX] {
            assert_eq!(wrong(None, None, Some(count)).unwrap(), "max_downloads");
        }
        let all = wrong(Some("short"), Some(0), Some(0)).unwrap();
        assert_eq!(all, "expires_in max_downloads password");
        let collects = http::CreateShare {
            path: "/a".to_owned(),
            expires_in: None,
            password: None,
            max_downloads: Some(1),
            uploads: true,
        };
        assert!(check(&collects).is_err());
        let unlimited = http::CreateShare {
            max_downloads: None,
            ..collects
        };
        assert!(check(&unlimited).is_ok());
    }
}
