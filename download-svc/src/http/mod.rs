//! HTTP on top of the rest: extractors, handlers, headers.

pub(crate) mod archive;
pub(crate) mod content;
pub(crate) mod dav;
pub(crate) mod docs;
pub(crate) mod files;
mod multipart;
mod path;
pub(crate) mod search;
pub(crate) mod shares;
pub(crate) mod trash;
pub(crate) mod web;
