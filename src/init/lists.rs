//! Texts that are lists.

use std::collections::HashSet;

use super::profile::{Profile, items};

/// A list that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListText {
    /// Items with this between them.
    Separated(char),
    /// Items that end in a number, such as `sport:0.7`.
    Weighted,
}

/// What stands between items; the first that fits is taken.
const SEPARATORS: [char; 10] = ['|', ';', '\t', '\u{1}', '\u{2}', '^', '~', '#', ',', ' '];

/// How the texts of a column are lists, if they are.
pub(super) fn of(profile: &Profile) -> Option<ListText> {
    let separator = SEPARATORS
        .into_iter()
        .find(|separator| Cut::of(profile, *separator).is_list(*separator))?;
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

/// What a separator makes of the texts of a column.
struct Cut {
    /// The share of the rows whose text it cuts.
    share: f64,
    /// Different texts that it cuts.
    texts: usize,
    /// Different items of these.
    items: usize,
    /// Whether they have different numbers of items.
    varies: bool,
    /// The share of the items that hold a blank.
    with_blank: f64,
}

impl Cut {
    fn of(profile: &Profile, separator: char) -> Cut {
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
        Cut {
            share: rows as f64 / profile.n_values().max(1) as f64,
            texts,
            items: distinct.len(),
            varies: lengths.len() > 1,
            with_blank: with_blank as f64 / n_items.max(1) as f64,
        }
    }

    /// Whether the texts are lists: items come again in other texts, and lists differ in length. Commas and
    /// blanks stand in much that is no list, so they must show more.
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
