//! When the rows of a table were last seen, and how often.

use std::collections::BTreeSet;

/// Lives of the rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowLives {
    /// The rows, ascending.
    pub ids: Vec<u32>,
    /// The training in which each was last seen, counted from 1, along the model's ancestry.
    pub last_seen: Vec<u32>,
    /// Sightings of each in all trainings.
    pub sightings: Vec<u32>,
}

impl RowLives {
    /// Returns the lives of `ids` after training number `now`, in which row `id` was seen `seen(id)` times. A row without
    /// an earlier life begins one now.
    #[must_use]
    pub fn joined(&self, ids: &BTreeSet<u32>, now: u32, seen: impl Fn(u32) -> u32) -> RowLives {
        let mut lives = RowLives::default();
        for &id in ids {
            let more = seen(id);
            let (last, sightings) = match self.ids.binary_search(&id) {
                Ok(row) => (self.last_seen[row], self.sightings[row]),
                Err(_) => (now, 0),
            };
            lives.ids.push(id);
            lives.last_seen.push(if more > 0 { now } else { last });
            lives.sightings.push(sightings.saturating_add(more));
        }
        lives
    }

    /// Returns the lives of `ids`: those of `self`, or else those of `other`; rows that neither has are left out.
    #[must_use]
    pub fn union(&self, other: &RowLives, ids: &BTreeSet<u32>) -> RowLives {
        let mut lives = RowLives::default();
        for &id in ids {
            let found = [self, other].into_iter().find_map(|from| {
                let row = from.ids.binary_search(&id).ok()?;
                Some((from.last_seen[row], from.sightings[row]))
            });
            if let Some((last, sightings)) = found {
                lives.ids.push(id);
                lives.last_seen.push(last);
                lives.sightings.push(sightings);
            }
        }
        lives
    }

    /// Keeps the rows for which `is_kept`.
    pub fn retain(&mut self, is_kept: impl Fn(u32) -> bool) {
        let flags: Vec<bool> = self.ids.iter().map(|&id| is_kept(id)).collect();
        for column in [&mut self.ids, &mut self.last_seen, &mut self.sightings] {
            let mut flags = flags.iter();
            column.retain(|_| flags.next().is_some_and(|kept| *kept));
        }
    }

    /// Returns the lives without the rows of `removed`, both ascending, and with those of `changed`.
    pub(super) fn changed(&self, removed: &[u32], changed: &RowLives) -> RowLives {
        let mut lives = RowLives::default();
        let mut add = |from: &RowLives, row: usize| {
            lives.ids.push(from.ids[row]);
            lives.last_seen.push(from.last_seen[row]);
            lives.sightings.push(from.sightings[row]);
        };
        let mut later = (0..changed.ids.len()).peekable();
        for (row, &id) in self.ids.iter().enumerate() {
            while let Some(new) = later.next_if(|&new| changed.ids[new] < id) {
                add(changed, new);
            }
            match later.next_if(|&new| changed.ids[new] == id) {
                Some(new) => add(changed, new),
                None if removed.binary_search(&id).is_err() => add(self, row),
                None => {}
            }
        }
        later.for_each(|new| add(changed, new));
        lives
    }

    /// Returns true if there is a value of each kind for each row, and rows ascend.
    pub(super) fn is_sound(&self) -> bool {
        let n = self.ids.len();
        let is_whole = self.last_seen.len() == n && self.sightings.len() == n;
        is_whole && self.ids.is_sorted_by(|a, b| a < b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_on_where_a_row_was_seen_and_stays_where_not() {
        let first = RowLives::default().joined(&[2, 5, 9].into(), 1, |id| id);
        assert_eq!(first.last_seen, [1, 1, 1]);
        let mut second = first.joined(&[2, 5, 9, 11].into(), 2, |id| u32::from(id == 5));
        assert_eq!(second.last_seen, [1, 2, 1, 2]);
        assert_eq!(second.sightings, [2, 6, 9, 0]);
        assert!(second.is_sound());
        second.retain(|id| id != 5);
        assert_eq!(
            (&second.ids[..], &second.last_seen[..]),
            (&[2, 9, 11][..], &[1, 1, 2][..])
        );
        second.sightings.pop();
        assert!(!second.is_sound());
    }
}
