//! Write locks of WebDAV.

use crate::{dav::Lock, path};

/// Is what is at a path locked by this lock? (RFC 4918 section 7.4)
#[must_use]
pub fn covers(lock: &Lock, path: &str) -> bool {
    lock.path == path || (lock.infinite && path::is_below(path, &lock.path))
}
