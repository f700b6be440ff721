//! What a service says about itself, in Prometheus' text format.

/// The samples of one answer.
#[derive(Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text; comments and what is no sample are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// Is there anything of that name?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }

    /// The sum of all samples of that name that have all these labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                let mut own = sample.labels.iter();
                own.any(|(name, found)| name == label && found == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.0
            .iter()
            .filter(wanted)
            .map(|sample| sample.value)
            .sum()
    }
}

/// `name{label="value",...} 1.5`; no label value of ours has a quote or a comma in it.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let pairs = labels.split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (label, value) = pair.split_once('=')?;
        Some((label.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some(Sample {
        name: name.to_owned(),
        labels: labels.collect::<Option<_>>()?,
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# HELP reads how many\n\
                    # TYPE reads counter\n\
                    reads{pool=\"primary\"} 3\n\
                    reads{pool=\"replica\",of=\"file\"} 4\n\
                    reads{pool=\"replica\",of=\"folder\"} 5.5\n\
                    others 7\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("reads", &[]), 12.5);
        assert_eq!(metrics.sum("reads", &[("pool", "replica")]), 9.5);
        assert_eq!(
            metrics.sum("reads", &[("pool", "replica"), ("of", "file")]),
            4.0
        );
        assert_eq!(metrics.sum("others", &[]), 7.0);
        assert_eq!(metrics.sum("none", &[]), 0.0);
        assert!(metrics.has("others") && !metrics.has("none"));
    }
}
