//! The table: what was measured, against what, and whether it is enough.

use std::fmt::Write as _;

use crate::{
    error::Error,
    machine::Fact,
    rows::{Name, Row},
    series::Series,
};

/// Titles of the columns.
const COLUMNS: [&str; 6] = [
    "measured",
    "cloudstore",
    "compared with",
    "result",
    "threshold",
    "verdict",
];

/// Which number of a series has to keep a bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statistic {
    /// The middle one.
    Median,
    /// The largest.
    Max,
}

/// What came out of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The threshold is kept.
    Held,
    /// It is not.
    NotHeld,
    /// There is none.
    Reported,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    measured: Series,
    against: Option<Series>,
    result: String,
    threshold: String,
    verdict: Verdict,
}

impl Line {
    /// The ratio of the medians of two series; it has to reach `at_least`, if that is given.
    pub(crate) fn ratio(
        what: String,
        measured: Series,
        against: Series,
        at_least: Option<f64>,
    ) -> Self {
        let ratio = measured.median() / against.median();
        Self {
            what,
            measured,
            against: Some(against),
            result: format!("{ratio:.2} x"),
            threshold: at_least.map_or_else(|| "none".to_owned(), |least| format!("≥ {least} x")),
            verdict: at_least.map_or(Verdict::Reported, |least| verdict(ratio >= least)),
        }
    }

    /// A number that has to stay within `bound`, which has the unit of the series.
    pub(crate) fn at_most(what: String, measured: Series, which: Statistic, bound: f64) -> Self {
        let (number, word) = match which {
            Statistic::Median => (measured.median(), "median"),
            Statistic::Max => (measured.max(), "max"),
        };
        let unit = measured.unit.symbol();
        Self {
            what,
            measured,
            against: None,
            result: format!("{number:.1} {unit} ({word})"),
            threshold: format!("≤ {bound} {unit}"),
            verdict: verdict(number <= bound),
        }
    }

    fn cells(&self) -> [String; 6] {
        let against = self.against.as_ref();
        [
            self.what.clone(),
            self.measured.to_string(),
            against.map_or_else(String::new, |series| format!("{}: {series}", series.label)),
            self.result.clone(),
            self.threshold.clone(),
            match self.verdict {
                Verdict::Held => "held".to_owned(),
                Verdict::NotHeld => "NOT held".to_owned(),
                Verdict::Reported => "reported".to_owned(),
            },
        ]
    }
}

fn verdict(held: bool) -> Verdict {
    // A ratio of nothing is not a number, and not a number keeps no bound.
    if held {
        Verdict::Held
    } else {
        Verdict::NotHeld
    }
}

/// The rows that were to be measured, and what became of them.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(Name, Result<Row, Error>)>,
}

impl Report {
    /// Adds a row.
    pub(crate) fn push(&mut self, name: Name, row: Result<Row, Error>) {
        self.rows.push((name, row));
    }

    /// Was everything measured?
    pub(crate) fn is_complete(&self) -> bool {
        self.rows.iter().all(|(_, row)| row.is_ok())
    }

    /// Was everything measured, and is every threshold kept?
    pub(crate) fn is_held(&self) -> bool {
        let held = |row: &Row| {
            row.lines
                .iter()
                .all(|line| line.verdict != Verdict::NotHeld)
        };
        self.rows
            .iter()
            .all(|(_, row)| row.as_ref().is_ok_and(held))
    }

    /// The table and the notes, in Markdown that is also readable on a terminal.
    pub(crate) fn table(&self) -> String {
        let mut table = vec![COLUMNS.map(str::to_owned)];
        let mut notes = String::new();
        for (name, row) in &self.rows {
            match row {
                Ok(row) => {
                    table.extend(row.lines.iter().map(Line::cells));
                    for note in &row.notes {
                        let _ = writeln!(notes, "- {note}");
                    }
                }
                Err(error) => {
                    let [what, verdict] = [name.as_str(), "NOT measured"].map(str::to_owned);
                    let empty = String::new;
                    table.push([what, empty(), empty(), empty(), empty(), verdict]);
                    let _ = writeln!(notes, "- {}: not measured: {error}", name.as_str());
                }
            }
        }
        format!("{}\n{notes}", markdown(&table))
    }

    /// The file that is kept with the code.
    pub(crate) fn document(&self, facts: &[Fact]) -> String {
        let facts = facts
            .iter()
            .fold(String::new(), |mut text, Fact { name, value }| {
                let _ = writeln!(text, "| {name} | {value} |");
                text
            });
        format!(
            "# Benchmark results\n\n\
             Written by `make bench`; do not edit. One load client, on the same machine and the \
             same for all servers. Runs alternate between the servers, and the first of each \
             does not count; where nothing is compared, every run has a new server process. \
             No server writes a line for each request. Numbers are minimum / median / \
             maximum, results compare medians, \
             MB are 1,000,000 bytes. Ratios count: absolute numbers are those of this machine.\n\n\
             {}\n## Machine\n\n| | |\n|---|---|\n{facts}",
            self.table()
        )
    }
}

/// A table whose columns are as wide as their widest cell.
fn markdown(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(text, "|{:-<1$}", "", width + 2);
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Unit;

    fn series(label: &'static str, samples: &[f64]) -> Series {
        let mut series = Series::new(label, Unit::MegabytesPerSecond);
        samples.iter().for_each(|sample| series.push(*sample));
        series
    }

    #[test]
    fn thresholds_are_kept_or_not() {
        let ratio = |least| {
            let (ours, theirs) = (series("a", &[130.0]), series("b", &[200.0]));
            Line::ratio(String::new(), ours, theirs, least).verdict
        };
        assert_eq!(ratio(Some(0.65)), Verdict::Held);
        assert_eq!(ratio(Some(0.66)), Verdict::NotHeld);
        assert_eq!(ratio(None), Verdict::Reported);
        let nothing = Line::ratio(String::new(), series("a", &[]), series("b", &[]), Some(0.1));
        assert_eq!(nothing.verdict, Verdict::NotHeld);
        let bound =
            |which| Line::at_most(String::new(), series("a", &[1.0, 2.0, 9.0]), which, 5.0).verdict;
        assert_eq!(
            (bound(Statistic::Median), bound(Statistic::Max)),
            (Verdict::Held, Verdict::NotHeld)
        );
    }

    #[test]
    fn rows_that_failed_are_not_held_and_say_why() {
        let mut report = Report::default();
        assert!(report.is_held());
        report.push(Name::Get, Err(Error::new("no server")));
        assert!(!report.is_held() && !report.is_complete());
        let table = report.table();
        assert!(table.contains("| NOT measured |"), "{table}");
        assert!(
            table.ends_with("- get: not measured: no server\n"),
            "{table}"
        );
    }

    #[test]
    fn the_document_has_the_table_and_the_facts() {
        let mut report = Report::default();
        let (ours, theirs) = (series("cloudstore", &[100.0]), series("nginx", &[200.0]));
        let lines = vec![Line::ratio("GET".to_owned(), ours, theirs, Some(0.7))];
        report.push(
            Name::Get,
            Ok(Row {
                lines,
                notes: vec!["a note".to_owned()],
            }),
        );
        let facts = [Fact {
            name: "cores",
            value: "2".to_owned(),
        }];
        let text = report.document(&facts);
        let line = "| GET      | 100 / 100 / 100 MB/s | nginx: 200 / 200 / 200 MB/s | 0.50 x | \
                    ≥ 0.7 x   | NOT held |";
        for part in [line, "\n- a note\n", "\n| cores | 2 |\n"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
