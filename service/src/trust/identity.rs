//! The key of this process, and the tokens it signs.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Claims, KEYS_PREFIX, TOKEN_REUSE, TOKEN_TTL, Tokens};
use crate::{
    clock,
    jwt::{KEY_BYTES, KeyPair, random_seed},
};

/// Audiences are the names of our services: far fewer than this.
const MAX_AUDIENCES: usize = 64;
/// Bytes of the public key's hash that name it.
const KID_BYTES: usize = 8;
/// Only its owner may read a key file.
const KEY_FILE_MODE: u32 = 0o600;

/// Who this process is to the other services. Clones share the key.
#[derive(Clone)]
pub struct Identity(Arc<Own>);

struct Own {
    service: String,
    pair: KeyPair,
    /// By audience, with the time from which on a new one is made.
    tokens: Mutex<HashMap<String, (Instant, String)>>,
}

impl Identity {
    /// The key in `key_file`, which is made if it is not there: 32 bytes as hex text, readable by
    /// its owner only.
    ///
    /// # Errors
    /// When the file cannot be used, `InvalidData` when there is no key in it.
    pub fn create_or_load(service: &str, key_file: &Path) -> io::Result<Self> {
        let seed = match fs::read(key_file) {
            Ok(text) => {
                warn_if_open(key_file)?;
                decode(&text).ok_or_else(|| damaged(key_file))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = random_seed()?;
                write(key_file, &seed)?;
                seed
            }
            Err(error) => return Err(error),
        };
        Ok(Self::from_seed(service, &seed))
    }

    /// A key that ends with the process.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn ephemeral(service: &str) -> Self {
        let seed = random_seed().expect("the operating system has random numbers");
        Self::from_seed(service, &seed)
    }

    fn from_seed(service: &str, seed: &[u8; KEY_BYTES]) -> Self {
        let unnamed = KeyPair::from_seed("", seed);
        let kid = hex::encode(&Sha256::digest(unnamed.public())[..KID_BYTES]);
        Self(Arc::new(Own {
            service: service.to_owned(),
            pair: KeyPair::from_seed(kid, seed),
            tokens: Mutex::default(),
        }))
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// What others must know to believe this service: a key such as `keys/<service>/<kid>` for
    /// `Discovery::publish`, and the public key as hex text.
    #[must_use]
    pub fn published(&self) -> (String, Vec<u8>) {
        let pair = &self.0.pair;
        let key = format!("{KEYS_PREFIX}{}/{}", self.0.service, pair.kid());
        (key, hex::encode(pair.public()).into_bytes())
    }

    /// A token that only `audience` accepts, and that it accepts for at least 30 s more.
    #[must_use]
    pub fn token(&self, audience: &str) -> String {
        let mut tokens = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((until, token)) = tokens.get(audience)
            && now < *until
        {
            return token.clone();
        }
        let token = self.sign(audience);
        if tokens.len() >= MAX_AUDIENCES {
            tokens.clear();
        }
        tokens.insert(audience.to_owned(), (now + TOKEN_REUSE, token.clone()));
        token
    }

    /// [`token`](Self::token) as a function.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        let identity = self.clone();
        Arc::new(move |audience| identity.token(audience))
    }

    fn sign(&self, audience: &str) -> String {
        let now = clock::now_s();
        let claims = Claims {
            iss: self.0.service.clone(),
            aud: audience.to_owned(),
            iat: now,
            nbf: now,
            exp: now + TOKEN_TTL.as_secs(),
        };
        let token = self.0.pair.sign(&claims);
        token.expect("text and numbers are valid claims")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.0.service, self.0.pair.kid())
    }
}

fn decode(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let mut seed = [0; KEY_BYTES];
    hex::decode_to_slice(text.trim_ascii(), &mut seed).ok()?;
    Some(seed)
}

fn damaged(path: &Path) -> io::Error {
    let path = path.display();
    let why = format!(
        "{path} does not hold a key (64 hex digits): restore it, or delete it for a new key"
    );
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn warn_if_open(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & !KEY_FILE_MODE & 0o777 != 0 {
        let path = path.display();
        tracing::warn!(%path, mode = format!("{mode:o}"), "others may read the service's key");
    }
    Ok(())
}

/// The file has its whole content or does not exist, also after a loss of power.
fn write(path: &Path, seed: &[u8; KEY_BYTES]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let new = path.with_added_extension(format!("new-{}", Uuid::now_v7().simple()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(KEY_FILE_MODE)
            .open(&new)?;
        writeln!(file, "{}", hex::encode(seed))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // It may not be there; the first error says what matters.
        let _gone = fs::remove_file(&new);
    }
    written
}
