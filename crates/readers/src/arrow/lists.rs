//! Types of Arrow that have values for us, lists of them, and how much they hold.

use super::values;
use crate::columns::LONGEST_LIST;
use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType};
use arrow_array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields};
use ncs_features::Values;
use std::ops::Range;

/// Bytes per value besides its content: a number, or the end offset of a text.
const VALUE_BYTES: usize = 8;

/// Checks that a column of this type holds values or lists of values; the error names the unsupported type.
pub(super) fn check(kind: &DataType) -> Result<(), String> {
    match item_field(kind) {
        None => check_value(kind),
        Some(item) => {
            let wrong = |found| match (item_field(item.data_type()), attributes(kind)) {
                (Some(_), _) => "a list of lists or of groups".to_owned(),
                (_, Some(attributes)) => format!(
                    "a list of groups; name one of their attributes, such as NAME.{}",
                    attributes.first().map_or("", |own| own.name())
                ),
                _ => format!("a list whose items are {found}"),
            };
            check_value(item.data_type()).map_err(wrong)
        }
    }
}

fn check_value(kind: &DataType) -> Result<(), String> {
    use DataType as D;
    let found = match kind {
        D::Struct(_) | D::Map(..) => "a group of several columns",
        D::Union(..) => "a union of several types",
        D::RunEndEncoded(..) => "run-end encoded",
        D::Interval(_) => "an interval",
        D::Decimal32(_, scale)
        | D::Decimal64(_, scale)
        | D::Decimal128(_, scale)
        | D::Decimal256(_, scale)
            if *scale < 0 =>
        {
            "a decimal with a negative scale"
        }
        D::Dictionary(_, values) => return check_value(values),
        kind if item_field(kind).is_some() => "a list",
        _ => return Ok(()),
    };
    Err(found.to_owned())
}

/// Returns the items of a list type; `None` for any other type.
pub(super) fn item_field(kind: &DataType) -> Option<&FieldRef> {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// Returns the attributes of the events of which a type is a list; `None` for any other type.
pub(super) fn attributes(kind: &DataType) -> Option<&Fields> {
    match item_field(kind)?.data_type() {
        DataType::Struct(attributes) => Some(attributes),
        _ => None,
    }
}

/// Returns the attribute of this name of the events of which a type is a list; the error names what is wrong.
pub(super) fn attribute<'k>(kind: &'k DataType, name: &str) -> Result<&'k FieldRef, String> {
    let attributes = attributes(kind).map_or(&[][..], |attributes| attributes);
    let Some(own) = attributes.iter().find(|own| own.name() == name) else {
        let names: Vec<&str> = attributes.iter().map(|own| own.name().as_str()).collect();
        return Err(format!(
            "not an attribute of its events, which have {}",
            names.join(", ")
        ));
    };
    check_value(own.data_type())?;
    Ok(own)
}

/// One attribute of the events of some rows.
pub(super) struct Events {
    pub(super) values: ArrayRef,
    /// The events of each row.
    pub(super) ranges: Vec<Range<usize>>,
    /// The events that are not null; `None`: all.
    valid: Option<NullBuffer>,
}

/// Returns an attribute of the events in an array of lists; `None` if there is none of this name.
pub(super) fn events(array: &ArrayRef, attribute: &str) -> Option<Events> {
    let (items, ranges) = list(array)?;
    let values = items.as_struct_opt()?.column_by_name(attribute)?.clone();
    Some(Events {
        valid: NullBuffer::union(items.nulls(), values.logical_nulls().as_ref()),
        values,
        ranges,
    })
}

impl Events {
    /// Returns the offset of each row's events, the places that have a value, and for each event the number of its value.
    pub(super) fn places(&self) -> (Vec<u32>, Vec<usize>, Vec<Option<usize>>) {
        let (mut offsets, mut valid, mut places) = (vec![0], Vec::new(), Vec::new());
        for range in &self.ranges {
            for place in range.clone() {
                let has_value = self
                    .valid
                    .as_ref()
                    .is_none_or(|nulls| nulls.is_valid(place));
                places.push(has_value.then_some(valid.len()));
                valid.extend(has_value.then_some(place));
            }
            offsets.push(places.len() as u32);
        }
        (offsets, valid, places)
    }
}

/// Returns the items of the lists of an array, and the range of items of each row; `None` if the array holds
/// no lists. A null has no items.
pub(super) fn list(array: &ArrayRef) -> Option<(ArrayRef, Vec<Range<usize>>)> {
    let (items, mut ranges) = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            (list.values(), windows(list.value_offsets()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (list.values(), windows(list.value_offsets()))
        }
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let n_items = list.value_length().max(0) as usize;
            let start = |row: usize| row * n_items;
            let range = |row| start(row)..start(row) + n_items;
            (list.values(), (0..list.len()).map(range).collect())
        }
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            (
                list.values(),
                views(list.value_offsets(), list.value_sizes()),
            )
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            (
                list.values(),
                views(list.value_offsets(), list.value_sizes()),
            )
        }
        _ => return None,
    };
    for (row, range) in ranges.iter_mut().enumerate() {
        if array.is_null(row) {
            *range = 0..0;
        }
    }
    Some(part(items, ranges))
}

/// Returns only the items that some range needs, so that the cost of a slice depends on its size.
fn part(items: &ArrayRef, mut ranges: Vec<Range<usize>>) -> (ArrayRef, Vec<Range<usize>>) {
    let held = || ranges.iter().filter(|range| !range.is_empty());
    let start = held().map(|range| range.start).min().unwrap_or(0);
    let end = held().map(|range| range.end).max().unwrap_or(start);
    for range in &mut ranges {
        *range = if range.start >= range.end {
            0..0
        } else {
            range.start - start..range.end - start
        };
    }
    (items.slice(start, end - start), ranges)
}

fn windows<T: Copy + Into<i64>>(offsets: &[T]) -> Vec<Range<usize>> {
    let place = |offset: T| offset.into().max(0) as usize;
    let pairs = offsets.windows(2);
    pairs.map(|pair| place(pair[0])..place(pair[1])).collect()
}

fn views<T: Copy + Into<i64>>(offsets: &[T], sizes: &[T]) -> Vec<Range<usize>> {
    let number = |number: T| number.into().max(0) as usize;
    let pairs = offsets.iter().zip(sizes);
    let range = |(&offset, &size): (&T, &T)| number(offset)..number(offset) + number(size);
    pairs.map(range).collect()
}

/// Returns the offset of each row's values with nulls left out, and the positions of those values among the
/// items.
pub(super) fn places(items: &ArrayRef, ranges: &[Range<usize>]) -> (Vec<u32>, Vec<usize>) {
    let nulls = items.logical_nulls();
    let is_value = |place: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*place));
    let mut offsets = vec![0];
    let mut places = Vec::new();
    for range in ranges {
        places.extend(range.clone().filter(is_value));
        // A block has at most 8192 lists of 2^20 values, and ends where it is full.
        offsets.push(places.len() as u32);
    }
    (offsets, places)
}

/// Adds to `sizes` the bytes of each row; a list that is too long counts as more than any row may hold.
pub(super) fn add_sizes(array: &ArrayRef, sizes: &mut [usize]) -> Result<(), ArrowError> {
    let Some((items, ranges)) = list(array) else {
        let bytes = bytes(array)?;
        for (row, size) in sizes.iter_mut().enumerate() {
            *size = size.saturating_add(VALUE_BYTES + bytes(row));
        }
        return Ok(());
    };
    add_list_sizes(&items, &ranges, sizes)
}

/// The same for the items of lists.
pub(super) fn add_list_sizes(
    items: &ArrayRef,
    ranges: &[Range<usize>],
    sizes: &mut [usize],
) -> Result<(), ArrowError> {
    let bytes = bytes(items)?;
    for (range, size) in ranges.iter().zip(sizes) {
        *size = if range.len() > LONGEST_LIST {
            usize::MAX
        } else {
            let items = range.clone();
            size.saturating_add(items.map(|item| VALUE_BYTES + bytes(item)).sum())
        };
    }
    Ok(())
}

/// Returns the variable size of a value in bytes, besides the fixed size of each; 0 for numbers.
fn bytes<'a>(array: &'a dyn Array) -> Result<Box<dyn Fn(usize) -> usize + 'a>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8 => of_texts(array.as_string::<i32>()),
        DataType::LargeUtf8 => of_texts(array.as_string::<i64>()),
        DataType::Binary => of_texts(array.as_binary::<i32>()),
        DataType::LargeBinary => of_texts(array.as_binary::<i64>()),
        DataType::Utf8View => of_views(array.as_string_view()),
        DataType::BinaryView => of_views(array.as_binary_view()),
        DataType::FixedSizeBinary(n) => {
            let n = 2 * (*n).max(0) as usize;
            Box::new(move |_| n)
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let of_value = bytes(dictionary.values().as_ref())?;
            let keys = dictionary.keys();
            let n_values = dictionary.values().len();
            let valid: Vec<usize> = (0..keys.len()).filter(|&row| keys.is_valid(row)).collect();
            let Values::Int(numbers) = values::values(keys, &valid, false)? else {
                return Ok(Box::new(|_| 0));
            };
            let mut key_of = vec![None; keys.len()];
            for (row, key) in valid.into_iter().zip(numbers) {
                key_of[row] = usize::try_from(key).ok().filter(|key| *key < n_values);
            }
            Box::new(move |row| key_of[row].map_or(0, &of_value))
        }
        _ => Box::new(|_| 0),
    })
}

fn of_texts<'a, T: ByteArrayType>(
    array: &'a GenericByteArray<T>,
) -> Box<dyn Fn(usize) -> usize + 'a> {
    let offsets = array.value_offsets();
    let place = |i: usize| -> usize { offsets[i].as_usize() };
    Box::new(move |row| place(row + 1).saturating_sub(place(row)))
}

/// Returns the size of a text from its view, whose first 32 bits are the length.
fn of_views<'a, T: ByteViewType + ?Sized>(
    array: &'a GenericByteViewArray<T>,
) -> Box<dyn Fn(usize) -> usize + 'a> {
    let views = array.views();
    Box::new(move |row| views[row] as u32 as usize)
}
