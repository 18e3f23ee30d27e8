//! Texts that hold lists, cut at a separator.

/// Returns the items of a text that holds a list, cut at the separator; the empty text is the empty list.
pub fn items<'a>(text: &'a [u8], separator: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (item, after) = match separator.and_then(|separator| cut(text, separator.as_bytes())) {
            Some((item, after)) => (item, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(item)
    })
}

fn cut<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = match separator {
        [byte] => text.iter().position(|b| b == byte),
        _ => text
            .windows(separator.len())
            .position(|window| window == separator),
    }?;
    Some((&text[..at], &text[at + separator.len()..]))
}
