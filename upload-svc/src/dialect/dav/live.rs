//! Live properties (RFC 4918 section 15, RFC 4331): what the server knows by itself.

use std::time::{Duration, UNIX_EPOCH};

use cloudstore_proto::{
    account::Account,
    convert::{rfc3339, unsigned},
    dav::Lock,
    file::Entry,
    lock::covers,
    path,
};

use super::{
    condition::token_uri,
    href::href,
    store::{etag, is_folder},
    xml::{Name, escape},
};

/// Those that are told when everything is asked for.
pub(super) const TOLD: [&str; 9] = [
    "resourcetype",
    "displayname",
    "creationdate",
    "getlastmodified",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "supportedlock",
    "lockdiscovery",
];
/// Those that are told when they are asked for by name (RFC 4331 section 2).
const ASKED: [&str; 2] = ["quota-available-bytes", "quota-used-bytes"];
/// Both kinds of write locks.
const LOCKS: &str = "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockentry>\
    <D:lockentry><D:lockscope><D:shared/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockentry>";

/// Does the server alone decide this property?
pub(super) fn is_live(name: &Name) -> bool {
    let mut names = TOLD.iter().chain(&ASKED);
    names.any(|live| name.is_dav(live))
}

/// Is it about the quota?
pub(super) fn is_quota(name: &Name) -> bool {
    ASKED.iter().any(|quota| name.is_dav(quota))
}

/// What the properties of all entries of an answer are made of.
#[derive(Clone, Default)]
pub(super) struct Facts {
    pub(super) locks: Vec<Lock>,
    /// When the quota is asked for.
    pub(super) account: Option<Account>,
}

/// The element of a live property of WebDAV; `None` when the entry does not have it.
pub(super) fn element(name: &str, entry: &Entry, facts: &Facts) -> Option<String> {
    let value = value(name, entry, facts)?;
    Some(format!("<D:{name}>{value}</D:{name}>"))
}

fn value(name: &str, entry: &Entry, facts: &Facts) -> Option<String> {
    let folder = is_folder(entry);
    Some(match name {
        "resourcetype" if folder => "<D:collection/>".to_owned(),
        "resourcetype" => String::new(),
        "displayname" => escape(path::name(&entry.path)).into_owned(),
        "creationdate" => rfc3339(entry.created_at_ms),
        "getlastmodified" => http_date(entry.modified_at_ms),
        "getcontentlength" => entry.blob.as_ref()?.size.to_string(),
        "getcontenttype" if folder => return None,
        "getcontenttype" => escape(&entry.media_type).into_owned(),
        "getetag" => escape(&etag(entry)?).into_owned(),
        "supportedlock" => LOCKS.to_owned(),
        "lockdiscovery" => {
            let locks = facts.locks.iter();
            let covering = locks.filter(|lock| covers(lock, &entry.path));
            covering.map(active_lock).collect()
        }
        "quota-available-bytes" if folder => {
            let account = facts.account.as_ref()?;
            let taken = account.used_bytes + account.reserved_bytes;
            unsigned(account.quota_bytes - taken).to_string()
        }
        "quota-used-bytes" if folder => unsigned(facts.account.as_ref()?.used_bytes).to_string(),
        _ => return None,
    })
}

/// RFC 9110 section 5.6.7; times before 1970 become 1970.
fn http_date(unix_ms: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(unsigned(unix_ms));
    httpdate::fmt_http_date(time)
}

/// RFC 4918 section 14.1.
pub(super) fn active_lock(lock: &Lock) -> String {
    let scope = if lock.shared { "shared" } else { "exclusive" };
    let depth = if lock.infinite { "infinity" } else { "0" };
    // A client that is told too much would lose its lock unawares.
    let seconds = unsigned(lock.remaining_ms) / 1_000;
    format!(
        "<D:activelock><D:lockscope><D:{scope}/></D:lockscope>\
        <D:locktype><D:write/></D:locktype><D:depth>{depth}</D:depth>{owner}\
        <D:timeout>Second-{seconds}</D:timeout>\
        <D:locktoken><D:href>{token}</D:href></D:locktoken>\
        <D:lockroot><D:href>{root}</D:href></D:lockroot></D:activelock>",
        owner = lock.owner_xml,
        token = token_uri(&lock.token),
        root = escape(&href(&lock.path, false)),
    )
}
