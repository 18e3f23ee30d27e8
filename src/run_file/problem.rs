//! What is wrong with a run file, where, and the nearest name that is right.

use std::fmt;

use ncs_features::shown;

use super::tree::Place;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(place: Place, text: impl Into<String>) -> Problem {
        Problem {
            place,
            text: text.into(),
        }
    }
}

/// Everything that is wrong with a run file, a line each: `run.toml:14: task "cvr" needs ...`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct RunFileError {
    file: String,
    problems: Vec<Problem>,
}

impl RunFileError {
    /// Sorts the problems by place and says each once.
    pub(crate) fn new(file: &str, mut problems: Vec<Problem>) -> RunFileError {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
        RunFileError {
            file: file.to_owned(),
            problems,
        }
    }

    /// How many things are wrong, at least 1.
    pub fn n_problems(&self) -> usize {
        self.problems.len()
    }
}

impl fmt::Display for RunFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            let text = &problem.text;
            match &problem.place {
                Place::File => write!(out, "{end}{}: {text}", self.file)?,
                Place::Line(line) => write!(out, "{end}{}:{line}: {text}", self.file)?,
                Place::Set(assignment) => write!(out, "{end}--set {assignment}: {text}")?,
            }
        }
        Ok(())
    }
}

/// `; did you mean epochs?` where a known name is near, else `; known: a, b, c`.
pub(crate) fn hint<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(found, &known) {
        Some(name) => format!("; did you mean {}?", shown::name(name)),
        None if known.is_empty() => String::new(),
        None => format!("; known: {}", listed(&known)),
    }
}

/// The known name that `found` is most likely a slip of: at most a third of its letters differ.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let start = |name: &str| shown::start(name).to_lowercase();
    let wanted = start(found);
    let distance = |name: &str| strsim::damerau_levenshtein(&wanted, &start(name));
    let allowed = (wanted.chars().count() / 3).max(1);
    let ranked = known.iter().map(|name| (distance(name), *name));
    ranked
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// `a, " b", c`, cut after forty names.
pub(crate) fn listed(names: &[&str]) -> String {
    shown::names(names.iter().copied())
}
