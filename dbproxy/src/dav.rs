//! Rules of WebDAV (RFC 4918) that do not depend on the database: what a lock covers, which locks
//! exclude each other, which changes they stop, and how much an account may have of it all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cloudstore_proto::{
    dav::{Lock, LockRequest, PropertyChange},
    file::{Entry, EntryKind, Precondition},
    lock::covers,
    path,
};
use cloudstore_service::{Kind, Problem, Result};

/// Locks of an account: all of them are read when one is asked for, and a client holds one for each
/// file that somebody has open.
pub const MAX_LOCKS: usize = 1_000;
/// Properties of an entry. Clients have a handful.
pub const MAX_PROPERTIES: usize = 100;
/// Bytes of all properties of an entry, with their names.
pub const MAX_PROPERTY_BYTES: usize = 32 << 10;
/// Entries that one call copies: it is one transaction, and others of the account wait for it.
pub const MAX_COPIED: usize = 10_000;
/// Bytes of the properties that one call copies, with their names. No quota counts them, and with
/// [`MAX_PROPERTY_BYTES`] for each of [`MAX_COPIED`] entries one call would write 312 MiB.
pub const MAX_COPIED_PROPERTY_BYTES: usize = 16 << 20;

/// How much of what is at a path a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Content or properties of the entry.
    Entry,
    /// Also that its folder has it: it is made.
    Membership,
    /// Also everything below it: it is moved, removed or replaced.
    Tree,
}

/// A path that a change concerns.
#[derive(Clone, Copy, Debug)]
pub struct Touched<'p> {
    /// In normal form.
    pub path: &'p str,
    /// How much of it.
    pub extent: Extent,
}

impl<'p> Touched<'p> {
    /// A path with everything below it.
    #[must_use]
    pub const fn tree(path: &'p str) -> Self {
        Self {
            path,
            extent: Extent::Tree,
        }
    }

    /// A path that gets content, given what is there.
    #[must_use]
    pub fn written(path: &'p str, there: Option<&Entry>) -> Self {
        let extent = if there.is_some() {
            Extent::Entry
        } else {
            Extent::Membership
        };
        Self { path, extent }
    }

    /// A lock on a folder protects its list of members, whatever the lock's depth (RFC 4918 section
    /// 7.4).
    fn is_held_by(&self, lock: &Lock) -> bool {
        covers(lock, self.path)
            || (self.extent != Extent::Entry && lock.path == path::parent(self.path))
            || (self.extent == Extent::Tree && path::is_below(&lock.path, self.path))
    }
}

/// Tokens of a caller that asks about locks; `None` of one that does not.
#[must_use]
pub fn tokens(precondition: Option<&Precondition>) -> Option<&[Bytes]> {
    let locks = precondition?.locks.as_ref()?;
    Some(&locks.tokens)
}

/// May somebody with these tokens change that? Of shared locks on one path any will do, of exclusive
/// ones it has to be the one.
///
/// # Errors
/// `Locked`.
pub fn check(locks: &[Lock], tokens: &[Bytes], touched: &[Touched<'_>]) -> Result<()> {
    let held = |lock: &&Lock| touched.iter().any(|touched| touched.is_held_by(lock));
    let held: Vec<&Lock> = locks.iter().filter(held).collect();
    let open: BTreeSet<&str> = held
        .iter()
        .filter(|lock| tokens.contains(&lock.token))
        .map(|lock| &*lock.path)
        .collect();
    match held.iter().find(|lock| !open.contains(&*lock.path)) {
        Some(lock) => Err(locked(lock)),
        None => Ok(()),
    }
}

/// May this lock be taken beside those that there are?
///
/// # Errors
/// `Locked`, and `LimitReached`.
pub fn admit(locks: &[Lock], new: &LockRequest) -> Result<()> {
    let conflict = locks.iter().find(|lock| {
        let meet =
            covers(lock, &new.path) || (new.infinite && path::is_below(&lock.path, &new.path));
        meet && !(lock.shared && new.shared)
    });
    if let Some(lock) = conflict {
        return Err(locked(lock));
    }
    if locks.len() >= MAX_LOCKS {
        let detail = format!("an account has at most {MAX_LOCKS} locks");
        return Err(Problem::new(Kind::LimitReached, detail));
    }
    Ok(())
}

fn locked(lock: &Lock) -> Problem {
    Problem::new(Kind::Locked, "this is locked by somebody else").with("locked", &lock.path)
}

/// A lock that covers the path and has this token.
///
/// # Errors
/// `NotFound`.
pub fn find(locks: Vec<Lock>, token: &Bytes, path: &str) -> Result<Lock> {
    let mut locks = locks.into_iter();
    let found = locks.find(|lock| lock.token == *token && covers(lock, path));
    found.ok_or_else(|| crate::rules::not_found("lock on this path"))
}

/// What may be put in the place of what: the source and all that leads to it, the target likewise, and
/// whether what is there may go.
///
/// # Errors
/// `NameConflict`, and `InvalidPath` when one of the two is below the other.
pub fn check_replacing(
    source_passes: impl Fn(&Bytes) -> bool,
    there: Option<&Entry>,
    replace: bool,
) -> Result<()> {
    match there {
        None => Ok(()),
        Some(_) if !replace => Err(crate::rules::name_conflict()),
        Some(there) if source_passes(&there.id) => {
            let detail = "an entry cannot take the place of a folder that it is in, or its own";
            Err(Problem::new(Kind::InvalidPath, detail))
        }
        Some(_) => Ok(()),
    }
}

/// A folder must not get into itself.
///
/// # Errors
/// `InvalidPath`.
pub fn check_inside(entry: &Entry, target_passes: impl Fn(&Bytes) -> bool) -> Result<()> {
    if entry.kind() == EntryKind::Folder && target_passes(&entry.id) {
        let detail = "a folder cannot be moved or copied into itself";
        return Err(Problem::new(Kind::InvalidPath, detail));
    }
    Ok(())
}

/// Refuses to copy more than one call does.
///
/// # Errors
/// `LimitReached`.
pub fn check_copied(entries: usize) -> Result<()> {
    if entries <= MAX_COPIED {
        return Ok(());
    }
    let detail = format!("more than {MAX_COPIED} entries in one copy: copy its folders one by one");
    Err(Problem::new(Kind::LimitReached, detail))
}

/// Refuses to copy more bytes of properties than one call does.
///
/// # Errors
/// `LimitReached`.
pub fn check_copied_properties(bytes: i64) -> Result<()> {
    if usize::try_from(bytes).is_ok_and(|bytes| bytes <= MAX_COPIED_PROPERTY_BYTES) {
        return Ok(());
    }
    let detail = format!(
        "more than {MAX_COPIED_PROPERTY_BYTES} bytes of WebDAV properties in one copy: copy its folders \
        one by one"
    );
    Err(Problem::new(Kind::LimitReached, detail))
}

/// A copy of an entry, with its own id. The time of a file is that of its content.
#[must_use]
pub fn copied(entry: Entry, id: Bytes, now: i64) -> Entry {
    let modified_at_ms = match entry.kind() {
        EntryKind::Folder => now,
        _ => entry.modified_at_ms,
    };
    Entry {
        id,
        created_at_ms: now,
        modified_at_ms,
        version: 1,
        ..entry
    }
}

/// Properties by namespace and name.
pub type Properties = BTreeMap<(String, String), String>;

/// Makes changes to the properties of an entry, in order.
///
/// # Errors
/// `LimitReached`.
pub fn patch(properties: &mut Properties, changes: &[PropertyChange]) -> Result<()> {
    for change in changes {
        let property = change.property.clone().unwrap_or_default();
        let key = (property.namespace, property.name);
        if change.remove {
            properties.remove(&key);
        } else {
            properties.insert(key, property.xml);
        }
    }
    let bytes: usize = properties
        .iter()
        .map(|((namespace, name), xml)| namespace.len() + name.len() + xml.len())
        .sum();
    if properties.len() > MAX_PROPERTIES || bytes > MAX_PROPERTY_BYTES {
        let detail = format!(
            "an entry has at most {MAX_PROPERTIES} properties of together {MAX_PROPERTY_BYTES} bytes"
        );
        return Err(Problem::new(Kind::LimitReached, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cloudstore_proto::dav::Property;

    use super::*;

    fn lock(token: u8, path: &str, infinite: bool, shared: bool) -> Lock {
        Lock {
            token: vec![token; 16].into(),
            path: path.to_owned(),
            infinite,
            shared,
            ..Lock::default()
        }
    }

    #[test]
    fn what_a_lock_stops() {
        let (flat, deep) = (lock(1, "/a", false, false), lock(1, "/a", true, false));
        for (lock, path, extent, stops) in [
            (&flat, "/a", Extent::Entry, true),
            (&flat, "/a/b", Extent::Entry, false),
            (&flat, "/a/b", Extent::Membership, true),
            (&flat, "/a/b/c", Extent::Membership, false),
            (&flat, "/", Extent::Membership, false),
            (&flat, "/", Extent::Tree, true),
            (&deep, "/a/b/c", Extent::Entry, true),
            (&deep, "/ab", Extent::Tree, false),
        ] {
            let touched = [Touched { path, extent }];
            let locks = [lock.clone()];
            let found = check(&locks, &[], &touched).is_err();
            assert_eq!(found, stops, "{} {path} {extent:?}", lock.infinite);
            assert!(check(&locks, std::slice::from_ref(&lock.token), &touched).is_ok());
            assert!(check(&locks, &[vec![9; 16].into()], &touched).is_ok() != stops);
        }
    }

    #[test]
    fn one_of_several_shared_locks_is_enough() {
        let locks = [lock(1, "/a", true, true), lock(2, "/a", true, true)];
        let touched = [Touched::tree("/a")];
        assert!(check(&locks, &[locks[1].token.clone()], &touched).is_ok());
        assert_eq!(
            check(&locks, &[], &touched).unwrap_err().kind(),
            Kind::Locked
        );
    }

    #[test]
    fn which_locks_exclude_each_other() {
        let ask = |path: &str, infinite: bool, shared: bool| LockRequest {
            path: path.to_owned(),
            infinite,
            shared,
            ..LockRequest::default()
        };
        for (there, new, admitted) in [
            (lock(1, "/a", false, false), ask("/a", false, false), false),
            (lock(1, "/a", false, false), ask("/a", false, true), false),
            (lock(1, "/a", false, true), ask("/a", false, true), true),
            (lock(1, "/a", false, true), ask("/a", false, false), false),
            (lock(1, "/a", false, false), ask("/a/b", false, false), true),
            (lock(1, "/a", true, false), ask("/a/b", false, false), false),
            (lock(1, "/a/b", false, false), ask("/a", false, false), true),
            (lock(1, "/a/b", false, false), ask("/a", true, false), false),
            (lock(1, "/a/b", false, true), ask("/a", true, true), true),
        ] {
            let found = admit(std::slice::from_ref(&there), &new).is_ok();
            assert_eq!(found, admitted, "{there:?} {new:?}");
        }
        let many: Vec<Lock> = (0..MAX_LOCKS)
            .map(|n| lock(1, &format!("/{n}"), false, false))
            .collect();
        let refused = admit(&many, &ask("/a", false, false)).unwrap_err();
        assert_eq!(refused.kind(), Kind::LimitReached);
    }

    #[test]
    fn properties_change_in_order_and_within_bounds() {
        let change = |name: &str, xml: &str, remove| PropertyChange {
            property: Some(Property {
                namespace: "n".to_owned(),
                name: name.to_owned(),
                xml: xml.to_owned(),
            }),
            remove,
        };
        let mut properties = Properties::new();
        let changes = [
            change("a", "1", false),
            change("a", "", true),
            change("b", "", true),
            change("b", "2", false),
        ];
        patch(&mut properties, &changes).unwrap();
        let key = ("n".to_owned(), "b".to_owned());
        assert_eq!(properties, Properties::from([(key, "2".to_owned())]));
        let long = change("c", &"x".repeat(MAX_PROPERTY_BYTES), false);
        let refused = patch(&mut properties.clone(), &[long]).unwrap_err();
        assert_eq!(refused.kind(), Kind::LimitReached);
        let many: Vec<_> = (0..=MAX_PROPERTIES)
            .map(|n| change(&n.to_string(), "", false))
            .collect();
        assert!(patch(&mut properties, &many).is_err());
    }
}
