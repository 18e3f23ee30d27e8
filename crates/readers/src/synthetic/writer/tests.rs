use super::*;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use flate2::read::GzDecoder;
use ncs_features::{Column, Texts, Values};
use std::io::Read;
use tempfile::tempdir;

fn texts(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

fn column(name: &str, values: Values) -> Column {
    Column {
        name: name.to_owned(),
        values,
        ..Column::default()
    }
}

/// Two rows: (1, 0.5, a "quoted" city, [x, y]) and (-2, null, "", []).
fn block() -> Block {
    Block {
        n_rows: 2,
        columns: vec![
            column("user", Values::Int(vec![1, -2])),
            Column {
                nulls: vec![false, true],
                ..column("price", Values::Float(vec![0.5, 0.0]))
            },
            column("city", texts(&["a \"b\", c", ""])),
            Column {
                offsets: Some(vec![0, 2, 2]),
                ..column("tags", texts(&["x", "y"]))
            },
        ],
    }
}

fn written(name: &str, format: Format) -> Vec<u8> {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    assert_eq!(
        write_blocks(&path, format, [block(), block()].into_iter()).unwrap(),
        4
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside"
    );
    fs::read(&path).unwrap()
}

const CSV: &str = "user,price,city,tags\n\
                   1,0.5,\"a \"\"b\"\", c\",x|y\n-2,,,\n\
                   1,0.5,\"a \"\"b\"\", c\",x|y\n-2,,,\n";

#[test]
fn text_formats_are_what_readers_expect() {
    let check = |name, format, expected: &str| {
        assert_eq!(String::from_utf8(written(name, format)).unwrap(), expected);
    };
    check("a.csv", Format::Csv, CSV);
    let rows = "{\"user\":1,\"price\":0.5,\"city\":\"a \\\"b\\\", c\",\"tags\":[\"x\",\"y\"]}\n\
                {\"user\":-2,\"price\":null,\"city\":\"\",\"tags\":[]}\n";
    check("a.jsonl", Format::JsonLines, &rows.repeat(2));
}

#[test]
fn a_name_that_ends_in_gz_is_compressed() {
    let mut text = String::new();
    let bytes = written("a.csv.gz", Format::Csv);
    GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, CSV);
}

#[test]
fn parquet_holds_the_rows_with_nulls_and_lists() {
    let bytes = bytes::Bytes::from(written("a.parquet", Format::Parquet));
    let file = SerializedFileReader::new(bytes).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 4);
    let rows: Vec<String> = file
        .get_row_iter(None)
        .unwrap()
        .map(|row| row.unwrap().to_string())
        .collect();
    assert_eq!(
        rows[0],
        "{user: 1, price: 0.5, city: \"a \"b\", c\", tags: [\"x\", \"y\"]}"
    );
    assert_eq!(rows[1], "{user: -2, price: null, city: \"\", tags: []}");
    assert_eq!(rows[2..], rows[..2]);
}

#[test]
fn a_tfrecord_is_framed_and_checked() {
    let bytes = written("a.tfrecord", Format::TfRecord);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let example = &bytes[12..12 + length];
    // Example { features { feature { key: "user" value { int64_list { value: [1] } } } ...
    let features = [0x0A, (length - 2) as u8];
    let user = b"\x0A\x0D\x0A\x04user\x12\x05\x1A\x03\x0A\x01\x01";
    assert_eq!(example[..2], features);
    assert_eq!(example[2..17], user[..]);
    // A null price and an empty list are absent, so the second example is short.
    let second = &bytes[16 + length..];
    let shorter = u64::from_le_bytes(second[..8].try_into().unwrap()) as usize;
    let texts = String::from_utf8_lossy(&second[12..12 + shorter]).into_owned();
    assert!(!texts.contains("price") && !texts.contains("tags") && texts.contains("city"));
}

#[test]
fn what_cannot_be_written_is_said_and_leaves_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let check = |blocks: Vec<Block>, expected: &str| {
        let error = write_blocks(&path, Format::Csv, blocks.into_iter()).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    check(vec![], "there is no row to write");
    let mut cut = block();
    cut.columns[3].values = texts(&["x", "y|z"]);
    check(
        vec![block(), cut],
        "row 3: an item of list \"tags\" holds \"|\", which separates items; write another format",
    );
}

#[test]
fn a_log_has_one_file_for_each_part() {
    let folder = tempdir().unwrap();
    let folder = folder.path().join("made/up");
    let parts = [(Part::Train, 300), (Part::Valid, 20), (Part::Test, 0)];
    let plan = SyntheticPlan::default();
    let files = write_log(&plan, &folder, Format::Csv, &parts).unwrap();
    let found: Vec<(Part, u64)> = files.iter().map(|file| (file.part, file.rows)).collect();
    assert_eq!(found, parts[..2]);
    let text = fs::read_to_string(folder.join("train.csv")).unwrap();
    assert_eq!(text.lines().count(), 301);
    assert!(text.starts_with("user,item,category,tags,price,"));
    assert!(!folder.join("test.csv").exists());
}
