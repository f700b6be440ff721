//! curl, which shows interim answers.

use std::io::Write as _;

use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{MIB, run};
use crate::support::{Local, User};

/// Creates an upload with all of its content and gives the heads of the answers. nginx keeps interim
/// answers to itself, so this is about the service.
async fn heads(user: &User, http: &str, name: &str, content: &[u8]) -> String {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let mut client = Command::new("curl");
    client
        .args(["--silent", "--show-error", "--fail", http])
        .args(["--dump-header", "-", "--output", "/dev/null"])
        .args(["--request", "POST", "--data-binary"])
        .arg(format!("@{}", file.path().display()))
        .arg("--header")
        .arg(format!("Authorization: Bearer {}", user.token))
        .args(["--header", "Upload-Draft-Interop-Version: 8"])
        .args(["--header", "Upload-Complete: ?1"])
        .args(["--header", "Content-Type: application/octet-stream"])
        .arg("--header")
        .arg(format!(
            "Content-Disposition: attachment; filename=\"{name}\""
        ))
        .arg(format!("{}/files/", user.api.base));
    run(client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_where_to_resume() {
    let local = Local::start().await;
    let user = local.user().await;
    let content = user.content("curl", 12 * MIB);
    for (http, version) in [
        ("--http2-prior-knowledge", "2"),
        ("--http2", "1.1"),
        ("--http1.1", "1.1"),
    ] {
        let name = format!("by curl {http}");
        let heads = heads(&user, http, &name, &content).await.to_lowercase();
        let interim = format!("http/{version} 104");
        let (_, rest) = heads
            .split_once(&interim)
            .unwrap_or_else(|| panic!("no 104: {heads}"));
        let (interim, last) = rest.split_once("\r\n\r\n").unwrap();
        assert!(interim.contains("location: "), "{heads}");
        assert!(last.contains(&format!("http/{version} 201")), "{heads}");
        user.assert_content(&format!("/{name}"), &content).await;
    }
}
