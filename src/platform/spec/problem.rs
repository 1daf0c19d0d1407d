//! One problem of an input, with the place where it stands.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The most problems that one load reports. Whoever has more fixes these first; and a hostile file
/// cannot make the report longer than itself.
pub const PROBLEMS_MAX: usize = 100;
/// The most characters of a text from the input that a message repeats.
const QUOTED_CHARACTERS_MAX: usize = 64;

/// A place in a file. Line 0 is no place: values of an object have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// What is wrong (or, as a warning, surprising) and where. Never repeats a value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was given, or `NAMESPACE/NAME` of an object.
    pub file: PathBuf,
    /// Where in the file; `None` when the file as a whole is meant, and for objects.
    pub mark: Option<Mark>,
    /// The field, for example `spec.versions[1].trafficPercentile`; empty for a whole document.
    pub path: String,
    /// The thing, the limit and what to do.
    pub message: String,
}

/// `file:line:column: path: message`; what is unknown is left out.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(mark) = self.mark {
            write!(f, "{mark}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

impl Mark {
    /// Of a value that stands in no text.
    pub(super) const NOWHERE: Self = Self { line: 0, column: 0 };

    /// `None` for [`Self::NOWHERE`].
    pub(super) fn known(self) -> Option<Self> {
        (self != Self::NOWHERE).then_some(self)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Problems and warnings as they are found, in any order and up to a bound.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    omitted: bool,
}

impl Report {
    /// Takes a problem, unless it is known already or there are enough.
    pub(super) fn problem(&mut self, problem: Problem) {
        Self::take(&mut self.problems, problem, &mut self.omitted);
    }

    /// Takes a warning, unless it is known already or there are enough.
    pub(super) fn warn(&mut self, warning: Problem) {
        Self::take(&mut self.warnings, warning, &mut false);
    }

    /// A problem of a file as a whole.
    pub(super) fn file(&mut self, file: &Path, message: impl Into<String>) {
        self.problem(Problem {
            file: file.to_owned(),
            mark: None,
            path: String::new(),
            message: message.into(),
        });
    }

    /// Whether further problems would be dropped, so that looking for them is pointless. Whoever
    /// then stops looking may have missed some, and the report says so.
    pub(super) fn give_up_when_full(&mut self) -> bool {
        self.omitted |= self.problems.len() >= PROBLEMS_MAX;
        self.omitted
    }

    /// All problems in the order of the files and, within a file, from top to bottom.
    pub(super) fn into_problems(mut self, files: &[&Path]) -> Vec<Problem> {
        sort(&mut self.problems, files);
        if self.omitted
            && let Some(last) = self.problems.last().cloned()
        {
            let message = format!("there are more than {PROBLEMS_MAX} problems; fix these first");
            self.problems.push(Problem { mark: None, path: String::new(), message, ..last });
        }
        self.problems
    }

    /// All warnings in the order of the files and, within a file, from top to bottom.
    pub(super) fn into_warnings(mut self, files: &[&Path]) -> Vec<Problem> {
        sort(&mut self.warnings, files);
        self.warnings
    }

    fn take(list: &mut Vec<Problem>, item: Problem, omitted: &mut bool) {
        if list.contains(&item) {
            return;
        }
        if list.len() < PROBLEMS_MAX {
            list.push(item);
        } else {
            *omitted = true;
        }
    }
}

fn sort(list: &mut [Problem], files: &[&Path]) {
    list.sort_by_key(|item| {
        let file = files.iter().position(|file| *file == item.file);
        (file.unwrap_or(usize::MAX), item.mark)
    });
}

/// A text of the input as messages show it: short, on one line, between backquotes.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

/// A list of words as messages show it: `a`, `b`, `c`.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The word that was probably meant, if one is close enough to be worth a question.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // The distance takes quadratic time, and no field is as long as that.
    if word.len() > QUOTED_CHARACTERS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let best = known.iter().copied().min_by_key(|known| distance(known))?;
    // A third of the letters may differ: `name` is no misspelling of `mode`.
    (distance(best) * 3 <= best.len().max(lower.len())).then_some(best)
}
