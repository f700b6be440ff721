//! A large file from staging to object storage, against rclone.

use std::{fs::File, io::Write as _, path::Path};

use super::{Bench, Name, Row, binary_size, record};
use crate::{
    content::Content,
    error::{Context as _, Result},
    report::Line,
    series::{Series, Unit, megabytes_per_second},
    servers::{cloudstore::check_put, garage::Garage},
};

/// What cloudstore must reach: 1.1 times rclone's time.
const AT_LEAST: f64 = 0.91;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let (size, place) = (bench.sizes.large, &bench.places.memory);
    let mut ours = Series::new("cloudstore", Unit::MegabytesPerSecond);
    let mut theirs = Series::new("rclone", Unit::MegabytesPerSecond);
    let dir = place.subdirectory("rclone-")?;
    let file = dir.path().join("file");
    for run in 0..=bench.sizes.runs {
        place.require_room(5 * size)?;
        // Garage keeps what is deleted or replaced for a while, so each run has a new one. Of two
        // files its first one is the slower: each takes turns at being that.
        let garage = Garage::start(&bench.places, place).await?;
        let ours_first = run % 2 == 0;
        if ours_first {
            let rate = cloudstore(bench, &garage, size).await?;
            record(&mut ours, Name::ToStorage, run, rate);
        }
        write(&file, &bench.source.content(size))?;
        let time = garage.timed_rclone(&file)?;
        let rate = megabytes_per_second(size, time);
        record(&mut theirs, Name::ToStorage, run, rate);
        std::fs::remove_file(&file).context(file.display())?;
        if !ours_first {
            let rate = cloudstore(bench, &garage, size).await?;
            record(&mut ours, Name::ToStorage, run, rate);
        }
    }
    let what = format!("staging to Garage, {}", binary_size(size));
    let note = "staging to Garage: from the answer to a PUT until the file is known to be in \
                durable storage, with the commit. cloudstore verifies the staged copy on its way \
                and computes SHA-1 and SHA-256; rclone (copyto) computes MD5. Both send parts of \
                16 MiB, four at a time.";
    Ok(Row {
        lines: vec![Line::ratio(what, ours, theirs, Some(AT_LEAST))],
        notes: vec![note.to_owned()],
    })
}

/// Megabytes a second from the staging directory of a new server.
async fn cloudstore(bench: &Bench, garage: &Garage, size: u64) -> Result<f64> {
    let place = &bench.places.memory;
    let mut cloudstore = bench
        .start_cloudstore_with(place, &garage.settings())
        .await?;
    let content = bench.source.content(size);
    let target = cloudstore.target().await?;
    let (_, answer) = target.timed_put("/file", &content).await?;
    let time = cloudstore.stored("/file").await?;
    check_put(&answer, &content)?;
    Ok(megabytes_per_second(size, time))
}

fn write(path: &Path, content: &Content) -> Result<()> {
    let mut file = File::create(path).context(path.display())?;
    for part in content.parts(0..content.size()) {
        file.write_all(&part).context(path.display())?;
    }
    Ok(())
}
