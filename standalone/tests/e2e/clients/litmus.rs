//! litmus, the test suite for WebDAV servers.

use tempfile::tempdir;
use tokio::process::Command;

use super::run;
use crate::support::TestStack;

#[tokio::test(flavor = "multi_thread")]
async fn every_suite() {
    let (stack, user) = TestStack::with_user().await;
    // Its logs.
    let dir = tempdir().unwrap();
    let mut client = Command::new("litmus");
    client
        .current_dir(dir.path())
        .arg("-k")
        .arg(format!("{}/dav/", stack.api().base))
        .arg(&user.name)
        .arg(user.api_token("full").await);
    let printed = run(client).await;
    for suite in ["basic", "copymove", "props", "locks", "http"] {
        let summary = printed
            .lines()
            .find(|line| line.contains(&format!("summary for `{suite}'")));
        let summary = summary.unwrap_or_else(|| panic!("no summary of {suite}: {printed}"));
        assert!(summary.contains(" 0 failed"), "{printed}");
        assert!(!summary.contains(" of 0 tests"), "{printed}");
    }
}
