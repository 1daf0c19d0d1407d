//! What the rules work with: the document, the policy and the report.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Policy,
    path::FieldPath,
    problem::{Mark, Problem, Report},
    tree::Node,
    units::shown,
};

/// One document under the rules.
pub(super) struct Scope<'a> {
    pub(super) file: &'a Path,
    pub(super) root: &'a Node,
    pub(super) policy: Policy,
    /// Fields whose values are not what the author meant.
    pub(super) broken: Vec<FieldPath>,
    pub(super) report: &'a mut Report,
}

/// A place in one of the files or in an object, for messages that name two places.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: PathBuf,
    mark: Mark,
    path: FieldPath,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.mark.known() {
            Some(mark) => write!(f, "{}:{mark}", self.file.display()),
            None => write!(f, "{}", self.path),
        }
    }
}

impl Scope<'_> {
    /// A field breaks a rule.
    pub(super) fn problem(&mut self, path: &FieldPath, message: impl Into<String>) {
        self.problem_among(path, &[], message);
    }

    /// A field breaks a rule together with others. Silent when one of them was found wrong before,
    /// because its value is not what the author wrote.
    pub(super) fn problem_among(
        &mut self,
        path: &FieldPath,
        others: &[FieldPath],
        message: impl Into<String>,
    ) {
        if self.is_broken(path) || others.iter().any(|other| self.is_broken(other)) {
            return;
        }
        let problem = self.at(path, message.into());
        self.report.problem(problem);
    }

    /// A field is allowed but may surprise.
    pub(super) fn warn(&mut self, path: &FieldPath, message: impl Into<String>) {
        let warning = self.at(path, message.into());
        self.report.warn(warning);
    }

    /// Where a field stands.
    pub(super) fn place(&self, path: &FieldPath) -> Place {
        let mark = self.root.mark_at(path);
        Place { file: self.file.to_owned(), mark, path: path.clone() }
    }

    /// Whether the field, or one that it stands in, was found wrong before.
    pub(super) fn is_broken(&self, path: &FieldPath) -> bool {
        self.broken.iter().any(|broken| path.starts_with(broken))
    }

    /// An integer within its bounds; the nearest bound when it is not. `why` ends the message.
    pub(super) fn integer(
        &mut self,
        path: &FieldPath,
        value: i64,
        range: &RangeInclusive<u32>,
        why: &str,
    ) -> u32 {
        let (low, high) = (*range.start(), *range.end());
        match u32::try_from(value) {
            Ok(value) if range.contains(&value) => return value,
            _ => {}
        }
        self.problem(path, format!("{value} is not within {low} to {high}{why}"));
        if value < i64::from(low) { low } else { high }
    }

    /// A duration within its bounds; the nearest bound when it is not.
    pub(super) fn duration(
        &mut self,
        path: &FieldPath,
        value: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        let (low, high) = (*range.start(), *range.end());
        if range.contains(&value) {
            return value;
        }
        let (value_text, high_text) = (shown(value), shown(high));
        let message = if value < low {
            format!("{value_text} is too short; use {} to {high_text}", shown(low))
        } else {
            format!("{value_text} is too long; at most {high_text} is allowed")
        };
        self.problem(path, message);
        value.clamp(low, high)
    }

    fn at(&self, path: &FieldPath, message: String) -> Problem {
        Problem {
            file: self.file.to_owned(),
            mark: self.root.mark_at(path).known(),
            path: path.to_string(),
            message,
        }
    }
}
