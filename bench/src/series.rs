//! Numbers of several runs.

use std::{fmt, time::Duration};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 1,000,000 bytes a second.
    MegabytesPerSecond,
    /// Files a second.
    FilesPerSecond,
    /// Operations a second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// 1,048,576 bytes.
    Mebibytes,
}

impl Unit {
    /// How it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::MegabytesPerSecond => "MB/s",
            Self::FilesPerSecond => "files/s",
            Self::PerSecond => "/s",
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
        }
    }
}

/// One number of each run of one thing.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Whose number it is.
    pub(crate) label: &'static str,
    /// What it counts.
    pub(crate) unit: Unit,
    samples: Vec<f64>,
}

impl Series {
    /// No runs yet.
    pub(crate) fn new(label: &'static str, unit: Unit) -> Self {
        Self {
            label,
            unit,
            samples: Vec::new(),
        }
    }

    /// Adds the number of one run.
    pub(crate) fn push(&mut self, sample: f64) {
        self.samples.push(sample);
    }

    /// Number of runs.
    pub(crate) fn runs(&self) -> usize {
        self.samples.len()
    }

    /// The smallest number, 0 without runs.
    pub(crate) fn min(&self) -> f64 {
        self.sorted().first().copied().unwrap_or_default()
    }

    /// The middle number (the mean of the two middle ones for an even count), 0 without runs.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => 0.0,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    /// The largest number, 0 without runs.
    pub(crate) fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or_default()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below 100 a digit after the point still says something.
        let digits = usize::from(self.max() < 100.0);
        let (min, median, max) = (self.min(), self.median(), self.max());
        write!(
            f,
            "{min:.digits$} / {median:.digits$} / {max:.digits$} {}",
            self.unit.symbol()
        )
    }
}

/// Megabytes a second.
pub(crate) fn megabytes_per_second(bytes: u64, time: Duration) -> f64 {
    per_second(bytes, time) / 1e6
}

/// How many of `count` fit into a second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    // Counts here are far below 2^53.
    count as f64 / time.as_secs_f64()
}

/// Milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: &[f64]) -> Series {
        Series {
            label: "x",
            unit: Unit::Milliseconds,
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(series(&[5.0, 1.0, 3.0]).to_string(), "1.0 / 3.0 / 5.0 ms");
        assert_eq!(series(&[400.0, 100.0]).to_string(), "100 / 250 / 400 ms");
        assert_eq!(series(&[]).to_string(), "0.0 / 0.0 / 0.0 ms");
    }

    #[test]
    fn rates_are_decimal_megabytes() {
        let rate = megabytes_per_second(3_000_000, Duration::from_millis(500));
        assert!((rate - 6.0).abs() < 1e-9);
    }
}
