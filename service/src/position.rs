//! How far a client has seen the metadata: opaque text that dbproxy makes, that clients and services
//! only carry, so that everybody reads their own writes from whichever replica answers.

/// Header of HTTP requests and answers.
pub const HEADER: &str = "cloudstore-position";
/// Metadata of gRPC requests and answers.
pub const METADATA: &str = "x-cloudstore-position";
/// Longest position in bytes: a few domains of a MariaDB GTID, or a MySQL GTID set of two servers.
const MAX_BYTES: usize = 128;

/// May this be a position? What is not is left out wherever it comes from.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":,._-".contains(&byte);
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// Is `first` certainly not newer than `second`? Answers of concurrent calls come in any order. The
/// one thing that is known of positions is that their numbers grow; two that differ in more than
/// their numbers cannot be compared.
#[must_use]
pub fn is_covered(first: &str, second: &str) -> bool {
    let (mut first, mut second) = (pieces(first), pieces(second));
    loop {
        match (first.next(), second.next()) {
            (None, None) => return true,
            (Some(Piece::Number(a)), Some(Piece::Number(b))) if a <= b => {}
            (Some(Piece::Text(a)), Some(Piece::Text(b))) if a == b => {}
            _ => return false,
        }
    }
}

enum Piece<'a> {
    Text(&'a str),
    /// Digits without leading zeros, which compare by length first.
    Number((usize, &'a str)),
}

/// The runs of digits and of everything else.
fn pieces(mut rest: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let first = rest.bytes().next()?;
        let digits = first.is_ascii_digit();
        let end = rest
            .bytes()
            .position(|byte| byte.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(if digits {
            let number = piece.trim_start_matches('0');
            Piece::Number((number.len(), number))
        } else {
            Piece::Text(piece)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_only() {
        for good in ["0-1-100", "3E11FA47-71CA:1-23,4:5", "a_b.c"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a b", "a\n", "ä", "a;b", &"1".repeat(129)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn older_ones_are_known() {
        for (first, second, covered) in [
            ("0-1-99", "0-1-100", true),
            ("0-1-100", "0-1-100", true),
            ("0-1-100", "0-1-99", false),
            ("0-1-100", "0-2-101", true),
            ("0-2-100", "0-1-101", false),
            ("0-1-5,1-1-9", "0-1-6,1-1-8", false),
            ("ab:1-5", "ac:1-9", false),
            ("0-1-5", "0-1-6,1-1-1", false),
            ("0-1-18446744073709551616", "0-1-18446744073709551617", true),
            ("0-1-007", "0-1-7", true),
        ] {
            assert_eq!(is_covered(first, second), covered, "{first} {second}");
        }
    }
}
