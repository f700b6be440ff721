//! Which object storage, and how to use it.

use std::fmt;

/// Bytes of a part, and the largest object that is sent as a whole. Four of them in memory fill a
/// 10 Gbit/s line to a store 25 ms away.
pub const DEFAULT_PART_BYTES: u64 = 16 << 20;
/// Smaller parts only cost requests; S3 itself asks for at least 5 MiB.
pub const MIN_PART_BYTES: u64 = 8 << 20;

/// When to send and to ask for checksums beyond the signature.
///
/// In both cases the parts of a large object carry their CRC-32C where the store says that it will
/// compare it, and only there; else their SHA-256 is part of the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// Only for operations that need them. Understood by every store.
    #[default]
    WhenRequired,
    /// Wherever the protocol knows them, in trailers too. Several stores refuse that.
    WhenSupported,
}

/// Which bucket, where, and how to get in.
#[derive(Clone)]
pub struct S3Config {
    /// URL of the store; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// Region, any word for most stores.
    pub region: String,
    /// Bucket, which must exist.
    pub bucket: String,
    /// Begins the name of every object, so that several users can share a bucket: `""`, or what
    /// ends with a slash.
    pub prefix: String,
    /// The bucket is the first part of the path instead of a part of the host name.
    pub path_style: bool,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Checksums beyond the signature.
    pub checksums: Checksums,
    /// Bytes of a part; at least [`MIN_PART_BYTES`]. Grows with objects that would need more than
    /// 10,000 parts.
    pub part_bytes: u64,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("path_style", &self.path_style)
            .field("checksums", &self.checksums)
            .field("part_bytes", &self.part_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_show_in_logs() {
        let config = S3Config {
            endpoint: None,
            region: "eu".into(),
            bucket: "b".into(),
            prefix: String::new(),
            path_style: true,
            access_key: "AKIA".into(),
            secret_key: "hunter2".into(),
            checksums: Checksums::default(),
            part_bytes: DEFAULT_PART_BYTES,
        };
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("AKIA"),
            "{shown}"
        );
    }
}
