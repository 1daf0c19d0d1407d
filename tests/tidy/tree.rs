//! The files of the project, as the rules see them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rust::{self, Token};

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the project's root, with `/`.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// Every token.
    pub(crate) tokens: Vec<Token>,
    /// Tokens outside of tests.
    pub(crate) production: Vec<Token>,
    /// Lines outside of tests, comments and empty lines included.
    pub(crate) production_lines: usize,
}

impl Source {
    /// The folder under `src`, or an empty word for `lib.rs`, `main.rs` and files elsewhere.
    pub(crate) fn room(&self) -> &str {
        self.path
            .strip_prefix("src/")
            .and_then(|rest| rest.split_once('/'))
            .map_or("", |(room, _file)| room)
    }

    /// How many `super` lead from this file's module to the crate's root.
    pub(crate) fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let folders = inside.matches('/').count();
        folders + usize::from(!inside.ends_with("mod.rs"))
    }
}

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, which must exist.
pub(crate) fn read(path: &str) -> String {
    let bytes = fs::read(root().join(path)).expect(path);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Production sources: files under `src` that no `#[cfg(test)]` item declares.
pub(crate) fn production() -> Vec<Source> {
    let sources = sources(&["src"]);
    let tests: Vec<String> = sources.iter().flat_map(rust::test_modules).collect();
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    sources.into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// Every Rust file under these folders, those that do not exist left out.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut files);
    }
    files.sort();
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| load(path))
        .collect()
}

/// The names of the folders directly under `src`.
pub(crate) fn rooms() -> Vec<String> {
    let mut rooms: Vec<String> = fs::read_dir(root().join("src"))
        .expect("src can be listed")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    rooms.sort();
    rooms
}

/// Every file that belongs to the project: what git tracks or would track, and without git all but
/// `target`.
pub(crate) fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        return String::from_utf8_lossy(&listed.stdout)
            .split('\0')
            .filter(|path| !path.is_empty() && root().join(path).is_file())
            .map(ToOwned::to_owned)
            .collect();
    }
    let mut files = Vec::new();
    walk(root(), &mut files);
    files.iter().map(|path| relative(path)).collect()
}

fn load(path: &Path) -> Source {
    let path = relative(path);
    let text = read(&path);
    let tokens = rust::tokens(&text);
    let (production, test_lines) = rust::without_tests(&tokens);
    let production_lines = text.lines().count().saturating_sub(test_lines);
    Source { path, text, tokens, production, production_lines }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_build = folder == root() && (path.ends_with("target") || path.ends_with(".git"));
        if path.is_dir() && !is_build {
            walk(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}
