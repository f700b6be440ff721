//! Where the stack keeps content: the bucket, and the staging directories of both upload nodes.

use std::{collections::BTreeSet, path::Path};

use cloudstore_backends::blob::{
    BlobStore as _, KEYS,
    s3::{Checksums, DEFAULT_PART_BYTES, S3BlobStore, S3Config},
};
use cloudstore_service::testing::server;
use cloudstore_testkit::check::Places;
use tokio::process::Command;

use crate::stack::{Stack, UPLOAD_NODES, output};

/// Objects listed in one call.
const PAGE: usize = 1_000;
/// The SHA-256 of no body, which a signed request has to name.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The stack's stores, and what was unfinished in them when the test began: that is another's.
pub struct Stores {
    blobs: S3BlobStore,
    staging: Vec<std::path::PathBuf>,
    before: BTreeSet<String>,
}

impl Stores {
    /// As they are now.
    pub async fn of(stack: &Stack) -> Self {
        let staging = UPLOAD_NODES.iter().map(|node| stack.staging(node));
        let mut stores = Self {
            blobs: bucket(),
            staging: staging.collect(),
            before: BTreeSet::new(),
        };
        stores.before = stores.unfinished().await;
        stores
    }

    /// Staged copies and unfinished multipart uploads, anybody's.
    async fn unfinished(&self) -> BTreeSet<String> {
        let mut found = multipart_uploads().await;
        for dir in &self.staging {
            found.extend(files(dir));
        }
        found
    }
}

impl Places for Stores {
    async fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = self.blobs.list(KEYS, after.as_ref(), PAGE).await.unwrap();
            let name = |text: &str| text.rsplit('/').next().unwrap().to_owned();
            names.extend(page.iter().map(|(key, _)| name(key.as_str())));
            after = page.last().map(|(key, _)| key.clone());
            if page.len() < PAGE {
                break;
            }
        }
        names.sort_unstable();
        names
    }

    async fn leftovers(&self) -> Vec<String> {
        let now = self.unfinished().await;
        now.difference(&self.before).cloned().collect()
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// The stack's bucket.
#[must_use]
pub fn bucket() -> S3BlobStore {
    S3BlobStore::new(S3Config {
        endpoint: Some(server("S3_ENDPOINT")),
        region: server("S3_REGION"),
        bucket: server("S3_BUCKET"),
        prefix: String::new(),
        path_style: true,
        access_key: server("S3_ACCESS_KEY"),
        secret_key: server("S3_SECRET_KEY"),
        checksums: Checksums::WhenRequired,
        part_bytes: DEFAULT_PART_BYTES,
    })
}

/// Keys of the unfinished multipart uploads, with their ids. There are never enough for a second
/// page.
async fn multipart_uploads() -> BTreeSet<String> {
    let (endpoint, bucket) = (server("S3_ENDPOINT"), server("S3_BUCKET"));
    let user = format!("{}:{}", server("S3_ACCESS_KEY"), server("S3_SECRET_KEY"));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "-m", "20", "--user", &user, "--aws-sigv4"]);
    curl.arg(format!("aws:amz:{}:s3", server("S3_REGION")));
    curl.arg("-H")
        .arg(format!("x-amz-content-sha256: {EMPTY_SHA256}"));
    curl.arg(format!("{endpoint}/{bucket}?prefix=blobs%2F&uploads="));
    let listed = output(&mut curl).await;
    let uploads = listed.split("<Upload>").skip(1);
    let field = |upload: &str, name: &str| {
        let (_, rest) = upload.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let names = uploads.map(|upload| {
        let key = field(upload, "Key").unwrap();
        format!("{key} ({})", field(upload, "UploadId").unwrap())
    });
    names.collect()
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    // `lock` is that of the node which runs.
    let kept = entries.filter(|entry| entry.file_name() != "lock");
    kept.map(|entry| entry.path().display().to_string())
        .collect()
}
