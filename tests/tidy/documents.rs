//! Whether the documents tell the truth about the house: rooms, doors, files, commands, tests.

use std::{collections::BTreeSet, path::Path};

use crate::{
    doors::{DOORS, EVERY_ROOM},
    hold, tree,
};

/// The documents for people, at the top and under `docs`.
fn documents() -> Vec<String> {
    let is_document = |path: &String| Path::new(path).extension().is_some_and(|e| e == "md");
    tree::tracked().into_iter().filter(is_document).collect()
}

/// The map's table has a line for each room: its name, what lives there, which rooms it may import.
#[test]
fn the_map_shows_every_room_and_its_doors_and_nothing_else() {
    let map = tree::read("ARCHITECTURE.md");
    let mut violations = Vec::new();
    let mut shown = BTreeSet::new();
    for (line, row) in section(&map, "## Rooms") {
        let cells: Vec<&str> = row.trim().trim_matches('|').split('|').collect();
        let (true, [name, .., doors]) = (row.starts_with("| `"), cells.as_slice()) else {
            continue;
        };
        let name = quoted(name).first().copied().unwrap_or_default();
        let Some((_, allowed)) = DOORS.iter().find(|(room, _)| *room == name) else {
            violations
                .push(format!("ARCHITECTURE.md:{line}: there is no room `{name}`; take it out"));
            continue;
        };
        shown.insert(name.to_owned());
        let mut drawn = quoted(doors);
        if doors.contains(EVERY_ROOM) {
            drawn.push(EVERY_ROOM);
        }
        if drawn != **allowed {
            violations.push(format!(
                "ARCHITECTURE.md:{line}: `{name}` may import {}, as tests/tidy/doors.rs says, in \
                 that order",
                allowed.join(", ")
            ));
        }
    }
    let missing = tree::rooms().into_iter().filter(|room| !shown.contains(room));
    violations.extend(missing.map(|room| {
        format!("ARCHITECTURE.md: the table under `## Rooms` lacks `{room}`; add a line")
    }));
    hold(&violations);
}

/// A name in backquotes that looks like a path of ours, and every relative link, is a file.
#[test]
fn documents_name_only_files_that_exist() {
    let mut violations = Vec::new();
    for document in documents() {
        let text = tree::read(&document);
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in (1..).zip(text.lines()) {
            let named = quoted(line).into_iter().filter(|name| looks_like_ours(name));
            let near = links(line).into_iter().map(|link| (folder, link));
            for (base, name) in named.map(|name| ("", name)).chain(near) {
                let path = tree::root().join(base).join(name);
                if !path.exists() {
                    violations.push(format!(
                        "{document}:{number}: `{name}` does not exist; name what does"
                    ));
                }
            }
        }
    }
    hold(&violations);
}

/// Below `## Invariants`, a name in backquotes with underscores is a test.
#[test]
fn every_invariant_of_the_map_is_a_test() {
    let functions: BTreeSet<String> = tree::sources(&["src", "tests"])
        .iter()
        .flat_map(|source| {
            source
                .tokens
                .windows(2)
                .filter_map(|pair| match pair {
                    [keyword, name] if keyword.text == "fn" => Some(name.text.clone()),
                    _ => None,
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let map = tree::read("ARCHITECTURE.md");
    let mut violations = Vec::new();
    let mut count = 0;
    for (line, text) in section(&map, "## Invariants") {
        for name in quoted(text).into_iter().filter(|name| is_test_name(name)) {
            count += 1;
            if !functions.contains(name) {
                violations.push(format!(
                    "ARCHITECTURE.md:{line}: no test `{name}`; name the test that holds this"
                ));
            }
        }
    }
    assert!(count > 0, "ARCHITECTURE.md: the section `## Invariants` names no test");
    hold(&violations);
}

/// The README promises two commands: one that runs the router and one that runs every test. The
/// second is what CI runs, letter by letter.
#[test]
fn ci_runs_the_test_command_that_the_readme_shows() {
    let readme = tree::read("README.md");
    let commands: Vec<&str> = fenced(section(&readme, "## Two commands"));
    let [run, test] = commands.as_slice() else {
        assert_eq!(commands.len(), 2, "README.md: `## Two commands` shows {commands:?}");
        return;
    };
    assert!(run.starts_with("cargo run "), "README.md: the first command is `{run}`");
    let ci = tree::read(".ci/run");
    let runs =
        ci.lines().filter(|line| !line.starts_with('#') && line.ends_with(&format!(" {test}")));
    assert_eq!(runs.count(), 1, ".ci/run: one line ends with the README's `{test}`");
}

/// The page on security has every limit that the page on configuration has, and every flag that sets
/// one, with the same value. The page on configuration is held to the code beside the settings.
#[test]
fn the_page_on_security_shows_every_limit_and_its_flag() {
    let (configuration, security) =
        (tree::read("docs/configuration.md"), tree::read("docs/security.md"));
    let shown: Vec<&str> =
        section(&security, "## Limits").into_iter().map(|(_, line)| line).collect();
    let mut violations = Vec::new();
    let mut count = 0;
    for (line, row) in section(&configuration, "## Limits without a flag") {
        let [_, limit, value, ..] = row.split('|').collect::<Vec<_>>()[..] else { continue };
        if limit.contains("---") || limit.trim() == "limit" {
            continue;
        }
        count += 1;
        let same = format!("|{limit}|{value}|");
        if !shown.iter().any(|row| row.starts_with(&same)) {
            violations.push(format!(
                "docs/security.md: the limit of docs/configuration.md:{line} is missing or has \
                 another value; add the row `{same}`"
            ));
        }
    }
    let ends = ["-max", "-limit", "-timeout", "-burst", "-rate", "-per-address", "-per-connection"];
    for (line, row) in section(&configuration, "## Flags, variables and the file") {
        let [_, flag, _, _, default, ..] = row.split('|').collect::<Vec<_>>()[..] else { continue };
        let flag = quoted(flag).first().and_then(|flag| flag.split(' ').next());
        let Some(flag) = flag.filter(|flag| ends.iter().any(|end| flag.ends_with(end))) else {
            continue;
        };
        count += 1;
        let same = format!("|{default}| `{flag}` |");
        if !shown.iter().any(|row| row.ends_with(&same)) {
            violations.push(format!(
                "docs/security.md: the limit of docs/configuration.md:{line} is missing or has \
                 another value; end a row with `{same}`"
            ));
        }
    }
    assert!(count > 10, "docs/configuration.md shows {count} limits; has its form changed?");
    hold(&violations);
}

/// The lines below a heading, to the next one of the same rank, with their numbers.
fn section<'text>(text: &'text str, heading: &'text str) -> Vec<(usize, &'text str)> {
    (1..)
        .zip(text.lines())
        .skip_while(|(_, line)| *line != heading)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .collect()
}

/// The lines inside of fences.
fn fenced(lines: Vec<(usize, &str)>) -> Vec<&str> {
    let mut is_inside = false;
    let mut inside = Vec::new();
    for (_, line) in lines {
        if line.starts_with("```") {
            is_inside = !is_inside;
        } else if is_inside && !line.trim().is_empty() {
            inside.push(line);
        }
    }
    inside
}

/// What stands between backquotes.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of relative Markdown links, without their anchors.
fn links(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|link| link.split('#').next().unwrap_or(link))
        .filter(|link| !link.is_empty() && !link.contains("://"))
        .collect()
}

fn looks_like_ours(name: &str) -> bool {
    let folders =
        ["src/", "tests/", "benches/", "docs/", "examples/", "scripts/", ".ci/", "deploy/"];
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    is_plain && folders.iter().any(|folder| name.starts_with(folder))
}

fn is_test_name(name: &str) -> bool {
    name.contains('_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
