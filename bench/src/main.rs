//! Measures cloudstore side by side with nginx, rclone and servers of tus and says whether it is fast and small enough.
//!
//! `make bench` runs it with optimised builds of both. The table goes to standard output, what
//! happens meanwhile to standard error; a complete run also rewrites `bench/RESULTS.md`.
//!
//! Exit status: 0 when everything was measured and every threshold is held, 1 when not, 2 when
//! nothing could be measured at all.

mod client;
mod content;
mod disk;
mod error;
mod machine;
mod place;
mod process;
mod report;
mod rows;
mod series;
mod servers;
mod tus;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum as _};
use mimalloc::MiMalloc;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    content::Source,
    error::{Context as _, Error, Result},
    place::Places,
    report::Report,
    rows::{Bench, Name, Sizes},
    servers::nginx,
};

/// The client shares the processors with the servers: what it saves, they can use.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Fewer runs than these say little: results are kept only of as many.
const MIN_RUNS: usize = 5;

/// Runs of each row when it is only to be seen whether everything works.
const QUICK_RUNS: usize = 2;

/// Random bytes that large contents are made of: more than any cache holds.
const BULK_BYTES: usize = 512 << 20;

/// Measure cloudstore against nginx, rclone, rustus and @tus/server
#[derive(Debug, Parser)]
#[command(name = "cloudstore-bench")]
struct Args {
    /// Measure only this row (may be given several times); the results are not kept
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Name>,

    /// Runs of each row [default: 5, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    runs: Option<u16>,

    /// Small files and few runs, to see whether everything works; the results are not kept
    #[arg(long)]
    quick: bool,

    /// The cloudstore program [default: `cloudstore` beside this program]
    #[arg(long, value_name = "FILE")]
    cloudstore: Option<PathBuf>,

    /// A directory on a tmpfs
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    tmpfs: PathBuf,

    /// A directory on a real disk [default: `bench-data` in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

impl Args {
    fn rows(&self) -> &[Name] {
        if self.only.is_empty() {
            Name::value_variants()
        } else {
            &self.only
        }
    }

    fn sizes(&self) -> Sizes {
        let runs = self.runs.map(usize::from);
        if self.quick {
            return Sizes {
                runs: runs.unwrap_or(QUICK_RUNS),
                large: 128 << 20,
                files: 400,
                out_of_order: 1 << 30,
                stream: 16 << 20,
                tus: 128 << 20,
                tus_small: 16 << 20,
            };
        }
        Sizes {
            runs: runs.unwrap_or(MIN_RUNS),
            large: 1 << 30,
            files: 2_000,
            out_of_order: 10 << 30,
            stream: 64 << 20,
            tus: 1 << 30,
            tus_small: 256 << 20,
        }
    }

    fn bench(&self) -> Result<Bench> {
        let program = env::current_exe().context("finding this program")?;
        let beside = program.parent().unwrap_or(Path::new("."));
        let cloudstore = self
            .cloudstore
            .clone()
            .unwrap_or_else(|| beside.join("cloudstore"));
        if !cloudstore.is_file() {
            return Err(Error::new(format!(
                "{} is missing: `make bench` builds it, by hand it is `cargo build --release -p \
                 cloudstore`",
                cloudstore.display()
            )));
        }
        let disk = self
            .disk
            .clone()
            .unwrap_or_else(|| beside.parent().unwrap_or(beside).join("bench-data"));
        Ok(Bench {
            nginx: nginx::find()?,
            places: Places::create(&self.tmpfs, &disk)?,
            source: Source::new(BULK_BYTES)?,
            sizes: self.sizes(),
            cloudstore,
        })
    }

    /// Are these the numbers that belong into the results?
    fn is_full(&self) -> bool {
        let runs = self.sizes().runs;
        self.only.is_empty() && !self.quick && runs >= MIN_RUNS && !cfg!(debug_assertions)
    }
}

/// One thread: the client takes no more than one of the machine's processors from the servers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let interrupted = async {
        let (interrupt, terminate) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        let (mut interrupt, mut terminate) = (interrupt?, terminate?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::io::Result::Ok(())
    };
    // When one ends the other is dropped, which ends the servers and removes their data.
    let result = tokio::select! {
        result = Box::pin(run(&args)) => result,
        result = interrupted => Err(result.map_or_else(
            |error| Error::new(format!("waiting for signals: {error}")),
            |()| Error::new("interrupted"),
        )),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cloudstore-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Measures and reports; true when everything is as it should be.
async fn run(args: &Args) -> Result<bool> {
    let bench = args.bench()?;
    let mut report = Report::default();
    for name in args.rows() {
        let row = name.measure(&bench).await;
        if let Err(error) = &row {
            eprintln!("{}: {error}", name.as_str());
        }
        report.push(*name, row);
    }
    println!("{}", report.table());
    if args.is_full() && report.is_complete() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        fs::write(&path, report.document(&machine::facts(&bench))).context(path.display())?;
        println!("written to {}", path.display());
    } else {
        println!("not written to bench/RESULTS.md: this was not a complete, full run");
    }
    if !report.is_held() {
        println!("not every threshold is held");
    }
    Ok(report.is_held())
}
