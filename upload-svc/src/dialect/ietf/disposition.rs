//! The name of a file in `Content-Disposition` (RFC 6266), which is how clients of `/files/` tell
//! it.

use ::http::{HeaderMap, header};

/// The name: `filename*` before `filename`, without any folders (RFC 6266 section 4.3).
pub(super) fn name(headers: &HeaderMap) -> Option<String> {
    let field = headers.get(header::CONTENT_DISPOSITION)?;
    let field = std::str::from_utf8(field.as_bytes()).ok()?;
    let parameters = parameters(field);
    let get = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let name = get("filename*")
        .and_then(|value| extended(&value))
        .or_else(|| get("filename"))?;
    let name = name.rsplit(['/', '\\']).next()?.to_owned();
    (!name.is_empty()).then_some(name)
}

/// Names in lower case and values without their quotes; what comes after a fault is left out.
fn parameters(field: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some((_, mut rest)) = field.split_once(';') else {
        return found;
    };
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => match unquote(quoted) {
                Some(value) => value,
                None => break,
            },
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        match after.split_once(';') {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    found
}

/// Up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// `UTF-8''percent-encoded` (RFC 8187 section 3.2).
fn extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (field, expected) in [
            ("inline; filename=\"a b.txt\"", Some("a b.txt")),
            ("attachment; filename=plain.txt", Some("plain.txt")),
            (
                "inline; filename=\"x\"; filename*=UTF-8''na%C3%AFve%20file",
                Some("naïve file"),
            ),
            ("inline; filename*=utf-8'en'a; filename=b", Some("a")),
            ("inline; filename*=latin-1''%E4; filename=b", Some("b")),
            ("inline; filename*=UTF-8''%E4; filename=b", Some("b")),
            (r#"inline; filename="a\"b;c""#, Some("a\"b;c")),
            ("inline; FileName=\"../../etc/passwd\"", Some("passwd")),
            (r#"inline; filename="C:\\dir\\x""#, Some("x")),
            ("inline; filename=\"open", None),
            ("inline; filename=\"\"", None),
            ("inline", None),
            ("", None),
        ] {
            let value = ::http::HeaderValue::from_bytes(field.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(header::CONTENT_DISPOSITION, value)]);
            assert_eq!(name(&headers).as_deref(), expected, "{field}");
        }
    }
}
