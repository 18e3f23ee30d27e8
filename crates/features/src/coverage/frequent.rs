//! The most frequent of many texts, in bounded memory.

use crate::hash::TextHash;
use crate::value::FieldReader;
use std::collections::HashMap;

/// Texts that are kept.
const KEPT: usize = 1024;

/// Bytes of a text that are kept: what is shown of it.
const LONGEST: usize = 256;

/// Counter of texts by the rule of Misra and Gries (1982): of `n` texts, each that was added more than `n /
/// 1024` times is present, and its count is too small by at most that number.
#[derive(Clone, Debug, Default)]
pub(super) struct Frequent {
    /// The id of each text, and its count.
    texts: HashMap<Box<[u8]>, (u32, u64), TextHash>,
}

impl Frequent {
    pub(super) fn add(&mut self, text: &[u8], id: u32) {
        let text = &text[..text.len().min(LONGEST)];
        if let Some((_, count)) = self.texts.get_mut(text) {
            *count += 1;
        } else if self.texts.len() < KEPT {
            self.texts.insert(text.into(), (id, 1));
        } else {
            self.texts.retain(|_, (_, count)| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// Adds the values of a row that training did not see; `ids` are the ids of its values, in their order.
    pub(super) fn add_row(
        &mut self,
        reader: &mut FieldReader<'_>,
        row: usize,
        ids: &[u32],
        is_unseen: impl Fn(u32) -> bool,
    ) {
        let mut ids = ids.iter().copied();
        // The row was encoded, so that it can be read.
        let _ = reader.texts(row, |text| {
            let id = ids.next().filter(|&id| id > 0 && is_unseen(id));
            if let (Some(text), Some(id)) = (text, id) {
                self.add(text, id);
            }
            Ok(())
        });
    }

    /// Returns text, id and count, the most frequent first, ties by text.
    pub(super) fn most_frequent(self) -> Vec<(Box<[u8]>, u32, u64)> {
        let texts = self.texts.into_iter();
        let mut found: Vec<_> = texts.map(|(text, (id, count))| (text, id, count)).collect();
        found.sort_unstable_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_text_is_found_among_any_number_of_rare_ones() {
        let mut frequent = Frequent::default();
        for i in 0..50_000u32 {
            frequent.add(i.to_string().as_bytes(), i);
            if i % 10 == 0 {
                frequent.add(b"often", 7);
            }
        }
        assert!(frequent.texts.len() <= KEPT);
        let found = frequent.most_frequent();
        assert_eq!((&*found[0].0, found[0].1), (&b"often"[..], 7));
        assert!((4_900..=5_000).contains(&found[0].2), "{}", found[0].2);
    }

    #[test]
    fn few_texts_are_counted_exactly() {
        let mut frequent = Frequent::default();
        for text in ["b", "a", "b", "c", "a", "b"] {
            frequent.add(text.as_bytes(), 1);
        }
        let found = frequent.most_frequent();
        let counts: Vec<_> = found.iter().map(|(text, _, n)| (&**text, *n)).collect();
        assert_eq!(counts, [(&b"b"[..], 3), (b"a", 2), (b"c", 1)]);
    }
}
