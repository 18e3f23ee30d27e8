//! Values as they stand in texts: quoted in reports, and as bytes in any file.

use std::collections::{HashMap, HashSet};

use ncs_features::canonical::canonical_text;
use ncs_features::value::shown_text;

/// Text in the place of a value in a report.
const ERASED: &str = "(erased)";

/// Values of fewer bytes are not searched for in bytes that could mean anything: numbers are everywhere.
const FEWEST_BYTES: usize = 6;

/// Bytes of a quoted value in a report, which shows 60 characters, escaped.
const LONGEST_QUOTE: usize = 600;

/// The values as texts.
#[derive(Debug)]
pub(super) struct Texts {
    /// As reports show them.
    shown: HashSet<String>,
    /// By the longest word in each long value: its place there, and the value.
    by_word: HashMap<Vec<u8>, Vec<(usize, Vec<u8>)>>,
}

impl Texts {
    pub(super) fn new(values: &[String]) -> Texts {
        let texts: HashSet<String> = values
            .iter()
            .flat_map(|value| [canonical_text(value), value.trim().to_owned()])
            .collect();
        let mut by_word: HashMap<Vec<u8>, Vec<(usize, Vec<u8>)>> = HashMap::new();
        for text in texts.iter().filter(|text| text.len() >= FEWEST_BYTES) {
            let longest = words(text.as_bytes()).max_by_key(|word| word.len());
            let Some(word) = longest else { continue };
            let value = (word.start, text.as_bytes().to_vec());
            let word = text.as_bytes()[word].to_vec();
            by_word.entry(word).or_default().push(value);
        }
        Texts {
            shown: texts
                .iter()
                .map(|text| shown_text(text.as_bytes()))
                .collect(),
            by_word,
        }
    }

    /// Returns the number of places where a value stands in these bytes, not as a part of a longer word.
    pub(super) fn count_in(&self, bytes: &[u8]) -> usize {
        if self.by_word.is_empty() {
            return 0;
        }
        let stands = |word: &std::ops::Range<usize>, (at, value): &(usize, Vec<u8>)| {
            let start = word.start.checked_sub(*at);
            start.is_some_and(|start| {
                let end = start + value.len();
                let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| !is_of_word(*byte));
                bytes.get(start..end) == Some(value)
                    && is_end(bytes.get(end))
                    && (start == 0 || is_end(bytes.get(start - 1)))
            })
        };
        words(bytes)
            .filter(|word| {
                let values = self.by_word.get(&bytes[word.clone()]);
                values.is_some_and(|values| values.iter().any(|value| stands(word, value)))
            })
            .count()
    }

    /// Returns the text of a report without the values that it quotes as new ones, and how many these were.
    pub(super) fn redacted(&self, text: &str) -> (String, usize) {
        let json = |inner: &str| {
            let quoted = format!("\"{inner}\"");
            serde_json::from_str(&quoted).unwrap_or_else(|_| inner.to_owned())
        };
        let nested = |inner: &str| json(&json(inner));
        let mut n_all = 0;
        let mut text = text.to_owned();
        for (open, close, plain) in [
            ("\"value\": \"", "\"", &json as &dyn Fn(&str) -> String),
            ("\\\"", "\\\" (", &nested),
            ("&quot;", "&quot; (", &plain_of_html),
            ("\"", "\" (", &str::to_owned),
        ] {
            let (next, n) = self.replaced(&text, open, close, plain);
            (text, n_all) = (next, n_all + n);
        }
        (text, n_all)
    }

    /// Replaces the values between `open` and `close`.
    fn replaced(
        &self,
        text: &str,
        open: &str,
        close: &str,
        plain: &dyn Fn(&str) -> String,
    ) -> (String, usize) {
        let mut out = String::with_capacity(text.len());
        let (mut rest, mut n) = (text, 0);
        while let Some(at) = rest.find(open) {
            let (before, inner) = rest.split_at(at + open.len());
            out.push_str(before);
            rest = inner;
            let window = &inner[..inner.floor_char_boundary(LONGEST_QUOTE)];
            let end = window.find(close);
            // The nearest opening mark before the closing one.
            let Some(end) = end.filter(|&end| !inner[..end].contains(open)) else {
                continue;
            };
            if self.shown.contains(&plain(&inner[..end])) {
                out.push_str(ERASED);
                n += 1;
            } else {
                out.push_str(&inner[..end]);
            }
            rest = &inner[end..];
        }
        out.push_str(rest);
        (out, n)
    }
}

fn plain_of_html(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&amp;", "&")];
    let plain = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    pairs.into_iter().fold(text.to_owned(), plain)
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte >= 0x80
}

/// Returns the places of the words in these bytes.
fn words(bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(|&byte| is_of_word(byte))?;
        let rest = &bytes[start..];
        let length = rest.iter().position(|&byte| !is_of_word(byte));
        at = start + length.unwrap_or(rest.len());
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Texts {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        Texts::new(&values)
    }

    #[test]
    fn whole_values_are_found_in_bytes() {
        let texts = texts(&["user-77", "ann@mail.org", "17"]);
        let check = |bytes: &str, n| assert_eq!(texts.count_in(bytes.as_bytes()), n, "{bytes}");
        check("user-77", 1);
        check("1,user-77,3\n2,\"user-77\",ann@mail.org", 3);
        check("user-771 xuser-77 user_77 ann@mail.organ", 0);
        // Too short to mean anything.
        check("17, 17", 0);
    }

    #[test]
    fn quoted_values_go_from_reports_and_nothing_else() {
        let texts = texts(&["u<1>", "17"]);
        let check = |text: &str, expected: &str, n| {
            assert_eq!(texts.redacted(text), (expected.to_owned(), n));
        };
        check(
            "user: most often \"u<1>\" (12), \"18\" (3); 17 rows",
            "user: most often \"(erased)\" (12), \"18\" (3); 17 rows",
            1,
        );
        check(
            "{\"value\": \"17\", \"count\": 17} \"note\": \"often \\\"17\\\" (3)\"",
            "{\"value\": \"(erased)\", \"count\": 17} \"note\": \"often \\\"(erased)\\\" (3)\"",
            2,
        );
        check("&quot;u&lt;1&gt;&quot; (3)", "&quot;(erased)&quot; (3)", 1);
        check("\"17\": 5, \"a\" (2)", "\"17\": 5, \"a\" (2)", 0);
    }
}
