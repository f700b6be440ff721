//! Uploads that are begun by tus at an address of WebDAV.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, Url};

use crate::support::{Answer, TestStack, User, assert_same, send};

impl User {
    pub(crate) async fn dav_upload(&self, folder: &str, name: &str, len: usize) -> Answer {
        let metadata = format!("filename {}", STANDARD.encode(name));
        let request = self.dav("POST", folder).header("tus-resumable", "1.0.0");
        let request = request.header("upload-length", len);
        send(request.header("upload-metadata", metadata)).await
    }

    async fn dav_append(&self, location: &str, offset: usize, bytes: &[u8]) -> Answer {
        let path = Url::parse(location).unwrap().path().to_owned();
        let request = self.request(Method::PATCH, &path);
        let request = request
            .header("tus-resumable", "1.0.0")
            .header("content-type", "application/offset+octet-stream")
            .header("upload-offset", offset);
        send(request.body(bytes.to_vec())).await
    }
}

/// As rclone's vendor "infinitescale" sends a large file, twice.
#[tokio::test]
async fn a_folder_takes_uploads_by_tus() {
    let (_stack, user) = TestStack::with_user().await;
    send(user.dav("MKCOL", "/a b")).await.status(201);
    for label in ["first", "second"] {
        let content = user.content(label, 3_000_000);
        let created = user.dav_upload("/a b", "\u{e9}.bin", content.len()).await;
        let created = created.status(201);
        assert_eq!(created.header("tus-resumable"), "1.0.0");
        let location = created.header("location").to_owned();
        let (start, end) = content.split_at(1_200_000);
        user.dav_append(&location, 0, start).await.status(204);
        user.dav_append(&location, start.len(), end)
            .await
            .status(204);
        let found = user.dav_get("/a b/\u{e9}.bin").await.status(200);
        assert_same(&found.body, &content);
    }
    assert_eq!(user.names("/a b", "").await, ["\u{e9}.bin"], "replaced");
    user.dav_upload("/none", "x", 1).await.status(409);
    user.dav_upload("/a b/\u{e9}.bin", "x", 1).await.status(409);
    let other = user.dav("POST", "/").header("tus-resumable", "0.1");
    send(other).await.status(412);
    let info = "<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
        <D:locktype><D:write/></D:locktype></D:lockinfo>";
    let lock = user.dav("LOCK", "/a b").header("depth", "0");
    send(lock.body(info)).await.status(200);
    user.dav_upload("/a b", "x", 1).await.status(423);
}
