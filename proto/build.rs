//! Compiles the .proto files with protox, so that no protoc is needed on the machine.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 6] = [
    "cloudstore/account/v1/account.proto",
    "cloudstore/file/v1/file.proto",
    "cloudstore/upload/v1/upload.proto",
    "cloudstore/transfer/v1/transfer.proto",
    "cloudstore/dav/v1/dav.proto",
    "cloudstore/share/v1/share.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
