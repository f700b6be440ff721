//! The paths of entries, out of what is above them in the tree.

use std::collections::HashMap;

use bytes::Bytes;

/// Paths by the ids of their entries.
pub type Paths = HashMap<Vec<u8>, String>;

/// An entry on the way from others to the root folder.
#[derive(Debug, sqlx::FromRow)]
pub struct Above {
    /// Its id.
    pub id: Vec<u8>,
    /// The folder it is in; none for a root folder.
    pub parent: Option<Vec<u8>>,
    /// Its name there.
    pub name: String,
    /// It was deleted.
    pub is_deleted: bool,
}

/// The paths of entries, given with everything above all of them; without those that are deleted, or
/// below something that is.
#[must_use]
pub fn place<'a>(
    entries: impl IntoIterator<Item = &'a Bytes>,
    above: impl IntoIterator<Item = Above>,
) -> Paths {
    let above = above.into_iter().map(|entry| (entry.id.clone(), entry));
    let above: HashMap<Vec<u8>, Above> = above.collect();
    let placed = entries.into_iter().filter_map(|id| {
        let path = path_up(&above, id)?;
        Some((id.to_vec(), path))
    });
    placed.collect()
}

fn path_up(above: &HashMap<Vec<u8>, Above>, id: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    let mut entry = above.get(id)?;
    while let Some(parent) = &entry.parent {
        if entry.is_deleted {
            return None;
        }
        names.push(entry.name.as_str());
        entry = above.get(parent)?;
    }
    let mut path = String::new();
    for name in names.into_iter().rev() {
        path.push('/');
        path.push_str(name);
    }
    Some(path)
}
