//! `cloudstore stat`

use cloudstore_proto::http::{Entry, FileState};

use super::{Context, remote};
use crate::{error::Result, output::human_bytes};

pub(super) async fn run(context: &Context, path: &str) -> Result<()> {
    let path = remote(path)?;
    let found = context.connect()?.stat(&path).await;
    let entry = found
        .map_err(|error| error.during(format!("cannot find {path}")))?
        .entry;
    context.out.record(&entry)?;
    let mut lines = Vec::new();
    match &entry {
        Entry::Folder(folder) => {
            lines.extend([("folder", folder.path.clone()), ("id", folder.id.clone())]);
            lines.push(("modified", folder.modified_at.clone()));
            lines.push(("created", folder.created_at.clone()));
        }
        Entry::File(file) => {
            let state = match file.state {
                FileState::Staged => "safe, on its way to durable storage",
                FileState::Stored => "in durable storage",
            };
            lines.extend([("file", file.path.clone()), ("id", file.id.clone())]);
            lines.push((
                "size",
                format!("{} ({} bytes)", human_bytes(file.size), file.size),
            ));
            lines.push(("type", file.media_type.clone()));
            lines.push(("blake3", file.blake3.clone()));
            lines.extend(file.sha256.clone().map(|digest| ("sha256", digest)));
            lines.extend(file.sha1.clone().map(|digest| ("sha1", digest)));
            lines.push(("modified", file.modified_at.clone()));
            lines.push(("created", file.created_at.clone()));
            lines.push(("state", state.to_owned()));
        }
    }
    lines
        .iter()
        .try_for_each(|(name, value)| context.out.text(format_args!("{name:9} {value}")))
}
