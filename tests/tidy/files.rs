//! The files of the repository: which there are, what is in them, what they are called.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders that hold Rust code.
const RUST: &[&str] = &["src", "tests", "benches", "examples", "loadtest"];

/// The repository. `TIDY_ROOT` names another tree to look at, such as an older state.
pub(crate) fn root() -> PathBuf {
    env::var_os("TIDY_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// All files below `path` whose name ends in `ending`, or `path` itself if it is a file.
pub(crate) fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All Rust files of the repository.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    RUST.iter().flat_map(|folder| files(&root().join(folder), ".rs")).collect()
}

pub(crate) fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    assert!(text.is_ok(), "{} cannot be read", path.display());
    text.unwrap_or_default()
}

/// The path from the root of the repository.
pub(crate) fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
