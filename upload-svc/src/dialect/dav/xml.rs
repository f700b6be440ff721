//! XML as WebDAV needs it: small documents read into a tree, answers written as text.
//!
//! Depth and length of what is read are bounded before the tree is built: a document that only opens
//! elements would otherwise cost a stack frame or a copy of its namespaces for each of them.

use std::{borrow::Cow, collections::BTreeMap};

use cloudstore_service::{Kind, Problem, Result};
use xml::{
    ParserConfig, attribute::OwnedAttribute, name::OwnedName, namespace::Namespace,
    reader::XmlEvent,
};

/// The namespace of WebDAV itself.
pub(super) const DAV: &str = "DAV:";
/// Bytes of a document. The largest one sets all properties that an entry may have.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// Elements inside each other. Requests have four, the rest is for the values of properties.
const MAX_DEPTH: usize = 32;
/// Attributes of an element.
const MAX_ATTRIBUTES: usize = 64;
/// Prefixes that need no declaration, or must not have one.
const RESERVED_PREFIXES: [&str; 2] = ["xml", "xmlns"];

/// What an element is called. No namespace is the empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Name {
    /// A name of WebDAV.
    pub(super) fn dav(name: &str) -> Self {
        Self {
            namespace: DAV.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Is this the name of WebDAV?
    pub(super) fn is_dav(&self, name: &str) -> bool {
        self.namespace == DAV && self.name == name
    }

    /// An element with this name and nothing in it, whatever surrounds it.
    pub(super) fn to_empty_element(&self) -> String {
        match &*self.namespace {
            "" => format!("<{} xmlns=\"\"/>", self.name),
            DAV => format!("<D:{}/>", self.name),
            other => format!("<x:{} xmlns:x=\"{}\"/>", self.name, escape(other)),
        }
    }
}

/// An element of a document.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: Name,
    prefix: Option<String>,
    attributes: Vec<OwnedAttribute>,
    /// What prefixes mean here, those of the surroundings included.
    namespaces: BTreeMap<String, String>,
    children: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// `MalformedRequest` for what is no XML, or too deep.
    pub(super) fn parse(document: &[u8]) -> Result<Self> {
        let config = ParserConfig::new()
            .cdata_to_characters(true)
            .ignore_comments(true)
            .whitespace_to_characters(true)
            .max_attributes(MAX_ATTRIBUTES)
            .max_entity_expansion_length(MAX_BYTES);
        let mut open: Vec<Self> = Vec::new();
        for event in config.create_reader(document) {
            match event.map_err(|error| malformed(&error.to_string()))? {
                XmlEvent::StartElement {
                    name,
                    attributes,
                    namespace,
                } => {
                    if open.len() == MAX_DEPTH {
                        return Err(malformed("elements are too deep inside each other"));
                    }
                    open.push(Self::new(name, attributes, &namespace)?);
                }
                XmlEvent::EndElement { .. } => {
                    let Some(closed) = open.pop() else { continue };
                    match open.last_mut() {
                        None => return Ok(closed),
                        Some(parent) => parent.children.push(Node::Element(closed)),
                    }
                }
                XmlEvent::Characters(text) | XmlEvent::CData(text) => {
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(Node::Text(text));
                    }
                }
                _ => {}
            }
        }
        Err(malformed("there is no element"))
    }

    fn new(
        name: OwnedName,
        attributes: Vec<OwnedAttribute>,
        namespace: &Namespace,
    ) -> Result<Self> {
        let namespaces: BTreeMap<String, String> = namespace
            .iter()
            .filter(|(prefix, _)| !RESERVED_PREFIXES.contains(prefix))
            .map(|(prefix, uri)| (prefix.to_owned(), uri.to_owned()))
            .collect();
        // Namespaces in XML 1.0, section 2.2: only the default can be taken back.
        let undeclared = |(prefix, uri): (&String, &String)| !prefix.is_empty() && uri.is_empty();
        if namespaces.iter().any(undeclared) {
            return Err(malformed("a prefix stands for no namespace"));
        }
        Ok(Self {
            name: Name {
                namespace: name.namespace.unwrap_or_default(),
                name: name.local_name,
            },
            prefix: name.prefix,
            attributes,
            namespaces,
            children: Vec::new(),
        })
    }

    /// The elements in it, in order.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element in it with this name of WebDAV.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.elements().find(|element| element.name.is_dav(name))
    }

    /// The element as text that means the same wherever it stands: every prefix is declared in it,
    /// those included that only text in it may use.
    pub(super) fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// `surroundings`: what is declared already.
    fn write(&self, out: &mut String, surroundings: Option<&BTreeMap<String, String>>) {
        let tag = qualified(self.prefix.as_deref(), &self.name.name);
        out.push('<');
        out.push_str(&tag);
        for (prefix, uri) in &self.namespaces {
            let known = surroundings.and_then(|known| known.get(prefix));
            if known == Some(uri) {
                continue;
            }
            let colon = if prefix.is_empty() { "" } else { ":" };
            out.push_str(&format!(" xmlns{colon}{prefix}=\"{}\"", escape(uri)));
        }
        for attribute in &self.attributes {
            let name = qualified(attribute.name.prefix.as_deref(), &attribute.name.local_name);
            out.push_str(&format!(" {name}=\"{}\"", escape(&attribute.value)));
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.children {
            match node {
                Node::Element(element) => element.write(out, Some(&self.namespaces)),
                Node::Text(text) => out.push_str(&escape(text)),
            }
        }
        out.push_str("</");
        out.push_str(&tag);
        out.push('>');
    }
}

fn qualified<'a>(prefix: Option<&str>, name: &'a str) -> Cow<'a, str> {
    match prefix {
        Some(prefix) if !prefix.is_empty() => Cow::Owned(format!("{prefix}:{name}")),
        _ => Cow::Borrowed(name),
    }
}

/// Text for the content of an element or the value of an attribute.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    const SPECIAL: [char; 6] = ['&', '<', '>', '"', '\r', '\n'];
    if !text.contains(SPECIAL) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers make line ends and attributes of it as they like.
            '\r' => out.push_str("&#13;"),
            '\n' => out.push_str("&#10;"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn malformed(what: &str) -> Problem {
    Problem::new(
        Kind::MalformedRequest,
        format!("the body is no XML: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_trees() {
        let document =
            b"<?xml version=\"1.0\"?><a:one xmlns:a=\"DAV:\"><two xmlns=\"x\"/> t</a:one>";
        let one = Element::parse(document).unwrap();
        assert!(one.name.is_dav("one"));
        let two = one.elements().next().unwrap();
        assert_eq!((&*two.name.namespace, &*two.name.name), ("x", "two"));
    }

    #[test]
    fn what_is_refused() {
        let deep = "<a>".repeat(20_000);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\">\
            <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">\
            <!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">\
            <!ENTITY e \"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\">]><a>&e;</a>";
        for document in [
            "",
            "<a",
            "<a></b>",
            "<a><b></a>",
            "<x:a/>",
            "<a xmlns:x=\"\"/>",
            "<a>&file;</a>",
            &deep,
            bomb,
        ] {
            let start = &document[..document.len().min(40)];
            let found = Element::parse(document.as_bytes());
            let problem = found.err().unwrap_or_else(|| panic!("taken: {start}"));
            assert_eq!(problem.kind(), Kind::MalformedRequest, "{start}");
        }
    }

    #[test]
    fn an_element_means_the_same_elsewhere() {
        let document = "<p:a xmlns:p=\"urn:p\" xmlns=\"urn:d\" xmlns:q=\"urn:q\"><b q:x=\"1&amp;\">\
            t&lt;\u{10000}<c xmlns=\"\"/></b></p:a>";
        let whole = Element::parse(document.as_bytes()).unwrap();
        let b = whole.elements().next().unwrap();
        let text = b.to_xml();
        assert_eq!(
            text,
            "<b xmlns=\"urn:d\" xmlns:p=\"urn:p\" xmlns:q=\"urn:q\" q:x=\"1&amp;\">t&lt;\u{10000}\
            <c xmlns=\"\"/></b>"
        );
        let again = Element::parse(text.as_bytes()).unwrap();
        assert_eq!((&again.name, again.to_xml()), (&b.name, text));
    }
}
