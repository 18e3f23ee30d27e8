//! Detection of texts that are lists.

use std::collections::HashSet;

use super::profile::{Profile, items};

/// Format of a list in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListText {
    /// Items with a separator.
    Separated(char),
    /// Items that end in a number, such as `sport:0.7`.
    Weighted,
}

/// Candidate separators; the first that fits is used.
const SEPARATORS: [char; 10] = ['|', ';', '\t', '\u{1}', '\u{2}', '^', '~', '#', ',', ' '];

/// Returns the list format of a column's texts, if they are lists.
pub(super) fn of(profile: &Profile) -> Option<ListText> {
    let separator = SEPARATORS
        .into_iter()
        .find(|separator| SplitStatistics::of(profile, *separator).is_list(*separator))?;
    let texts = profile.counts.keys();
    let (mut n_items, mut weighted) = (0, 0);
    for item in texts.flat_map(|text| items(text, separator)) {
        n_items += 1;
        weighted += usize::from(has_weight(item));
    }
    Some(if weighted * 5 >= n_items * 4 {
        ListText::Weighted
    } else {
        ListText::Separated(separator)
    })
}

fn has_weight(item: &[u8]) -> bool {
    let at = item.iter().rposition(|byte| matches!(byte, b':' | b'='));
    let number = at.and_then(|at| std::str::from_utf8(&item[at + 1..]).ok());
    number.is_some_and(|number| number.parse::<f64>().is_ok())
}

/// Statistics of splitting a column's texts at a separator.
struct SplitStatistics {
    /// Share of the rows whose text is split.
    share: f64,
    /// Number of distinct texts that are split.
    texts: usize,
    /// Number of distinct items of these texts.
    items: usize,
    /// True if the texts differ in the number of items.
    varies: bool,
    /// Share of the items that contain a blank.
    with_blank: f64,
}

impl SplitStatistics {
    fn of(profile: &Profile, separator: char) -> SplitStatistics {
        let (mut distinct, mut lengths) = (HashSet::new(), HashSet::new());
        let (mut texts, mut n_items, mut with_blank, mut rows) = (0, 0, 0, 0);
        for (text, n) in &profile.counts {
            let items: Vec<&[u8]> = items(text, separator).collect();
            lengths.insert(items.len());
            if items.len() < 2 {
                continue;
            }
            texts += 1;
            rows += n;
            n_items += items.len();
            with_blank += items.iter().filter(|item| item.contains(&b' ')).count();
            distinct.extend(items);
        }
        SplitStatistics {
            share: rows as f64 / profile.n_values().max(1) as f64,
            texts,
            items: distinct.len(),
            varies: lengths.len() > 1,
            with_blank: with_blank as f64 / n_items.max(1) as f64,
        }
    }

    /// Returns true if the texts are lists: items recur in other texts, and lists differ in length. Commas and
    /// blanks also occur in ordinary texts, so they need stronger evidence.
    fn is_list(&self, separator: char) -> bool {
        let recur = self.texts >= 5 && self.items < self.texts;
        let is_common = self.share > 0.3 && self.varies && recur;
        match separator {
            ' ' => is_common && self.items * 3 <= self.texts,
            ',' => is_common && self.with_blank < 0.2 && self.items * 2 <= self.texts,
            _ => is_common,
        }
    }
}
