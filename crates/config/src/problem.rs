//! Errors in a run file: what, where, and the nearest valid name.

use std::fmt;

use ncs_features::shown;

use super::tree::Span;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) place: Span,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(place: Span, text: impl Into<String>) -> Problem {
        Problem {
            place,
            text: shortened(text.into()),
        }
    }
}

/// A text whose middle is left out where it is long: names and values of a file may be of any length.
fn shortened(text: String) -> String {
    const START: usize = 600;
    const END: usize = 300;
    let n_letters = text.chars().count();
    if n_letters <= START + END {
        return text;
    }
    let start: String = text.chars().take(START).collect();
    let end: String = text.chars().skip(n_letters - END).collect();
    format!("{start} ... {end}")
}

/// Problems that are shown.
const MOST_SHOWN: usize = 100;

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

    /// Name of the run file in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Each thing that is wrong: its line, from 1, where it has one, and what it is.
    pub fn problems(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        self.problems.iter().map(|problem| match problem.place {
            Span::Line(line) => (Some(line), problem.text.as_str()),
            _ => (None, problem.text.as_str()),
        })
    }

    /// Number of errors, at least 1.
    pub fn n_problems(&self) -> usize {
        self.problems.len()
    }
}

impl fmt::Display for RunFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            let text = &problem.text;
            match &problem.place {
                Span::File => write!(out, "{end}{}: {text}", self.file)?,
                Span::Line(line) => write!(out, "{end}{}:{line}: {text}", self.file)?,
                Span::Set(assignment) => {
                    let assignment = shortened(assignment.clone());
                    write!(out, "{end}--set {assignment}: {text}")?;
                }
            }
        }
        match self.problems.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(out, "\nand {more} more"),
        }
    }
}

/// `; did you mean epochs?` where a known name is near, else `; known: a, b, c`.
pub fn hint<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match shown::nearest(found, known.iter().copied()) {
        Some(name) if name.trim() == found.trim() && name != found => {
            let blanks = if name.len() > found.len() {
                "with its blanks"
            } else {
                "without the blanks around it"
            };
            format!("; did you mean {name:?}, {blanks}?")
        }
        Some(name) => format!("; did you mean {}?", shown::name(name)),
        None if known.is_empty() => String::new(),
        None => format!("; known: {}", listed(&known)),
    }
}

/// `a, " b", c`, cut after forty names.
pub(crate) fn listed(names: &[&str]) -> String {
    shown::names(names.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_names_are_shown() {
        let check = |found, known: &[&str], expected: &str| {
            assert_eq!(hint(found, known.iter().copied()), expected);
        };
        check("clik", &["click"], "; did you mean click?");
        check(
            "click",
            &[" click"],
            "; did you mean \" click\", with its blanks?",
        );
        check(
            "click",
            &["click\t"],
            "; did you mean \"click\\t\", with its blanks?",
        );
        check(
            "click ",
            &["click"],
            "; did you mean \"click\", without the blanks around it?",
        );
        check(
            "price",
            &[" user", "item id"],
            "; known: \" user\", \"item id\"",
        );
        check("price", &["\u{feff}user"], "; known: \"\\u{feff}user\"");
    }
}
