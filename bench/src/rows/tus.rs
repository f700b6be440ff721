//! Uploads with tus 1.0, against rustus and against @tus/server, which only store the bytes.

use super::{Bench, Name, Row, binary_size, record};
use crate::{
    error::Result,
    report::Line,
    series::{Series, Unit, megabytes_per_second},
    servers::{
        Target,
        cloudstore::{self, Cloudstore},
    },
    tus::{self, Stream},
};

/// Servers that take turns.
const SERVERS: usize = 3;

/// Content that nobody refers to is removed at once, as the others do it: else the memory that is
/// left for the next run would be less after each of cloudstore's.
const SETTINGS: &[(&str, &str)] = &[("CLOUDSTORE_TRANSFER_GARBAGE_GRACE", "0")];

/// Bytes that may be left on the file system of what was deleted: the database grows a little.
const LEFT_BYTES: u64 = 8 << 20;

/// One of the rows.
struct Shape {
    /// Uploads at the same time.
    streams: usize,
    /// Bytes of each.
    size: u64,
    /// Bytes of a PATCH.
    request: u64,
    /// What cloudstore must reach, hashing what rustus only stores.
    at_least: f64,
}

impl Shape {
    fn of(name: Name, bench: &Bench) -> Self {
        let alone = Self {
            streams: 1,
            size: bench.sizes.tus,
            request: 8 << 20,
            at_least: 1.2,
        };
        match name {
            Name::TusLarge => Self {
                request: 64 << 20,
                ..alone
            },
            Name::TusStreams => Self {
                streams: 4,
                size: bench.sizes.tus / 2,
                at_least: 1.0,
                ..alone
            },
            Name::TusSmall => Self {
                size: bench.sizes.tus_small,
                request: 256 << 10,
                ..alone
            },
            _ => alone,
        }
    }

    /// Bytes of all streams.
    fn total(&self) -> u64 {
        self.streams as u64 * self.size
    }

    /// New files with names of their own.
    fn streams(&self, bench: &Bench, run: usize) -> Vec<Stream> {
        let stream = |number| Stream {
            name: format!("tus-{run}-{number}.bin"),
            content: bench.source.content(self.size),
        };
        (0..self.streams).map(stream).collect()
    }

    fn what(&self) -> String {
        let (size, request) = (binary_size(self.size), binary_size(self.request));
        match self.streams {
            1 => format!("tus, {size} in requests of {request}"),
            count => format!("tus, {count} x {size} in requests of {request}"),
        }
    }
}

pub(super) async fn measure(bench: &Bench, name: Name) -> Result<Row> {
    let (shape, place) = (Shape::of(name, bench), &bench.places.memory);
    let [mut ours, mut rust, mut node] = ["cloudstore", "rustus", "@tus/server"]
        .map(|label| Series::new(label, Unit::MegabytesPerSecond));
    place.require_room(2 * shape.total())?;
    let rustus = bench.start_rustus(place).await?;
    let tus_node = bench.start_tus_node(place).await?;
    let mut cloudstore = bench.start_cloudstore_with(place, SETTINGS).await?;
    for run in 0..=bench.sizes.runs {
        // Each takes turns at being the first.
        for turn in 0..SERVERS {
            match (run + turn) % SERVERS {
                0 => {
                    let rate = peer(bench, &shape, rustus.target(), run).await?;
                    record(&mut rust, name, run, rate);
                }
                1 => {
                    let rate = peer(bench, &shape, tus_node.target(), run).await?;
                    record(&mut node, name, run, rate);
                }
                _ => {
                    let rate = own(bench, &shape, &mut cloudstore, run).await?;
                    record(&mut ours, name, run, rate);
                }
            }
        }
    }
    let what = shape.what();
    let lines = vec![
        Line::ratio(what.clone(), ours.clone(), rust, Some(shape.at_least)),
        Line::ratio(what, ours, node, None),
    ];
    Ok(Row {
        lines,
        notes: note(name).into_iter().collect(),
    })
}

/// Once, for all of these rows.
fn note(name: Name) -> Option<String> {
    (name == Name::Tus).then(|| {
        "tus: a run is the POST that creates an upload and all its PATCHes, on one kept connection \
         for each upload. With the last PATCH cloudstore flushes and commits the file, which is \
         then looked up with its length and BLAKE3; rustus and @tus/server neither hash nor flush, \
         and are asked for the offset. What was uploaded is deleted before the next run."
            .to_owned()
    })
}

/// Megabytes a second of one run with another server.
async fn peer(bench: &Bench, shape: &Shape, target: &Target, run: usize) -> Result<f64> {
    let streams = shape.streams(bench, run);
    let uploaded = tus::upload(target, &streams, shape.request).await?;
    for location in &uploaded.locations {
        tus::check(target, location, shape.size).await?;
        tus::terminate(target, location).await?;
    }
    Ok(megabytes_per_second(shape.total(), uploaded.time))
}

/// Megabytes a second of one run with cloudstore, which has nothing left to do afterwards.
async fn own(bench: &Bench, shape: &Shape, server: &mut Cloudstore<'_>, run: usize) -> Result<f64> {
    let streams = shape.streams(bench, run);
    let used = bench.places.memory.used()?;
    let target = server.target().await?;
    let uploaded = tus::upload(&target, &streams, shape.request).await?;
    for stream in &streams {
        let path = format!("/{}", stream.name);
        server.stored(&path).await?;
        cloudstore::check(&server.file(&path).await?, &stream.content)?;
        target.delete(&path).await?;
    }
    server.swept(used + LEFT_BYTES).await?;
    Ok(megabytes_per_second(shape.total(), uploaded.time))
}
