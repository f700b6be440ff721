//! Many small files over many connections, acknowledged only when they survive a power cut.
//!
//! The data is on a real disk, because a tmpfs has nothing to flush, and the disk's own speed is
//! measured in every run. nginx writes to the same file system and does not flush.

use std::time::{Duration, Instant};

use super::{Bench, Name, Row, record};
use crate::{
    client::{Fan, Payload},
    content::HEAD_BYTES,
    disk,
    error::Result,
    report::Line,
    series::{Series, Unit, milliseconds, per_second},
    servers::Target,
};

/// Bytes of a file.
const FILE_BYTES: u64 = HEAD_BYTES as u64;

/// Files in flight.
const CONNECTIONS: usize = 32;

/// Multiple of the serial fdatasync rate that cloudstore must reach.
const AT_LEAST: f64 = 8.0;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let (count, place) = (bench.sizes.files, &bench.places.disk);
    let mut ours = Series::new("cloudstore", Unit::FilesPerSecond);
    let mut theirs = Series::new("nginx", Unit::FilesPerSecond);
    let mut overwrites = Series::new("overwrite + fdatasync", Unit::PerSecond);
    let mut creations = Series::new("create + fdatasync + fsync dir", Unit::PerSecond);
    let mut stored = Series::new("cloudstore", Unit::Milliseconds);
    let probe = place.subdirectory("fdatasync-")?;
    let nginx = bench.start_nginx(place).await?;
    let nginx = nginx.target();
    let mut cloudstore = bench.start_cloudstore(place).await?;
    for run in 0..=bench.sizes.runs {
        let folder = format!("/small-{run}");

        place.flush()?;
        let rate = disk::overwrite_rate(probe.path())?;
        record(&mut overwrites, Name::SmallFiles, run, rate);
        let rate = disk::create_rate(&probe.path().join(run.to_string()))?;
        record(&mut creations, Name::SmallFiles, run, rate);

        place.flush()?;
        let time = upload(bench, nginx, &folder, count).await?;
        record(
            &mut theirs,
            Name::SmallFiles,
            run,
            per_second(count as u64, time),
        );

        place.flush()?;
        let target = cloudstore.target().await?;
        let time = upload(bench, &target, &folder, count).await?;
        record(
            &mut ours,
            Name::SmallFiles,
            run,
            per_second(count as u64, time),
        );
        stored.push(milliseconds(cloudstore.settle(&folder).await?));
    }
    let what = format!("{count} files of 4 KiB, {CONNECTIONS} connections, durable");
    let note = format!(
        "small files: nginx does not flush. The disk's rates are those of one thread: (a) \
         overwrites 4 KiB of one preallocated file, (b) creates files. From the last answer of a \
         run until all its files were verified in durable storage: {stored}."
    );
    let lines = vec![
        Line::ratio(
            format!("{what}, against (a)"),
            ours.clone(),
            overwrites,
            Some(AT_LEAST),
        ),
        Line::ratio(
            format!("{what}, against (b)"),
            ours.clone(),
            creations,
            None,
        ),
        Line::ratio(what, ours, theirs, None),
    ];
    Ok(Row {
        lines,
        notes: vec![note],
    })
}

/// Time of `count` uploads into `folder`, which does not exist, on connections that are open.
async fn upload(bench: &Bench, target: &Target, folder: &str, count: usize) -> Result<Duration> {
    let requests = (0..count).map(|file| {
        let content = bench.source.content(FILE_BYTES);
        target.put(
            &format!("{folder}/{file}.bin"),
            Payload::new(content.parts(0..FILE_BYTES)),
        )
    });
    let requests = requests.collect();
    let fan = Fan::open(target.address, CONNECTIONS).await?;
    let start = Instant::now();
    fan.send(requests).await?;
    Ok(start.elapsed())
}
