//! Names in an archive: relative, and safe to unpack on any system.
//!
//! The names of entries never are `.` or `..` and have neither slashes nor control characters. What is
//! left that could lead out of the folder that an archive is unpacked into is what Windows sees in a
//! backslash and in a drive letter. Both are escaped, as in URLs: `%5C`, `%3A`. So that no two names
//! become one, a percent sign before such a code is escaped as well.
//!
//! Everything else stays as it is, also what some systems have no such names for: on Windows `?`, `CON`
//! or a final dot, there and on macOS two names that differ in case only. Unpackers there choose other
//! names, ask, or keep the last of two; elsewhere nothing is lost.

/// What is escaped somewhere, as it looks then.
const CODES: [&str; 3] = ["5C", "3A", "25"];

/// The name of an entry for its path below the folder that the archive begins in.
pub(super) fn inside(path: &str, is_folder: bool) -> String {
    let mut name = String::with_capacity(path.len() + 1);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if !name.is_empty() {
            name.push('/');
        }
        escape(segment, &mut name);
    }
    if is_folder {
        name.push('/');
    }
    name
}

fn escape(segment: &str, out: &mut String) {
    for (at, c) in segment.char_indices() {
        let is_drive = at == 1 && segment.as_bytes()[0].is_ascii_alphabetic();
        match c {
            '\\' => out.push_str("%5C"),
            ':' if is_drive => out.push_str("%3A"),
            '%' if CODES.iter().any(|code| segment[at + 1..].starts_with(code)) => {
                out.push_str("%25");
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for (path, name) in [
            ("/a/b.txt", "a/b.txt"),
            ("a", "a"),
            ("/grüße/日本.txt", "grüße/日本.txt"),
            ("/..\\..\\x", "..%5C..%5Cx"),
            ("/C:/x", "C%3A/x"),
            ("/a/C:\\x", "a/C%3A%5Cx"),
            ("/10:30 o'clock?", "10:30 o'clock?"),
            ("/é:", "é:"),
            ("/100%", "100%"),
            ("/100%5Cx", "100%255Cx"),
            ("/100%255Cx", "100%25255Cx"),
        ] {
            assert_eq!(inside(path, false), name);
        }
        assert_eq!(inside("/a/b", true), "a/b/");
    }

    #[test]
    fn different_names_stay_different() {
        let names = ["a\\b", "a%5Cb", "a%255Cb", "a%25255Cb", "a%25%5Cb"];
        let inside: std::collections::BTreeSet<_> =
            names.iter().map(|name| inside(name, false)).collect();
        assert_eq!(inside.len(), names.len());
    }
}
