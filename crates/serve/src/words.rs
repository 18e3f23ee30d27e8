//! Truncation of callers' texts in responses and logs.

use std::borrow::Cow;

/// Maximum number of characters of a caller's text that a response or log repeats.
pub const MAX_SHOWN: usize = 200;

/// Truncates a caller's text to [`MAX_SHOWN`] characters and appends its length if it was longer.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.into(),
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_truncated_between_characters() {
        assert_eq!(shown("a\u{e9}"), "a\u{e9}");
        let long = "\u{e9}".repeat(MAX_SHOWN + 1);
        let expected = format!("{}... (402 bytes)", "\u{e9}".repeat(MAX_SHOWN));
        assert_eq!(shown(&long), expected);
    }
}
