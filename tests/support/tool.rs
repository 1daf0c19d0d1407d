//! Tools that `./scripts/test` makes, and what happens to a test whose tool is missing.

use std::path::PathBuf;

/// A tool that a variable names. Without it the test is left out, loudly; in CI that is a failure.
pub(crate) fn tool(variable: &str, test: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    leave_out(test, &format!("{variable} is not set; ./scripts/test sets it"));
    None
}

/// Says that a test is left out; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "what is left out is said loudly")]
pub(crate) fn leave_out(test: &str, why: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{test}: {why}; in CI nothing is left out");
    eprintln!("!!! LEFT OUT: {test}: {why}");
}
