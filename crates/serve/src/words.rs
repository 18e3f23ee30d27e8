//! Texts of callers on their way into answers and logs.

use std::borrow::Cow;

/// The most characters of a caller's text that an answer or a log repeats.
pub const MOST_SHOWN: usize = 200;

/// A caller's text as it may be repeated: its first [`MOST_SHOWN`] characters, and how long it is if that
/// is not all of it.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_SHOWN) {
        None => text.into(),
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shown("a\u{e9}"), "a\u{e9}");
        let long = "\u{e9}".repeat(MOST_SHOWN + 1);
        let expected = format!("{}... (402 bytes)", "\u{e9}".repeat(MOST_SHOWN));
        assert_eq!(shown(&long), expected);
    }
}
