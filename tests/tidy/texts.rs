//! What no file may hold or lack, whatever its room.

use crate::{
    hold,
    rust::begins,
    tree::{self, Source},
};

/// Production lines of a file: what a reader can keep in mind in one sitting, twice over.
const MAX_FILE_LINES: usize = 500;

/// Words of unfinished work, wherever they stand. Joined, so that this file does not hold them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Code that makes a test slow, silent or lucky.
const LUCK: [(&[&str], &str); 2] = [
    (&["#", "[", "ignore"], "a test that does not run proves nothing; make it run, or take it out"),
    (
        &["thread", "::", "sleep"],
        "a sleep hides a race; wait for the event itself, with a deadline",
    ),
];

/// Where a rule of this file may be broken: path, the word, and why there is no other way. An entry
/// that is not needed is a violation too.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "src/telemetry/access_log.rs",
        "thread::sleep",
        "the writer is a thread of its own and naps between batches, because waking it for each \
         record costs the data plane more than the record; its test lets it fall asleep",
    ),
    (
        "src/bench/tests.rs",
        "thread::sleep",
        "the pause is what is tested: a generator that stands still must not hide it",
    ),
];

/// Paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me"), concat!("/Use", "rs")];

/// Hosts of package registries: which mirror a machine uses is the machine's affair.
const REGISTRY_HOSTS: [&str; 8] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("maven.apache", ".org/maven2"),
];

const RUST_FOLDERS: [&str; 3] = ["src", "tests", "benches"];

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let violations: Vec<String> = tree::production()
        .iter()
        .filter(|source| source.production_lines > MAX_FILE_LINES)
        .map(|source| {
            format!(
                "{}:{MAX_FILE_LINES}: {} lines without tests, at most {MAX_FILE_LINES}; find the \
                 second subject in it and give that a file",
                source.path, source.production_lines
            )
        })
        .collect();
    hold(&violations);
}

#[test]
fn every_file_says_first_what_lives_in_it() {
    let violations: Vec<String> = tree::sources(&RUST_FOLDERS)
        .iter()
        .filter(|source| {
            let first = source.text.lines().next().unwrap_or_default();
            first.strip_prefix("//! ").is_none_or(|rest| rest.trim().is_empty())
        })
        .map(|source| {
            format!("{}:1: begin with `//! ` and one sentence on what lives here", source.path)
        })
        .collect();
    hold(&violations);
}

#[test]
fn no_work_is_left_for_later() {
    let mut violations = Vec::new();
    for source in tree::sources(&RUST_FOLDERS) {
        for (number, line) in (1..).zip(source.text.lines()) {
            for word in UNFINISHED {
                let is_whole = line.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
                if is_whole && !is_exempt(&source.path, word) {
                    violations.push(format!(
                        "{}:{number}: `{word}`: do it now, or file an issue and say in a sentence \
                         what is missing",
                        source.path
                    ));
                }
            }
        }
    }
    hold(&violations);
}

#[test]
fn no_test_is_skipped_and_none_sleeps() {
    let mut violations = Vec::new();
    for source in tree::sources(&RUST_FOLDERS) {
        for (line, what, instead) in luck(&source) {
            if !is_exempt(&source.path, &what) {
                violations.push(format!("{}:{line}: `{what}`: {instead}", source.path));
            }
        }
    }
    hold(&violations);
}

#[test]
fn every_exception_is_needed() {
    let sources = tree::sources(&RUST_FOLDERS);
    let violations: Vec<String> = EXCEPTIONS
        .iter()
        .filter(|(path, word, _)| {
            !sources.iter().any(|source| {
                source.path == *path
                    && (source.text.contains(word)
                        || luck(source).iter().any(|(_, what, _)| what == word))
            })
        })
        .map(|(path, word, _)| {
            format!("tests/tidy/texts.rs: the exception of {path} for `{word}` is not needed")
        })
        .collect();
    hold(&violations);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut violations = Vec::new();
    // The lock file names the index of crates.io by itself.
    for path in tree::tracked().iter().filter(|path| *path != "Cargo.lock") {
        for (number, line) in (1..).zip(tree::read(path).lines()) {
            for machine in MACHINE_PATHS.iter().filter(|machine| names_path(line, machine)) {
                violations.push(format!(
                    "{path}:{number}: `{machine}` exists on one machine; use a relative path, \
                     CARGO_MANIFEST_DIR or a temporary folder"
                ));
            }
            for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
                violations.push(format!(
                    "{path}:{number}: `{host}`: name the package, not the registry's host; the \
                     machine's own settings say where packages come from"
                ));
            }
        }
    }
    hold(&violations);
}

fn is_exempt(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(exempt, exempt_word, _)| *exempt == path && *exempt_word == word)
}

fn luck(source: &Source) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for (start, token) in source.tokens.iter().enumerate() {
        let rest = source.tokens.get(start..).unwrap_or_default();
        for (words, instead) in LUCK {
            if begins(rest, words) {
                found.push((token.line, words.concat(), instead));
            }
        }
    }
    found
}

/// Whether the line holds `path` as the beginning of an absolute path, not as a part of a longer one.
fn names_path(line: &str, path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + path.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(|c| is_name(c) || matches!(c, '/' | '~' | '}' | ')'))
            && !after.is_some_and(is_name)
    })
}

#[test]
fn a_path_of_one_machine_is_told_from_the_middle_of_another_path() {
    let [work, root, ..] = MACHINE_PATHS;
    assert!(names_path(&format!("cd {work}/main"), work));
    assert!(names_path(&format!("\"{root}\""), root));
    assert!(!names_path(&format!("net{work}/x and a{root}s"), work));
    assert!(!names_path(&format!("{root}less"), root));
    assert!(!names_path(&format!("https://x.example{work}"), work));
}
