//! The contracts between the parts of cloudstore: gRPC (generated from `proto/`) between services
//! and dbproxy, and the JSON bodies of the HTTP API shared by services and clients ([`http`]).

pub mod convert;
pub mod http;
pub mod lock;
pub mod path;

/// Encoded `FileDescriptorSet` of every service, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            clippy::all,
            clippy::allow_attributes_without_reason,
            missing_docs,
            unreachable_pub,
            reason = "generated code; the .proto files carry the documentation"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

/// gRPC packages, under the module paths that the generated code refers to.
pub mod cloudstore {
    /// `cloudstore.account`
    pub mod account {
        generated!(
            /// Accounts, sessions and keys.
            v1, "cloudstore.account.v1"
        );
    }
    /// `cloudstore.file`
    pub mod file {
        generated!(
            /// Entries (files and folders) and blobs.
            v1, "cloudstore.file.v1"
        );
    }
    /// `cloudstore.upload`
    pub mod upload {
        generated!(
            /// Uploads from reservation to file.
            v1, "cloudstore.upload.v1"
        );
    }
    /// `cloudstore.transfer`
    pub mod transfer {
        generated!(
            /// Staged to durable, and garbage collection.
            v1, "cloudstore.transfer.v1"
        );
    }
    /// `cloudstore.dav`
    pub mod dav {
        generated!(
            /// Locks and dead properties of WebDAV.
            v1, "cloudstore.dav.v1"
        );
    }
    /// `cloudstore.share`
    pub mod share {
        generated!(
            /// Entries that are shown to whoever knows a token.
            v1, "cloudstore.share.v1"
        );
    }
}

pub use cloudstore::{
    account::v1 as account, dav::v1 as dav, file::v1 as file, share::v1 as share,
    transfer::v1 as transfer, upload::v1 as upload,
};
