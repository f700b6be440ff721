//! `--include` and `--exclude`.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};

/// Which files of a tree are sent. Paths are relative to the top of the tree.
pub(crate) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Compiles the patterns.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let include = if include.is_empty() {
            None
        } else {
            Some(compile(include)?)
        };
        Ok(Self {
            include,
            exclude: compile(exclude)?,
        })
    }

    /// Send this file?
    pub(crate) fn takes_file(&self, path: &Path) -> bool {
        let included = self
            .include
            .as_ref()
            .is_none_or(|include| include.is_match(path));
        included && !self.exclude.is_match(path)
    }

    /// Look into this folder?
    pub(crate) fn enters_folder(&self, path: &Path) -> bool {
        !self.exclude.is_match(path)
    }

    /// Folders without a chosen file are sent too.
    pub(crate) fn keeps_empty_folders(&self) -> bool {
        self.include.is_none()
    }
}

/// A pattern without a slash in it matches a name at any depth, any other from the top.
fn compile(patterns: &[String]) -> Result<GlobSet> {
    let wrong = |error: &globset::Error| Error::usage(format!("not a valid pattern: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let whole = pattern.trim_end_matches('/');
        let anchored = match whole.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if whole.contains('/') => whole.to_owned(),
            None => format!("**/{whole}"),
        };
        let glob = GlobBuilder::new(&anchored).literal_separator(true).build();
        set.add(glob.map_err(|error| wrong(&error))?);
    }
    set.build().map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Filter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn names_at_any_depth_paths_from_the_top() {
        let filter = filter(&[], &["*.o", "/build", "a/*.tmp", "node_modules/"]);
        for out in [
            "x.o",
            "a/b/x.o",
            "build",
            "a/x.tmp",
            "deep/down/node_modules",
        ] {
            assert!(!filter.takes_file(Path::new(out)), "{out}");
        }
        for kept in ["x.c", "sub/build", "a/b/x.tmp", "node_modules.txt"] {
            assert!(filter.takes_file(Path::new(kept)), "{kept}");
        }
        assert!(!filter.enters_folder(Path::new("build")));
    }

    #[test]
    fn includes_choose_files_and_excludes_win() {
        let filter = filter(&["*.rs", "docs/**"], &["secret*"]);
        assert!(filter.takes_file(Path::new("src/main.rs")));
        assert!(filter.takes_file(Path::new("docs/a/b.md")));
        assert!(!filter.takes_file(Path::new("README.md")));
        assert!(!filter.takes_file(Path::new("secret.rs")));
        assert!(
            filter.enters_folder(Path::new("src")),
            "an include may match below"
        );
        assert!(!filter.keeps_empty_folders());
    }

    #[test]
    fn a_broken_pattern_is_a_usage_error() {
        let error = Filter::new(&["a[".to_owned()], &[]).err().unwrap();
        assert_eq!(error.exit(), crate::error::Exit::Usage);
    }
}
