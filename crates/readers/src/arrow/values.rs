//! Conversion of Arrow arrays to values, with the same results as for a Parquet file.
//!
//! | Arrow | read as |
//! |---|---|
//! | integers, booleans, durations | whole numbers; unsigned ones beyond 63 bits are texts of all their digits |
//! | floating-point numbers of 16, 32 and 64 bits | the number of the shortest decimal text |
//! | decimals | whole numbers at scale 0, otherwise numbers; texts of all digits beyond 15 |
//! | dates, timestamps of any unit | instants; those without a zone are UTC |
//! | times of day | the text `hh:mm:ss`, with a fraction if there is one |
//! | texts and bytes, large or as views | texts |
//! | UUIDs | the text with hyphens |
//! | other bytes of fixed length | hexadecimal digits |
//! | dictionaries | their values |

use crate::stored::{decimals, decimals_of_bytes, hexadecimal, texts, unsigned, uuid};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, GenericByteArray, PrimitiveArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::{ArrowError, DataType, TimeUnit as ArrowUnit};
use ncs_features::Values;
use ncs_features::time::{TimeUnit, Timestamp, clock_text};
use ncs_features::value::{widen, widen_half};

/// Returns the values at these positions, none of which is null.
///
/// # Errors
/// The type is not supported, or a value lies outside its buffer.
pub(super) fn values(
    array: &dyn Array,
    places: &[usize],
    is_uuid: bool,
) -> Result<Values, ArrowError> {
    match array.data_type() {
        DataType::Null | DataType::Boolean => Ok(booleans(array, places)),
        DataType::Dictionary(_, _) => of_dictionary(array, places, is_uuid),
        kind if kind.is_integer() => Ok(integers(array, places)),
        kind if kind.is_floating() => Ok(floats(array, places)),
        kind if kind.is_temporal() => times(array, places),
        kind if kind.is_decimal() => decimal_numbers(array, places),
        _ => bytes(array, places, is_uuid),
    }
}

fn booleans(array: &dyn Array, places: &[usize]) -> Values {
    let value = |&place: &usize| {
        array
            .as_boolean_opt()
            .map_or(0, |array| i64::from(array.value(place)))
    };
    Values::Int(places.iter().map(value).collect())
}

/// Returns the values of a dictionary for its keys.
fn of_dictionary(array: &dyn Array, places: &[usize], is_uuid: bool) -> Result<Values, ArrowError> {
    let dictionary = array.as_any_dictionary();
    let Values::Int(keys) = values(dictionary.keys(), places, false)? else {
        return Err(outside("a key of a dictionary"));
    };
    let n_values = dictionary.values().len();
    let inside = |key: i64| usize::try_from(key).ok().filter(|key| *key < n_values);
    let keys: Option<Vec<usize>> = keys.into_iter().map(inside).collect();
    let keys = keys.ok_or_else(|| outside("a key of a dictionary"))?;
    values(dictionary.values(), &keys, is_uuid)
}

fn outside(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("{what} lies outside its buffer"))
}

fn each<'a, T: ArrowPrimitiveType>(
    array: &'a dyn Array,
    places: &'a [usize],
) -> impl Iterator<Item = T::Native> + 'a {
    let array: &PrimitiveArray<T> = array.as_primitive();
    places.iter().map(|&place| array.value(place))
}

fn whole<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &dyn Array,
    places: &[usize],
) -> Vec<i64> {
    each::<T>(array, places).map(Into::into).collect()
}

fn integers(array: &dyn Array, places: &[usize]) -> Values {
    Values::Int(match array.data_type() {
        DataType::Int8 => whole::<Int8Type>(array, places),
        DataType::Int16 => whole::<Int16Type>(array, places),
        DataType::Int32 => whole::<Int32Type>(array, places),
        DataType::Int64 => whole::<Int64Type>(array, places),
        DataType::UInt8 => whole::<UInt8Type>(array, places),
        DataType::UInt16 => whole::<UInt16Type>(array, places),
        DataType::UInt32 => whole::<UInt32Type>(array, places),
        _ => return unsigned(each::<UInt64Type>(array, places).collect()),
    })
}

fn floats(array: &dyn Array, places: &[usize]) -> Values {
    Values::Float(match array.data_type() {
        DataType::Float16 => each::<Float16Type>(array, places)
            .map(|x| widen_half(x.to_bits()))
            .collect(),
        DataType::Float32 => each::<Float32Type>(array, places).map(widen).collect(),
        _ => each::<Float64Type>(array, places).collect(),
    })
}

fn times(array: &dyn Array, places: &[usize]) -> Result<Values, ArrowError> {
    use ArrowUnit::{Microsecond, Millisecond, Nanosecond, Second};
    use DataType as D;
    let instants = |numbers: Vec<i64>, unit| {
        let times = numbers.into_iter().map(|x| Timestamp::of(x, unit));
        Values::Time(times.collect())
    };
    let clocks = |numbers: Vec<i64>, unit| texts(numbers.iter().map(|&x| clock_text(x, unit)));
    Ok(match array.data_type() {
        D::Date32 => instants(whole::<Date32Type>(array, places), TimeUnit::Days),
        D::Date64 => instants(whole::<Date64Type>(array, places), TimeUnit::Millis),
        D::Timestamp(Second, _) => instants(
            whole::<TimestampSecondType>(array, places),
            TimeUnit::Seconds,
        ),
        D::Timestamp(Millisecond, _) => instants(
            whole::<TimestampMillisecondType>(array, places),
            TimeUnit::Millis,
        ),
        D::Timestamp(Microsecond, _) => instants(
            whole::<TimestampMicrosecondType>(array, places),
            TimeUnit::Micros,
        ),
        D::Timestamp(Nanosecond, _) => instants(
            whole::<TimestampNanosecondType>(array, places),
            TimeUnit::Nanos,
        ),
        D::Time32(Second) => clocks(whole::<Time32SecondType>(array, places), TimeUnit::Seconds),
        D::Time32(_) => clocks(
            whole::<Time32MillisecondType>(array, places),
            TimeUnit::Millis,
        ),
        D::Time64(Microsecond) => clocks(
            whole::<Time64MicrosecondType>(array, places),
            TimeUnit::Micros,
        ),
        D::Time64(_) => clocks(
            whole::<Time64NanosecondType>(array, places),
            TimeUnit::Nanos,
        ),
        D::Duration(Second) => Values::Int(whole::<DurationSecondType>(array, places)),
        D::Duration(Millisecond) => Values::Int(whole::<DurationMillisecondType>(array, places)),
        D::Duration(Microsecond) => Values::Int(whole::<DurationMicrosecondType>(array, places)),
        D::Duration(Nanosecond) => Values::Int(whole::<DurationNanosecondType>(array, places)),
        other => return Err(no_values(other)),
    })
}

fn decimal_numbers(array: &dyn Array, places: &[usize]) -> Result<Values, ArrowError> {
    let scale = |scale: i8| u32::try_from(scale).unwrap_or(0);
    Ok(match array.data_type() {
        DataType::Decimal32(_, s) => decimals(
            each::<Decimal32Type>(array, places)
                .map(i128::from)
                .collect(),
            scale(*s),
        ),
        DataType::Decimal64(_, s) => decimals(
            each::<Decimal64Type>(array, places)
                .map(i128::from)
                .collect(),
            scale(*s),
        ),
        DataType::Decimal128(_, s) => {
            decimals(each::<Decimal128Type>(array, places).collect(), scale(*s))
        }
        DataType::Decimal256(_, s) => {
            let bytes: Vec<[u8; 32]> = each::<Decimal256Type>(array, places)
                .map(|x| x.to_be_bytes())
                .collect();
            let found = decimals_of_bytes(bytes.iter().map(|x| &x[..]), scale(*s));
            found.map_err(ArrowError::InvalidArgumentError)?
        }
        other => return Err(no_values(other)),
    })
}

fn bytes(array: &dyn Array, places: &[usize], is_uuid: bool) -> Result<Values, ArrowError> {
    match array.data_type() {
        DataType::Utf8 => of_texts(array.as_string::<i32>(), places),
        DataType::LargeUtf8 => of_texts(array.as_string::<i64>(), places),
        DataType::Binary => of_texts(array.as_binary::<i32>(), places),
        DataType::LargeBinary => of_texts(array.as_binary::<i64>(), places),
        DataType::Utf8View => {
            let views = array.as_string_view().clone().to_binary_view();
            Ok(texts(places.iter().map(|&place| views.value(place))))
        }
        DataType::BinaryView => {
            let views = array.as_binary_view();
            Ok(texts(places.iter().map(|&place| views.value(place))))
        }
        DataType::FixedSizeBinary(n) => {
            let array = array.as_fixed_size_binary();
            let bytes = places.iter().map(|&place| array.value(place));
            Ok(if is_uuid && *n == 16 {
                texts(bytes.map(uuid))
            } else {
                texts(bytes.map(hexadecimal))
            })
        }
        other => Err(no_values(other)),
    }
}

/// Returns the bytes unchanged: UTF-8 is checked later, as in every format.
fn of_texts<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    places: &[usize],
) -> Result<Values, ArrowError> {
    let (offsets, data) = (array.value_offsets(), array.value_data());
    let text = |&place: &usize| data.get(offsets[place].as_usize()..offsets[place + 1].as_usize());
    let found: Option<Vec<&[u8]>> = places.iter().map(text).collect();
    let found = found.ok_or_else(|| outside("a text"))?;
    Ok(texts(found.into_iter()))
}

fn no_values(kind: &DataType) -> ArrowError {
    ArrowError::NotYetImplemented(format!("a column of {kind}"))
}
