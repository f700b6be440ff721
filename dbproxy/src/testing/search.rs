//! Names anywhere below a folder.

use super::*;

impl Fixture {
    async fn search(
        &self,
        owner: &Bytes,
        path: &str,
        text: &str,
        limit: u32,
    ) -> Result<SearchResponse> {
        let request = SearchRequest {
            owner: owner.clone(),
            path: path.to_owned(),
            text: text.to_owned(),
            limit,
        };
        request.check().unwrap();
        self.store.search(request).await
    }

    async fn find(&self, owner: &Bytes, path: &str, text: &str) -> Vec<String> {
        let found = self.search(owner, path, text, 0).await.unwrap();
        assert!(!found.more);
        found.entries.into_iter().map(|entry| entry.path).collect()
    }
}

/// Every name below a folder, whatever its case, and nothing that is elsewhere or deleted.
pub async fn searches(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for (path, seed) in [
        ("/a/Report.pdf", 1),
        ("/a/b/c/d/old REPORTS/x", 2),
        ("/z/report%_.txt", 3),
        ("/z/Straße.txt", 4),
    ] {
        f.put(&owner, path, seed).await.unwrap();
    }
    let stranger = f.account(1 << 20).await;
    f.put(&stranger, "/report", 1).await.unwrap();

    assert_eq!(
        f.find(&owner, "/", "report").await,
        ["/a/Report.pdf", "/a/b/c/d/old REPORTS", "/z/report%_.txt"],
    );
    let below = f.find(&owner, "/a/b", "RePort").await;
    assert_eq!(below, ["/a/b/c/d/old REPORTS"]);
    for (text, expected) in [
        ("%", Some("/z/report%_.txt")),
        ("_.", Some("/z/report%_.txt")),
        ("straße", Some("/z/Straße.txt")),
        ("t?x", None),
        ("a/R", None),
        ("\\", None),
    ] {
        let found = f.find(&owner, "/", text).await;
        assert_eq!(found.first().map(String::as_str), expected, "{text}");
    }
    let found = f.search(&owner, "/", "Report.pdf", 0).await.unwrap();
    let stat = f.stat(&owner, "/a/Report.pdf").await.unwrap();
    assert_eq!(found.entries, [stat], "as a look at it tells");

    f.rm(&owner, "/a/b/c").await.unwrap();
    f.mv(&owner, "/z", "/a/y").await.unwrap();
    assert_eq!(
        f.find(&owner, "/a", "report").await,
        ["/a/Report.pdf", "/a/y/report%_.txt"],
    );
    let file = f.search(&owner, "/a/Report.pdf", "r", 0).await;
    assert_eq!(kind(file), Kind::NotAFolder);
    let nowhere = f.search(&owner, "/none", "r", 0).await;
    assert_eq!(kind(nowhere), Kind::NotFound);
}

/// It says when there is more than it tells.
pub async fn search_limits(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for at in 0..4 {
        let folder = format!("/{at}/hit");
        f.mkdir(&owner, &folder, true).await.unwrap();
    }
    for (limit, told, more) in [(3, 3, true), (4, 4, false), (1, 1, true)] {
        let found = f.search(&owner, "/", "hit", limit).await.unwrap();
        assert_eq!((found.entries.len(), found.more), (told, more), "{limit}");
    }
}
