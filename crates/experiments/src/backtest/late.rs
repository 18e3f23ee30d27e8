//! Labels that come late, in a backtest: training knows what was known at the end of its last day.

use ncs_config::RunFile;
use ncs_readers::days::DayKey;
use std::ops::RangeInclusive;

use super::days::Day;

/// The tasks with late labels of a run file.
pub(super) struct LateTasks {
    names: Vec<String>,
    /// Days of the longest attribution window, rounded up.
    window_days: i64,
}

impl LateTasks {
    /// Returns the tasks of a run file, none if no labels come late.
    ///
    /// # Errors
    /// The days are not dates.
    pub(super) fn of(base: &RunFile, days: &[Day]) -> Result<LateTasks, String> {
        let late = base.plan.schema.tasks.iter().filter_map(|task| {
            let late = task.row_rules.late.as_ref()?;
            Some((task.name.clone(), (late.window / 86_400.0).ceil() as i64))
        });
        let (names, windows): (Vec<_>, Vec<_>) = late.unzip();
        let number = days.iter().find(|day| matches!(day.key, DayKey::Number(_)));
        match (names.first(), number) {
            (Some(task), Some(day)) => Err(format!(
                "task {task:?} states late, whose labels are those known at the end of a day, and day {} is not a date; name \
                 a column of dates with --by",
                day.key
            )),
            _ => Ok(LateTasks {
                names,
                window_days: windows.into_iter().max().unwrap_or_default(),
            }),
        }
    }

    /// Returns the days whose rows a training reads: its own, and after an earlier training that knew the days up to
    /// `known`, the days of which labels have come since.
    pub(super) fn reach(
        &self,
        days: &[Day],
        own: &RangeInclusive<usize>,
        known: Option<usize>,
    ) -> RangeInclusive<usize> {
        let (Some(known), false) = (known, self.names.is_empty()) else {
            return own.clone();
        };
        let first = days[known].key.next().plus(-self.window_days);
        let reached = days.iter().position(|day| day.key >= first);
        reached.unwrap_or(*own.start()).min(*own.start())..=*own.end()
    }

    /// Returns the overrides of the run file for a training whose last day is number `last`.
    pub(super) fn assignments(
        &self,
        days: &[Day],
        last: usize,
        known: Option<usize>,
    ) -> Vec<String> {
        let end_of = |day: usize| days[day].key.next().to_string();
        let set = |name: &String, key: &str, day: usize| {
            let name = toml::Value::String(name.clone());
            format!("tasks.{name}.late.{key}={:?}", end_of(day))
        };
        let of_task = |name: &String| {
            let since = known.map(|known| set(name, "since", known));
            [Some(set(name, "as_of", last)), since]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        };
        self.names.iter().flat_map(of_task).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days() -> Vec<Day> {
        let of_day = |day| Day {
            key: DayKey::Date(day),
            files: Vec::new(),
            reading: ncs_readers::Reading::default(),
            rows: 1,
            hash: blake3::hash(b""),
        };
        // The fifth day is missing.
        [0, 1, 2, 3, 5, 6].map(of_day).to_vec()
    }

    fn late(names: &[&str]) -> LateTasks {
        LateTasks {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            window_days: 2,
        }
    }

    #[test]
    fn a_training_reads_the_days_whose_labels_come() {
        let days = days();
        let cvr = late(&["cvr"]);
        assert_eq!(cvr.reach(&days, &(0..=3), None), 0..=3);
        // At the end of day 3 everything up to the end of day 2 was known: rows of days 1 and 2 were open then.
        assert_eq!(cvr.reach(&days, &(3..=3), Some(2)), 1..=3);
        assert_eq!(cvr.reach(&days, &(4..=4), Some(3)), 2..=4);
        assert_eq!(cvr.reach(&days, &(1..=1), Some(0)), 0..=1);
        assert_eq!(late(&[]).reach(&days, &(3..=3), Some(2)), 3..=3);
    }

    #[test]
    fn labels_are_known_up_to_the_end_of_the_day() {
        let found = late(&["cvr"]).assignments(&days(), 3, Some(2));
        assert_eq!(
            found,
            [
                "tasks.\"cvr\".late.as_of=\"1970-01-05\"",
                "tasks.\"cvr\".late.since=\"1970-01-04\""
            ]
        );
        let first = late(&["cvr"]).assignments(&days(), 0, None);
        assert_eq!(first, ["tasks.\"cvr\".late.as_of=\"1970-01-02\""]);
        assert!(late(&[]).assignments(&days(), 0, None).is_empty());
    }
}
