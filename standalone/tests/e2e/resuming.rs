//! An upload belongs to the server, not to a protocol: what one client began in one dialect, another
//! client of the account finds and finishes in any other.

use crate::{
    ietf::Said,
    support::{Api, PASSWORD, TestStack, User},
};

const MIB: usize = 1 << 20;
/// More than one chunk, and not a whole number of anything.
const LEN: usize = 19 * MIB + 5;
/// What the first client sends: all of the first chunk, for the one that sends nothing else.
const SENT: usize = 8 * MIB;
/// An offset that only byte-exact dialects know.
const BYTES_SENT: usize = 9 * MIB + 3;

/// How clients send.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Chunks,
    Tus,
    /// tus, begun by a POST to a folder of WebDAV.
    Dav,
    /// The IETF's of this interop version.
    Ietf(u8),
}
use Dialect::{Chunks, Dav, Ietf, Tus};

const DIALECTS: [Dialect; 5] = [Chunks, Tus, Dav, Ietf(3), Ietf(8)];

impl Dialect {
    /// Begins an upload and sends a part of it. Gives the upload's id and how much was kept.
    async fn begin(self, user: &User, name: &str, content: &[u8]) -> (String, usize) {
        let sent = &content[..BYTES_SENT];
        let location = match self {
            Chunks => {
                let upload = user.begin(&format!("/{name}"), content.len()).await;
                user.put_part(&upload, 0, content).await;
                return (upload.id, SENT);
            }
            Tus => user.tus_begin(name, content.len()).await,
            Dav => {
                let created = user.dav_upload("/", name, content.len()).await;
                user.tus_created(&created.status(201))
            }
            Ietf(version) => user.ietf_begin(version, Some(content.len()), sent).await,
        };
        if matches!(self, Tus | Dav) {
            user.tus_patch(&location, 0, sent).await.status(204);
        }
        let id = location.strip_prefix("/files/").unwrap().to_owned();
        (id, BYTES_SENT)
    }

    /// Asks where to go on, sends the rest and ends the upload. Gives the path of the file.
    async fn finish(self, user: &User, id: &str, content: &[u8]) -> String {
        let location = format!("/files/{id}");
        match self {
            Chunks => {
                let upload = user.unfinished(id).await;
                return user.finish(&upload, content).await.path;
            }
            Tus | Dav => user.tus_finish(&location, content).await,
            Ietf(version) => {
                let head = user.ietf_head(version, &location).await.status(204);
                let at = head.header("upload-offset").parse().unwrap();
                let said = Said::complete(true).at(at);
                let rest = user.ietf_append(version, &location, said, &content[at..]);
                rest.await.status(201);
            }
        }
        user.complete(id).await.path
    }
}

/// The account on another device.
async fn elsewhere(api: &Api, user: &User) -> User {
    api.login(&user.name, PASSWORD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_finishes_what_any_other_began() {
    let (stack, user) = TestStack::with_user().await;
    let other = elsewhere(stack.api(), &user).await;
    for first in DIALECTS {
        for second in DIALECTS {
            let what = format!("{first:?} to {second:?}");
            let content = user.content(&what, LEN);
            let (id, kept) = first.begin(&user, &what, &content).await;
            let listed = other.unfinished(&id).await;
            assert_eq!(listed.received, kept as u64, "{what}");
            assert_eq!(listed.size, LEN as u64, "{what}");
            let path = second.finish(&other, &id, &content).await;
            user.assert_content(&path, &content).await;
        }
    }
}
