//! `cloudstore rm`

use cloudstore_proto::http::Entry;

use super::{Context, each::Deed, remote};
use crate::{
    args::RmArgs,
    client::Client,
    error::{Error, Exit, Result},
};

pub(super) async fn run(context: &Context, args: &RmArgs) -> Result<()> {
    let paths = args
        .paths
        .iter()
        .map(|path| remote(path))
        .collect::<Result<Vec<_>>>()?;
    let deed = Deed {
        key: "path",
        verb: "remove",
        done: "removed",
        advice: None,
    };
    let client = context.connect()?;
    deed.each(context, &paths, async |path| {
        remove(&client, path, args).await
    })
    .await
}

async fn remove(client: &Client, path: &str, args: &RmArgs) -> Result<()> {
    if !args.recursive && matches!(client.stat(path).await?.entry, Entry::Folder(_)) {
        return Err(Error::new(Exit::Failed, "it is a folder").advise("pass -r"));
    }
    client.remove(path, args.permanent).await
}
