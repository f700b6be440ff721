//! `Upload-Concat`: uploads that are parts, and those that are made of parts.

use cloudstore_proto::file::Entry;
use cloudstore_service::Result;
use std::sync::Arc;
use uuid::Uuid;

use super::{fields, note::Note};
use crate::{
    dialect::malformed,
    engine::{Engine, Error, session::Session},
};

/// Where uploads are.
const PREFIX: &str = "/files/";

/// Has the upload to do with others?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concat {
    None,
    Partial,
    /// Made of these, in this order; one may come several times.
    Final(Vec<Uuid>),
}

impl Concat {
    pub(super) fn of(headers: &::http::HeaderMap) -> Result<(Self, Option<&str>)> {
        let field = fields::single(headers, &super::UPLOAD_CONCAT)?;
        Ok((Self::parse(field)?, field))
    }

    pub(super) fn parse(field: Option<&str>) -> Result<Self> {
        let wrong = || malformed("Upload-Concat is neither partial nor final;<URL> <URL>...");
        let Some(field) = field else {
            return Ok(Self::None);
        };
        if field == "partial" {
            return Ok(Self::Partial);
        }
        let urls = field.strip_prefix("final;").ok_or_else(wrong)?;
        let urls = urls.split(' ').filter(|url| !url.is_empty());
        let parts: Option<Vec<_>> = urls.map(id).collect();
        match parts {
            Some(parts) if !parts.is_empty() => Ok(Self::Final(parts)),
            _ => Err(wrong()),
        }
    }
}

/// The upload of an absolute or relative URL. By what name the server was reached does not matter.
fn id(url: &str) -> Option<Uuid> {
    let path = match url.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => url,
    };
    Uuid::try_parse(path.strip_prefix(PREFIX)?).ok()
}

/// Refuses what is no list of parts of this account; else says how long they are together, once
/// all of them are complete.
pub(super) async fn parts_len(
    engine: &Engine,
    account: Uuid,
    parts: &[Uuid],
) -> Result<Option<u64>> {
    match engine.parts_len(account, parts).await {
        Err(error) if error.is_absence() || matches!(error, Error::NoPart) => Err(malformed(
            "Upload-Concat names something that is not a partial upload",
        )),
        answer => Ok(answer?),
    }
}

/// Puts an upload together if it is made of others and they are complete.
pub(super) async fn finish(
    engine: &Arc<Engine>,
    session: &Arc<Session>,
    note: &Note,
) -> Result<Option<Entry>> {
    let Concat::Final(parts) = note.concat() else {
        return Ok(None);
    };
    Ok(engine.concatenate(session, &parts).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_parts() {
        let id = "/files/01890000-0000-7000-8000-000000000001";
        let uuid = Uuid::try_parse(&id[7..]).unwrap();
        let parse = |field: &str| Concat::parse(Some(field));
        assert_eq!(parse("partial").unwrap(), Concat::Partial);
        for list in [
            format!("final;{id}"),
            format!("final;https://cloud.example:8443{id}"),
            format!("final;  http://[::1]{id} "),
        ] {
            assert_eq!(parse(&list).unwrap(), Concat::Final(vec![uuid]), "{list}");
        }
        let twice = parse(&format!("final;{id} {id}")).unwrap();
        assert_eq!(twice, Concat::Final(vec![uuid, uuid]));
        for wrong in [
            "",
            "partial;",
            "Partial",
            "final",
            "final;",
            "final; ",
            "final;/files/x",
            "final;/other/01890000-0000-7000-8000-000000000001",
            "final;https://cloud.example",
            "final;01890000-0000-7000-8000-000000000001",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Concat::parse(None).unwrap(), Concat::None);
    }
}
