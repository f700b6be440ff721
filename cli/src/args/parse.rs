//! Values of options that are more than a word: rates, times, ranges of bytes.

/// `30d` and the like, in seconds.
pub(super) fn lifetime(text: &str) -> Result<u64, String> {
    const WRONG: &str = "expected a number and a unit: s, m, h, d or w";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        "w" => 7 * 24 * 3_600,
        _ => return Err(WRONG.to_owned()),
    };
    let count = digits.bytes().all(|b| b.is_ascii_digit());
    let count: Option<u64> = digits.parse().ok().filter(|_| count);
    let seconds = count.and_then(|count| count.checked_mul(unit));
    seconds.filter(|it| *it > 0).ok_or_else(|| WRONG.to_owned())
}

/// `10M` and the like, in bytes a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        other => return Err(format!("unknown unit '{other}', use K, M or G")),
    };
    let number: f64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    let rate = number * unit;
    if !(1.0..=1e15).contains(&rate) {
        return Err("must be at least 1 byte a second".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "range checked"
    )]
    Ok(rate as u64)
}

/// Checks `FIRST-LAST`, `FIRST-` and `-COUNT`; the text goes to the server as it is.
pub(super) fn range(text: &str) -> Result<String, String> {
    let wrong = || "expected FIRST-LAST, FIRST- or -COUNT".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "" => Ok(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse::<u64>().map(Some).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    };
    match (number(first)?, number(last)?) {
        (None, None) => Err(wrong()),
        (Some(first), Some(last)) if last < first => Err("LAST is before FIRST".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate("500"), Ok(500));
        assert_eq!(rate("1.5K"), Ok(1536));
        assert_eq!(rate("10M"), Ok(10 << 20));
        for wrong in ["", "M", "0", "-1", "5x", "NaN", "1e400"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifetimes() {
        for (text, seconds) in [("90s", 90), ("1m", 60), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(lifetime(text), Ok(seconds), "{text}");
        }
        for wrong in [
            "",
            "d",
            "30",
            "0d",
            "-1d",
            "+1d",
            "1.5d",
            "1y",
            "30 d",
            "99999999999999w",
        ] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges() {
        for good in ["0-0", "5-", "-5", "10-20"] {
            assert_eq!(range(good).as_deref(), Ok(good));
        }
        for wrong in ["", "-", "5", "9-3", "a-b", "1-2-3", "+1-2", "0-1,3-4"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
