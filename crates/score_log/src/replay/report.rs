//! Results of a replay, as numbers, as JSON and as text.

use std::fmt::Write as _;
use std::sync::Arc;

use indexmap::IndexMap;
use indicatif::HumanCount;
use ncs_eval::text_table;
use ncs_features::Link;
use ncs_serve::version::Identity;
use serde::Serialize;

/// Maximum number of scores beyond the tolerance that are listed.
const MAX_LISTED: usize = 5;

/// Output of `--json`, a stable interface for other programs.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Number of compared files.
    pub(super) files: usize,
    /// Hash of the model that scored the rows again.
    model_hash: String,
    tolerance: f64,
    /// Rows scored by the same model.
    #[serde(flatten)]
    same: Tally,
    /// Rows scored by other models, by their hash.
    other_models: IndexMap<String, Tally>,
    /// Files that cannot be compared, with reasons.
    pub(super) skipped_folders: Vec<String>,
}

/// Comparison of the rows that one model scored.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tally {
    rows: u64,
    /// Number of rows with a score that differs by more than the tolerance.
    rows_beyond: u64,
    outputs: IndexMap<String, Difference>,
    /// First scores that differ by more than the tolerance.
    first_beyond: Vec<Beyond>,
    /// Names of this model's outputs.
    #[serde(skip)]
    names: Arc<[String]>,
    /// Links of this model's outputs.
    #[serde(skip)]
    links: Arc<[Link]>,
    #[serde(skip)]
    tolerance: f64,
}

/// Differences in the scores of one output.
#[derive(Clone, Debug, Default, Serialize)]
struct Difference {
    largest_difference: f64,
    /// Mean absolute difference.
    mean_difference: f64,
    mean_logged: f64,
    mean_replayed: f64,
    /// Number of rows that the means are over.
    #[serde(skip)]
    rows: f64,
}

/// A score beyond the tolerance.
#[derive(Clone, Debug, Serialize)]
struct Beyond {
    #[serde(flatten)]
    row_id: RowId,
    output: String,
    logged: f64,
    replayed: f64,
}

/// Identifies a row of the log.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RowId {
    pub(super) request_id: String,
    pub(super) candidate: i64,
}

impl Report {
    /// Returns an empty report.
    pub(super) fn new(identity: &Identity, tolerance: f64) -> Report {
        Report {
            files: 0,
            model_hash: identity.hash.to_string(),
            tolerance,
            same: Tally::new(identity.outputs.clone(), links(identity), tolerance),
            other_models: IndexMap::new(),
            skipped_folders: Vec::new(),
        }
    }

    /// Returns the tally of the model of this hash.
    pub(super) fn tally(&mut self, hash: &str) -> &mut Tally {
        if hash == self.model_hash {
            return &mut self.same;
        }
        if !self.other_models.contains_key(hash) {
            let (names, links) = (self.same.names.clone(), self.same.links.clone());
            let tally = Tally::new(names, links, self.tolerance);
            self.other_models.insert(hash.to_owned(), tally);
        }
        &mut self.other_models[hash]
    }

    /// Returns the number of rows of the same model that differ, and its number of rows.
    pub fn beyond(&self) -> [u64; 2] {
        [self.same.rows_beyond, self.same.rows]
    }

    /// Formats the report as text.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} rows of model {}, from {} files\n",
            HumanCount(self.same.rows),
            self.model_hash,
            self.files
        );
        if self.same.rows == 0 {
            text += "no rows to check: the log has no row that this model scored\n";
        } else {
            text += &self.same.table();
            let beyond = HumanCount(self.same.rows_beyond);
            let _ = writeln!(text, "{beyond} rows differ by more than {}", self.tolerance);
            text += &self.same.listed();
        }
        for (hash, tally) in &self.other_models {
            let rows = HumanCount(tally.rows);
            let _ = write!(
                text,
                "\n{rows} rows of another model, {hash}, compared with the scores of this one\n{}",
                tally.table()
            );
        }
        for reason in &self.skipped_folders {
            let _ = write!(text, "\nskipped: {reason}\n");
        }
        text
    }
}

impl Tally {
    fn new(names: Arc<[String]>, links: Arc<[Link]>, tolerance: f64) -> Tally {
        Tally {
            names,
            links,
            tolerance,
            ..Tally::default()
        }
    }

    /// Adds a row: for each output, by its index, the logged and the replayed score.
    pub(super) fn add(
        &mut self,
        scores: impl Iterator<Item = (usize, [f64; 2])>,
        row_id: impl Fn() -> RowId,
    ) {
        self.rows += 1;
        let mut is_beyond = false;
        for (output, [logged, replayed]) in scores {
            let name = &self.names[output];
            let difference = difference(logged, replayed);
            // Not the same as `>`: with a NaN tolerance no difference is within it.
            let is_within = difference <= self.tolerance * self.links[output].unit(logged);
            is_beyond |= !is_within;
            if !is_within && self.first_beyond.len() < MAX_LISTED {
                self.first_beyond.push(Beyond {
                    row_id: row_id(),
                    output: name.clone(),
                    logged,
                    replayed,
                });
            }
            let total = self.outputs.entry(name.clone()).or_default();
            total.add(difference, logged, replayed);
        }
        self.rows_beyond += u64::from(is_beyond);
    }

    fn table(&self) -> String {
        let row = |(name, output): (&String, &Difference)| {
            vec![
                name.clone(),
                format!("{:.2e}", output.largest_difference),
                format!("{:.2e}", output.mean_difference),
                format!("{:.6}", output.mean_logged),
                format!("{:.6}", output.mean_replayed),
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

    fn listed(&self) -> String {
        let line = |beyond: &Beyond| {
            let Beyond {
                row_id,
                output,
                logged,
                replayed,
            } = beyond;
            let RowId {
                request_id,
                candidate,
            } = row_id;
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

/// Returns the absolute difference; infinity if only one of them is NaN.
fn difference(logged: f64, replayed: f64) -> f64 {
    let difference = (logged - replayed).abs();
    if logged.is_nan() && replayed.is_nan() {
        0.0
    } else if difference.is_nan() {
        f64::INFINITY
    } else {
        difference
    }
}

/// Returns the link of each output: those of the tasks, and of each product that of its last task.
fn links(identity: &Identity) -> Arc<[Link]> {
    let tasks = identity.schema.tasks.iter();
    let mut links: Vec<Link> = tasks.map(|task| task.objective.link()).collect();
    let products = identity.schema.products().into_iter();
    let products: Vec<Link> = products.map(|product| links[product.last()]).collect();
    links.extend(products);
    links.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_differs_infinitely_from_a_number() {
        let check = |logged: f64, replayed: f64, expected: f64| {
            assert_eq!(difference(logged, replayed), expected);
        };
        check(0.25, 0.5, 0.25);
        check(f64::NAN, f64::NAN, 0.0);
        check(f64::NAN, 0.5, f64::INFINITY);
    }

    #[test]
    fn differences_are_kept_by_output_and_the_first_are_listed() {
        let names = ["ctr".to_owned(), "cvr".to_owned()];
        let mut tally = Tally::new(names.into(), vec![Link::Sigmoid; 2].into(), 1e-3);
        for row in 0..20 {
            let scores = [(0, [0.5, 0.5]), (1, [0.25, 0.25 + f64::from(row % 2)])];
            let row_id = || RowId {
                request_id: "r".into(),
                candidate: i64::from(row),
            };
            tally.add(scores.into_iter(), row_id);
        }
        assert_eq!((tally.rows, tally.rows_beyond), (20, 10));
        assert_eq!(tally.outputs["ctr"].largest_difference, 0.0);
        let cvr = &tally.outputs["cvr"];
        assert_eq!(cvr.largest_difference, 1.0);
        assert!((cvr.mean_difference - 0.5).abs() < 1e-12);
        assert!((cvr.mean_replayed - 0.75).abs() < 1e-12);
        let listed: Vec<i64> = tally
            .first_beyond
            .iter()
            .map(|beyond| beyond.row_id.candidate)
            .collect();
        assert_eq!(listed, [1, 3, 5, 7, 9]);
    }
}
