//! Items that arrive: every day has new ones, the attention that an item gets decays with its age, and the
//! base rates of both tasks drift from day to day.
//!
//! A row of day `d` shows an item of age `a` days with a chance in proportion to `exp(-decay a)`, and among
//! the items of one day those of low rank more often (Zipf). The decay is fitted, so that the share of
//! test rows whose item no training row shows is as planned. Parts follow each other in time.

use super::draws::{Draws, Purpose, Zipf};
use super::fields::ROWS_PER_SESSION;
use super::{FIRST_OF_SAMPLE, MOST_ROWS, SyntheticError};
use crate::split::Part;
use ncs_features::time::{TimeUnit, Timestamp};

/// Arrival of items in a synthetic log.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrivals {
    /// Expected share of test rows whose item is in no training row, in (0, 1). Which shares there can be depends on
    /// the days and the rows; the error of a plan that is out of reach names the range.
    pub unseen: f64,
    /// Days of the whole log, 5 to 1000; each part has days in proportion to its rows, one at least.
    pub days: u32,
    /// Standard deviation of the change of each task's intercept (in logits) from a day to the next, 0 to 1.
    pub drift: f64,
    /// Rows of training, validation and test: all parts of the log, whichever is made.
    pub rows: [u64; 3],
}

/// Maximum age of a shown item, as a multiple of the length of the log.
const OLDEST: u32 = 4;

/// Training rows for each item that arrives in training, at least: of fewer, most items would be unseen by
/// chance.
const ROWS_PER_ITEM: u64 = 20;

/// Exponent of the popularity of the items of one day by their rank.
const EXPONENT: f64 = 0.8;

/// Midnight of the first day: 2024-01-01, in seconds since 1970.
const FIRST_DAY: i64 = 1_704_067_200;
const SECONDS_PER_DAY: i64 = 86_400;

impl Arrivals {
    pub(super) fn check(&self) -> Result<(), SyntheticError> {
        let settings = [
            (
                "unseen",
                "between 0 and 1",
                0.0 < self.unseen && self.unseen < 1.0,
                self.unseen,
            ),
            (
                "days",
                "from 5 to 1000",
                (5..=1000).contains(&self.days),
                f64::from(self.days),
            ),
            (
                "drift",
                "from 0 to 1",
                (0.0..=1.0).contains(&self.drift),
                self.drift,
            ),
            (
                "rows of training and test",
                "at least 1",
                self.rows[0] > 0 && self.rows[2] > 0,
                self.rows[0].min(self.rows[2]) as f64,
            ),
        ];
        let wrong = settings.into_iter().find(|(_, _, is_right, _)| !is_right);
        wrong.map_or(Ok(()), |(setting, wanted, _, found)| {
            Err(SyntheticError::Setting {
                setting,
                wanted,
                found: found.to_string(),
            })
        })
    }

    /// Returns the instant at which the test part begins.
    pub fn test_from(&self) -> Timestamp {
        let day = i64::from(self.first_days()[2]);
        Timestamp::of(FIRST_DAY + SECONDS_PER_DAY * day, TimeUnit::Seconds)
    }

    /// Returns the first day of each part, and the number of days.
    fn first_days(&self) -> [u32; 4] {
        let total: u64 = self.rows.iter().sum();
        let at = |rows: u64| (f64::from(self.days) * rows as f64 / total as f64).round() as u32;
        let valid_days = u32::from(self.rows[1] > 0);
        let valid = at(self.rows[0]).clamp(1, self.days - 1 - valid_days);
        let test = at(self.rows[0] + self.rows[1]).clamp(valid + valid_days, self.days - 1);
        [0, valid, test, self.days]
    }
}

/// When rows happen, and which items there are then.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    seed: u64,
    first_days: [u32; 4],
    rows: [u64; 3],
    /// Items that arrive on each day.
    per_day: u32,
    /// Cumulative probability of an age, by days.
    ages: Vec<f64>,
    ranks: Zipf,
    /// `[task][day]`: what is added to the intercept. Its mean over the training days is 0.
    drift: [Vec<f64>; 2],
}

impl Calendar {
    /// Fits the decay to the planned share; at most `items` items arrive within the days of the log.
    pub(super) fn new(
        arrivals: &Arrivals,
        items: u32,
        seed: u64,
    ) -> Result<Calendar, SyntheticError> {
        let first_days = arrivals.first_days();
        let wanted = (arrivals.rows[0] / ROWS_PER_ITEM).min(u64::from(items));
        let per_day = (wanted / u64::from(arrivals.days)).max(1) as u32;
        let drift = |task: u64| drift(arrivals, first_days[1], seed, task);
        let mut calendar = Calendar {
            seed,
            first_days,
            rows: arrivals.rows,
            per_day,
            ages: Vec::new(),
            ranks: Zipf::new(per_day as usize, EXPONENT),
            drift: [drift(0), drift(1)],
        };
        calendar.fit_decay(arrivals.unseen)?;
        Ok(calendar)
    }

    /// Bisection: the faster attention decays, the more test rows show items that training has not seen.
    fn fit_decay(&mut self, unseen: f64) -> Result<(), SyntheticError> {
        let (mut low, mut high) = (0.0, 40.0);
        let least = self.unseen(low);
        let most = self.unseen(high);
        if !(least..=most).contains(&unseen) {
            return Err(SyntheticError::Unseen {
                unseen,
                least,
                most,
            });
        }
        for _ in 0..60 {
            let half = (low + high) / 2.0;
            if self.unseen(half) < unseen {
                low = half
            } else {
                high = half
            }
        }
        self.ages = cumulative(&self.age_chances(low));
        Ok(())
    }

    /// Returns the chance of each age, in days from 0.
    fn age_chances(&self, decay: f64) -> Vec<f64> {
        let oldest = OLDEST * self.first_days[3];
        let weights: Vec<f64> = (0..=oldest)
            .map(|age| (-decay * f64::from(age)).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// Returns the expected share of test rows whose item is in no training row: all items that arrived after
    /// training, and those earlier items that training did not show by chance. (Rows are sampled
    /// independently, so an item with `n` expected rows has none with probability `exp(-n)`.)
    fn unseen(&self, decay: f64) -> f64 {
        let ages = self.age_chances(decay);
        let [_, n_training_days, first, end] = self.first_days.map(|day| day as usize);
        let rows_per_day = self.rows[0] as f64 / n_training_days as f64;
        let mut share = 0.0;
        for (age, &chance) in ages.iter().enumerate() {
            for day in first..end {
                let birth = day as i64 - age as i64;
                let shown: f64 = (0..n_training_days as i64)
                    .filter_map(|day| ages.get(usize::try_from(day - birth).ok()?))
                    .sum();
                share += chance * self.missed(rows_per_day * shown);
            }
        }
        share / (end - first) as f64
    }

    /// Of rows that show items of one day, the share whose item is in none of `n` others.
    fn missed(&self, n: f64) -> f64 {
        if n == 0.0 {
            return 1.0;
        }
        let missed = |rank| {
            let chance = self.ranks.chance(rank);
            chance * (-n * chance).exp()
        };
        (0..self.per_day as usize).map(missed).sum()
    }

    /// Returns the day, from 0, of row number `index` of all rows that there could be. Sessions are spread
    /// evenly over the days of their part, in order; rows that no part has are of the training days in turn.
    pub(super) fn day(&self, index: u64) -> u32 {
        let session = index / ROWS_PER_SESSION;
        if index >= FIRST_OF_SAMPLE {
            return (session % u64::from(self.first_days[1])) as u32;
        }
        let part = Part::ALL[(index / MOST_ROWS) as usize] as usize;
        let session = (index % MOST_ROWS) / ROWS_PER_SESSION;
        let sessions = self.rows[part].div_ceil(ROWS_PER_SESSION).max(1);
        let [first, end] = [self.first_days[part], self.first_days[part + 1]];
        let day = u128::from(session) * u128::from(end - first) / u128::from(sessions);
        // A part without rows may have no days.
        (first + day as u32).min(end.max(first + 1) - 1)
    }

    /// Returns the item of a row of this day: its number is the same in every part.
    pub(super) fn item(&self, day: u32, of_row: &mut Draws) -> u32 {
        let chance = of_row.uniform();
        let age = self.ages.partition_point(|&up_to| up_to <= chance);
        let age = age.min(self.ages.len() - 1) as u32;
        let rank = self.ranks.draw(of_row);
        (OLDEST * self.first_days[3] + day - age) * self.per_day + rank
    }

    /// Returns the instant of a row: within the hour of its session, the rows of a session a second apart.
    pub(super) fn time(&self, index: u64, hour: u32) -> Timestamp {
        let session = index / ROWS_PER_SESSION;
        let mut of_session = Draws::new(self.seed, Purpose::Time, session);
        let within = of_session.below(3_600 - ROWS_PER_SESSION as usize) as i64;
        let second = within + (index % ROWS_PER_SESSION) as i64;
        let midnight = FIRST_DAY + SECONDS_PER_DAY * i64::from(self.day(index));
        Timestamp::of(
            midnight + 3_600 * i64::from(hour) + second,
            TimeUnit::Seconds,
        )
    }

    /// Returns the change of the intercepts of clicks and conversions on a day.
    pub(super) fn drift(&self, day: u32) -> [f64; 2] {
        [0, 1].map(|task: usize| self.drift[task][day as usize])
    }
}

/// Returns a random walk over the days whose mean over the training days is 0.
fn drift(arrivals: &Arrivals, n_training_days: u32, seed: u64, task: u64) -> Vec<f64> {
    let mut draws = Draws::new(seed, Purpose::Drift, task);
    let mut at = 0.0;
    let walk: Vec<f64> = (0..arrivals.days)
        .map(|_| {
            at += arrivals.drift * draws.normal();
            at
        })
        .collect();
    let training = &walk[..n_training_days as usize];
    let mean = training.iter().sum::<f64>() / training.len() as f64;
    walk.into_iter().map(|offset| offset - mean).collect()
}

fn cumulative(chances: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let up_to = |chance: &f64| {
        sum += chance;
        sum
    };
    chances.iter().map(up_to).collect()
}
