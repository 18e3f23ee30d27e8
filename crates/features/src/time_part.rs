//! Parts of a moment as categories: the hour of the day, the day of the week.

use crate::time::{TimeUnit, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Furthest offset of a time zone from UTC, in minutes.
pub const MOST_OFFSET: i32 = 14 * 60;

/// A part of a moment, in a time zone of one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimePart {
    /// The part.
    pub part: Part,
    /// Minutes that are added to UTC.
    pub offset: i32,
    /// Unit of moments that are numbers; `None`: told by their size ([`TimeUnit::of_size`]).
    pub unit: Option<TimeUnit>,
}

/// A part of the calendar or the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The hour of the day, 24 values.
    Hour,
    /// The day of the week from Monday, 7 values.
    Weekday,
    /// The hour of the week from Monday midnight, 168 values.
    HourOfWeek,
    /// The day of the month, 31 values.
    Day,
    /// The month, 12 values.
    Month,
}

impl Part {
    /// Returns the number of values.
    pub fn n_values(self) -> usize {
        match self {
            Part::Hour => 24,
            Part::Weekday => 7,
            Part::HourOfWeek => 7 * 24,
            Part::Day => 31,
            Part::Month => 12,
        }
    }

    /// Returns its name in run files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Part::Hour => "hour",
            Part::Weekday => "weekday",
            Part::HourOfWeek => "hour_of_week",
            Part::Day => "day",
            Part::Month => "month",
        }
    }
}

impl TimePart {
    /// Returns the number of table rows: 0 is "missing", 1 midnight to one o'clock, Monday, the first of a month, January.
    pub fn n_rows(&self) -> usize {
        1 + self.part.n_values()
    }

    /// Returns the id of a moment.
    pub fn id(&self, moment: Timestamp) -> u32 {
        let offset = i64::from(self.offset) * 60;
        let local = moment.whole_seconds().saturating_add(offset);
        let (day, hour) = (local.div_euclid(DAY), local.rem_euclid(DAY) / 3600);
        // 1970-01-01 was a Thursday.
        let weekday = (day.rem_euclid(7) + 3) % 7;
        let value = match self.part {
            Part::Hour => hour,
            Part::Weekday => weekday,
            Part::HourOfWeek => weekday * 24 + hour,
            Part::Day => Timestamp::new(local, 0).date().2 - 1,
            Part::Month => Timestamp::new(local, 0).date().1 - 1,
        };
        1 + value as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTS: [Part; 5] = [
        Part::Hour,
        Part::Weekday,
        Part::HourOfWeek,
        Part::Day,
        Part::Month,
    ];

    fn value(part: Part, offset: i32, text: &str) -> u32 {
        let unit = None;
        TimePart { part, offset, unit }.id(Timestamp::parse(text.as_bytes()).unwrap()) - 1
    }

    #[test]
    fn parts_are_those_of_the_calendar() {
        assert_eq!(value(Part::Hour, 0, "2026-11-29T08:59:59Z"), 8);
        assert_eq!(value(Part::Hour, 0, "1969-12-31T23:30:00Z"), 23);
        // A Sunday, and the Monday after it.
        assert_eq!(value(Part::Weekday, 0, "2026-11-29"), 6);
        assert_eq!(value(Part::Weekday, 0, "2026-11-30"), 0);
        assert_eq!(value(Part::Weekday, 0, "1970-01-01"), 3);
        assert_eq!(value(Part::Weekday, 0, "1969-12-31"), 2);
        assert_eq!(value(Part::HourOfWeek, 0, "2026-11-29T23:00:00Z"), 167);
        assert_eq!(value(Part::HourOfWeek, 0, "2026-11-30T01:00:00Z"), 1);
        assert_eq!(value(Part::Day, 0, "2024-02-29"), 28);
        assert_eq!(value(Part::Month, 0, "2024-02-29"), 1);
        assert_eq!(value(Part::Month, 0, "1969-12-31"), 11);
    }

    #[test]
    fn the_offset_moves_all_of_them() {
        assert_eq!(value(Part::Hour, 330, "2026-11-29T20:00:00Z"), 1);
        assert_eq!(value(Part::Weekday, 330, "2026-11-29T20:00:00Z"), 0);
        assert_eq!(value(Part::Hour, -60, "2026-11-29T00:30:00Z"), 23);
        assert_eq!(value(Part::Weekday, -60, "2026-11-29T00:30:00Z"), 5);
        assert_eq!(value(Part::Day, 60, "2026-11-30T23:30:00Z"), 0);
        assert_eq!(value(Part::Month, 60, "2026-11-30T23:30:00Z"), 11);
    }

    proptest! {
        #[test]
        fn every_moment_has_a_row(seconds: i64, offset in -MOST_OFFSET..=MOST_OFFSET) {
            for part in PARTS {
                let part = TimePart { part, offset, unit: None };
                let id = part.id(Timestamp::new(seconds, 0)) as usize;
                prop_assert!((1..part.n_rows()).contains(&id));
            }
        }
    }
}
