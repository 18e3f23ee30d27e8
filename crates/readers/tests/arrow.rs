//! Record batches: the values of each type, independence of batch boundaries, and errors for damaged data.

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{OffsetBuffer, i256};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use half::f16;
use ncs_features::time::{TimeUnit, Timestamp};
use ncs_features::{Column, Texts, Values};
use ncs_readers::arrow::{KeepError, keep};
use ncs_readers::{Frame, ReadError, Reading, Rows, column_names};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

fn frame(batches: Vec<RecordBatch>) -> Frame {
    let schema = batches[0].schema();
    let batches = batches.into_iter().map(Ok);
    Frame::new("frame", Box::new(RecordBatchIterator::new(batches, schema)))
}

fn batch(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap()
}

fn blocks(mut rows: Rows) -> Result<Vec<Column>, ReadError> {
    let mut columns = Vec::new();
    while let Some(mut rows) = rows.next_block()? {
        columns.push(rows.block.columns.remove(0));
    }
    Ok(columns)
}

fn column(array: ArrayRef) -> Column {
    let rows = Rows::of_frame(frame(vec![batch(array)]), vec!["x".to_owned()]).unwrap();
    let mut found = blocks(rows).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn texts(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

/// The second of three values is null.
#[track_caller]
fn check(array: ArrayRef, first: Values, last: Values) {
    let found = column(array);
    assert_eq!(found.nulls, [false, true, false]);
    assert_eq!(found.values.select([0].into_iter()), first);
    assert_eq!(found.values.select([2].into_iter()), last);
}

fn two<T>(first: T, last: T) -> Vec<Option<T>> {
    vec![Some(first), None, Some(last)]
}

#[test]
fn numbers_of_all_widths() {
    let whole = |array: ArrayRef, first, last| {
        check(array, Values::Int(vec![first]), Values::Int(vec![last]));
    };
    whole(Arc::new(BooleanArray::from(two(true, false))), 1, 0);
    whole(Arc::new(Int8Array::from(two(-128, 7))), -128, 7);
    whole(Arc::new(Int16Array::from(two(-300, 7))), -300, 7);
    whole(Arc::new(Int32Array::from(two(-70_000, 7))), -70_000, 7);
    whole(
        Arc::new(Int64Array::from(two(i64::MIN, i64::MAX))),
        i64::MIN,
        i64::MAX,
    );
    whole(Arc::new(UInt8Array::from(two(255, 7))), 255, 7);
    whole(Arc::new(UInt16Array::from(two(65_535, 7))), 65_535, 7);
    whole(
        Arc::new(UInt32Array::from(two(u32::MAX, 7))),
        u32::MAX.into(),
        7,
    );
    whole(Arc::new(UInt64Array::from(two(5, 7))), 5, 7);
    whole(Arc::new(DurationSecondArray::from(two(90, 7))), 90, 7);
    let large = Arc::new(UInt64Array::from(two(u64::MAX, 7)));
    check(large, texts(&["18446744073709551615"]), texts(&["7"]));
    let number = |array: ArrayRef, first, last| {
        check(array, Values::Float(vec![first]), Values::Float(vec![last]));
    };
    let halves = two(f16::from_f64(0.1), f16::from_f64(2.0));
    number(Arc::new(Float16Array::from(halves)), 0.1, 2.0);
    number(Arc::new(Float32Array::from(two(0.1, 0.3))), 0.1, 0.3);
    number(Arc::new(Float64Array::from(two(0.1, -0.5))), 0.1, -0.5);
}

#[test]
fn decimals_keep_their_digits() {
    let money = Decimal128Array::from(two(1050, 1000))
        .with_precision_and_scale(10, 2)
        .unwrap();
    check(
        Arc::new(money),
        Values::Float(vec![10.5]),
        Values::Float(vec![10.0]),
    );
    let whole = Decimal64Array::from(two(-3, 7))
        .with_precision_and_scale(10, 0)
        .unwrap();
    check(Arc::new(whole), Values::Int(vec![-3]), Values::Int(vec![7]));
    let long = two(i128::MAX, 10);
    let long = Decimal128Array::from(long)
        .with_precision_and_scale(38, 2)
        .unwrap();
    check(
        Arc::new(long),
        texts(&["1701411834604692317316873037158841057.27"]),
        texts(&["0.1"]),
    );
    let longer = Decimal256Array::from(two(i256::from_i128(-5), i256::from_i128(100)));
    let longer = longer.with_precision_and_scale(50, 2).unwrap();
    check(
        Arc::new(longer),
        Values::Float(vec![-0.05]),
        Values::Float(vec![1.0]),
    );
}

#[test]
fn times_of_every_unit_and_zone() {
    let second = |seconds| Values::Time(vec![Timestamp::of(seconds, TimeUnit::Seconds)]);
    let instant = |array: ArrayRef| check(array, second(86_400), second(-86_400));
    instant(Arc::new(Date32Array::from(two(1, -1))));
    instant(Arc::new(Date64Array::from(two(86_400_000, -86_400_000))));
    instant(Arc::new(TimestampSecondArray::from(two(86_400, -86_400))));
    let millis = TimestampMillisecondArray::from(two(86_400_000, -86_400_000));
    instant(Arc::new(millis.with_timezone("Asia/Tokyo")));
    let micros = TimestampMicrosecondArray::from(two(86_400_000_000, -86_400_000_000));
    instant(Arc::new(micros.with_timezone("+02:00")));
    let nanos = two(86_400_000_000_000, -86_400_000_000_000);
    instant(Arc::new(TimestampNanosecondArray::from(nanos)));
    let noon = two(43_200_000_500, 0);
    check(
        Arc::new(Time64MicrosecondArray::from(noon)),
        texts(&["12:00:00.0005"]),
        texts(&["00:00:00"]),
    );
    check(
        Arc::new(Time32SecondArray::from(two(3_661, 0))),
        texts(&["01:01:01"]),
        texts(&["00:00:00"]),
    );
}

#[test]
fn texts_of_every_layout() {
    let text = |array: ArrayRef| {
        check(
            array,
            texts(&["a long text, beyond 12 bytes"]),
            texts(&["é"]),
        )
    };
    let items = || two("a long text, beyond 12 bytes", "é");
    let bytes = || two("a long text, beyond 12 bytes".as_bytes(), "é".as_bytes());
    text(Arc::new(StringArray::from(items())));
    text(Arc::new(LargeStringArray::from(items())));
    text(Arc::new(StringViewArray::from(items())));
    text(Arc::new(BinaryArray::from(bytes())));
    text(Arc::new(LargeBinaryArray::from(bytes())));
    text(Arc::new(BinaryViewArray::from(bytes())));
    text(Arc::new(
        items().into_iter().collect::<DictionaryArray<Int8Type>>(),
    ));
    let keys = UInt32Array::from(vec![2, 1, 0]);
    let values = StringViewArray::from(vec![Some("é"), None, Some("a long text, beyond 12 bytes")]);
    text(Arc::new(DictionaryArray::new(keys, Arc::new(values))));
}

#[test]
fn bytes_of_fixed_length_are_digits_and_uuids_have_hyphens() {
    let digits: Vec<u8> = (0..16).collect();
    let array = FixedSizeBinaryArray::try_from_iter([&digits[..]].into_iter()).unwrap();
    let found = column(Arc::new(array.clone()));
    assert_eq!(found.values, texts(&["000102030405060708090a0b0c0d0e0f"]));
    let named = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    let field = Field::new("x", array.data_type().clone(), true).with_metadata(named);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(array)]);
    let rows = Rows::of_frame(frame(vec![batch.unwrap()]), vec!["x".to_owned()]).unwrap();
    let found = blocks(rows).unwrap().remove(0);
    assert_eq!(
        found.values,
        texts(&["00010203-0405-0607-0809-0a0b0c0d0e0f"])
    );
}

#[test]
fn lists_of_every_layout_leave_nulls_out() {
    let rows = [
        Some(vec![Some(1), None, Some(2)]),
        None,
        Some(vec![]),
        Some(vec![Some(3)]),
    ];
    let check = |array: ArrayRef| {
        let found = column(array);
        assert_eq!(found.values, Values::Int(vec![1, 2, 3]));
        assert_eq!(found.offsets, Some(vec![0, 2, 2, 2, 3]));
        assert_eq!(found.nulls, [false, true, false, false]);
    };
    check(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        rows.clone(),
    )));
    check(Arc::new(LargeListArray::from_iter_primitive::<
        Int32Type,
        _,
        _,
    >(rows.clone())));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(rows);
    check(Arc::new(ListViewArray::from(list)));
    let pairs = [
        Some(vec![Some(1), Some(2)]),
        None,
        Some(vec![Some(3), None]),
    ];
    let pairs = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(pairs, 2);
    let found = column(Arc::new(pairs));
    assert_eq!(found.values, Values::Int(vec![1, 2, 3]));
    assert_eq!(found.offsets, Some(vec![0, 2, 2, 3]));
    let words: DictionaryArray<Int16Type> = ["a", "b", "a"].into_iter().collect();
    let field = Arc::new(Field::new_list_field(words.data_type().clone(), true));
    let offsets = OffsetBuffer::new(vec![0, 1, 3].into());
    let found = column(Arc::new(ListArray::new(
        field,
        offsets,
        Arc::new(words),
        None,
    )));
    assert_eq!(found.values, texts(&["a", "b", "a"]));
    assert_eq!(found.offsets, Some(vec![0, 1, 3]));
}

#[test]
fn what_has_no_values_is_refused_by_name() {
    let check = |array: ArrayRef, expected: &str| {
        let error = Rows::of_frame(frame(vec![batch(array)]), vec!["x".to_owned()]);
        let error = error.err().expect("a type without values").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("frame: column \"x\" is "), "{error}");
    };
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let field = Arc::new(Field::new("y", DataType::Int32, true));
    check(
        Arc::new(StructArray::from(vec![(field, inner)])),
        "a group of several columns",
    );
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]);
    let field = Arc::new(Field::new_list_field(list.data_type().clone(), true));
    let offsets = OffsetBuffer::new(vec![0, 1].into());
    let nested = ListArray::new(field, offsets, Arc::new(list), None);
    check(Arc::new(nested), "a list of lists");
    let months = IntervalYearMonthArray::from(vec![1]);
    check(Arc::new(months), "an interval");
}

#[test]
fn a_column_that_is_absent_is_named_with_one_like_it() {
    let batch = batch(Arc::new(Int32Array::from(vec![1])));
    let error = Rows::of_frame(frame(vec![batch]), vec!["X".to_owned()]);
    let error = error.err().expect("no such column").to_string();
    assert_eq!(
        error,
        "frame: no column \"X\"; the nearest is \"x\"; it has x"
    );
}

#[test]
fn a_frame_without_rows_is_no_error() {
    let none = batch(Arc::new(Int32Array::from(Vec::<i32>::new())));
    let rows = Rows::of_frame(frame(vec![none]), vec!["x".to_owned()]).unwrap();
    assert_eq!(blocks(rows).unwrap(), []);
}

#[test]
fn bytes_that_are_no_utf_8_are_a_broken_row() {
    let array = BinaryArray::from(vec![Some(&b"a"[..]), None, Some(&b"\xFF"[..])]);
    let rows = Rows::of_frame(frame(vec![batch(Arc::new(array))]), vec!["x".to_owned()]).unwrap();
    let error = blocks(rows).unwrap_err();
    assert!(matches!(&error, ReadError::Row { row: 3, .. }), "{error}");
}

/// Returns a batch of 3 columns whose text names its rows.
fn rows(from: usize, n: usize) -> RecordBatch {
    let numbers = Int64Array::from_iter_values((from..from + n).map(|row| row as i64));
    let words = (from..from + n).map(|row| format!("word {}, which is long", row % 700));
    let words: Vec<String> = words.collect();
    let views = StringViewArray::from_iter_values(&words);
    let dictionary: DictionaryArray<Int32Type> = words.iter().map(String::as_str).collect();
    RecordBatch::try_from_iter([
        ("x", Arc::new(numbers) as ArrayRef),
        ("word", Arc::new(views)),
        ("code", Arc::new(dictionary)),
    ])
    .unwrap()
}

const COLUMNS: [&str; 2] = ["word", "x"];

fn wanted() -> Vec<String> {
    COLUMNS.map(str::to_owned).to_vec()
}

/// Returns all values of a column, as texts.
fn all_texts(mut rows: Rows, place: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut buffer = ncs_features::value::TextBuffer::default();
    while let Some(rows) = rows.next_block().unwrap() {
        let values = &rows.block.columns[place].values;
        for i in 0..values.len() {
            found.push(String::from_utf8_lossy(buffer.text(values, i)).into_owned());
        }
    }
    found
}

#[test]
fn where_batches_end_does_not_matter() {
    let whole = Rows::of_frame(frame(vec![rows(0, 20_000)]), wanted()).unwrap();
    let pieces = [(0, 1), (1, 8191), (8192, 0), (8192, 10_000), (18_192, 1808)];
    let pieces = pieces.map(|(from, n)| rows(from, n)).to_vec();
    let pieces = Rows::of_frame(frame(pieces), wanted()).unwrap();
    assert_eq!(all_texts(whole, 1), all_texts(pieces, 1));
}

fn write_file(path: &Path, batches: &[RecordBatch]) {
    let file = fs::File::create(path).unwrap();
    let mut writer = FileWriter::try_new(file, &batches[0].schema()).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
}

#[test]
fn files_and_streams_are_told_apart_and_read_the_same() {
    let folder = tempdir().unwrap();
    // One dictionary for all batches, as the file format requires.
    let all = rows(0, 9100);
    let batches = [all.slice(0, 9000), all.slice(9000, 100)];
    let file = folder.path().join("a.feather");
    write_file(&file, &batches);
    let stream = folder.path().join("a.arrows");
    let mut writer =
        StreamWriter::try_new(fs::File::create(&stream).unwrap(), &rows(0, 1).schema());
    let writer = writer.as_mut().unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    let unnamed = folder.path().join("part-0");
    fs::copy(&file, &unnamed).unwrap();
    let wanted = ["code", "x"].map(str::to_owned).to_vec();
    let expected = all_texts(
        Rows::of_frame(frame(batches.to_vec()), wanted.clone()).unwrap(),
        0,
    );
    for path in [file, stream, unnamed] {
        let reading = Reading::default();
        assert_eq!(
            column_names(&path, &reading).unwrap(),
            ["x", "word", "code"]
        );
        let rows = Rows::open(vec![path], &reading, wanted.clone());
        assert_eq!(all_texts(rows, 0), expected);
    }
}

#[test]
fn a_kept_frame_has_one_file_whatever_its_batches() {
    let folder = tempdir().unwrap();
    let go = &mut |_| ControlFlow::Continue(());
    let columns = ["x", "code"].map(str::to_owned);
    let whole = frame(vec![rows(0, 20_000)]);
    let first = keep(whole, &columns[..1], folder.path(), "train", go).unwrap();
    let state = fs::metadata(&first).unwrap().modified().unwrap();
    let pieces = frame(vec![rows(0, 1), rows(1, 9_999), rows(10_000, 10_000)]);
    let second = keep(pieces, &columns[..1], folder.path(), "train", go).unwrap();
    assert_eq!(first, second);
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), state);
    let other = keep(
        frame(vec![rows(1, 20_000)]),
        &columns,
        folder.path(),
        "train",
        go,
    )
    .unwrap();
    assert_ne!(first, other);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let read = Rows::open(vec![other], &Reading::default(), columns.to_vec());
    let frame = Rows::of_frame(frame(vec![rows(1, 20_000)]), columns.to_vec()).unwrap();
    assert_eq!(all_texts(read, 1), all_texts(frame, 1));
}

#[test]
fn a_frame_that_fails_or_is_stopped_leaves_no_file() {
    let folder = tempdir().unwrap();
    let schema = rows(0, 1).schema();
    let failing = [
        Ok(rows(0, 10)),
        Err(ArrowError::CDataInterface("no more".into())),
    ];
    let failing = RecordBatchIterator::new(failing, schema);
    let failing = Frame::new("train frame", Box::new(failing));
    let go = &mut |_| ControlFlow::Continue(());
    let error = keep(failing, &wanted(), folder.path(), "train", go).unwrap_err();
    assert_eq!(error.to_string(), "train frame: after row 10: no more");
    let stop = &mut |_| ControlFlow::Break(());
    let stopped = keep(
        frame(vec![rows(0, 10)]),
        &wanted(),
        folder.path(),
        "train",
        stop,
    );
    assert!(matches!(stopped, Err(KeepError::Stopped { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_row_that_is_too_large_is_broken_and_named() {
    let long = "x".repeat((16 << 20) + 1);
    let array: ArrayRef = Arc::new(StringArray::from(vec!["a", &long, "b"]));
    let rows = Rows::of_frame(frame(vec![batch(array)]), vec!["x".to_owned()]).unwrap();
    let error = blocks(rows).unwrap_err().to_string();
    assert!(
        error.starts_with("frame: row 2: column \"x\" holds more than"),
        "{error}"
    );
}

/// Every truncation and many changed bytes: an error or rows, never a panic.
#[test]
fn damaged_files_are_errors() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    write_file(&path, &[rows(0, 50)]);
    let sound = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut rows = Rows::open(vec![path.clone()], &Reading::default(), wanted());
        while rows.next_block()?.is_some() {}
        Ok::<(), ReadError>(())
    };
    read(&sound).unwrap();
    for end in (0..sound.len()).step_by(37) {
        assert!(read(&sound[..end]).is_err(), "cut after {end} bytes");
    }
    for place in (0..sound.len()).step_by(11) {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x55;
        let _ = read(&damaged);
    }
}
