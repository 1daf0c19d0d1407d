//! The rules of the house that no compiler and no linter knows: which room may open which door, where
//! large crates live, how long a file may grow, and whether the documents tell the truth.
//!
//! *How.* The sources are read as tokens (`rust.rs`), so that a comment, a doc link or a string never
//! counts as code. The rules bind production code: items under `#[cfg(test)]` and the files that such
//! an item declares are left out, unless a rule says otherwise. Each rule is one test, and each
//! failure names file and line and says what to do.
//!
//! *Not here.* What clippy can see: length of functions, reasons of `#[expect]`, bounded channels,
//! `tokio::spawn` (`Cargo.toml`, `.clippy.toml`); which crates may come in at all (`deny.toml`).

mod documents;
mod doors;
mod rust;
mod texts;
mod tree;

/// Fails with every violation at once.
#[track_caller]
fn hold(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violation(s)\n\n  {}\n",
        violations.len(),
        violations.join("\n  ")
    );
}
