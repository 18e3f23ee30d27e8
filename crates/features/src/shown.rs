//! Names of a log as messages show them.

use std::borrow::Cow;

/// Characters of a name that are shown.
const LONGEST: usize = 64;

/// Returns a column's name: unchanged if it cannot be misread, otherwise in quotes, so that blanks are
/// visible, and with control characters escaped; at most 64 characters of it.
pub fn name(name: &str) -> Cow<'_, str> {
    if let Some((end, _)) = name.char_indices().nth(LONGEST) {
        return format!("{:?}...", &name[..end]).into();
    }
    let quoted = format!("{name:?}");
    let is_plain = quoted.len() == name.len() + 2
        && !name.is_empty()
        && !name.contains(|c: char| c.is_whitespace() || c == ',');
    if is_plain { name.into() } else { quoted.into() }
}

/// Returns the start of a name, up to the displayed length, for computing similarity.
pub fn start(name: &str) -> &str {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

/// Returns the names as `a, " b", c`, at most forty of them.
pub fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    let more = names.len().saturating_sub(MOST);
    let shown: Vec<Cow<'_, str>> = names.take(MOST).map(name).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns the known name of which `found` is most likely a slip: at most a third of its letters differ. Only the first 64
/// letters are compared, since comparing takes their product.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let start = |name: &str| start(name).to_lowercase();
    let wanted = start(found);
    let distance = |name: &str| strsim::damerau_levenshtein(&wanted, &start(name));
    let allowed = (wanted.chars().count() / 3).max(1);
    let ranked = known.into_iter().map(|name| (distance(name), name));
    let near = ranked.filter(|(distance, _)| *distance <= allowed);
    near.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_misread_are_quoted() {
        let check = |name: &str, expected: &str| assert_eq!(super::name(name), expected);
        check("user_id", "user_id");
        check("größe", "größe");
        check(" user", "\" user\"");
        check("", "\"\"");
        check("a,b", "\"a,b\"");
        check("\u{1b}[31m", "\"\\u{1b}[31m\"");
        check("a\u{200b}", "\"a\\u{200b}\"");
        check(&"x".repeat(65), &format!("\"{}\"...", "x".repeat(64)));
    }

    #[test]
    fn many_names_are_cut() {
        let many: Vec<String> = (0..42).map(|i| i.to_string()).collect();
        let shown = names(many.iter().map(String::as_str));
        assert!(
            shown.starts_with("0, 1, 2") && shown.ends_with("39 and 2 more"),
            "{shown}"
        );
    }
}
