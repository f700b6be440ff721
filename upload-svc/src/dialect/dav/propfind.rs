//! PROPFIND (RFC 4918 section 9.1): properties of an entry, or of a folder and what is in it.
//!
//! A large folder is answered page by page while it is read. When a page cannot be read, the answer
//! breaks off: a list that looks complete and is not would make a client delete what it does not find.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    io,
};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use cloudstore_proto::{
    dav::Property,
    file::{Entry, ListResponse},
};
use cloudstore_service::{Kind, context};
use futures::{Stream, StreamExt as _, stream};

use super::{
    super::malformed,
    Call, Depth,
    href::href,
    live::{self, Facts},
    refusal::{Refusal, Result},
    store::{Store, is_folder},
    xml::{Element, Name, escape},
};

const START: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">";
const END: &str = "</D:multistatus>\n";

/// What is asked for.
enum Wanted {
    /// All that there is, and these.
    All(Vec<Name>),
    /// Only what there is, without values.
    Names,
    /// These.
    Some(Vec<Name>),
}

/// Answers with a status for each property of each entry.
pub(super) async fn propfind(call: Call, body: Body) -> Result<Response> {
    let document = call.read(body).await?;
    let wanted = Wanted::parse(&document)?;
    let depth = call.depth(Depth::Infinity, &[Depth::Zero, Depth::One, Depth::Infinity])?;
    if depth == Depth::Infinity {
        // It would read everything that the account has.
        return Err(Refusal::Condition(
            Kind::Forbidden,
            "propfind-finite-depth",
            None,
        ));
    }
    call.states.require(&call.store, &call.path).await?;
    let entry = call.there().await?;
    let with_members = depth == Depth::One && is_folder(&entry);
    let facts = wanted.facts(&call.store).await?;
    let mut report = Report {
        store: call.store.clone(),
        path: call.path.clone(),
        wanted,
        facts,
    };
    let (start, cursor) = report.start(entry, with_members).await?;
    let body = match cursor {
        None => Body::from(start + END),
        Some(cursor) => Body::from_stream(report.stream(start, cursor)),
    };
    Ok((
        StatusCode::MULTI_STATUS,
        [(header::CONTENT_TYPE, super::XML)],
        body,
    )
        .into_response())
}

impl Wanted {
    /// No document asks for everything.
    fn parse(document: &[u8]) -> Result<Self> {
        if document.is_empty() {
            return Ok(Self::All(Vec::new()));
        }
        let root = Element::parse(document)?;
        if !root.name.is_dav("propfind") {
            return Err(malformed("the document is no propfind").into());
        }
        let names = |of: Option<&Element>| -> Vec<Name> {
            let elements = of.into_iter().flat_map(Element::elements);
            let names: BTreeSet<Name> = elements.map(|element| element.name.clone()).collect();
            names.into_iter().collect()
        };
        if root.child("allprop").is_some() {
            return Ok(Self::All(names(root.child("include"))));
        }
        if root.child("propname").is_some() {
            return Ok(Self::Names);
        }
        match root.child("prop") {
            Some(prop) => Ok(Self::Some(names(Some(prop)))),
            None => Err(malformed("propfind says not what to find").into()),
        }
    }

    /// What has to be known for the live properties among them.
    async fn facts(&self, store: &Store) -> Result<Facts> {
        let (named, locks) = match self {
            Self::All(named) => (&named[..], true),
            Self::Names => (&[][..], false),
            Self::Some(named) => (
                &named[..],
                named.iter().any(|name| name.is_dav("lockdiscovery")),
            ),
        };
        let mut facts = Facts::default();
        if locks {
            facts.locks = store.locks().await?;
        }
        if named.iter().any(live::is_quota) {
            facts.account = Some(store.account().await?);
        }
        Ok(facts)
    }

    /// Can dead properties be among them?
    fn has_dead(&self) -> bool {
        match self {
            Self::All(_) | Self::Names => true,
            Self::Some(named) => named.iter().any(|name| !live::is_live(name)),
        }
    }
}

/// An answer that is being made.
struct Report {
    store: Store,
    path: String,
    wanted: Wanted,
    facts: Facts,
}

impl Report {
    /// The entry itself and the first page of its members: what can still be refused. The cursor of
    /// the next page, if there is one.
    async fn start(&mut self, entry: Entry, members: bool) -> Result<(String, Option<String>)> {
        let mut out = START.to_owned();
        self.page(&mut out, vec![entry]).await?;
        let next = if members {
            self.members(&mut out, String::new()).await?
        } else {
            None
        };
        Ok((out, next))
    }

    async fn members(&self, out: &mut String, cursor: String) -> Result<Option<String>> {
        let page = self.store.list(&self.path, cursor).await?;
        let ListResponse {
            entries,
            next_cursor,
            ..
        } = page;
        self.page(out, entries).await?;
        Ok((!next_cursor.is_empty()).then_some(next_cursor))
    }

    async fn page(&self, out: &mut String, entries: Vec<Entry>) -> Result<()> {
        let mut dead: HashMap<Bytes, Vec<Property>> = HashMap::new();
        if self.wanted.has_dead() && !entries.is_empty() {
            let ids = entries.iter().map(|entry| entry.id.clone()).collect();
            for found in self.store.properties(ids).await? {
                let of = dead.entry(found.entry).or_default();
                of.extend(found.property);
            }
        }
        for entry in entries {
            let dead = dead.remove(&entry.id).unwrap_or_default();
            self.response(out, &entry, &dead);
        }
        Ok(())
    }

    /// Sends what there is, then one page after the other.
    fn stream(
        self,
        start: String,
        cursor: String,
    ) -> impl Stream<Item = io::Result<String>> + Send + 'static {
        // The body is read when the handler has ended: what belongs to the request goes along.
        let pages = stream::try_unfold((self, Some(cursor)), |(report, cursor)| async move {
            let Some(cursor) = cursor else {
                return Ok(None);
            };
            let task = context::spawn(async move {
                let mut out = String::new();
                let next = report.members(&mut out, cursor).await;
                (report, out, next)
            });
            let (report, mut out, next) = task.await.map_err(io::Error::other)?;
            let next = next.map_err(|refusal| {
                let problem = refusal.kind().slug();
                tracing::error!(problem, "a listing broken off");
                io::Error::other(problem)
            })?;
            if next.is_none() {
                out.push_str(END);
            }
            Ok(Some((out, (report, next))))
        });
        stream::once(std::future::ready(Ok(start))).chain(pages)
    }

    /// One entry with what is wanted of it.
    fn response(&self, out: &mut String, entry: &Entry, dead: &[Property]) {
        let (mut found, mut missing) = (String::new(), String::new());
        match &self.wanted {
            Wanted::Names => {
                let told = live::TOLD.iter();
                let told = told.filter(|name| live::element(name, entry, &self.facts).is_some());
                told.for_each(|name| found.push_str(&Name::dav(name).to_empty_element()));
                for property in dead {
                    found.push_str(&name(property).to_empty_element());
                }
            }
            Wanted::All(more) => {
                let told = live::TOLD.iter();
                let told = told.filter_map(|name| live::element(name, entry, &self.facts));
                told.for_each(|element| found.push_str(&element));
                for property in dead {
                    found.push_str(&property.xml);
                }
                let more = more.iter().filter(|name| live::is_quota(name));
                more.for_each(|name| self.one(&mut found, &mut missing, name, entry, dead));
            }
            Wanted::Some(names) => {
                for name in names {
                    self.one(&mut found, &mut missing, name, entry, dead);
                }
            }
        }
        let address = href(&entry.path, is_folder(entry));
        // Writing to memory does not fail.
        let _ = write!(out, "<D:response><D:href>{}</D:href>", escape(&address));
        if !found.is_empty() || missing.is_empty() {
            propstat(out, &found, StatusCode::OK);
        }
        if !missing.is_empty() {
            propstat(out, &missing, StatusCode::NOT_FOUND);
        }
        out.push_str("</D:response>");
    }

    fn one(
        &self,
        found: &mut String,
        missing: &mut String,
        wanted: &Name,
        entry: &Entry,
        dead: &[Property],
    ) {
        let element = if live::is_live(wanted) {
            live::element(&wanted.name, entry, &self.facts)
        } else {
            let mut dead = dead.iter();
            let property = dead.find(|property| name(property) == *wanted);
            property.map(|property| property.xml.clone())
        };
        match element {
            Some(element) => found.push_str(&element),
            None => missing.push_str(&wanted.to_empty_element()),
        }
    }
}

fn name(property: &Property) -> Name {
    Name {
        namespace: property.namespace.clone(),
        name: property.name.clone(),
    }
}

/// Properties that have one status.
pub(super) fn propstat(out: &mut String, properties: &str, status: StatusCode) {
    let _ = write!(
        out,
        "<D:propstat><D:prop>{properties}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>"
    );
}

/// A whole answer about one address.
pub(super) fn multistatus(address: &str, propstats: &str) -> Response {
    let body = format!(
        "{START}<D:response><D:href>{}</D:href>{propstats}</D:response>{END}",
        escape(address)
    );
    (
        StatusCode::MULTI_STATUS,
        [(header::CONTENT_TYPE, super::XML)],
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(document: &str) -> String {
        match Wanted::parse(document.as_bytes()) {
            Ok(Wanted::All(names)) => format!("all {}", names.len()),
            Ok(Wanted::Names) => "names".to_owned(),
            Ok(Wanted::Some(names)) => format!("some {}", names.len()),
            Err(refusal) => refusal.kind().slug().to_owned(),
        }
    }

    #[test]
    fn documents() {
        let propfind = |inside: &str| {
            format!("<D:propfind xmlns:D=\"DAV:\" xmlns:x=\"x\">{inside}</D:propfind>")
        };
        assert_eq!(kind(""), "all 0");
        for (inside, expected) in [
            ("<D:allprop/>", "all 0"),
            ("<D:allprop/><D:include><x:a/></D:include>", "all 1"),
            ("<D:propname/>", "names"),
            ("<D:prop><x:a/><D:getetag/><x:a/></D:prop>", "some 2"),
            ("<D:prop/>", "some 0"),
            ("<x:prop/>", "malformed-request"),
            ("", "malformed-request"),
        ] {
            assert_eq!(kind(&propfind(inside)), expected, "{inside}");
        }
        for broken in ["<propfind/>", "<D:propfind/>", "text"] {
            assert_eq!(kind(broken), "malformed-request", "{broken}");
        }
    }
}
