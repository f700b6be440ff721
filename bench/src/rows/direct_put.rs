//! One PUT of a large file on one connection, against nginx's DAV PUT.

use std::time::Duration;

use super::{Bench, Name, Row, binary_size, record};
use crate::{
    error::Result,
    report::Line,
    series::{Series, Unit, megabytes_per_second, milliseconds},
    servers::cloudstore::check_put,
};

/// What cloudstore must reach, hashing what nginx only stores.
const AT_LEAST: f64 = 0.65;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let (size, place) = (bench.sizes.large, &bench.places.memory);
    let mut ours = Series::new("cloudstore", Unit::MegabytesPerSecond);
    let mut theirs = Series::new("nginx", Unit::MegabytesPerSecond);
    let mut stored = Series::new("cloudstore", Unit::Milliseconds);
    place.require_room(3 * size)?;
    let nginx = bench.start_nginx(place).await?;
    let nginx = nginx.target();
    let mut cloudstore = bench.start_cloudstore(place).await?;
    for run in 0..=bench.sizes.runs {
        let path = format!("/direct-{run}.bin");

        let content = bench.source.content(size);
        let (time, _) = nginx.timed_put(&path, &content).await?;
        record(
            &mut theirs,
            Name::DirectPut,
            run,
            megabytes_per_second(size, time),
        );
        nginx.delete(&path).await?;

        cloudstore = cloudstore.with_room(2 * size).await?;
        let target = cloudstore.target().await?;
        let content = bench.source.content(size);
        let (time, answer) = target.timed_put(&path, &content).await?;
        record(
            &mut ours,
            Name::DirectPut,
            run,
            megabytes_per_second(size, time),
        );
        let settled: Duration = cloudstore.settle(&path).await?;
        check_put(&answer, &content)?;
        stored.push(milliseconds(settled));
        target.delete(&path).await?;
        cloudstore.process().quiet().await?;
    }
    let what = format!("direct PUT, {}", binary_size(size));
    let note = format!(
        "direct PUT: a run ends with the answer. From there to verified durable storage took \
         {stored}; the next run starts when that is done and the server is idle."
    );
    Ok(Row {
        lines: vec![Line::ratio(what, ours, theirs, Some(AT_LEAST))],
        notes: vec![note],
    })
}
