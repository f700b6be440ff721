//! What is told again about an upload, in its note.

use ::http::HeaderMap;
use cloudstore_service::{Problem, Result};
use serde::{Deserialize, Serialize};

use super::{UPLOAD_CONCAT, UPLOAD_METADATA, concat::Concat, text};
use crate::dialect::malformed;

/// Bytes that the note of an upload may have.
const MAX_BYTES: usize = 8 << 10;

/// Fields of the creation, as they were received. Uploads of other dialects have none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    #[serde(default, rename = "m", skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    #[serde(default, rename = "c", skip_serializing_if = "Option::is_none")]
    concat: Option<String>,
}

impl Note {
    pub(super) fn new(metadata: Option<&str>, concat: Option<&str>) -> Self {
        Self {
            metadata: metadata.map(str::to_owned),
            concat: concat.map(str::to_owned),
        }
    }

    /// The note of an upload; what another dialect wrote says nothing here.
    pub(super) fn read(note: &str) -> Self {
        serde_json::from_str(note).unwrap_or_default()
    }

    /// As it is kept.
    pub(super) fn write(&self) -> Result<String> {
        let note = serde_json::to_string(self).map_err(Problem::internal)?;
        if note.len() > MAX_BYTES {
            return Err(malformed("Upload-Metadata and Upload-Concat are too long"));
        }
        Ok(note)
    }

    /// What was said about its parts.
    pub(super) fn concat(&self) -> Concat {
        Concat::parse(self.concat.as_deref()).unwrap_or(Concat::None)
    }

    /// Repeats the fields.
    pub(super) fn echo(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (UPLOAD_METADATA, &self.metadata),
            (UPLOAD_CONCAT, &self.concat),
        ] {
            if let Some(value) = value {
                headers.insert(name, text(value));
            }
        }
    }
}
