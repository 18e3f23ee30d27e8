//! Conversion of the stored numbers and bytes of a Parquet column to values.
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
use crate::stored::{decimals, decimals_of_bytes, hexadecimal, texts, unsigned, uuid};
use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetUnit, Type as Physical};
use ::parquet::data_type::{AsBytes, Int96};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::ColumnDescriptor;
use ncs_features::Values;
use ncs_features::time::{TimeUnit, Timestamp, clock_text};
use ncs_features::value::{widen, widen_half};

/// Interpretation of stored values.
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

/// Returns the interpretation of the leaf's values; the error names an unsupported type.
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

/// Reads the values of the next `n_rows` rows, without nulls.
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
        // 32-bit values were widened without a sign.
        Kind::Unsigned => unsigned(numbers.into_iter().map(|x| x as u64).collect()),
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
        Kind::Decimal(scale) => decimals_of_bytes(bytes(), scale).map_err(damaged),
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
