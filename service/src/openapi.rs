//! What the descriptions of the services have in common.
//!
//! A handler is described by `#[utoipa::path]`, and named in the description of its service. The
//! problems that it answers with are listed by their slugs in `x-problems`; what goes without saying
//! (credentials, bodies, ids) is added when the descriptions are put together.

use utoipa::openapi::{
    OpenApi, PathItem,
    path::{Operation, ParameterIn},
};

/// The operations at the path `from` are at the path `to` as well, there without those parameters that
/// it does not name. `only` are some of them by their methods; none means all.
///
/// # Panics
/// When nothing is described at `from`.
pub fn also_at(document: &mut OpenApi, from: &str, to: &str, only: &[&str]) {
    let mut item = document
        .paths
        .paths
        .get(from)
        .expect("the path is described")
        .clone();
    for (method, operation) in operations(&mut item) {
        if !only.is_empty() && !only.contains(&method) {
            *operation = None;
        }
        let parameters = operation.as_mut().and_then(|it| it.parameters.as_mut());
        if let Some(parameters) = parameters {
            parameters.retain(|parameter| {
                parameter.parameter_in != ParameterIn::Path
                    || to.contains(&format!("{{{}}}", parameter.name))
            });
        }
    }
    let paths = &mut document.paths.paths;
    match paths.get_mut(to) {
        Some(there) => there.merge_operations(item),
        None => drop(paths.insert(to.to_owned(), item)),
    }
}

fn operations(item: &mut PathItem) -> [(&'static str, &mut Option<Operation>); 7] {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("options", &mut item.options),
        ("head", &mut item.head),
        ("patch", &mut item.patch),
    ]
}
