//! Conversion of stored decimals, unsigned numbers and bytes to values, the same for Parquet and Arrow.

use ncs_features::{Texts, Values};
use num_bigint::BigInt;
use std::fmt::Write;

/// Converts to whole numbers; numbers beyond 63 bits become texts of all their digits.
pub(crate) fn unsigned(numbers: Vec<u64>) -> Values {
    let whole = numbers.iter().map(|&x| i64::try_from(x).ok());
    match whole.collect::<Option<Vec<i64>>>() {
        Some(whole) => Values::Int(whole),
        None => texts(numbers.iter().map(u64::to_string)),
    }
}

/// Numbers up to here have 15 digits, all of which a floating-point number keeps.
const EXACT: u128 = 1_000_000_000_000_000;
/// Ten to the powers up to this one is exact too.
const EXACT_SCALE: u32 = 22;

/// Converts to whole numbers if the scale is 0, to numbers if they keep all digits, and to texts otherwise.
/// The canonical text of a value is the same in each case.
pub(crate) fn decimals(unscaled: Vec<i128>, scale: u32) -> Values {
    let whole = unscaled.iter().map(|&x| i64::try_from(x).ok());
    if scale == 0
        && let Some(numbers) = whole.collect::<Option<Vec<i64>>>()
    {
        return Values::Int(numbers);
    }
    if scale <= EXACT_SCALE && unscaled.iter().all(|x| x.unsigned_abs() < EXACT) {
        let unit = 10f64.powi(scale as i32);
        return Values::Float(unscaled.into_iter().map(|x| x as f64 / unit).collect());
    }
    let text = |x: i128| decimal_text(&x.to_string(), scale);
    texts(unscaled.into_iter().map(text))
}

/// Converts big-endian two's complements of any length; the error names one that is too long for any decimal.
pub(crate) fn decimals_of_bytes<'a>(
    values: impl Iterator<Item = &'a [u8]> + Clone,
    scale: u32,
) -> Result<Values, String> {
    const MOST_BYTES: usize = 64;
    if let Some(bytes) = values.clone().find(|bytes| bytes.len() > MOST_BYTES) {
        return Err(format!("a decimal number of {} bytes", bytes.len()));
    }
    let numbers = values.map(BigInt::from_signed_bytes_be);
    let numbers: Vec<BigInt> = numbers.collect();
    let small = numbers.iter().map(|x| i128::try_from(x).ok());
    Ok(match small.collect::<Option<Vec<i128>>>() {
        Some(unscaled) => decimals(unscaled, scale),
        None => texts(numbers.iter().map(|x| decimal_text(&x.to_string(), scale))),
    })
}

/// Returns the shortest text of a whole number that is divided by ten to the power of `scale`.
fn decimal_text(unscaled: &str, scale: u32) -> String {
    let scale = scale as usize;
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

/// Returns the text of 16 bytes, with hyphens.
pub(crate) fn uuid(bytes: &[u8]) -> String {
    let digits = hexadecimal(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

/// Two digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("writing to memory does not fail");
    }
    digits
}

/// One text after another.
pub(crate) fn texts(values: impl Iterator<Item = impl AsRef<[u8]>>) -> Values {
    let mut texts = Texts::default();
    values.for_each(|value| texts.push(value.as_ref()));
    Values::Text(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::value::TextBuffer;
    use proptest::prelude::*;

    fn text(values: &Values) -> String {
        let mut buffer = TextBuffer::default();
        String::from_utf8_lossy(buffer.text(values, 0)).into_owned()
    }

    #[test]
    fn a_decimal_has_the_shortest_text_of_its_digits() {
        let check = |unscaled: i128, scale: u32, expected: &str| {
            assert_eq!(text(&decimals(vec![unscaled], scale)), expected);
        };
        check(1050, 2, "10.5");
        check(1000, 2, "10");
        check(-5, 2, "-0.05");
        check(0, 30, "0");
        check(9_007_199_254_740_993, 0, "9007199254740993");
        check(9_007_199_254_740_993, 2, "90071992547409.93");
        check(i128::MAX, 0, "170141183460469231731687303715884105727");
        check(i128::MIN, 38, "-1.70141183460469231731687303715884105728");
        let ninety_nine = BigInt::parse_bytes(b"-99999999999999999999999999999999999999999999", 10);
        let bytes = ninety_nine.unwrap().to_signed_bytes_be();
        let read = decimals_of_bytes([&bytes[..]].into_iter(), 2).unwrap();
        assert_eq!(
            text(&read),
            "-999999999999999999999999999999999999999999.99"
        );
    }

    #[test]
    fn bytes_are_named() {
        let digits: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&digits), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(hexadecimal(&[0, 255, 16]), "00ff10");
    }

    proptest! {
        #[test]
        fn a_decimal_has_one_text_whatever_stands_beside_it(x: i64, scale in 0u32..20) {
            let alone = text(&decimals(vec![x.into()], scale));
            prop_assert_eq!(&alone, &text(&decimals(vec![x.into(), i128::MAX], scale)));
            let bytes = x.to_be_bytes();
            let read = decimals_of_bytes([&bytes[..]].into_iter(), scale).unwrap();
            prop_assert_eq!(&alone, &text(&read));
        }
    }
}
