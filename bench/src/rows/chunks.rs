//! A large file in native chunks over parallel connections, against nginx's PUT of such a file.

use std::time::{Duration, Instant};

use super::{Bench, Name, Row, binary_size, chunk, complete, create_upload, record};
use crate::{
    client::{Connection, Fan},
    content::Content,
    error::Result,
    report::Line,
    series::{Series, Unit, megabytes_per_second},
    servers::{
        Target,
        cloudstore::{self, Cloudstore},
    },
};

/// What cloudstore must reach.
const AT_LEAST: f64 = 0.6;

/// Chunks in flight.
const CONNECTIONS: usize = 4;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let (size, place) = (bench.sizes.large, &bench.places.memory);
    let mut ours = Series::new("cloudstore", Unit::MegabytesPerSecond);
    let mut theirs = Series::new("nginx", Unit::MegabytesPerSecond);
    place.require_room(3 * size)?;
    let nginx = bench.start_nginx(place).await?;
    let nginx = nginx.target();
    let mut cloudstore = bench.start_cloudstore(place).await?;
    let mut chunk_size = 0;
    for run in 0..=bench.sizes.runs {
        let path = format!("/chunks-{run}.bin");

        let content = bench.source.content(size);
        let (time, _) = nginx.timed_put(&path, &content).await?;
        record(
            &mut theirs,
            Name::Chunks,
            run,
            megabytes_per_second(size, time),
        );
        nginx.delete(&path).await?;

        cloudstore = cloudstore.with_room(2 * size).await?;
        let content = bench.source.content(size);
        let (time, used) = upload(&mut cloudstore, &path, &content).await?;
        record(
            &mut ours,
            Name::Chunks,
            run,
            megabytes_per_second(size, time),
        );
        chunk_size = used;
        cloudstore.settle(&path).await?;
        cloudstore.target().await?.delete(&path).await?;
        cloudstore.process().quiet().await?;
    }
    let what = format!(
        "native chunks, {CONNECTIONS} x {} in parallel, {}",
        binary_size(chunk_size),
        binary_size(size)
    );
    let note = "native chunks: a run is the creation, all chunks and the completion, against one \
                PUT of as many bytes to nginx.";
    let lines = vec![Line::ratio(what, ours, theirs, Some(AT_LEAST))];
    Ok(Row {
        lines,
        notes: vec![note.to_owned()],
    })
}

/// Time of a whole upload on connections that are open already, and the server's chunk size.
async fn upload(
    cloudstore: &mut Cloudstore<'_>,
    path: &str,
    content: &Content,
) -> Result<(Duration, u64)> {
    let target: Target = cloudstore.target().await?;
    let fan = Fan::open(target.address, CONNECTIONS).await?;
    let mut control = Connection::open(target.address).await?;

    let start = Instant::now();
    let upload = create_upload(&mut control, &target, path, content.size()).await?;
    let chunks = (0..upload.chunk_count).map(|index| chunk(&target, &upload, content, index));
    fan.send(chunks.collect()).await?;
    let file = complete(&mut control, &target, &upload).await?;
    let time = start.elapsed();

    cloudstore::check(&file, content)?;
    Ok((time, upload.chunk_size))
}
