//! `cloudstore cat`

use cloudstore_content::tree::TreeHasher;
use reqwest::header::ETAG;

use super::{Context, remote};
use crate::{
    args::CatArgs,
    client::wire,
    error::{Error, Exit, Result},
};

/// Writes while reading; a whole file is verified at its end, when it is too late to hold it back,
/// so the exit code tells.
pub(super) async fn run(context: &Context, args: &CatArgs) -> Result<()> {
    let path = remote(&args.path)?;
    let what = || format!("cannot read {path}");
    if path == "/" {
        return Err(Error::new(Exit::Failed, "it is a folder").during(what()));
    }
    let client = context.connect()?;
    let opened = client.content(&path, args.range.as_deref(), None).await;
    let mut response = opened.map_err(|error| error.during(what()))?;
    let etag = response
        .headers()
        .get(ETAG)
        .and_then(|etag| etag.to_str().ok());
    let expected = etag.map(|etag| etag.trim_matches('"').to_owned());
    let mut hasher = TreeHasher::new();
    loop {
        let frame = wire::within(response.chunk()).await;
        let frame = frame.map_err(|trouble| client.error(trouble).during(what()))?;
        let Some(frame) = frame else { break };
        context.out.write(&frame)?;
        if args.range.is_none() {
            hasher.update(&frame);
        }
    }
    match expected {
        Some(expected) if args.range.is_none() => {
            if hex::encode(hasher.finish().root()) == expected {
                return Ok(());
            }
            let why = "what arrived does not have the digest of the file";
            Err(Error::new(Exit::Checksum, why)
                .during(what())
                .advise("discard it and try again"))
        }
        _ => Ok(()),
    }
}
