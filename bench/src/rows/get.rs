//! One GET of a large file on one connection, against nginx's sendfile.

use super::{Bench, Name, Row, binary_size, record};
use crate::{
    error::Result,
    report::Line,
    series::{Series, Unit, megabytes_per_second},
    servers::cloudstore::check_put,
};

/// What cloudstore must reach, verifying what nginx only copies.
const AT_LEAST: f64 = 0.7;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let (size, place, path) = (bench.sizes.large, &bench.places.memory, "/get.bin");
    let mut ours = Series::new("cloudstore", Unit::MegabytesPerSecond);
    let mut theirs = Series::new("nginx", Unit::MegabytesPerSecond);
    place.require_room(3 * size)?;
    let nginx = bench.start_nginx(place).await?;
    let nginx = nginx.target();
    let mut cloudstore = bench.start_cloudstore(place).await?;

    let content = bench.source.content(size);
    nginx.timed_put(path, &content).await?;
    let (_, answer) = cloudstore.target().await?.timed_put(path, &content).await?;
    check_put(&answer, &content)?;
    cloudstore.settle(path).await?;
    // The clocked downloads only count bytes, so the bytes are compared here.
    nginx.verify(path, &content).await?;
    cloudstore.target().await?.verify(path, &content).await?;

    for run in 0..=bench.sizes.runs {
        let time = nginx.timed_get(path, size).await?;
        record(
            &mut theirs,
            Name::Get,
            run,
            megabytes_per_second(size, time),
        );
        let time = cloudstore.target().await?.timed_get(path, size).await?;
        record(&mut ours, Name::Get, run, megabytes_per_second(size, time));
    }
    let what = format!("GET, {}", binary_size(size));
    let note = "GET: the same content, in durable storage; cloudstore verifies every byte that it \
                sends against the content's BLAKE3 tree.";
    let lines = vec![Line::ratio(what, ours, theirs, Some(AT_LEAST))];
    Ok(Row {
        lines,
        notes: vec![note.to_owned()],
    })
}
