//! The description of the whole HTTP API (OpenAPI 3.1): those of the services put together, with what goes
//! without saying in a service. `proto/openapi.json` is what comes out; download-svc serves that, because
//! a service of its own knows nothing of the others.

use std::collections::{BTreeMap, BTreeSet};

use cloudstore_service::{Kind, health};
use serde_json::{Map, Value, json};
use utoipa::{
    OpenApi as _,
    openapi::{Info, OpenApi, Paths},
};

/// Where problems of others' protocols are registered.
const IANA: &str = "https://iana.org/assignments/http-problem-types#";

/// What belongs together, in the order in which people need it.
const TAGS: &[(&str, &str)] = &[
    ("accounts", "An account, and what its owner may know of it."),
    ("sessions", "Logins, and the tokens that they hand out."),
    ("tokens", "API tokens, for programs."),
    ("files", "Files and folders, without their content."),
    ("content", "The content of a file, in one piece."),
    (
        "uploads",
        "Uploads in chunks: resumable, parallel, instant where the server has the content.",
    ),
    ("archive", "Folders and selections as one zip archive."),
    ("trash", "What was deleted, and can be restored."),
    (
        "shares",
        "Files and folders for people without an account: made and ended by the owner.",
    ),
    (
        "public shares",
        "What anybody can do who knows the token of a share.",
    ),
    (
        "tus",
        "Resumable uploads as in tus 1.0 (https://tus.io/protocols/resumable-upload), and as in the IETF's draft draft-ietf-httpbis-resumable-upload.",
    ),
    (
        "webdav",
        "WebDAV, class 1 and 2 (RFC 4918). MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK and UNLOCK are there as well: OpenAPI has no place for them.",
    ),
    ("operation", "For whoever runs the service."),
    ("documentation", "This description."),
];

/// The description, complete.
///
/// # Panics
/// When a description does not hold what it should.
#[must_use]
pub fn document() -> Value {
    let mut merged = OpenApi::new(Info::new("cloudstore", "1"), Paths::new());
    merged.merge(cloudstore_account::openapi());
    merged.merge(cloudstore_upload::openapi());
    merged.merge(cloudstore_download::openapi());
    merged.merge(health::Description::openapi());
    let mut document = serde_json::to_value(merged).expect("a description is JSON");
    document["info"] = json!({
        "title": "cloudstore",
        "version": "1",
        "description": "Requests refuse members that they do not know; answers may gain some. \
            Times are RFC 3339 in UTC, digests hexadecimal, sizes bytes. Every error is a problem \
            (RFC 9457), whose `type` is part of this description.",
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    document["tags"] = TAGS
        .iter()
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    document["components"]["securitySchemes"] = security_schemes();
    let mut answers = Answers::default();
    let paths = document["paths"].as_object_mut().expect("there are paths");
    let mut ids = BTreeSet::new();
    // The address with most parameters has the plain name.
    let mut paths: Vec<_> = paths.iter_mut().collect();
    paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.matches('{').count()));
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().expect("an item is an object") {
            let operation = operation
                .as_object_mut()
                .expect("an operation is an object");
            name(operation, path, method, &mut ids);
            answers.complete(operation, method);
        }
    }
    document["components"]["responses"] = Value::Object(answers.0);
    // utoipa looks for `deny_unknown_fields` at structures only.
    let variants = document["components"]["schemas"]["Change"]["oneOf"].as_array_mut();
    for variant in variants.into_iter().flatten() {
        variant["additionalProperties"] = false.into();
    }
    unlink(&mut document);
    document
}

/// Descriptions come from the sources, where names are links.
fn unlink(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" || name == "summary" => {
                        *text = text.replace("[`", "`").replace("`]", "`");
                    }
                    other => unlink(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unlink),
        _ => {}
    }
}

fn security_schemes() -> Value {
    json!({
        "login": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The access token of a login.",
        },
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "An API token. Where scopes are named, it needs one of them.",
        },
        "basic": {
            "type": "http", "scheme": "basic",
            "description": "The name of the account, and an API token as the password.",
        },
        "share_ticket": {
            "type": "apiKey", "in": "header", "name": "Cloudstore-Share-Ticket",
            "description": "For a share with a password, once it is unlocked.",
        },
        "share_cookie": {
            "type": "apiKey", "in": "cookie", "name": "cloudstore-share-ticket",
            "description": "The same, for browsers.",
        },
    })
}

/// An operation that is at several addresses has a name of its own at each.
fn name(operation: &mut Map<String, Value>, path: &str, method: &str, ids: &mut BTreeSet<String>) {
    let name = operation["operationId"].as_str().unwrap_or_default();
    let mut id = name.to_owned();
    if method == "head" && !name.ends_with("offset") {
        id.push_str("_head");
    }
    if !ids.insert(id.clone()) {
        let place = path
            .split('/')
            .rfind(|part| !part.is_empty() && !part.starts_with('{'));
        id = format!("{id}_at_{}", place.unwrap_or("root"));
        assert!(ids.insert(id.clone()), "{id} is the name of two operations");
    }
    operation.insert("operationId".to_owned(), id.into());
}

/// The answers with problems, each of which several operations give.
#[derive(Default)]
struct Answers(Map<String, Value>);

impl Answers {
    /// Adds to an operation the problems that it lists, and those that go without saying.
    fn complete(&mut self, operation: &mut Map<String, Value>, method: &str) {
        let listed = operation.remove("x-problems").unwrap_or_default();
        let listed = listed.as_array().into_iter().flatten().map(|slug| {
            let slug = slug.as_str().expect("a slug is text");
            Kind::from_slug(slug).unwrap_or_else(|| panic!("{slug} is no kind of problem"))
        });
        let mut kinds: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
        for kind in listed.chain(implied(operation, method)) {
            let of_status = kinds.entry(kind.status().as_u16()).or_default();
            of_status.insert(kind.slug());
        }
        never_null(operation);
        let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
        let answers = operation["responses"].as_object_mut();
        let answers = answers.expect("an operation has answers");
        for answer in answers.values_mut() {
            any_bytes(answer);
        }
        for (status, slugs) in kinds {
            let answer = self.answer(status, &slugs, &tag);
            answers.insert(status.to_string(), answer);
        }
    }

    /// A reference to the answer with one of these problems.
    fn answer(&mut self, status: u16, slugs: &BTreeSet<&str>, tag: &str) -> Value {
        let parts: Vec<_> = slugs.iter().copied().collect();
        let foreign = ["tus", "content", "webdav"].contains(&tag);
        let mut key = format!("{status}.{}", parts.join("."));
        let mut types: Vec<_> = parts
            .iter()
            .map(|slug| format!("/problems/{slug}"))
            .collect();
        if foreign {
            types.extend(parts.iter().filter_map(|slug| draft_type(slug)));
        }
        let schema = json!({ "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            { "properties": { "type": { "enum": types }, "status": { "const": status } } },
        ] });
        let mut content = json!({ "application/problem+json": { "schema": schema } });
        if foreign {
            key = format!("{key}.{tag}");
        }
        if tag == "webdav" {
            content["application/xml"] =
                json!({ "schema": { "description": "`error` of RFC 4918" } });
        }
        let lines = slugs.iter().filter_map(|slug| Kind::from_slug(slug));
        let lines = lines.map(|kind| format!("`{}`: {}.", kind.slug(), kind.title()));
        let lines: Vec<_> = lines.collect();
        let mut answer = json!({ "description": lines.join(" "), "content": content });
        let header = match status {
            401 => Some(("WWW-Authenticate", "string")),
            503 => Some(("Retry-After", "integer")),
            405 => Some(("Allow", "string")),
            _ => None,
        };
        if let Some((header, kind)) = header {
            answer["headers"] = json!({ header: { "schema": { "type": kind } } });
        }
        let reference = json!({ "$ref": format!("#/components/responses/{key}") });
        self.0.insert(key, answer);
        reference
    }
}

/// What the IETF's draft of resumable uploads calls a problem.
fn draft_type(slug: &str) -> Option<String> {
    let name = match slug {
        "offset-mismatch" => "mismatching-upload-offset",
        "wrong-length" => "inconsistent-upload-length",
        "malformed-request" => "completed-upload",
        _ => return None,
    };
    Some(format!("{IANA}{name}"))
}

/// Parameters and bodies that need not be there are absent, not null.
fn never_null(operation: &mut Map<String, Value>) {
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let kinds = parameter["schema"]["type"].as_array();
        let some = kinds.and_then(|kinds| kinds.iter().find(|it| *it != "null"));
        if let Some(some) = some.cloned() {
            parameter["schema"]["type"] = some;
        }
    }
    let content = operation
        .get_mut("requestBody")
        .and_then(|body| body["content"].as_object_mut());
    for (_, media) in content.into_iter().flatten() {
        let some = media["schema"]["oneOf"]
            .as_array()
            .and_then(|kinds| kinds.iter().find(|it| it["type"] != "null"));
        if let Some(some) = some.cloned() {
            media["schema"] = some;
        }
    }
}

/// An answer that is content may be of any type: nothing can be said of its shape.
fn any_bytes(answer: &mut Value) {
    let content = answer.get_mut("content").and_then(Value::as_object_mut);
    for (_, media) in content.into_iter().flatten() {
        if media["schema"]["$ref"] == "#/components/schemas/Binary" {
            media["schema"] = json!({});
        }
    }
}

/// The problems that operations of this kind have in common.
fn implied(operation: &Map<String, Value>, method: &str) -> Vec<Kind> {
    let tag = &operation["tags"][0];
    if tag == "operation" || tag == "documentation" {
        return Vec::new();
    }
    // A gateway has limits; databases and services may be away; a request may be ambiguous.
    let mut kinds = vec![
        Kind::MalformedRequest,
        Kind::RateLimited,
        Kind::Internal,
        Kind::Unavailable,
        Kind::Overloaded,
    ];
    if !["get", "head", "options"].contains(&method) {
        kinds.push(Kind::InsufficientStorage);
    }
    let security = operation.get("security").and_then(Value::as_array);
    if let Some(security) =
        security.filter(|schemes| schemes.iter().any(|it| it.get("login").is_some()))
    {
        kinds.extend([Kind::Unauthenticated, Kind::TokenExpired]);
        let token = security.iter().find_map(|scheme| scheme.get("token"));
        if token.is_none_or(|scopes| scopes.as_array().is_some_and(|scopes| !scopes.is_empty())) {
            kinds.push(Kind::InsufficientScope);
        }
    }
    if !operation.get("requestBody").unwrap_or(&Value::Null)["content"]["application/json"]
        .is_null()
    {
        kinds.extend([
            Kind::RequestTimeout,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::InvalidFields,
        ]);
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    for parameter in parameters
        .into_iter()
        .flatten()
        .filter(|it| it["in"] == "path")
    {
        kinds.push(match parameter["name"].as_str() {
            Some("path") => Kind::InvalidPath,
            _ => Kind::NotFound,
        });
    }
    kinds
}

#[cfg(test)]
mod tests;
