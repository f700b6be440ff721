//! Peak resident memory of the server while many uploads are under way at once.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::{Bench, Name, Row, binary_size, record};
use crate::{
    client::{Fan, Payload},
    error::Result,
    report::{Line, Statistic},
    series::{Series, Unit, mebibytes},
};

/// Uploads at the same time.
const STREAMS: u32 = 32;

/// Memory that does not depend on the number of streams.
const BASE_MIB: f64 = 64.0;

/// Memory of each active stream.
const STREAM_MIB: f64 = 2.0;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let size = bench.sizes.stream;
    let mut peaks = Series::new("cloudstore", Unit::Mebibytes);
    let mut idle = Series::new("cloudstore, idle", Unit::Mebibytes);
    let mut files = Series::new("cloudstore, files", Unit::Mebibytes);
    for run in 1..=bench.sizes.runs {
        let memory = upload(bench, size).await?;
        idle.push(mebibytes(memory.idle));
        files.push(mebibytes(memory.files));
        record(&mut peaks, Name::Memory, run, mebibytes(memory.peak));
    }
    let what = format!(
        "peak memory, {STREAMS} direct PUTs of {} at once",
        binary_size(size)
    );
    let note = format!(
        "memory: VmHWM of a new server process in each run. All {STREAMS} uploads are active at \
         once: each holds back its last piece until all have come that far. Before the first of \
         them, after the login, the process had {idle}; after the last, {files} were pages of \
         its program file."
    );
    let bound = BASE_MIB + STREAM_MIB * f64::from(STREAMS);
    let line = Line::at_most(what, peaks, Statistic::Max, bound);
    Ok(Row {
        lines: vec![line],
        notes: vec![note],
    })
}

/// Bytes of one server process.
struct Memory {
    /// Resident before the uploads.
    idle: u64,
    /// Resident at the most.
    peak: u64,
    /// Pages of files among what is resident after the uploads.
    files: u64,
}

/// Sends all uploads to a new server.
async fn upload(bench: &Bench, size: u64) -> Result<Memory> {
    let place = &bench.places.memory;
    place.require_room(2 * u64::from(STREAMS) * size)?;
    let mut server = bench.start_cloudstore(place).await?;
    let target = server.target().await?;
    let idle = server.process().resident()?;
    let streams = usize::try_from(STREAMS).expect("invariant: a small number");
    let barrier = Arc::new(Barrier::new(streams));
    let requests = (0..STREAMS).map(|stream| {
        let parts = bench.source.content(size).parts(0..size);
        target.put(
            &format!("/memory-{stream}.bin"),
            Payload::gated(parts, Arc::clone(&barrier)),
        )
    });
    Fan::open(target.address, streams)
        .await?
        .send(requests.collect())
        .await?;
    let process = server.process();
    Ok(Memory {
        idle,
        peak: process.peak_resident()?,
        files: process.resident_files()?,
    })
}
