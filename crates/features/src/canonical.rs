//! Canonical text of a value: the input to ids, vocabularies, groups and split keys.
//!
//! The rule depends on one value only, not on the column's type or on other rows, so a file, a request and a
//! program give the same text independently. `docs/decisions/` has the table.

use crate::time::{Timestamp, time_of_day, write_clock};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// The version of the rule by which values become texts. A schema keeps the one it was fitted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum ValueRule {
    /// Texts as the file holds them, NaN is a value: schemas without a `value_rule`.
    Verbatim,
    /// Texts by [`canonical`].
    Canonical,
}

impl ValueRule {
    /// The rule of schemas that are fitted now.
    pub const CURRENT: ValueRule = ValueRule::Canonical;

    /// Returns the rule for schemas that do not name one.
    pub(crate) fn unnamed() -> ValueRule {
        ValueRule::Verbatim
    }
}

impl From<ValueRule> for u32 {
    fn from(rule: ValueRule) -> u32 {
        match rule {
            ValueRule::Verbatim => 1,
            ValueRule::Canonical => 2,
        }
    }
}

impl TryFrom<u32> for ValueRule {
    type Error = String;

    fn try_from(number: u32) -> Result<ValueRule, String> {
        match number {
            1 => Ok(ValueRule::Verbatim),
            2 => Ok(ValueRule::Canonical),
            _ => Err(format!(
                "value_rule {number} is of a later version of this program, which knows 1 and 2"
            )),
        }
    }
}

/// Texts that mean "no value" in every column: the way programs write NaN, NaT and NA. (Not `None`, `null` or
/// `NA`, which can be values: set `missing` for these.)
const MISSING: [&[u8]; 6] = [b"nan", b"NaN", b"NAN", b"-nan", b"NaT", b"<NA>"];

/// Returns the canonical text of the value in `text`; empty if there is no value. The result borrows
/// `scratch` if it has to be written.
///
/// - Surrounding blanks are [trimmed]; `nan`, `NaN`, `NAN`, `-nan`, `NaT` and `<NA>` mean no value.
/// - `true` and `false` in any case are `1` and `0`.
/// - A whole number with zeros behind its point is that number (`12.0` is `12`, `-0.0` is `0`), as is
///   one in scientific notation as programs write it (`1.2e+01`, `1.2E1`). Other numbers stay as they
///   are written: `007`, `1.10`, `+1`.
/// - A date, or date and time of day, in ISO 8601 is its instant in UTC: see [`Timestamp::write`].
/// - A time of day loses the zeros at the end of its fraction.
pub fn canonical<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let text = trimmed(text);
    match text.first() {
        Some(b'0'..=b'9' | b'-') => of_digits(text, scratch),
        Some(b't' | b'T') if text.eq_ignore_ascii_case(b"true") => b"1",
        Some(b'f' | b'F') if text.eq_ignore_ascii_case(b"false") => b"0",
        Some(b'n' | b'N' | b'<') if MISSING.contains(&text) => b"",
        Some(b'I') if text == b"Infinity" => b"inf",
        _ => text,
    }
}

/// Removes surrounding blanks: Unicode white space, non-breaking blanks included, and characters of zero
/// width (zero-width blanks, word joiners, byte order marks), which are invisible in a table. Only ASCII
/// blanks are removed from bytes that are not UTF-8.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let is_no_blank = |byte: Option<&u8>| byte.is_none_or(|&byte| byte.is_ascii() && byte != 0x0B);
    if is_no_blank(text.first()) && is_no_blank(text.last()) {
        return text;
    }
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{200B}' | '\u{2060}' | '\u{FEFF}');
    match std::str::from_utf8(text) {
        Ok(text) => text.trim_matches(is_blank).as_bytes(),
        Err(_) => text,
    }
}

/// Returns the text of [`canonical`] as an owned string.
pub fn canonical_text(text: &str) -> String {
    let mut scratch = Vec::new();
    String::from_utf8_lossy(canonical(text.as_bytes(), &mut scratch)).into_owned()
}

/// A text that begins with a digit or a minus sign.
fn of_digits<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let sign = usize::from(text[0] == b'-');
    let is_digit = |c: &&u8| c.is_ascii_digit();
    let end = sign + text[sign..].iter().take_while(is_digit).count();
    let (whole, rest) = text.split_at(end);
    match rest.first() {
        None if text == b"-0" => b"0",
        None => text,
        Some(b'.') if is_plain(whole, sign) && is_zeros(&rest[1..]) => {
            if whole == b"-0" {
                b"0"
            } else {
                whole
            }
        }
        Some(b'.' | b'e' | b'E') if end == sign + 1 => match scientific(text, rest) {
            Some(number) => write_number(number, scratch),
            None => text,
        },
        Some(b'-') if end == 4 => match Timestamp::parse(text) {
            Some(time) => written(scratch, |out| time.write(out)),
            None => text,
        },
        Some(b':') if end == 2 => match time_of_day(text) {
            Some(time) => written(scratch, |out| {
                write_clock(time.whole_seconds(), time.nanos(), out);
            }),
            None => text,
        },
        Some(_) if MISSING.contains(&text) => b"",
        Some(b'I') if text == b"-Infinity" => b"-inf",
        Some(_) => text,
    }
}

fn written(scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    scratch.clear();
    write(scratch);
    scratch
}

/// Returns true if these digits are a number written without a format: no leading zeros.
fn is_plain(whole: &[u8], sign: usize) -> bool {
    match whole[sign..] {
        [] => false,
        [_] => true,
        [first, ..] => first != b'0',
    }
}

fn is_zeros(fraction: &[u8]) -> bool {
    !fraction.is_empty() && fraction.iter().all(|&digit| digit == b'0')
}

/// Parses a number in scientific notation: one digit, an optional fraction, and an exponent with a sign; the
/// sign is optional after a fraction. (`1e5` may also be a hexadecimal id.) `rest` is the text after the
/// first digit.
fn scientific(text: &[u8], rest: &[u8]) -> Option<f64> {
    let at = rest.iter().position(|c| matches!(c, b'e' | b'E'))?;
    let (fraction, exponent) = (&rest[..at], &rest[at + 1..]);
    let (is_signed, exponent) = match exponent {
        [b'+' | b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let are_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let has_fraction = match fraction {
        [] => false,
        [b'.', digits @ ..] if are_digits(digits) => true,
        _ => return None,
    };
    if !are_digits(exponent) || !(is_signed || has_fraction) {
        return None;
    }
    let number = std::str::from_utf8(text).ok()?.parse::<f64>().ok()?;
    number.is_finite().then_some(number)
}

/// Returns the text of a floating-point number: a whole one in decimal without a point, any other by the
/// shortest text that is this number.
pub(crate) fn write_number(x: f64, scratch: &mut Vec<u8>) -> &[u8] {
    const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0; // 2^63
    written(scratch, |out| {
        let written = if x.trunc() == x && x.abs() < INTEGERS_END {
            write!(out, "{}", x as i64)
        } else {
            write!(out, "{x}")
        };
        written.expect("writing to memory does not fail");
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(canonical_text(text), expected, "{text:?}");
    }

    #[test]
    fn blanks_and_words_for_nothing_go() {
        check("  a b\t", "a b");
        check(" \n", "");
        for text in ["nan", "NaN", "NAN", "-nan", "NaT", "<NA>", " nan "] {
            check(text, "");
        }
        for text in ["None", "null", "NA", "Nan", "nano", "-", "-1", "-nano"] {
            check(text, text);
        }
    }

    #[test]
    fn blanks_of_any_kind_go() {
        check("\u{A0}12\u{A0}", "12");
        check("\u{FEFF}user", "user");
        check(" \u{2003}\u{200B}\u{E9}t\u{E9} \u{3000}\t", "\u{E9}t\u{E9}");
        check("\u{A0}\u{A0}true", "1");
        check("\u{B}a\u{B}", "a");
        check("\u{A0}NaN", "");
        for text in ["a\u{A0}b", "\u{E9}", "\u{2013}", "\u{65E5}\u{672C}"] {
            check(text, text);
        }
        for text in ["", " ", "\u{A0}", "\u{FEFF}\u{200B} "] {
            check(text, "");
        }
        assert_eq!(trimmed(b" \xA0x\xFF "), b"\xA0x\xFF");
    }

    #[test]
    fn booleans_are_0_and_1() {
        for text in ["true", "True", "TRUE", " true"] {
            check(text, "1");
        }
        for text in ["false", "False", "FALSE"] {
            check(text, "0");
        }
        for text in ["t", "F", "yes", "No", "truex"] {
            check(text, text);
        }
    }

    #[test]
    fn whole_numbers_lose_their_point_and_others_stay_as_written() {
        check("12.0", "12");
        check("-12.000", "-12");
        check("0.0", "0");
        check("-0", "0");
        check("-0.0", "0");
        check("12345678901234567890123.0", "12345678901234567890123");
        check("9.007199254740993e+15", "9007199254740992");
        check("1e+16", "10000000000000000");
        check("1.0E16", "10000000000000000");
        check("-1.5e-05", "-0.000015");
        check("Infinity", "inf");
        check("-Infinity", "-inf");
        for text in [
            "007",
            "007.0",
            "1.10",
            "0.10",
            "1.2.0",
            "+1",
            "1e5",
            "1E5",
            "12e+3",
            "1.e+3",
            "1.5e+999",
            "12.",
            "-",
            "-00",
            "1.0.0",
            "0x1",
            "1,0",
            "1e+",
            "-a",
            "12345678901234567890123",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn instants_are_utc_and_midnight_is_the_date() {
        check("2024-01-01", "2024-01-01");
        check("2024-01-01 00:00:00", "2024-01-01");
        check("2024-01-01T02:30:00.500+02:00", "2024-01-01 00:30:00.5");
        check("12:30:00.500000", "12:30:00.5");
        check("12:30:00", "12:30:00");
        for text in [
            "2024-1-1",
            "2024-02-30",
            "2024-01",
            "20240101",
            "12:30",
            "12:75:00",
            "1:2",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn rules_have_numbers() {
        for (rule, number) in [(ValueRule::Verbatim, "1"), (ValueRule::Canonical, "2")] {
            assert_eq!(serde_json::to_string(&rule).unwrap(), number);
            assert_eq!(serde_json::from_str::<ValueRule>(number).unwrap(), rule);
        }
        let later = serde_json::from_str::<ValueRule>("3").unwrap_err();
        assert!(later.to_string().contains("later version"), "{later}");
    }

    proptest! {
        #[test]
        fn a_canonical_text_stays_as_it_is(text in "[-0-9.eE+: TtrufalsnZ\u{A0}\u{FEFF}]{0,24}") {
            let once = canonical_text(&text);
            prop_assert_eq!(canonical_text(&once), once);
        }

        #[test]
        fn numbers_as_programs_write_them_have_one_text(x in prop::num::f64::NORMAL) {
            let mut scratch = Vec::new();
            let expected = String::from_utf8(write_number(x, &mut scratch).to_vec()).unwrap();
            // `1.25e-7` here, `1.25e-07` in Python and `1.25E-7` in Java.
            let signed = format!("{x:e}").replace('e', "e+").replace("e+-", "e-0");
            prop_assert_eq!(canonical_text(&signed), expected);
        }
    }
}
