//! Completion of a very large file whose chunks came in random order.

use std::time::{Duration, Instant};

use super::{Bench, Name, Row, binary_size, chunk, complete, create_upload, record};
use crate::{
    client::{Connection, Fan},
    error::Result,
    report::{Line, Statistic},
    series::{Series, Unit, milliseconds},
    servers::cloudstore,
};

/// Milliseconds that a completion may take. On a tmpfs the flush that is part of it is free, so
/// this is what it takes beyond its flush.
const AT_MOST_MS: f64 = 100.0;

/// Each run moves many GiB, so that there are never more than these.
const MAX_RUNS: usize = 3;

/// Chunks in flight.
const CONNECTIONS: usize = 4;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let size = bench.sizes.out_of_order;
    let mut times = Series::new("cloudstore", Unit::Milliseconds);
    for run in 1..=bench.sizes.runs.min(MAX_RUNS) {
        let time = upload(bench, size).await?;
        record(&mut times, Name::Completion, run, milliseconds(time));
    }
    let what = format!(
        "completion of an upload out of order, {}",
        binary_size(size)
    );
    let note = format!(
        "completion: {} runs, each on a server of its own; the time of the completing request \
         alone, from which the content's identity comes back and is checked.",
        times.runs()
    );
    let line = Line::at_most(what, times, Statistic::Median, AT_MOST_MS);
    Ok(Row {
        lines: vec![line],
        notes: vec![note],
    })
}

/// Time of the completing request. The server and all data are gone afterwards.
async fn upload(bench: &Bench, size: u64) -> Result<Duration> {
    let place = &bench.places.memory;
    place.require_room(size)?;
    let mut server = bench.start_cloudstore(place).await?;
    let target = server.target().await?;
    let content = bench.source.content(size);
    let mut control = Connection::open(target.address).await?;
    let upload = create_upload(&mut control, &target, "/completion.bin", size).await?;
    let order = shuffled(upload.chunk_count);
    let chunks = order
        .into_iter()
        .map(|index| chunk(&target, &upload, &content, index));
    Fan::open(target.address, CONNECTIONS)
        .await?
        .send(chunks.collect())
        .await?;

    let target = server.target().await?;
    let mut control = Connection::open(target.address).await?;
    let start = Instant::now();
    let file = complete(&mut control, &target, &upload).await?;
    let time = start.elapsed();

    cloudstore::check(&file, &content)?;
    Ok(time)
}

/// The numbers below `count` in an order that looks random and is the same each time.
fn shuffled(count: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..count).collect();
    order.sort_by_key(|index| *blake3::hash(&index.to_le_bytes()).as_bytes());
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_sent_once_and_not_in_order() {
        let mut order = shuffled(1_280);
        assert!(
            order
                .windows(2)
                .filter(|pair| pair[1] == pair[0] + 1)
                .count()
                < 16
        );
        order.sort_unstable();
        assert_eq!(order, (0..1_280).collect::<Vec<_>>());
    }
}
