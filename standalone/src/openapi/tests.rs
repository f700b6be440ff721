use std::{collections::BTreeSet, path::Path};

use super::*;
use crate::{Config, stack};

/// Of the web app, for people.
const PAGES: [&str; 12] = [
    "/",
    "/account",
    "/assets/{name}",
    "/drive",
    "/drive/{path}",
    "/icon.svg",
    "/register",
    "/shares",
    "/signin",
    "/sw.js",
    "/trash",
    "/uploads",
];
/// What OpenAPI has a place for.
const METHODS: [&str; 7] = ["get", "head", "delete", "options", "patch", "post", "put"];

/// Paths with their methods; `None` where a router takes any.
type Routes = BTreeSet<(String, Option<String>)>;

#[test]
fn the_file_is_what_the_handlers_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/openapi.json");
    let document = document();
    if std::env::var_os("CLOUDSTORE_WRITE_OPENAPI").is_some() {
        let text = serde_json::to_string_pretty(&sorted(&document)).unwrap();
        return std::fs::write(path, text + "\n").unwrap();
    }
    let file = std::fs::read(path).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert!(
        file == document,
        "proto/openapi.json is stale: run `make openapi`"
    );
}

/// Members by name, whatever order the library keeps them in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, it)| (name.clone(), sorted(it)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn every_route_is_in_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path().join("data"));
    let (router, _running) = stack::router(&config).await.unwrap();
    let routes = routes(&format!("{router:?}"));
    let described = described();
    let served: BTreeSet<_> = routes
        .iter()
        .filter(|(path, _)| !PAGES.contains(&path.as_str()) && !path.starts_with("/internal/"))
        .cloned()
        .collect();
    assert!(served.len() > 50, "the routes are not found: {routes:?}");
    for (path, method) in &served {
        match method {
            Some(method) => assert!(
                described.contains(&(path.clone(), method.clone()))
                    || is_head(&described, path, method),
                "{method} {path} is not described: annotate its handler, name it in its service's \
                description, and run `make openapi`"
            ),
            None => assert!(
                described.iter().any(|(described, _)| described == path),
                "{path} is not described"
            ),
        }
    }
    for (path, method) in described {
        let one = (path.clone(), Some(method.clone()));
        assert!(
            served.contains(&one) || served.contains(&(path.clone(), None)),
            "{method} {path} is described, and there is no such route"
        );
    }
}

/// axum answers HEAD wherever there is a GET; worth a description only where it is content.
fn is_head(described: &BTreeSet<(String, String)>, path: &str, method: &str) -> bool {
    method == "head" && described.contains(&(path.to_owned(), "get".to_owned()))
}

fn described() -> BTreeSet<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (plain(path), method.clone()))
    });
    operations.collect()
}

/// A path as both sides write it; that of a folder may end with a slash.
fn plain(path: &str) -> String {
    let path = path.replace("{*", "{");
    let cut = path.trim_end_matches('/');
    if cut.is_empty() { "/" } else { cut }.to_owned()
}

/// The routes of a router, as it prints itself: there is no other way to ask one. A route is its id with
/// the methods that it allows, and elsewhere its id with its path.
fn routes(printed: &str) -> Routes {
    let (own, _) = printed.split_once("fallback_router").unwrap();
    let routes = own.split("RouteId(").skip(1).filter_map(|part| {
        let (id, rest) = part.split_once("): ")?;
        Some((id, rest))
    });
    let (mut paths, mut methods) = (BTreeMap::new(), BTreeMap::new());
    for (id, rest) in routes {
        if let Some(path) = rest.strip_prefix('"') {
            paths
                .entry(id)
                .or_insert_with(|| plain(path.split('"').next().unwrap()));
        } else if let Some((_, allowed)) = rest.split_once("allow_header: ") {
            let allowed = allowed.strip_prefix("Bytes(b\"");
            methods
                .entry(id)
                .or_insert_with(|| allowed.map(|it| it.split('"').next().unwrap()));
        }
    }
    assert_eq!(
        paths.len(),
        methods.len(),
        "a router prints itself in another way"
    );
    let routes = paths.into_iter().flat_map(|(id, path)| match methods[id] {
        None => vec![(path, None)],
        Some(allowed) => allowed
            .split(',')
            .map(|method| (path.clone(), Some(method.to_lowercase())))
            .filter(|(_, method)| METHODS.contains(&method.as_deref().unwrap()))
            .collect(),
    });
    routes.collect()
}

#[test]
fn references_lead_somewhere() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| check(document, member));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            _ => {}
        }
    }
    let document = document();
    check(&document, &document);
    let known: Vec<_> = TAGS.iter().map(|(name, _)| *name).collect();
    for operation in document["paths"].as_object().unwrap().values() {
        for operation in operation.as_object().unwrap().values() {
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(known.contains(&tag), "{tag}");
            assert!(
                operation["summary"].is_string(),
                "{}",
                operation["operationId"]
            );
        }
    }
}
