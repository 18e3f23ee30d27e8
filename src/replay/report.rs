//! What a replay found, as numbers, as JSON and as text.

use std::fmt::Write as _;
use std::sync::Arc;

use indexmap::IndexMap;
use ncs_eval::text_table;
use ncs_serve::version::Identity;
use serde::Serialize;

use crate::progress::grouped;

/// So many rows beyond the tolerance are shown.
const SHOWN: usize = 5;

/// What `--json` prints: a promise to programs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Files that were compared.
    pub(crate) files: usize,
    /// The hash of the model that scored anew.
    model_hash: String,
    tolerance: f64,
    /// Rows that this very model scored.
    #[serde(flatten)]
    same: Tally,
    /// Rows that other models scored, by their hash.
    other_models: IndexMap<String, Tally>,
    /// Files that cannot be compared, and why.
    pub(crate) passed_over: Vec<String>,
}

/// The rows that one model scored.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tally {
    rows: u64,
    /// Rows of which some score differs by more than the tolerance.
    rows_beyond: u64,
    outputs: IndexMap<String, Difference>,
    /// The first scores that do.
    first_beyond: Vec<Beyond>,
    /// The names of this model's outputs.
    #[serde(skip)]
    names: Arc<[String]>,
    #[serde(skip)]
    tolerance: f64,
}

/// How the scores of one output differ.
#[derive(Clone, Debug, Default, Serialize)]
struct Difference {
    largest_difference: f64,
    /// The mean of the differences without their signs.
    mean_difference: f64,
    mean_logged: f64,
    mean_replayed: f64,
    /// Of which these are the means.
    #[serde(skip)]
    rows: f64,
}

/// A score that differs.
#[derive(Clone, Debug, Serialize)]
struct Beyond {
    #[serde(flatten)]
    place: Place,
    output: String,
    logged: f64,
    replayed: f64,
}

/// Which row of the log.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    pub(super) request_id: String,
    pub(super) candidate: i64,
}

impl Report {
    /// Nothing compared yet.
    pub(super) fn new(identity: &Identity, tolerance: f64) -> Report {
        Report {
            files: 0,
            model_hash: identity.hash.to_string(),
            tolerance,
            same: Tally::new(identity.outputs.clone(), tolerance),
            other_models: IndexMap::new(),
            passed_over: Vec::new(),
        }
    }

    /// The rows of the model of this hash.
    pub(super) fn tally(&mut self, hash: &str) -> &mut Tally {
        if hash == self.model_hash {
            return &mut self.same;
        }
        if !self.other_models.contains_key(hash) {
            let tally = Tally::new(self.same.names.clone(), self.tolerance);
            self.other_models.insert(hash.to_owned(), tally);
        }
        &mut self.other_models[hash]
    }

    /// Rows of this very model that differ, and how many it has.
    pub(crate) fn beyond(&self) -> [u64; 2] {
        [self.same.rows_beyond, self.same.rows]
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} rows of model {}, from {} files\n",
            grouped(self.same.rows),
            self.model_hash,
            self.files
        );
        if self.same.rows == 0 {
            text += "none to check: the log holds no row that this very model scored\n";
        } else {
            text += &self.same.table();
            let beyond = grouped(self.same.rows_beyond);
            let _ = writeln!(text, "{beyond} rows differ by more than {}", self.tolerance);
            text += &self.same.shown();
        }
        for (hash, tally) in &self.other_models {
            let rows = grouped(tally.rows);
            let _ = write!(
                text,
                "\n{rows} rows of another model, {hash}: what this one would have said\n{}",
                tally.table()
            );
        }
        for reason in &self.passed_over {
            let _ = write!(text, "\npassed over: {reason}\n");
        }
        text
    }
}

impl Tally {
    fn new(names: Arc<[String]>, tolerance: f64) -> Tally {
        Tally {
            names,
            tolerance,
            ..Tally::default()
        }
    }

    /// Adds a row: for each output, by its number, what was logged and what is said now.
    pub(super) fn add(
        &mut self,
        scores: impl Iterator<Item = (usize, [f64; 2])>,
        place: impl Fn() -> Place,
    ) {
        self.rows += 1;
        let mut is_beyond = false;
        for (output, [logged, replayed]) in scores {
            let name = &self.names[output];
            let difference = difference(logged, replayed);
            // Not the same as `>`: no number is within a tolerance that is none.
            let is_within = difference <= self.tolerance;
            is_beyond |= !is_within;
            if !is_within && self.first_beyond.len() < SHOWN {
                self.first_beyond.push(Beyond {
                    place: place(),
                    output: name.clone(),
                    logged,
                    replayed,
                });
            }
            let found = self.outputs.entry(name.clone()).or_default();
            found.add(difference, logged, replayed);
        }
        self.rows_beyond += u64::from(is_beyond);
    }

    fn table(&self) -> String {
        let row = |(name, found): (&String, &Difference)| {
            vec![
                name.clone(),
                format!("{:.2e}", found.largest_difference),
                format!("{:.2e}", found.mean_difference),
                format!("{:.6}", found.mean_logged),
                format!("{:.6}", found.mean_replayed),
            ]
        };
        let rows: Vec<_> = self.outputs.iter().map(row).collect();
        let header = [
            "output",
            "largest difference",
            "mean difference",
            "mean logged",
            "mean replayed",
        ];
        text_table(&header, &rows)
    }

    fn shown(&self) -> String {
        let line = |beyond: &Beyond| {
            let Beyond {
                place,
                output,
                logged,
                replayed,
            } = beyond;
            let Place {
                request_id,
                candidate,
            } = place;
            format!(
                "  request \"{request_id}\", candidate {candidate}: {output} was {logged}, is {replayed}\n"
            )
        };
        self.first_beyond.iter().map(line).collect()
    }
}

impl Difference {
    fn add(&mut self, difference: f64, logged: f64, replayed: f64) {
        self.rows += 1.0;
        let share = 1.0 / self.rows;
        self.largest_difference = self.largest_difference.max(difference);
        for (mean, x) in [
            (&mut self.mean_difference, difference),
            (&mut self.mean_logged, logged),
            (&mut self.mean_replayed, replayed),
        ] {
            *mean += (x - *mean) * share;
        }
    }
}

/// Without its sign; without end where one of them is no number.
fn difference(logged: f64, replayed: f64) -> f64 {
    let difference = (logged - replayed).abs();
    match difference.is_nan() {
        true if logged.is_nan() && replayed.is_nan() => 0.0,
        true => f64::INFINITY,
        false => difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_differs_without_end() {
        let check = |logged: f64, replayed: f64, expected: f64| {
            assert_eq!(difference(logged, replayed), expected);
        };
        check(0.25, 0.5, 0.25);
        check(f64::NAN, f64::NAN, 0.0);
        check(f64::NAN, 0.5, f64::INFINITY);
    }

    #[test]
    fn differences_are_kept_by_output_and_the_first_are_shown() {
        let names = ["ctr".to_owned(), "cvr".to_owned()];
        let mut tally = Tally::new(names.into(), 1e-3);
        for row in 0..20 {
            let scores = [(0, [0.5, 0.5]), (1, [0.25, 0.25 + f64::from(row % 2)])];
            let place = || Place {
                request_id: "r".into(),
                candidate: i64::from(row),
            };
            tally.add(scores.into_iter(), place);
        }
        assert_eq!((tally.rows, tally.rows_beyond), (20, 10));
        assert_eq!(tally.outputs["ctr"].largest_difference, 0.0);
        let cvr = &tally.outputs["cvr"];
        assert_eq!(cvr.largest_difference, 1.0);
        assert!((cvr.mean_difference - 0.5).abs() < 1e-12);
        assert!((cvr.mean_replayed - 0.75).abs() < 1e-12);
        let shown: Vec<i64> = tally
            .first_beyond
            .iter()
            .map(|beyond| beyond.place.candidate)
            .collect();
        assert_eq!(shown, [1, 3, 5, 7, 9]);
    }
}
