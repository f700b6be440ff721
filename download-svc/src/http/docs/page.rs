//! The page, out of the document.

use std::fmt::{Display, Write as _};

use serde_json::{Map, Value};

use super::schema::{properties, type_of};

/// In the order in which a path shows them.
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// The page that shows a document.
pub(super) fn of(document: &str) -> String {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let mut html = String::with_capacity(1 << 19);
    let tags: Vec<_> = document["tags"].as_array().into_iter().flatten().collect();
    html.push_str(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n\
        <title>The API of cloudstore</title>\n\
        <link rel=\"icon\" href=\"/icon.svg\">\n\
        <link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
        <a class=\"skip\" href=\"#main\">To the content</a>\n",
    );
    contents(&mut html, &document, &tags);
    html.push_str("<main id=\"main\">\n<h1>The API of cloudstore</h1>\n");
    prose(&mut html, &document["info"]["description"]);
    html.push_str(
        "<p>For programs: <a href=\"/api/v1/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n",
    );
    credentials(&mut html, &document["components"]["securitySchemes"]);
    for tag in tags {
        let name = text(&tag["name"]);
        put(
            &mut html,
            format_args!(
                "<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n",
                anchor(name),
                escape(name)
            ),
        );
        prose(&mut html, &tag["description"]);
        for (path, method, operation) in operations(&document, name) {
            show(&mut html, &document, path, method, operation);
        }
        html.push_str("</section>\n");
    }
    schemas(&mut html, &document["components"]["schemas"]);
    html.push_str("</main>\n</html>\n");
    html
}

/// The operations with a tag.
fn operations<'a>(
    document: &'a Value,
    tag: &'a str,
) -> impl Iterator<Item = (&'a str, &'static str, &'a Value)> {
    members(&document["paths"]).flat_map(move |(path, item)| {
        let operations = METHODS
            .iter()
            .map(move |method| (path, *method, &item[*method]));
        operations.filter(move |(_, _, operation)| operation["tags"][0] == tag)
    })
}

/// Links to everything.
fn contents(html: &mut String, document: &Value, tags: &[&Value]) {
    html.push_str(
        "<nav aria-label=\"Contents\">\n<ul>\n<li><a href=\"#credentials\">Credentials</a></li>\n",
    );
    for tag in tags {
        let name = text(&tag["name"]);
        put(
            html,
            format_args!(
                "<li><a href=\"#{}\">{}</a>\n<ul>\n",
                anchor(name),
                escape(name)
            ),
        );
        for (_, method, operation) in operations(document, name) {
            let (id, summary) = (text(&operation["operationId"]), text(&operation["summary"]));
            put(
                html,
                format_args!(
                    "<li><a href=\"#{}\"><span class=\"method {method}\">{method}</span> {}</a></li>\n",
                    escape(id),
                    inline(summary.trim_end_matches('.'))
                ),
            );
        }
        html.push_str("</ul></li>\n");
    }
    html.push_str("<li><a href=\"#schemas\">Schemas</a></li>\n</ul>\n</nav>\n");
}

fn credentials(html: &mut String, schemes: &Value) {
    html.push_str("<section aria-labelledby=\"credentials\">\n<h2 id=\"credentials\">Credentials</h2>\n<dl>\n");
    for (name, scheme) in members(schemes) {
        put(
            html,
            format_args!(
                "<dt><code>{}</code></dt><dd>{}</dd>\n",
                escape(name),
                inline(text(&scheme["description"]))
            ),
        );
    }
    html.push_str("</dl>\n</section>\n");
}

/// One operation.
fn show(html: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let id = escape(text(&operation["operationId"]));
    put(
        html,
        format_args!(
            "<article aria-labelledby=\"{id}\">\n<h3 id=\"{id}\"><span class=\"method {method}\">{method}</span> <code>{}</code></h3>\n",
            escape(path)
        ),
    );
    put(
        html,
        format_args!(
            "<p class=\"summary\">{}</p>\n",
            inline(text(&operation["summary"]))
        ),
    );
    prose(html, &operation["description"]);
    put(
        html,
        format_args!("<p class=\"who\">{}</p>\n", who(&operation["security"])),
    );
    parameters(html, &operation["parameters"]);
    let body = &operation["requestBody"];
    if !body.is_null() {
        put(
            html,
            format_args!(
                "<h4>Body</h4>\n<p>{} {}</p>\n",
                media(&body["content"]),
                inline(text(&body["description"]))
            ),
        );
    }
    html.push_str("<h4>Answers</h4>\n<table>\n<thead><tr><th scope=\"col\">Status</th><th scope=\"col\">Meaning</th><th scope=\"col\">Body</th></tr></thead>\n<tbody>\n");
    for (status, answer) in members(&operation["responses"]) {
        let answer = resolve(document, answer);
        let class = if status < "400" { "good" } else { "problem" };
        let body = match class {
            "good" => media(&answer["content"]),
            _ => "<a href=\"#schema-Problem\">Problem</a>".to_owned(),
        };
        put(
            html,
            format_args!(
                "<tr class=\"{class}\"><th scope=\"row\">{}</th><td>{}</td><td>{body}</td></tr>\n",
                escape(status),
                inline(text(&answer["description"]))
            ),
        );
    }
    html.push_str("</tbody>\n</table>\n</article>\n");
}

fn parameters(html: &mut String, parameters: &Value) {
    let parameters = parameters.as_array().map_or(&[][..], Vec::as_slice);
    if parameters.is_empty() {
        return;
    }
    html.push_str("<h4>Parameters</h4>\n<table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">In</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for parameter in parameters {
        let needed = if parameter["required"] == true {
            " <em>required</em>"
        } else {
            ""
        };
        put(
            html,
            format_args!(
                "<tr><th scope=\"row\"><code>{}</code>{needed}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(text(&parameter["name"])),
                escape(text(&parameter["in"])),
                type_of(&parameter["schema"]),
                inline(text(&parameter["description"]))
            ),
        );
    }
    html.push_str("</tbody>\n</table>\n");
}

/// Which credentials are taken.
fn who(security: &Value) -> String {
    let schemes = security.as_array().map_or(&[][..], Vec::as_slice);
    if schemes.is_empty() {
        return "Without credentials.".to_owned();
    }
    let schemes = schemes.iter().map(|scheme| {
        let Some((name, scopes)) = members(scheme).next() else {
            return "none".to_owned();
        };
        let scopes = scopes.as_array().into_iter().flatten().map(text);
        let scopes: Vec<_> = scopes
            .map(|scope| format!("<code>{}</code>", escape(scope)))
            .collect();
        let name = escape(name);
        match scopes.is_empty() {
            true => format!("<code>{name}</code>"),
            false => format!("<code>{name}</code> ({})", scopes.join(" or ")),
        }
    });
    let schemes: Vec<_> = schemes.collect();
    format!(
        "<a href=\"#credentials\">Credentials</a>: {}.",
        schemes.join(", ")
    )
}

fn schemas(html: &mut String, schemas: &Value) {
    html.push_str("<section aria-labelledby=\"schemas\">\n<h2 id=\"schemas\">Schemas</h2>\n");
    for (name, schema) in members(schemas) {
        let name = escape(name);
        put(
            html,
            format_args!(
                "<article aria-labelledby=\"schema-{name}\">\n<h3 id=\"schema-{name}\"><code>{name}</code></h3>\n"
            ),
        );
        prose(html, &schema["description"]);
        properties(html, schema);
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
}

/// Media types with their schemas.
fn media(content: &Value) -> String {
    let kinds = members(content).map(|(kind, media)| {
        let schema = &media["schema"];
        let is_any = schema.as_object().is_none_or(Map::is_empty);
        let shape = if is_any {
            String::new()
        } else {
            type_of(schema)
        };
        format!("<code>{}</code> {shape}", escape(kind))
    });
    kinds.collect::<Vec<_>>().join("<br>")
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
    pointer
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(value)
}

/// Paragraphs.
fn prose(html: &mut String, text: &Value) {
    for paragraph in self::text(text).split("\n\n").filter(|it| !it.is_empty()) {
        put(html, format_args!("<p>{}</p>\n", inline(paragraph)));
    }
}

/// Text with `code` in it.
pub(super) fn inline(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        match index % 2 {
            0 => html.push_str(&part),
            _ => put(&mut html, format_args!("<code>{part}</code>")),
        }
    }
    html
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, member)| (name.as_str(), member))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn put(html: &mut String, what: impl Display) {
    write!(html, "{what}").expect("a String takes everything");
}

fn anchor(name: &str) -> String {
    format!("tag-{}", escape(name).replace(' ', "-"))
}

pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            inline("a < b & `c > \"d\"`"),
            "a &lt; b &amp; <code>c &gt; &quot;d&quot;</code>"
        );
        assert_eq!(anchor("public shares"), "tag-public-shares");
    }

    #[test]
    fn a_document_that_is_none_has_a_page() {
        assert!(of("nonsense").ends_with("</html>\n"));
    }
}
