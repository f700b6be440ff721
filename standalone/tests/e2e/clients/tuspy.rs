//! tuspy.

use std::io::Write as _;

use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{MIB, on_its_way, run, script, tools};
use crate::support::{Line, TestStack};

#[tokio::test(flavor = "multi_thread")]
async fn with_checksums() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("tuspy", 24 * MIB + 17);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&content).unwrap();
    let line = Line::to(&stack.api().base, 11 * MIB).await;
    let mut client = Command::new(tools().join("tuspy/bin/python"));
    client
        .arg(script("tus.py"))
        .arg(format!("{}/files/", line.url))
        .arg(user.api_token("upload").await)
        .arg(file.path())
        .arg("from python.bin")
        .arg((4 * MIB).to_string());
    run(client).await;
    // A request with a checksum is kept whole or not at all.
    line.assert_resumed(content.len(), 4 * MIB + on_its_way(&stack));
    user.assert_content("/from python.bin", &content).await;
}
