//! Limits of downloads: as many as may, and none of them twice.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{ask, cookie, create, get, look, see};
use crate::support::{TestStack, assert_same, send};

const DOWNLOAD_FIELD: &str = "cloudstore-download-ticket";

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_downloads_begin_as_may() {
    const MAX: u64 = 7;
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("a", 100_000);
    user.mkdirs("/f").await.status(201);
    user.put("/f/a", &content).await;
    let api = stack.api();
    for (path, rest) in [("/f/a", "/content"), ("/f", "/content/a")] {
        let shared = create(&user, &json!({ "path": path, "max_downloads": MAX })).await;
        assert_eq!(see(api, &shared.token, "").await.downloads_left, Some(MAX));
        // What carries no content is no download.
        send(ask(api, Method::HEAD, &shared.token, rest))
            .await
            .status(200);
        let range = ask(api, Method::GET, &shared.token, rest).header("range", "bytes=100000-");
        send(range).await.status(416);
        let answers = join_all((0..50).map(|_| look(api, &shared.token, rest))).await;
        let mut served = 0;
        for answer in answers {
            if answer.status == 200 {
                served += 1;
                assert_same(&answer.body, &content);
            } else {
                answer.problem(410, "share-exhausted");
            }
        }
        assert_eq!(served, MAX);
        assert_eq!(get(&user, &shared.about.id).await.downloads, MAX);
        // Without one that has begun, no part is to be had either.
        for range in ["bytes=0-0", "bytes=1-", "bytes=-1", "bytes=5-9,90-99"] {
            let request = ask(api, Method::GET, &shared.token, rest).header("range", range);
            send(request).await.problem(410, "share-exhausted");
        }
        let forged = ask(api, Method::GET, &shared.token, rest)
            .header("range", "bytes=1-")
            .header(DOWNLOAD_FIELD, "AAAAAAAAAAAAAAAAAAAAAA");
        send(forged).await.problem(410, "share-exhausted");
        assert_eq!(see(api, &shared.token, "").await.downloads_left, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_after_an_interruption_and_counts_once() {
    const SIZE: usize = 1_000;
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("a", SIZE);
    user.put("/a", &content).await;
    let shared = create(&user, &json!({ "path": "/a", "max_downloads": 2 })).await;
    let api = stack.api();
    let part = |range: &str, ticket: &str| {
        let request = ask(api, Method::GET, &shared.token, "/content");
        send(
            request
                .header("range", range)
                .header(DOWNLOAD_FIELD, ticket),
        )
    };
    let begun = look(api, &shared.token, "/content").await.status(200);
    let ticket = begun.header(DOWNLOAD_FIELD).to_owned();
    let set = cookie(&begun);
    assert_eq!(set[DOWNLOAD_FIELD], ticket);
    assert_eq!(
        set["Path"],
        format!("/api/v1/public/shares/{}/content", shared.token)
    );

    let rest = part("bytes=400-", &ticket).await.status(206);
    assert_eq!(&rest.body[..], &content[400..]);
    assert_eq!(rest.header(DOWNLOAD_FIELD), "", "still the same download");
    let cookie = format!("other=1; {DOWNLOAD_FIELD}={ticket}");
    let rest = ask(api, Method::GET, &shared.token, "/content")
        .header("range", "bytes=900-")
        .header("cookie", cookie);
    send(rest).await.status(206);
    assert_eq!(get(&user, &shared.about.id).await.downloads, 1);

    // From the beginning it is another one, and the last.
    let again = part("bytes=0-", &ticket).await.status(206);
    let second = again.header(DOWNLOAD_FIELD).to_owned();
    assert!(!second.is_empty() && second != ticket);
    assert_eq!(get(&user, &shared.about.id).await.downloads, 2);
    part("bytes=0-", &ticket)
        .await
        .problem(410, "share-exhausted");

    // A download carries its content eight times and not more.
    let mut carried = SIZE + 600 + 100;
    while carried + 999 <= 8 * SIZE {
        part("bytes=1-", &ticket).await.status(206);
        carried += 999;
    }
    part("bytes=1-", &ticket)
        .await
        .problem(410, "share-exhausted");
    part("bytes=1-", &second).await.status(206);

    // A ticket is for one share and one content.
    let other = create(&user, &json!({ "path": "/a", "max_downloads": 1 })).await;
    let elsewhere = |range| {
        let request = ask(api, Method::GET, &other.token, "/content");
        send(
            request
                .header("range", range)
                .header(DOWNLOAD_FIELD, &second),
        )
    };
    elsewhere("bytes=1-").await.status(206);
    elsewhere("bytes=1-").await.problem(410, "share-exhausted");
    user.try_put("/a", &user.content("b", SIZE))
        .await
        .status(200);
    part("bytes=1-", &second)
        .await
        .problem(410, "share-exhausted");
}
