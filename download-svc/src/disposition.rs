//! `Content-Disposition` (RFC 6266) and the few media types that browsers may show in place.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but the `attr-char` of RFC 8187.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Media type of content of which nothing better is known.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// How a browser is to treat the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Save it.
    #[default]
    Attachment,
    /// Show it, if its type is harmless ([`may_inline`]); save it otherwise.
    Inline,
}

/// Types that cannot run script in our origin: raster images, plain text, sound and film. HTML,
/// SVG, XML and PDF are not among them.
#[must_use]
pub fn may_inline(media_type: &str) -> bool {
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", subtype)) => !subtype.contains("svg") && !subtype.contains("xml"),
        Some(("audio" | "video", _)) => true,
        _ => essence == "text/plain",
    }
}

/// The field's value: an ASCII name for old clients, and the real one in `filename*` when that
/// differs. The result is printable ASCII whatever the name contains.
#[must_use]
pub fn header(wanted: Disposition, media_type: &str, name: &str) -> String {
    let inline = wanted == Disposition::Inline && may_inline(media_type);
    let kind = if inline { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let mut value = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        let encoded = percent_encode(name.as_bytes(), NOT_ATTR_CHAR);
        write!(value, "; filename*=UTF-8''{encoded}").expect("writing to a String never fails");
    }
    value
}

/// Safe inside a quoted string for every client: some decode `%` or treat `\` their own way
/// (RFC 6266 appendix D).
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%')
}
