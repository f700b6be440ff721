//! The key that signs access tokens. Its private half never leaves this process's memory: every
//! start and every rotation makes a new pair and publishes the public half through dbproxy. The
//! old one stays published until the last token that it signed has expired.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cloudstore_proto::account::{
    ListKeysRequest, PublicKey, PublishKeyRequest, account_store_client::AccountStoreClient,
};
use cloudstore_service::{
    Problem, Result,
    auth::{ACCESS_TOKEN_TTL, AUDIENCE, Claims, ISSUER, LEEWAY, SHARE_TICKET_TTL, ShareClaims},
    clock,
    jwt::{self, KeyPair},
    rpc::{self, Channel},
};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A key stays published so much longer than it is needed, for rotations that dbproxy's absence
/// delays, and for clocks that differ.
const SLACK: Duration = Duration::from_secs(60 * 60);
/// Pauses between attempts to publish double from the first to the second of these.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a start waits for dbproxy.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Signs access tokens. Clones share the key.
#[derive(Clone)]
pub(crate) struct Signer {
    store: AccountStoreClient<Channel>,
    rotation: Duration,
    current: Arc<RwLock<Arc<KeyPair>>>,
}

/// A JSON Web Key Set (RFC 7517, RFC 8037).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

impl Signer {
    /// Publishes a first key and replaces it every `rotation` until `shutdown`.
    ///
    /// # Errors
    /// When dbproxy does not take the key within [`START_PATIENCE`].
    pub(crate) async fn start(
        store: AccountStoreClient<Channel>,
        rotation: Duration,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let pair = generate()?;
        publish(
            &store,
            &pair,
            rotation,
            Some(Instant::now() + START_PATIENCE),
        )
        .await?;
        let current = Arc::new(RwLock::new(Arc::new(pair)));
        let signer = Self {
            store,
            rotation,
            current,
        };
        let rotating = signer.clone();
        tokio::spawn(async move {
            shutdown
                .run_until_cancelled(rotating.rotate_forever())
                .await;
        });
        Ok(signer)
    }

    async fn rotate_forever(self) {
        loop {
            tokio::time::sleep(self.rotation).await;
            if let Err(problem) = self.rotate().await {
                tracing::error!(%problem, "signing key not rotated");
            }
        }
    }

    /// Publishes first and signs afterwards, so that every signature can be verified.
    async fn rotate(&self) -> Result<()> {
        let pair = generate()?;
        publish(&self.store, &pair, self.rotation, None).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(())
    }

    /// An access token, valid from now on for [`ACCESS_TOKEN_TTL`].
    pub(crate) fn sign(&self, account_id: Uuid, session_id: Uuid) -> Result<String> {
        let now = clock::now_s();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: account_id,
            sid: session_id,
            iat: now,
            nbf: now,
            exp: now + ACCESS_TOKEN_TTL.as_secs(),
        };
        self.pair().sign(&claims).map_err(Problem::internal)
    }

    /// A ticket for a share, valid from now on for [`SHARE_TICKET_TTL`].
    pub(crate) fn sign_share(&self, share: Uuid) -> Result<String> {
        let claims = ShareClaims::new(share, clock::now_s());
        self.pair().sign(&claims).map_err(Problem::internal)
    }

    fn pair(&self) -> Arc<KeyPair> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every published key, of all instances of this service.
    pub(crate) async fn jwks(&self) -> Result<Jwks> {
        let request = rpc::deadline(ListKeysRequest {});
        let list = self.store.clone().list_keys(request).await?.into_inner();
        let keys = list.keys.into_iter().map(|key| Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: key.kid,
            x: BASE64_URL_SAFE_NO_PAD.encode(&key.public_key),
        });
        Ok(Jwks {
            keys: keys.collect(),
        })
    }
}

fn generate() -> Result<KeyPair> {
    let seed = jwt::random_seed().map_err(Problem::internal)?;
    Ok(KeyPair::from_seed(Uuid::now_v7().to_string(), &seed))
}

/// Publishes the public half, trying again until `until`, or for ever.
async fn publish(
    store: &AccountStoreClient<Channel>,
    pair: &KeyPair,
    rotation: Duration,
    until: Option<Instant>,
) -> Result<()> {
    let life = rotation + ACCESS_TOKEN_TTL.max(SHARE_TICKET_TTL) + LEEWAY + SLACK;
    let mut pause = RETRY.0;
    loop {
        let life_ms = i64::try_from(life.as_millis()).map_err(Problem::internal)?;
        let key = PublicKey {
            kid: pair.kid().to_owned(),
            public_key: pair.public().to_vec().into(),
            expires_at_ms: clock::now_ms() + life_ms,
        };
        let request = rpc::deadline(PublishKeyRequest { key: Some(key) });
        match store.clone().publish_key(request).await {
            Ok(_) => {
                tracing::info!(kid = pair.kid(), "signing key published");
                return Ok(());
            }
            Err(status) if until.is_some_and(|until| Instant::now() + pause > until) => {
                return Err(status.into());
            }
            Err(status) => {
                tracing::warn!(%status, "signing key not published, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}
