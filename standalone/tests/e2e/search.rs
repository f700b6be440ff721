//! Finding files and folders by their names.

use cloudstore_proto::http::{Entry, File, Folder, Found};

use crate::support::{TestStack, User};

async fn find(user: &User, query: &str) -> (Vec<String>, bool) {
    let answer = user.get(&format!("/api/v1/search?{query}")).await;
    let found = answer.json::<Found>(200);
    let paths = found.entries.into_iter().map(|entry| match entry {
        Entry::File(File { path, .. }) | Entry::Folder(Folder { path, .. }) => path,
    });
    (paths.collect(), found.more)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_anywhere_below_a_folder() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a/b/c/Invoice 1.pdf", b"1").await;
    user.put("/a/invoices/x", b"2").await;
    user.put("/z/INVOICE", b"3").await;
    user.put("/z/other", b"4").await;
    let stranger = stack.user().await;
    stranger.put("/invoice", b"5").await;

    let all = ["/a/b/c/Invoice 1.pdf", "/a/invoices", "/z/INVOICE"].map(str::to_owned);
    assert_eq!(find(&user, "q=invoice").await, (all.to_vec(), false));
    let below = find(&user, "q=INVOICE&path=/a").await;
    assert_eq!(below, (all[..2].to_vec(), false));
    assert!(find(&user, "q=invoice&limit=2").await.1, "there are more");
    assert_eq!(find(&user, "q=%25").await, (vec![], false));

    user.bin("/a/b").await.status(204);
    assert_eq!(find(&user, "q=voice").await.0, all[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_for_something_in_a_folder() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/file", b"1").await;
    for (query, status, kind) in [
        ("q=", 422, "invalid-fields"),
        ("", 400, "malformed-request"),
        ("q=a&limit=0", 400, "malformed-request"),
        ("q=a&limit=1001", 400, "malformed-request"),
        ("q=a&other=1", 400, "malformed-request"),
        ("q=a&path=/..", 422, "invalid-path"),
        ("q=a&path=/none", 404, "not-found"),
        ("q=a&path=/file", 409, "not-a-folder"),
    ] {
        let answer = user.get(&format!("/api/v1/search?{query}")).await;
        answer.problem(status, kind);
    }
    let long = format!("/api/v1/search?q={}", "a".repeat(256));
    user.get(&long).await.problem(422, "invalid-fields");
}
