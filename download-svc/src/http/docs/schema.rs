//! Schemas in words.

use serde_json::Value;

use super::page::{escape, inline, members, put, text};

/// What a value is, in a few words.
pub(super) fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for (key, word) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " with ")] {
        if let Some(parts) = schema[key].as_array() {
            let parts: Vec<_> = parts.iter().map(type_of).collect();
            return parts.join(word);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().map(code).collect::<Vec<_>>();
        return values.join(" or ");
    }
    if !schema["const"].is_null() {
        return code(&schema["const"]);
    }
    let mut words = match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("array of {}", type_of(&schema["items"])),
        Value::String(kind) => escape(kind),
        Value::Array(kinds) => kinds
            .iter()
            .map(|it| escape(text(it)))
            .collect::<Vec<_>>()
            .join(" or "),
        _ if schema["properties"].is_object() => "object".to_owned(),
        _ => "anything".to_owned(),
    };
    if let Some(format) = schema["format"].as_str() {
        put(&mut words, format_args!(", {}", escape(format)));
    }
    for (least, most, of) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ] {
        match (&schema[least], &schema[most]) {
            (Value::Null, Value::Null) => {}
            (least, Value::Null) => put(&mut words, format_args!(", {least} or more{of}")),
            (Value::Null, most) => put(&mut words, format_args!(", up to {most}{of}")),
            (least, most) => put(&mut words, format_args!(", {least} to {most}{of}")),
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        put(
            &mut words,
            format_args!(", <code>{}</code>", escape(pattern)),
        );
    }
    words
}

/// The members of an object, or what else a schema is.
pub(super) fn properties(html: &mut String, schema: &Value) {
    for (key, words) in [
        ("oneOf", "One of:"),
        ("anyOf", "One or more of:"),
        ("allOf", "All of:"),
    ] {
        if let Some(parts) = schema[key].as_array() {
            put(html, format_args!("<p>{words}</p>\n<ul>\n"));
            for part in parts {
                html.push_str("<li>");
                if part["$ref"].is_string() {
                    html.push_str(&type_of(part));
                } else {
                    put(html, inline(text(&part["description"])));
                    properties(html, part);
                }
                html.push_str("</li>\n");
            }
            html.push_str("</ul>\n");
            return;
        }
    }
    if !schema["properties"].is_object() {
        put(html, format_args!("<p>{}</p>\n", type_of(schema)));
        return;
    }
    html.push_str("<table>\n<thead><tr><th scope=\"col\">Member</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    let required = schema["required"].as_array();
    for (name, member) in members(&schema["properties"]) {
        let needed = required.is_some_and(|names| names.iter().any(|it| it == name));
        let needed = if needed { " <em>required</em>" } else { "" };
        put(
            html,
            format_args!(
                "<tr><th scope=\"row\"><code>{}</code>{needed}</th><td>{}</td><td>{}</td></tr>\n",
                escape(name),
                type_of(member),
                inline(text(&member["description"]))
            ),
        );
    }
    html.push_str("</tbody>\n</table>\n");
}

fn code(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    format!("<code>{}</code>", escape(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_told_in_words() {
        for (schema, words) in [
            (
                json!({ "type": "string", "format": "uuid" }),
                "string, uuid",
            ),
            (
                json!({ "type": ["integer", "null"], "minimum": 1 }),
                "integer or null, 1 or more",
            ),
            (
                json!({ "type": "array", "items": { "type": "string", "maxLength": 5 } }),
                "array of string, up to 5 characters",
            ),
            (
                json!({ "enum": ["a", "b"] }),
                "<code>a</code> or <code>b</code>",
            ),
            (
                json!({ "$ref": "#/components/schemas/File" }),
                "<a href=\"#schema-File\">File</a>",
            ),
            (json!({}), "anything"),
        ] {
            assert_eq!(type_of(&schema), words);
        }
    }
}
