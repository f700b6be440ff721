//! Content: made up, hashed, compared.

use std::{path::PathBuf, process::Command, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cloudstore_content::proof::Prover;
use cloudstore_proto::http::{Challenge, Digests};
use sha2::Digest as _;

/// Bytes that look random and follow from the label.
pub(crate) fn fixed_content(label: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(label.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Every digest of the content, as clients declare them.
pub(crate) fn digests(content: &[u8]) -> Digests {
    Digests {
        blake3: Some(blake3::hash(content).to_hex().to_string()),
        sha256: Some(hex::encode(sha2::Sha256::digest(content))),
        sha1: Some(hex::encode(sha1::Sha1::digest(content))),
    }
}

/// The value of `Content-Digest` and `Repr-Digest`.
pub(crate) fn sha256_field(content: &[u8]) -> String {
    format!(
        "sha-256=:{}:",
        STANDARD.encode(sha2::Sha256::digest(content))
    )
}

/// Demands that two contents are the same, without printing them.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "length of the content");
    assert_eq!(
        blake3::hash(found),
        blake3::hash(expected),
        "hash of the content"
    );
}

/// The answer to a challenge by somebody who has this content.
pub(crate) fn prove(challenge: &Challenge, content: &[u8]) -> String {
    let mut nonce = [0; 32];
    hex::decode_to_slice(&challenge.nonce, &mut nonce).unwrap();
    let mut prover = Prover::new(&nonce);
    for [offset, len] in &challenge.windows {
        let start = usize::try_from(*offset).unwrap();
        prover.update(&content[start..start + usize::try_from(*len).unwrap()]);
    }
    hex::encode(prover.finish())
}

/// A file of a real SHA-1 collision, from the test data of the crate `sha1-checked`.
pub(crate) fn collision_file(name: &str) -> Vec<u8> {
    static DATA: LazyLock<PathBuf> = LazyLock::new(|| {
        let version = run("RUSTC", "rustc", &["-vV"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        // Crates of other platforms may never have been downloaded.
        let metadata = [
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform",
            host.unwrap(),
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ];
        let metadata = run("CARGO", "cargo", &metadata);
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages
            .iter()
            .find(|package| package["name"] == "sha1-checked")
            .unwrap();
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        manifest.parent().unwrap().join("tests/data")
    });
    std::fs::read(DATA.join(name)).unwrap()
}

/// What a program prints; the environment may name another one.
fn run(variable: &str, program: &str, arguments: &[&str]) -> String {
    let program = std::env::var_os(variable).unwrap_or_else(|| program.into());
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
