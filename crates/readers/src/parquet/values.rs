//! What the stored numbers and bytes of a Parquet column say.
//!
//! | stored | read as |
//! |---|---|
//! | integers, booleans | whole numbers; unsigned ones beyond 63 bits are texts of all their digits |
//! | `FLOAT`, `DOUBLE`, `FLOAT16` | the number of the shortest decimal text |
//! | `DECIMAL` in 32 or 64 bits or bytes | whole numbers at scale 0, otherwise numbers; texts of all digits beyond 15 |
//! | `DATE`, `TIMESTAMP` of any unit, `INT96` | instants; those without a zone are UTC |
//! | `TIME` | the text `hh:mm:ss`, with a fraction if there is one |
//! | byte arrays | texts |
//! | `UUID` | the text with hyphens |
//! | other bytes of fixed length | hexadecimal digits |

use super::pending::ColumnReader;
use super::{Levels, damaged};
use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetUnit, Type as Physical};
use ::parquet::data_type::{AsBytes, Int96};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::ColumnDescriptor;
use ncs_features::time::{TimeUnit, Timestamp, clock_text};
use ncs_features::value::{widen, widen_half};
use ncs_features::{Texts, Values};
use num_bigint::BigInt;
use std::fmt::Write;

/// How stored values are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Unsigned,
    /// Divided by ten to this power.
    Decimal(u32),
    /// Units since 1970.
    Instant(TimeUnit),
    /// Units since midnight.
    Clock(TimeUnit),
    Half,
    Uuid,
    /// Bytes that are no text.
    Hexadecimal,
}

/// How the leaf's values are to be understood; the error names a type without values for us.
pub(super) fn kind(leaf: &ColumnDescriptor) -> Result<Kind, String> {
    if let Some(kind) = leaf.logical_type_ref().and_then(of_logical) {
        return Ok(kind);
    }
    match (leaf.converted_type(), leaf.physical_type()) {
        (ConvertedType::DECIMAL, _) => u32::try_from(leaf.type_scale())
            .map(Kind::Decimal)
            .map_err(|_| "a decimal with a negative scale".to_owned()),
        (ConvertedType::INTERVAL, _) => Err("an interval".to_owned()),
        (converted, physical) => Ok(of_converted(converted).unwrap_or(match physical {
            Physical::FIXED_LEN_BYTE_ARRAY => Kind::Hexadecimal,
            _ => Kind::Plain,
        })),
    }
}

fn of_logical(logical: &LogicalType) -> Option<Kind> {
    match logical {
        LogicalType::Date => Some(Kind::Instant(TimeUnit::Days)),
        LogicalType::Timestamp(time) => Some(Kind::Instant(unit(time.unit))),
        LogicalType::Time(time) => Some(Kind::Clock(unit(time.unit))),
        LogicalType::Integer(integer) if !integer.is_signed => Some(Kind::Unsigned),
        LogicalType::Decimal(decimal) => u32::try_from(decimal.scale).ok().map(Kind::Decimal),
        LogicalType::Float16 => Some(Kind::Half),
        LogicalType::Uuid => Some(Kind::Uuid),
        _ => None,
    }
}

fn of_converted(converted: ConvertedType) -> Option<Kind> {
    match converted {
        ConvertedType::DATE => Some(Kind::Instant(TimeUnit::Days)),
        ConvertedType::TIMESTAMP_MILLIS => Some(Kind::Instant(TimeUnit::Millis)),
        ConvertedType::TIMESTAMP_MICROS => Some(Kind::Instant(TimeUnit::Micros)),
        ConvertedType::TIME_MILLIS => Some(Kind::Clock(TimeUnit::Millis)),
        ConvertedType::TIME_MICROS => Some(Kind::Clock(TimeUnit::Micros)),
        ConvertedType::UINT_8
        | ConvertedType::UINT_16
        | ConvertedType::UINT_32
        | ConvertedType::UINT_64 => Some(Kind::Unsigned),
        _ => None,
    }
}

fn unit(unit: ParquetUnit) -> TimeUnit {
    match unit {
        ParquetUnit::MILLIS => TimeUnit::Millis,
        ParquetUnit::MICROS => TimeUnit::Micros,
        ParquetUnit::NANOS => TimeUnit::Nanos,
    }
}

/// The values of the next `n_rows` rows, without nulls.
pub(super) fn read(
    kind: Kind,
    reader: &mut ColumnReader,
    n_rows: usize,
    levels: &mut Levels,
) -> Result<Values, ParquetError> {
    match reader {
        ColumnReader::Bool(reader) => {
            let booleans = levels.read(reader, n_rows)?;
            Ok(Values::Int(booleans.into_iter().map(i64::from).collect()))
        }
        ColumnReader::Int32(reader) => {
            let numbers = levels.read(reader, n_rows)?.into_iter();
            let numbers: Vec<i64> = match kind {
                Kind::Unsigned => numbers.map(|x| i64::from(x as u32)).collect(),
                _ => numbers.map(i64::from).collect(),
            };
            Ok(of_integers(kind, numbers))
        }
        ColumnReader::Int64(reader) => Ok(of_integers(kind, levels.read(reader, n_rows)?)),
        ColumnReader::Int96(reader) => {
            let times = levels.read(reader, n_rows)?;
            Ok(Values::Time(times.iter().map(of_int96).collect()))
        }
        ColumnReader::Float(reader) => {
            let numbers = levels.read(reader, n_rows)?;
            Ok(Values::Float(numbers.into_iter().map(widen).collect()))
        }
        ColumnReader::Double(reader) => Ok(Values::Float(levels.read(reader, n_rows)?)),
        ColumnReader::ByteArray(reader) => of_bytes(kind, &levels.read(reader, n_rows)?),
        ColumnReader::FixedLenByteArray(reader) => of_bytes(kind, &levels.read(reader, n_rows)?),
    }
}

fn of_integers(kind: Kind, numbers: Vec<i64>) -> Values {
    match kind {
        Kind::Decimal(scale) => decimals(numbers.into_iter().map(i128::from).collect(), scale),
        Kind::Instant(unit) => {
            let times = numbers.into_iter().map(|x| Timestamp::of(x, unit));
            Values::Time(times.collect())
        }
        Kind::Clock(unit) => texts(numbers.iter().map(|&x| clock_text(x, unit))),
        // As 32 bits they were widened without a sign.
        Kind::Unsigned if numbers.iter().any(|&x| x < 0) => {
            texts(numbers.iter().map(|&x| (x as u64).to_string()))
        }
        _ => Values::Int(numbers),
    }
}

/// Nanoseconds within a day, low half first, and the Julian day.
fn of_int96(time: &Int96) -> Timestamp {
    let &[low, high, day] = time.data() else {
        return Timestamp::default();
    };
    let nanos = u64::from(high) << 32 | u64::from(low);
    Timestamp::of_julian(day, nanos as i64)
}

fn of_bytes(kind: Kind, values: &[impl AsBytes]) -> Result<Values, ParquetError> {
    let bytes = || values.iter().map(AsBytes::as_bytes);
    let sized = |size: usize| match bytes().find(|bytes| bytes.len() != size) {
        None => Ok(bytes()),
        Some(other) => Err(damaged(format!(
            "{} bytes where {size} belong",
            other.len()
        ))),
    };
    match kind {
        Kind::Decimal(scale) => decimals_of_bytes(bytes(), scale),
        Kind::Half => {
            let numbers =
                sized(2)?.map(|bytes| widen_half(u16::from_le_bytes([bytes[0], bytes[1]])));
            Ok(Values::Float(numbers.collect()))
        }
        Kind::Uuid => Ok(texts(sized(16)?.map(uuid))),
        Kind::Hexadecimal => Ok(texts(bytes().map(hexadecimal))),
        _ => Ok(texts(bytes())),
    }
}

/// Numbers up to here have 15 digits, all of which a floating-point number keeps.
const EXACT: u128 = 1_000_000_000_000_000;
/// Ten to the powers up to this one is exact too.
const EXACT_SCALE: u32 = 22;

/// Whole numbers where the scale is 0, numbers where they keep all digits, texts otherwise: either way
/// a value has one text.
fn decimals(unscaled: Vec<i128>, scale: u32) -> Values {
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

/// Big-endian two's complements of any length.
fn decimals_of_bytes<'a>(
    values: impl Iterator<Item = &'a [u8]> + Clone,
    scale: u32,
) -> Result<Values, ParquetError> {
    const MOST_BYTES: usize = 64;
    if let Some(bytes) = values.clone().find(|bytes| bytes.len() > MOST_BYTES) {
        return Err(damaged(format!(
            "a decimal number of {} bytes",
            bytes.len()
        )));
    }
    let numbers = values.map(BigInt::from_signed_bytes_be);
    let numbers: Vec<BigInt> = numbers.collect();
    let small = numbers.iter().map(|x| i128::try_from(x).ok());
    Ok(match small.collect::<Option<Vec<i128>>>() {
        Some(unscaled) => decimals(unscaled, scale),
        None => texts(numbers.iter().map(|x| decimal_text(&x.to_string(), scale))),
    })
}

/// The shortest text of a whole number that is divided by ten to the power of `scale`.
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

fn uuid(bytes: &[u8]) -> String {
    let digits = hexadecimal(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("writing to memory does not fail");
    }
    digits
}

fn texts(values: impl Iterator<Item = impl AsRef<[u8]>>) -> Values {
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
