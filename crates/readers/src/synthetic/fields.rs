//! Columns of the synthetic log and sampling of a row's values.

use super::arrivals::Calendar;
use super::delays::ConversionDelays;
use super::draws::{Draws, Purpose, Zipf};
use super::further::FurtherLabels;
use super::{SyntheticError, SyntheticPlan};
use ncs_features::time::{TimeUnit, Timestamp};

/// Tasks whose true model reads a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedBy {
    /// Clicks and conversions.
    Both,
    /// Clicks only.
    Clicks,
    /// Conversions only.
    Conversions,
    /// Neither: noise.
    Neither,
}

/// Features of the synthetic log, in column order, and the tasks that use them.
pub const FIELDS: [(&str, UsedBy); 15] = [
    ("user", UsedBy::Both),
    ("item", UsedBy::Both),
    ("category", UsedBy::Both),
    ("tags", UsedBy::Both),
    ("price", UsedBy::Both),
    ("hour", UsedBy::Both),
    ("device", UsedBy::Both),
    ("city", UsedBy::Both),
    ("position", UsedBy::Clicks),
    ("banner", UsedBy::Clicks),
    ("shop", UsedBy::Conversions),
    ("delivery", UsedBy::Conversions),
    ("campaign", UsedBy::Neither),
    ("browser", UsedBy::Neither),
    ("bucket", UsedBy::Neither),
];

/// Rows that follow each other and belong to one session: one user, hour, device and city.
pub(super) const ROWS_PER_SESSION: u64 = 8;

/// One sampled row: ids are ranks of popularity, from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) session: u64,
    pub(super) user: u32,
    pub(super) item: u32,
    pub(super) category: u32,
    /// Distinct, ascending, from none to five.
    pub(super) tags: Vec<u32>,
    /// At least 0.01, in cents.
    pub(super) price: f64,
    pub(super) hour: u32,
    pub(super) device: u32,
    /// Unknown in two sessions of a hundred.
    pub(super) city: Option<u32>,
    /// position, banner, shop, delivery, campaign, browser, bucket.
    pub(super) contexts: [u32; 7],
    /// In [0, 1): clicked where below the true probability; the same for conversion.
    pub(super) luck: [f64; 2],
    /// The same for the further labels; 0 where the log has none.
    pub(super) further_luck: [f64; 2],
    /// When it happens, where the log has days.
    pub(super) time: Option<Timestamp>,
    /// When its conversion happens if it has one, where conversions come late.
    pub(super) conversion_time: Option<Timestamp>,
    /// Change of the intercepts of clicks and conversions on its day.
    pub(super) drift: [f64; 2],
}

/// The place of `delivery` among the contexts.
const DELIVERY: usize = 3;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Mean and deviation of the logarithm of a price.
pub(super) const LOG_PRICE: (f64, f64) = (3.0, 0.8);

const UNKNOWN_CITIES: f64 = 0.02;

/// Frequency of each value.
#[derive(Clone, Debug)]
pub(super) struct Population {
    seed: u64,
    users: Zipf,
    items: Zipf,
    categories: Zipf,
    tags: Zipf,
    hours: Zipf,
    devices: Zipf,
    cities: Zipf,
    contexts: [Zipf; 7],
    calendar: Option<Calendar>,
    delays: Option<ConversionDelays>,
    has_further_labels: bool,
}

impl Population {
    /// Returns the population of a plan.
    ///
    /// # Errors
    /// No decay of popularity gives the planned share of unseen items.
    pub(super) fn new(plan: &SyntheticPlan) -> Result<Population, SyntheticError> {
        let arrivals = plan.arrivals.as_ref();
        let calendar = arrivals.map(|arrivals| Calendar::new(arrivals, plan.items, plan.seed));
        Ok(Population {
            seed: plan.seed,
            users: Zipf::new(plan.users as usize, 0.7),
            items: Zipf::new(plan.items as usize, 0.8),
            categories: Zipf::new(40, 0.7),
            tags: Zipf::new(200, 0.8),
            hours: Zipf::new(24, 0.4),
            devices: Zipf::new(6, 0.8),
            cities: Zipf::new(60, 0.9),
            contexts: [20, 100, 100, 8, 1_000, 10, 100].map(|n_ids| Zipf::new(n_ids, 0.8)),
            calendar: calendar.transpose()?,
            delays: plan.delays,
            has_further_labels: plan.further != FurtherLabels::None,
        })
    }

    /// Row number `index` of all rows that there could be.
    pub(super) fn row(&self, index: u64) -> Row {
        let session = index / ROWS_PER_SESSION;
        let mut of_session = Draws::new(self.seed, Purpose::Session, session);
        let mut of_row = Draws::new(self.seed, Purpose::Row, index);
        let calendar = self.calendar.as_ref();
        let day = calendar.map(|calendar| calendar.day(index));
        let item = match (calendar, day) {
            (Some(calendar), Some(day)) => calendar.item(day, &mut of_row),
            _ => self.items.draw(&mut of_row),
        };
        let mut of_item = Draws::new(self.seed, Purpose::Item, u64::from(item));
        let (mean, deviation) = LOG_PRICE;
        let item_price = of_item.normal();
        let log_price = mean + deviation * (0.95 * item_price + 0.31 * of_row.normal());
        let user = self.users.draw(&mut of_session);
        let hour = self.hours.draw(&mut of_session);
        let contexts: [u32; 7] = std::array::from_fn(|i| self.contexts[i].draw(&mut of_row));
        let time = calendar.map(|calendar| calendar.time(index, hour));
        let drift = |calendar: &Calendar| day.map(|day| calendar.drift(day));
        Row {
            session,
            user,
            item,
            category: self.categories.draw(&mut of_item),
            tags: self.tags(&mut of_item),
            price: ((log_price.exp() * 100.0).round() / 100.0).max(0.01),
            hour,
            device: self.devices.draw(&mut of_session),
            city: (of_session.uniform() >= UNKNOWN_CITIES)
                .then(|| self.cities.draw(&mut of_session)),
            contexts,
            luck: [of_row.uniform(), of_row.uniform()],
            further_luck: self.further_luck(index),
            time,
            conversion_time: time.and_then(|time| self.conversion_time(index, time, contexts)),
            drift: calendar.and_then(drift).unwrap_or_default(),
        }
    }

    fn further_luck(&self, index: u64) -> [f64; 2] {
        if !self.has_further_labels {
            return [0.0; 2];
        }
        let mut draws = Draws::new(self.seed, Purpose::FurtherLuck, index);
        [draws.uniform(), draws.uniform()]
    }

    fn conversion_time(
        &self,
        index: u64,
        time: Timestamp,
        contexts: [u32; 7],
    ) -> Option<Timestamp> {
        let share = Draws::new(self.seed, Purpose::Delay, index).uniform();
        let days = self.delays?.delay(contexts[DELIVERY], share);
        let second = time.whole_seconds() + (days * SECONDS_PER_DAY) as i64;
        Some(Timestamp::of(second, TimeUnit::Seconds))
    }

    fn tags(&self, of_item: &mut Draws) -> Vec<u32> {
        let n_draws = of_item.below(6);
        let mut tags: Vec<u32> = (0..n_draws).map(|_| self.tags.draw(of_item)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_user_and_an_item_has_one_category() {
        let population = Population::new(&SyntheticPlan::default()).unwrap();
        let rows: Vec<Row> = (0..4_000).map(|index| population.row(index)).collect();
        for a in &rows[..50] {
            for b in &rows {
                assert!(a.session != b.session || a.user == b.user);
                assert!(a.item != b.item || (a.category, &a.tags) == (b.category, &b.tags));
            }
        }
    }

    #[test]
    fn prices_are_log_normal_and_in_cents() {
        let population = Population::new(&SyntheticPlan::default()).unwrap();
        let prices: Vec<f64> = (0..40_000)
            .map(|index| population.row(index).price)
            .collect();
        assert!(prices.iter().all(|&price| price >= 0.01));
        assert!(
            prices
                .iter()
                .all(|price| ((price * 100.0).round() - price * 100.0).abs() < 1e-6)
        );
        let mean = prices.iter().map(|price| price.ln()).sum::<f64>() / 4e4;
        assert!((mean - LOG_PRICE.0).abs() < 0.3, "{mean}");
    }
}
