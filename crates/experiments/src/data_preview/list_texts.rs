//! Warnings about texts that look like lists but are not read as lists, or are read in an unintended way.

use std::collections::HashSet;

use ncs_features::{Field, IdSpacePlan, list_text};

use super::doubts::{quoted, vector_text};
use super::gathered::Gathered;

/// Candidate separators of lists in texts; the first that fits is used.
const SEPARATORS: [char; 12] = [
    '|', ';', '\t', '\u{1}', '\u{2}', '\u{3}', '^', '~', '#', '&', ',', ' ',
];

/// Warns about a feature whose texts look like lists.
pub(super) fn warning(field: &Field, ids: &IdSpacePlan, gathered: &Gathered) -> Option<String> {
    let texts = Texts::of(gathered);
    let is_id = !matches!(ids, IdSpacePlan::Numeric(_));
    if !is_id || texts.rows == 0 || gathered.has_lists {
        return None;
    }
    if texts.share(is_bracketed) > 0.5 {
        return bracketed(field, &texts);
    }
    nested(field, &texts)
        .or_else(|| weights(field, &texts))
        .or_else(|| separated(field, &texts))
}

/// Distinct texts of a column with their counts, without empty lists.
struct Texts<'a> {
    texts: Vec<(&'a [u8], u64)>,
    rows: u64,
}

impl<'a> Texts<'a> {
    fn of(gathered: &'a Gathered) -> Texts<'a> {
        let is_list = |text: &[u8]| !matches!(text, b"[]" | b"{}" | b"()" | b"null" | b"None");
        let texts = gathered.texts.iter().map(|(text, n)| (&**text, *n));
        let texts: Vec<_> = texts.filter(|(text, _)| is_list(text)).collect();
        Texts {
            rows: texts.iter().map(|(_, n)| n).sum(),
            texts,
        }
    }

    /// Returns the share of the rows whose text matches.
    fn share(&self, is_match: impl Fn(&[u8]) -> bool) -> f64 {
        let rows = self.texts.iter().filter(|(text, _)| is_match(text));
        rows.map(|(_, n)| *n).sum::<u64>() as f64 / self.rows as f64
    }

    fn first(&self, is_match: impl Fn(&[u8]) -> bool) -> &'a [u8] {
        let mut texts = self.texts.iter().map(|(text, _)| *text);
        texts.find(|text| is_match(text)).unwrap_or_default()
    }
}

/// Returns true if a text is a readable list in brackets.
fn is_bracketed(text: &[u8]) -> bool {
    list_text::items_of(text).is_some()
}

/// Warns about lists in brackets, which are read if the feature is a list.
fn bracketed(field: &Field, texts: &Texts<'_>) -> Option<String> {
    let column = &field.column;
    let example = texts.first(is_bracketed);
    let items = list_text::items_of(example).unwrap_or_default();
    if are_fractions(items.iter().map(|item| &**item)) {
        return Some(vector_text(field, texts.texts.len()));
    }
    if field.pooling.is_some() {
        return items_with_weights(field, texts);
    }
    Some(format!(
        "column {column:?} holds lists as texts, such as {}, and each text is one category; declare kind = \
         \"list\", which reads them",
        quoted(example)
    ))
}

/// Warns about items such as `t1:0.5` in brackets.
fn items_with_weights(field: &Field, texts: &Texts<'_>) -> Option<String> {
    let (mut all, mut with) = (0, 0);
    let mut example = Vec::new();
    for (text, n) in &texts.texts {
        for item in list_text::items_of(text).unwrap_or_default() {
            all += n;
            if weighted(&item).is_some() {
                with += n;
                example = item.into_owned();
            }
        }
    }
    (all > 0 && with * 5 >= all * 4).then(|| weights_text(field, &example, ""))
}

/// Warns about nested brackets.
fn nested(field: &Field, texts: &Texts<'_>) -> Option<String> {
    let column = &field.column;
    let is_other =
        |text: &[u8]| matches!(text, [b'[', .., b']'] | [b'{', .., b'}']) && !is_bracketed(text);
    if texts.share(is_other) <= 0.5 {
        return None;
    }
    let example = texts.first(is_other);
    let what = match example {
        [b'{', ..] => "dictionaries and weights are",
        _ => "lists in lists are",
    };
    Some(format!(
        "column {column:?} holds texts such as {}: {what} not supported; write a list of only the items, such as \
         [\"a\", \"b\"], and weights into separate columns",
        quoted(example)
    ))
}

/// Splits a text into items, without blanks around them.
fn items(text: &[u8], separator: Option<char>) -> Vec<&[u8]> {
    let (Some(separator), Ok(text)) = (separator, std::str::from_utf8(text)) else {
        return vec![text.trim_ascii()];
    };
    let items = text
        .split(separator)
        .map(|item| item.as_bytes().trim_ascii());
    items.filter(|item| !item.is_empty()).collect()
}

/// Returns `t1` for `t1:0.5`, if a number follows the last colon (or equals sign).
fn weighted(item: &[u8]) -> Option<&[u8]> {
    let at = item.iter().rposition(|byte| matches!(byte, b':' | b'='))?;
    let number = std::str::from_utf8(&item[at + 1..]).ok()?.trim();
    let is_number = number.parse::<f64>().is_ok();
    (at > 0 && is_number).then(|| item[..at].trim_ascii())
}

/// Warns about items that end in a weight.
fn weights(field: &Field, texts: &Texts<'_>) -> Option<String> {
    let own = field.separator.map(Some);
    let others = SEPARATORS.into_iter().map(Some).chain([None]);
    let candidates: Vec<Option<char>> = match own {
        Some(own) => vec![own],
        None => others.collect(),
    };
    let separator = candidates
        .into_iter()
        .find(|separator| has_weights(texts, *separator))?;
    let is_cut = |text: &[u8]| items(text, separator).len() > 1;
    let example = texts.first(|text| is_cut(text) || separator.is_none());
    let example = items(example, separator)
        .first()
        .copied()
        .unwrap_or_default();
    let cut = match (field.pooling, field.separator, separator) {
        (None, _, Some(separator)) => {
            let separator = separator.to_string();
            format!(" (a list is declared by kind = \"list\", separator = {separator:?})")
        }
        (Some(_), None, Some(separator)) => {
            let separator = separator.to_string();
            format!(" (separator = {separator:?} splits the texts into items)")
        }
        _ => String::new(),
    };
    Some(weights_text(field, example, &cut))
}

fn weights_text(field: &Field, example: &[u8], cut: &str) -> String {
    format!(
        "column {:?} holds items with a number after a colon, such as {}: weights are not supported, and the \
         number becomes part of the id; write the items without weights{cut}, or the weights into separate \
         columns",
        field.column,
        quoted(example)
    )
}

fn has_weights(texts: &Texts<'_>, separator: Option<char>) -> bool {
    let (mut all, mut with) = (0u64, 0u64);
    let (mut whole, mut keys) = (HashSet::new(), HashSet::new());
    let mut several = 0;
    for (text, n) in &texts.texts {
        let items = items(text, separator);
        several += if items.len() > 1 { *n } else { 0 };
        for item in items {
            all += n;
            if let Some(key) = weighted(item) {
                with += n;
                whole.insert(item);
                keys.insert(key);
            }
        }
    }
    // Single items, such as 12:30, count as weighted only if they are words with many numbers each.
    let is_word = |key: &&[u8]| key.iter().any(u8::is_ascii_alphabetic);
    let are_lists = several * 5 >= texts.rows;
    let recur = keys.len() * 2 <= whole.len() && keys.iter().all(is_word);
    let is_rule = all > 0 && with * 5 >= all * 4;
    is_rule
        && match separator {
            Some(_) => are_lists && keys.len() < whole.len().max(2),
            None => recur,
        }
}

fn are_fractions<'a>(items: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut n = 0;
    for item in items {
        let number = std::str::from_utf8(item)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        if number.is_none_or(|x| !x.is_finite()) {
            return false;
        }
        n += if item.contains(&b'.') || item.contains(&b'e') {
            1
        } else {
            -1
        };
    }
    n > 0
}

/// Warns about texts that a separator would split into items.
fn separated(field: &Field, texts: &Texts<'_>) -> Option<String> {
    let is_list = field.pooling.is_some();
    let cuts = |separator: char| {
        let mut bytes = [0; 4];
        let separator = separator.encode_utf8(&mut bytes).as_bytes();
        texts.share(|text| text.windows(separator.len()).any(|part| part == separator))
    };
    if field.separator.is_some_and(|own| cuts(own) > 0.0) {
        return None;
    }
    let is_vector = |separator: &char| {
        let items = texts
            .texts
            .iter()
            .flat_map(|(text, _)| items(text, Some(*separator)));
        cuts(*separator) > 0.5 && are_fractions(items)
    };
    if SEPARATORS.iter().any(is_vector) {
        return Some(vector_text(field, texts.texts.len()));
    }
    let fits = |separator: &char| {
        let share = cuts(*separator);
        share > 0.0 && SplitStatistics::of(texts, *separator).is_list(*separator, share, is_list)
    };
    let separator = SEPARATORS.into_iter().find(fits)?;
    let text = texts.first(|text| items(text, Some(separator)).len() > 1);
    Some(unsplit(field, separator, text))
}

fn unsplit(field: &Field, separator: char, text: &[u8]) -> String {
    let (column, text, separator) = (&field.column, quoted(text), separator.to_string());
    match (field.pooling, field.separator) {
        (Some(_), None) => format!(
            "column {column:?} is a list without a separator, so every text is one item, but most texts contain \
             {separator:?}, such as {text}; set separator = {separator:?} if it separates items"
        ),
        (Some(_), Some(own)) => format!(
            "column {column:?} has separator = {:?}, which no text contains, so every text is one item, such as \
             {text}; set separator = {separator:?} if it separates items",
            own.to_string()
        ),
        (None, _) => format!(
            "column {column:?} holds texts that look like lists, such as {text}, and each text is one category; \
             declare {{ kind = \"list\", separator = {separator:?} }} if {separator:?} separates items"
        ),
    }
}

/// Statistics of splitting texts at a separator.
struct SplitStatistics {
    /// Number of distinct texts that are split.
    texts: usize,
    /// Number of distinct items of these texts.
    items: usize,
    /// True if the texts differ in the number of items.
    varies: bool,
    /// Share of the items that contain a blank.
    with_blank: f64,
    /// True if the items are parts of dates and times.
    is_time: bool,
}

impl SplitStatistics {
    fn of(texts: &Texts<'_>, separator: char) -> SplitStatistics {
        let mut distinct = HashSet::new();
        let mut lengths = HashSet::new();
        let (mut n_texts, mut n_items, mut with_blank, mut of_time) = (0, 0, 0, 0);
        for (text, _) in &texts.texts {
            let items = items(text, Some(separator));
            if items.len() < 2 {
                continue;
            }
            n_texts += 1;
            lengths.insert(items.len());
            for item in items {
                n_items += 1;
                with_blank += usize::from(item.contains(&b' '));
                of_time += usize::from(is_of_time(item));
                distinct.insert(item);
            }
        }
        SplitStatistics {
            texts: n_texts,
            items: distinct.len(),
            varies: lengths.len() > 1,
            with_blank: with_blank as f64 / n_items.max(1) as f64,
            is_time: of_time * 2 > n_items,
        }
    }

    /// Returns true if the texts seem to be lists: items recur in other texts, and lists differ in length.
    /// Commas and blanks also occur in ordinary texts, so they need stronger evidence.
    fn is_list(&self, separator: char, share: f64, is_declared: bool) -> bool {
        let recur = self.texts >= 3 && self.items < self.texts;
        if self.is_time {
            return false;
        }
        match separator {
            ' ' if is_declared => share > 0.5 || share > 0.3 && recur,
            ' ' => share > 0.3 && self.texts >= 5 && self.items * 2 <= self.texts,
            _ if is_declared => share > 0.1,
            ',' => share > 0.3 && (recur || self.varies && self.with_blank < 0.2),
            _ => share > 0.3 && (recur || self.varies),
        }
    }
}

/// Returns true for digits with colons, dashes or slashes between them.
fn is_of_time(item: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b":-/.+TZ".contains(byte);
    item.iter().all(is_part) && item.iter().any(|byte| b":-/".contains(byte)) && item.len() > 3
}

#[cfg(test)]
mod tests;
