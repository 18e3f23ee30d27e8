//! Lists that a file holds as texts, as Python, JSON, NumPy, Java and PostgreSQL write them: `['a', 'b']`,
//! `["a", "b"]`, `('a',)`, `[1 2]`, `[a, b]`, `{a,b}`.
//!
//! The grammar is narrow on purpose: a text that does not follow it to its last character is not a list of this
//! kind, and stays what it is.

use std::borrow::Cow;

/// Returns the items of a text that is a list in brackets, an empty item for `None` and `null`. Returns
/// `None` if the text is not such a list; lists of lists and dictionaries are not supported.
pub fn items_of(text: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let text = text.trim_ascii();
    let bracket = Bracket::of(text)?;
    let mut scan = Scan {
        rest: text[1..text.len() - 1].trim_ascii(),
        bracket,
    };
    if scan.rest.is_empty() {
        return Some(Vec::new());
    }
    if is_divided_by_blanks(scan.rest) {
        return scan.blank_separated();
    }
    scan.comma_separated()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Square,
    Round,
    Curly,
}

impl Bracket {
    fn of(text: &[u8]) -> Option<Bracket> {
        match text {
            [b'[', .., b']'] => Some(Bracket::Square),
            [b'(', .., b')'] => Some(Bracket::Round),
            [b'{', .., b'}'] => Some(Bracket::Curly),
            _ => None,
        }
    }
}

/// Returns true if items are separated by blanks: NumPy writes no comma outside of quotes.
fn is_divided_by_blanks(inner: &[u8]) -> bool {
    let mut quote = None;
    let mut has_blank = false;
    for &byte in inner {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'\'' || byte == b'"' => quote = Some(byte),
            None if byte == b',' => return false,
            None => has_blank |= byte.is_ascii_whitespace(),
        }
    }
    has_blank
}

/// Unread text between the brackets.
struct Scan<'a> {
    rest: &'a [u8],
    bracket: Bracket,
}

impl<'a> Scan<'a> {
    fn comma_separated(&mut self) -> Option<Vec<Cow<'a, [u8]>>> {
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_ascii_start();
            match self.quoted() {
                Some(item) => items.push(item?),
                None => {
                    let end = self.rest.iter().position(|&byte| byte == b',');
                    let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                    self.rest = rest;
                    items.push(self.word(word.trim_ascii())?);
                }
            }
            self.rest = self.rest.trim_ascii_start();
            match self.rest {
                [] => return Some(items),
                // A comma at the end, as in ('a',), begins no item.
                [b','] => return Some(items),
                [b',', rest @ ..] => self.rest = rest,
                _ => return None,
            }
        }
    }

    /// Numbers and quoted texts only: words with blanks between them are one item.
    fn blank_separated(&mut self) -> Option<Vec<Cow<'a, [u8]>>> {
        let whole = self.rest;
        let mut items = Vec::new();
        while !self.rest.is_empty() {
            if let Some(item) = self.quoted() {
                items.push(item?);
            } else {
                let is_end = |byte: &u8| byte.is_ascii_whitespace();
                let end = self.rest.iter().position(is_end);
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                if !is_number(word) {
                    return Some(vec![self.word(whole)?]);
                }
                items.push(Cow::Borrowed(word));
                self.rest = rest;
            }
            self.rest = self.rest.trim_ascii_start();
        }
        Some(items)
    }

    /// Returns an item without quotes. Many texts in round brackets are not lists, so only numbers and
    /// constants may be unquoted.
    fn word(&self, word: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if word.is_empty() || word.iter().any(|byte| b"[](){}'\"".contains(byte)) {
            return None;
        }
        if matches!(word, b"None" | b"null" | b"NULL") {
            return Some(Cow::Borrowed(b""));
        }
        let is_constant = matches!(word, b"True" | b"False" | b"true" | b"false");
        match self.bracket {
            Bracket::Square => {}
            Bracket::Curly if word.contains(&b':') => return None,
            Bracket::Curly => {}
            Bracket::Round if is_number(word) || is_constant => {}
            Bracket::Round => return None,
        }
        Some(Cow::Borrowed(word))
    }

    /// Returns an item in quotes at the front; the inner `None` where its quotes or escapes are broken.
    fn quoted(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        let (quote, inner) = match self.rest {
            [quote @ (b'\'' | b'"'), inner @ ..] => (*quote, inner),
            // Python's bytes and old Unicode texts.
            [b'b' | b'u', quote @ (b'\'' | b'"'), inner @ ..] => (*quote, inner),
            _ => return None,
        };
        let mut at = 0;
        while let Some(&byte) = inner.get(at) {
            match byte {
                b'\\' => at += 2,
                byte if byte == quote => {
                    self.rest = &inner[at + 1..];
                    return Some(unescaped(&inner[..at]));
                }
                _ => at += 1,
            }
        }
        Some(None)
    }
}

fn is_number(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| word.parse::<f64>().is_ok())
}

/// Returns a text without its escapes; `None` where one is broken.
fn unescaped(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let (&code, after) = rest.split_first()?;
        rest = after;
        match code {
            b'n' => plain.push(b'\n'),
            b't' => plain.push(b'\t'),
            b'r' => plain.push(b'\r'),
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'u' => push_unicode(&mut plain, &mut rest)?,
            b'x' => {
                let byte = hexadecimal(&mut rest, 2)?;
                push_char(&mut plain, char::from_u32(byte)?);
            }
            quoted => plain.push(quoted),
        }
    }
    Some(Cow::Owned(plain))
}

/// Returns the character of `\uXXXX`, or of two of them that are a surrogate pair.
fn push_unicode(plain: &mut Vec<u8>, rest: &mut &[u8]) -> Option<()> {
    let first = hexadecimal(rest, 4)?;
    let code = match first {
        0xD800..0xDC00 => {
            *rest = rest.strip_prefix(b"\\u")?;
            let second = hexadecimal(rest, 4)?.checked_sub(0xDC00)?;
            0x10000 + ((first - 0xD800) << 10) + second
        }
        code => code,
    };
    push_char(plain, char::from_u32(code)?);
    Some(())
}

fn push_char(plain: &mut Vec<u8>, c: char) {
    plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hexadecimal(rest: &mut &[u8], n_digits: usize) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(n_digits)?;
    *rest = after;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let found = items_of(text.as_bytes());
        let found = found.map(|items| {
            let text = |item: &Cow<'_, [u8]>| String::from_utf8(item.to_vec()).unwrap();
            items.iter().map(text).collect::<Vec<_>>()
        });
        let expected = expected.map(|items| items.iter().map(|item| (*item).to_owned()).collect());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lists_of_several_languages_are_read() {
        check("['a', 'b']", Some(&["a", "b"]));
        check("[\"a\",\"b\"]", Some(&["a", "b"]));
        check(" [ 'a' , 'b c' ] ", Some(&["a", "b c"]));
        check("('a',)", Some(&["a"]));
        check("(1, 2)", Some(&["1", "2"]));
        check("{'a', 'b'}", Some(&["a", "b"]));
        check("{a,b}", Some(&["a", "b"]));
        check("[a, b c, d]", Some(&["a", "b c", "d"]));
        check("[1 2 -3.5]", Some(&["1", "2", "-3.5"]));
        check("['a' 'b c'\n 'd']", Some(&["a", "b c", "d"]));
        check("[New York]", Some(&["New York"]));
        check("[]", Some(&[]));
        check("[ ]", Some(&[]));
        check("[None, 'None', null]", Some(&["", "None", ""]));
        check("[b'x', u'y']", Some(&["x", "y"]));
        check("['a, b', \"it's\"]", Some(&["a, b", "it's"]));
    }

    #[test]
    fn escapes_are_undone() {
        check(r#"["a\"b", 'it\'s', "\\"]"#, Some(&["a\"b", "it's", "\\"]));
        check(r#"["\u00e9\ud83d\ude00\n"]"#, Some(&["é😀\n"]));
        check(r"['\xe9']", Some(&["é"]));
        check(r#"["\ud83d"]"#, None);
    }

    #[test]
    fn what_is_no_flat_list_stays_a_text() {
        for text in [
            "a, b",
            "[a]|[b]",
            "['a', ['b']]",
            "{'a': 0.5}",
            "{a: 1}",
            "[1, [2]]",
            "['a' : 1]",
            "['a",
            "['a]",
            "(none)",
            "(a, b)",
            "[a,,b]",
            "[",
            "",
            "[]]",
            "['a' b]x",
        ] {
            check(text, None);
        }
    }
}
