//! Replication positions, where MariaDB and MySQL differ.
//!
//! MariaDB counts transactions per domain: `0-1-100` is number 100 of domain 0, written by server
//! 1, and contains every lower number. MySQL has sets of intervals per server:
//! `3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7`.

use std::collections::BTreeMap;

use cloudstore_service::position::is_valid;

/// Which of the two a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    MariaDb,
    MySql,
}

impl Flavour {
    /// Tells them apart by `@@version`.
    pub(super) fn of(version: &str) -> Self {
        if version.contains("MariaDB") {
            Self::MariaDb
        } else {
            Self::MySql
        }
    }

    /// A statement that answers with the position that contains everything committed here.
    /// On MySQL it is preceded by the server's own id, whose part [`Flavour::token`] picks.
    pub(super) const fn position(self) -> &'static str {
        match self {
            Self::MariaDb => "SELECT @@gtid_current_pos",
            Self::MySql => "SELECT CONCAT(@@server_uuid, '/', @@global.gtid_executed)",
        }
    }

    /// Commits, and tells the position after it.
    pub(super) const fn commit(self) -> &'static str {
        match self {
            Self::MariaDb => "COMMIT; SELECT @@gtid_current_pos",
            Self::MySql => "COMMIT; SELECT CONCAT(@@server_uuid, '/', @@global.gtid_executed)",
        }
    }

    /// Waits for a position (first argument) for so many seconds (second); answers 0 when it was
    /// reached.
    pub(super) const fn wait(self) -> &'static str {
        match self {
            Self::MariaDb => "SELECT MASTER_GTID_WAIT(?, ?)",
            Self::MySql => "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)",
        }
    }

    /// The state of the replication threads.
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::MariaDb => "SHOW SLAVE STATUS",
            Self::MySql => "SHOW REPLICA STATUS",
        }
    }

    /// Names of the columns of [`Flavour::status`] that say whether the threads run.
    pub(super) const fn threads(self) -> [&'static str; 2] {
        match self {
            Self::MariaDb => ["Slave_IO_Running", "Slave_SQL_Running"],
            Self::MySql => ["Replica_IO_Running", "Replica_SQL_Running"],
        }
    }

    /// What a client gets to carry, out of the answer of a primary. On MySQL the transactions of
    /// this primary only: the set of all servers that ever were may be long, and what this one
    /// wrote comes after what it had from others. `None` when it is too long to be carried.
    pub(super) fn token(self, answer: &str) -> Option<String> {
        let compact: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
        let token = match self {
            Self::MariaDb => compact,
            Self::MySql => {
                let (own, executed) = compact.split_once('/')?;
                let mut parts = executed.split(',');
                let of_own = parts.find(|part| part.split(':').next() == Some(own));
                // It has only what it had from others before it became the primary.
                of_own.unwrap_or(executed).to_owned()
            }
        };
        is_valid(&token).then_some(token)
    }
}

/// A position, as far as it can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position(BTreeMap<String, Vec<(u64, u64)>>);

impl Position {
    /// Reads a position of either kind, or what [`Flavour::position`] answers; `None` for anything
    /// else, and for an empty one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once('/').map_or(text, |(_, executed)| executed);
        let mut sources = BTreeMap::new();
        for part in text.split(',').map(str::trim) {
            let (source, intervals) = if part.contains(':') {
                executed(part)?
            } else {
                let [domain, _server, number] =
                    part.split('-').collect::<Vec<_>>().try_into().ok()?;
                let domain: u32 = domain.parse().ok()?;
                (domain.to_string(), vec![(1, number.parse().ok()?)])
            };
            sources.insert(source, intervals);
        }
        Some(Self(sources))
    }

    /// Does this state contain everything of the other one?
    pub(super) fn covers(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(source, intervals)| {
            let Some(own) = self.0.get(source) else {
                return false;
            };
            intervals
                .iter()
                .all(|(first, last)| own.iter().any(|(from, to)| from <= first && last <= to))
        })
    }
}

/// `uuid:1-5:7`, with tags between as MySQL 8.3 has them: a tag is part of the source.
fn executed(part: &str) -> Option<(String, Vec<(u64, u64)>)> {
    let mut pieces = part.split(':');
    let mut source = pieces.next()?.to_ascii_lowercase();
    let mut intervals = Vec::new();
    for piece in pieces {
        if !piece.starts_with(|c: char| c.is_ascii_digit()) {
            if !intervals.is_empty() {
                // Several tags in one part: not comparable here, the database is asked instead.
                return None;
            }
            source = format!("{source}:{piece}");
            continue;
        }
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        intervals.push((first.parse().ok()?, last.parse().ok()?));
    }
    (!intervals.is_empty()).then_some((source, intervals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(have: &str, wanted: &str) -> bool {
        Position::parse(have)
            .unwrap()
            .covers(&Position::parse(wanted).unwrap())
    }

    #[test]
    fn mariadb_positions() {
        assert!(covers("0-1-100", "0-1-100"));
        assert!(covers("0-2-101,1-1-5", "0-1-100"), "another server went on");
        assert!(!covers("0-1-99", "0-1-100"));
        assert!(!covers("0-1-100", "0-1-1,1-1-1"), "another domain");
        for text in ["", "0-1", "0-1-x", "x-1-1", "0-1-1-1", "0-1-1,"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        let token = Flavour::MariaDb.token("0-1-100,1-2-5");
        assert_eq!(token.as_deref(), Some("0-1-100,1-2-5"));
        assert_eq!(Flavour::MariaDb.token(""), None);
    }

    #[test]
    fn mysql_positions() {
        const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert!(covers(&format!("{A}:1-10"), &format!("{A}:1-10")));
        assert!(covers(&format!("{A}:1-10,\n{B}:1"), &format!("{A}:7")));
        assert!(!covers(&format!("{A}:1-5:7-10"), &format!("{A}:1-10")));
        assert!(!covers(&format!("{A}:1-5"), &format!("{B}:1")));
        assert!(!covers(&format!("{A}:1-5"), &format!("{A}:tag:1")));
        assert!(covers(
            &format!("{}:1-5", A.to_uppercase()),
            &format!("{A}:2")
        ));
        let answer = format!("{B}/{A}:1-10,\n{B}:1-3:5");
        let token = Flavour::MySql.token(&answer).unwrap();
        assert_eq!(token, format!("{B}:1-3:5"));
        assert!(covers(&answer, &token));
        let inherited = Flavour::MySql.token(&format!("{B}/{A}:1-10"));
        assert_eq!(inherited, Some(format!("{A}:1-10")));
    }
}
