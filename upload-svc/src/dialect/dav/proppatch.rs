//! PROPPATCH (RFC 4918 section 9.2): all changes in the order of the document, or none.

use axum::{body::Body, http::StatusCode, response::Response};
use cloudstore_proto::dav::{Property, PropertyChange};

use super::{
    super::malformed,
    Call, condition, live,
    propfind::{multistatus, propstat},
    refusal::Result,
    xml::{Element, Name},
};

/// Sets and removes dead properties; live ones are the server's.
pub(super) async fn proppatch(call: Call, body: Body) -> Result<Response> {
    let document = call.read(body).await?;
    let changes = parse(&document)?;
    call.states.require(&call.store, &call.path).await?;
    let entry = call.there().await?;
    condition::check(call.conditions.as_ref(), Some(&entry))?;
    let elements = |live: bool| -> String {
        let changes = changes.iter().map(|(name, _)| name);
        let some = changes.filter(|name| live::is_live(name) == live);
        some.map(Name::to_empty_element).collect()
    };
    let (protected, others) = (elements(true), elements(false));
    let mut propstats = String::new();
    if protected.is_empty() {
        let changes = changes.into_iter().map(|(_, change)| change).collect();
        let tokens = call.states.tokens();
        let path = call.path.clone();
        call.store.patch_properties(path, changes, tokens).await?;
        propstat(&mut propstats, &others, StatusCode::OK);
    } else {
        propstat(&mut propstats, &protected, StatusCode::FORBIDDEN);
        if !others.is_empty() {
            propstat(&mut propstats, &others, StatusCode::FAILED_DEPENDENCY);
        }
    }
    Ok(multistatus(&call.href(&entry), &propstats))
}

/// The changes in their order.
fn parse(document: &[u8]) -> Result<Vec<(Name, PropertyChange)>> {
    let root = Element::parse(document)?;
    if !root.name.is_dav("propertyupdate") {
        return Err(malformed("the document is no propertyupdate").into());
    }
    let mut changes = Vec::new();
    for instruction in root.elements() {
        let remove = instruction.name.is_dav("remove");
        if !remove && !instruction.name.is_dav("set") {
            continue;
        }
        let properties = instruction.child("prop");
        for property in properties.into_iter().flat_map(Element::elements) {
            let name = property.name.clone();
            let change = PropertyChange {
                property: Some(Property {
                    namespace: name.namespace.clone(),
                    name: name.name.clone(),
                    xml: if remove {
                        String::new()
                    } else {
                        property.to_xml()
                    },
                }),
                remove,
            };
            changes.push((name, change));
        }
    }
    if changes.is_empty() {
        return Err(malformed("propertyupdate changes nothing").into());
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_their_order() {
        let document = "<D:propertyupdate xmlns:D=\"DAV:\" xmlns=\"n\">\
            <D:remove><D:prop><a/></D:prop></D:remove><other/>\
            <D:set><D:prop><a>1</a><b/></D:prop></D:set></D:propertyupdate>";
        let changes = parse(document.as_bytes()).unwrap();
        let seen: Vec<_> = changes
            .iter()
            .map(|(name, change)| (&*name.name, change.remove))
            .collect();
        assert_eq!(seen, [("a", true), ("a", false), ("b", false)]);
        assert!(parse(b"<D:propertyupdate xmlns:D=\"DAV:\"/>").is_err());
        assert!(parse(b"<propertyupdate/>").is_err());
    }
}
