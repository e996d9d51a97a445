//! The project's files.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories and files that are ours: what is generated or built is none of them.
const OURS: [&str; 9] = ["src", "tests", "stdlib", "scripts", "docs", ".ci", ".config", "README.md", "Cargo.toml"];

/// The package's directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of ours, by its path in the package.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file of ours, as paths in the package, sorted.
pub fn all() -> Vec<String> {
    let mut found = Vec::new();
    for name in OURS {
        walk(&root().join(name), &mut found);
    }
    found.sort();
    found
}

/// Every file of ours under a directory that ends in `suffix`.
pub fn under(directory: &str, suffix: &str) -> Vec<String> {
    let prefix = format!("{directory}/");
    all().into_iter().filter(|p| p.starts_with(&prefix) && p.ends_with(suffix)).collect()
}

fn walk(path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).expect("a directory of the package").map(|e| e.expect("its entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| walk(entry, found));
    } else if path.is_file() {
        let relative = path.strip_prefix(root()).expect("walked from the root");
        found.push(relative.to_str().expect("our names are plain").to_owned());
    }
}
