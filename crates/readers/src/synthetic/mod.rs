//! Synthetic log of impressions, clicks and conversions with known true probabilities.
//!
//! A [`SyntheticPlan`] sets the number of rows, the rates of clicks and conversions, and the share of the
//! true model that the two tasks have in common. [`Synthetic`] generates the rows, block by block;
//! [`write_log`] writes them to files. Every row is a function of the plan and its number: parts and seeds
//! can be generated in any order, and the parts of one log have the same true model.
//!
//! ```
//! use ncs_readers::synthetic::{Synthetic, SyntheticPlan};
//! let plan = SyntheticPlan { rows: 100, share: 0.5, seed: 7, ..Default::default() };
//! let mut log = Synthetic::new(plan)?;
//! let block = log.next_block().expect("there are rows");
//! assert_eq!(block.n_rows, 100);
//! assert!(block.column("p_conversion").is_some());
//! # Ok::<(), ncs_readers::synthetic::SyntheticError>(())
//! ```

mod arrivals;
mod calibration;
mod columns;
mod delays;
mod draws;
mod fields;
mod further;
mod teacher;
#[cfg(test)]
mod tests;
mod writer;

pub use arrivals::Arrivals;
pub use delays::ConversionDelays;
pub use fields::{FIELDS, UsedBy};
pub use further::{CHAIN, ENGAGEMENT, FurtherLabel, FurtherLabels};
pub use writer::{LIST_SEPARATOR, WriteError, Written, write_blocks, write_log};

use crate::split::Part;
use calibration::Truth;
use columns::Columns;
use fields::Population;
use ncs_features::Block;

/// Group column of the synthetic log: eight consecutive rows, by one user.
pub const GROUP: &str = "session";
/// The time of a row, a column of logs with [`Arrivals`] only.
pub const TIME: &str = "time";
/// The time of a conversion, null without one: a column of logs with [`ConversionDelays`] only.
pub const CONVERSION_TIME: &str = "conversion_time";
/// Label columns: the conversion is null for rows without a click.
pub const LABELS: [&str; 2] = ["click", "conversion"];
/// The true probability of each label, the second given a click, on every row: evaluation only.
pub const TRUTHS: [&str; 2] = ["p_click", "p_conversion"];

/// Number of rows of a block, the last one excepted.
pub const BLOCK_ROWS: u64 = 8192;

/// Most rows that a part can have; the rows of the parts are so far apart.
const MOST_ROWS: u64 = 1 << 40;
/// Rows from here on are of no part: scale and intercept are fitted to them.
const FIRST_OF_SAMPLE: u64 = 1 << 60;

/// Settings of a synthetic log.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticPlan {
    /// Number of impressions, 1 to 2^40.
    pub rows: u64,
    /// Part of the rows: each part has different rows, from the same true model.
    pub part: Part,
    /// Share of the true model below the heads that the two tasks have in common, in [0, 1], to the nearest
    /// of 32 hidden units or of 16 dimensions. 1: one head each on the same hidden units.
    pub share: f64,
    /// Random seed: another seed gives another true model and other rows. Clicks are the same at every
    /// `share`.
    pub seed: u64,
    /// Parts of the true model in which the tasks conflict, outside the common share.
    pub conflict: Conflict,
    /// Clicks an impression, in (0, 1).
    pub click_rate: f64,
    /// Conversions a click, in (0, 1).
    pub conversion_rate: f64,
    /// Number of users, at least 1.
    pub users: u32,
    /// Number of items, at least 1.
    pub items: u32,
    /// New items every day, whose popularity decays, and rates that drift; `None`: all items are there all the
    /// time, and there is not a time. With it, `items` bounds how many arrive within the days of the log, and
    /// rates are those of the training days.
    pub arrivals: Option<Arrivals>,
    /// Conversions have a time after that of their row; needs `arrivals`. `None`: no such column.
    pub delays: Option<ConversionDelays>,
    /// Labels beside clicks and conversions.
    pub further: FurtherLabels,
}

impl Default for SyntheticPlan {
    fn default() -> Self {
        SyntheticPlan {
            rows: 140_000,
            part: Part::Train,
            share: 0.5,
            seed: 1,
            conflict: Conflict::Network,
            click_rate: 0.1,
            conversion_rate: 0.03,
            users: 10_000,
            items: 4_000,
            arrivals: None,
            delays: None,
            further: FurtherLabels::None,
        }
    }
}

/// Parts of the true model in which the two tasks conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Same hidden vectors; other first-layer weights over the same fields.
    Network,
    /// Same first-layer weights; other hidden vectors of the ids.
    Vectors,
    /// Both, so that what the tasks have in common is about `share` squared.
    Both,
}

/// A plan that no log can be made of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SyntheticError {
    /// A number outside its range.
    #[error("synthetic log: {setting} must be {wanted}, found {found}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Valid range.
        wanted: &'static str,
        /// Value found.
        found: String,
    },
    /// No decay of popularity gives the share of unseen items.
    #[error(
        "synthetic log: {:.1} % of the test rows cannot show unseen items; with these rows and days it can be \
         {:.1} to {:.1} %", 100.0 * unseen, 100.0 * least, 100.0 * most
    )]
    Unseen {
        /// The share that is planned.
        unseen: f64,
        /// The least share that there can be.
        least: f64,
        /// The largest one.
        most: f64,
    },
}

impl SyntheticPlan {
    /// Checks that a log can be generated from this plan.
    ///
    /// # Errors
    /// A setting is outside its range; the error names the first.
    pub fn check(&self) -> Result<(), SyntheticError> {
        let inside = |x: f64| 0.0 < x && x < 1.0;
        let settings = [
            (
                "rows",
                "from 1 to 2^40",
                (1..=MOST_ROWS).contains(&self.rows),
                self.rows.to_string(),
            ),
            (
                "share",
                "from 0 to 1",
                (0.0..=1.0).contains(&self.share),
                self.share.to_string(),
            ),
            (
                "users",
                "at least 1",
                self.users > 0,
                self.users.to_string(),
            ),
            (
                "items",
                "at least 1",
                self.items > 0,
                self.items.to_string(),
            ),
            (
                "click_rate",
                "between 0 and 1",
                inside(self.click_rate),
                self.click_rate.to_string(),
            ),
            (
                "conversion_rate",
                "between 0 and 1",
                inside(self.conversion_rate),
                self.conversion_rate.to_string(),
            ),
        ];
        let wrong = settings.into_iter().find(|(_, _, is_right, _)| !is_right);
        if let Some((setting, wanted, _, found)) = wrong {
            return Err(SyntheticError::Setting {
                setting,
                wanted,
                found,
            });
        }
        self.arrivals.as_ref().map_or(Ok(()), Arrivals::check)?;
        self.delays.map_or(Ok(()), |delays| delays.check())
    }
}

/// Synthetic log: an iterator of blocks of [`BLOCK_ROWS`] rows.
///
/// The columns of a block are those of [`FIELDS`], then [`GROUP`], [`LABELS`] and [`TRUTHS`], and [`TIME`] last
/// where items arrive, followed by [`CONVERSION_TIME`] where conversions come late; behind all of them [`FurtherLabels`],
/// first the labels, then their true probabilities.
#[derive(Clone, Debug)]
pub struct Synthetic {
    plan: SyntheticPlan,
    population: Population,
    truth: Truth,
    /// The next row of the part.
    next_row: u64,
}

impl Synthetic {
    /// Samples the true model and calibrates it to the rates of the plan.
    ///
    /// # Errors
    /// The plan is invalid: see [`SyntheticPlan::check`].
    pub fn new(plan: SyntheticPlan) -> Result<Synthetic, SyntheticError> {
        plan.check()?;
        let population = Population::new(&plan)?;
        Ok(Synthetic {
            truth: Truth::new(&plan, &population),
            population,
            plan,
            next_row: 0,
        })
    }

    /// Returns the plan that it is made of.
    pub fn plan(&self) -> &SyntheticPlan {
        &self.plan
    }

    /// Returns the next rows, `None` after the last.
    pub fn next_block(&mut self) -> Option<Block> {
        let end = self.plan.rows.min(self.next_row + BLOCK_ROWS);
        let rows = self.next_row..end;
        self.next_row = end;
        (!rows.is_empty()).then(|| self.block(rows))
    }

    /// These rows of the part, from 0, at most 2^31 of them; the number of rows of the plan is no
    /// limit. Where items arrive, later ones are of the part's last day.
    pub fn block(&self, rows: std::ops::Range<u64>) -> Block {
        let first_of_part = MOST_ROWS * self.plan.part as u64;
        let mut columns = Columns::new(self.plan.further);
        for index in rows {
            let row = self.population.row(first_of_part + index);
            let truth = self.truth.probabilities(&row);
            columns.push(&row, truth);
        }
        columns.into_block()
    }
}

impl Iterator for Synthetic {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        self.next_block()
    }
}
