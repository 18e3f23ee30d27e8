mod files;

use super::*;
use ncs_features::columns::ColumnBuilder;
use ncs_features::{
    Batch, Block, Column, Encoder, Field, HashFunction, IdSpace, Pooling, Schema, Table, Task,
    Texts, Values,
};
use ncs_serve::rank_request::RankQuery;
use ncs_serve::version::Identity;
use std::time::SystemTime;

/// Schema: `user` is hashed, `tags` a list from a vocabulary, `price` and `prices` numbers; `session` is the group.
fn schema() -> Arc<Schema> {
    let names = ["user", "tags", "price", "prices"];
    let field = |(table, name): (usize, &&str)| Field {
        name: (*name).into(),
        column: (*name).into(),
        table,
        pooling: name.ends_with('s').then_some(Pooling::Mean),
        separator: (*name == "tags").then_some('|'),
        max_values: None,
        beside: Default::default(),
        missing: vec!["-1".into(), "NA".into()],
    };
    let boundaries = vec![0.5, 1.5, 2.5];
    let ids = [
        IdSpace::Hash {
            buckets: 1_000_000,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        IdSpace::Vocabulary {
            values: ["a", "b", "7", "0.25"].map(str::to_owned).to_vec(),
        },
        IdSpace::Scaled {
            log: false,
            mean: 1.0,
            deviation: 2.0,
        },
        IdSpace::Quantiles { boundaries },
    ];
    let table = |(name, ids): (&&str, IdSpace)| Table {
        name: (*name).into(),
        ids,
        range: None,
    };
    Arc::new(Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: names.iter().enumerate().map(field).collect(),
        tables: names.iter().zip(ids).map(table).collect(),
        tasks: vec![Task {
            label: "click".into(),
            ..ncs_testkit::task("ctr")
        }],
        group: Some("session".into()),
    })
}

fn column(name: &str, values: Values, offsets: Option<Vec<u32>>, nulls: &[bool]) -> Column {
    Column {
        name: name.into(),
        values,
        offsets,
        nulls: nulls.into(),
    }
}

fn texts(items: &[&str]) -> Values {
    let mut texts = Texts::default();
    items.iter().for_each(|item| texts.push(item.as_bytes()));
    Values::Text(texts)
}

fn block(columns: Vec<Column>, n_rows: usize) -> Block {
    Block { n_rows, columns }
}

fn entry(context: Vec<Column>, candidates: Vec<Column>, n: usize) -> Entry {
    let question = RankQuery {
        context: block(context, 1),
        candidates: block(candidates, n),
        ..RankQuery::default()
    };
    let scores: Vec<f32> = (0..n).map(|i| 0.1 + i as f32 / 3.0).collect();
    Entry {
        request_id: "r".into(),
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_773_472_089_250),
        identity: Arc::new(Identity {
            model: "shop".into(),
            number: 3,
            hash: "0123456789abcdef".into(),
            schema: schema(),
            outputs: ["ctr".to_owned()].into(),
        }),
        role: None,
        question: Arc::new(question),
        raw: [scores.clone()].into(),
        calibrated: [scores].into(),
    }
}

/// Entry with integer users, some tags, and prices of both kinds.
fn plain(n: usize) -> Entry {
    let users = Values::Int((0..n as i64).collect());
    let context = vec![
        column("tags", texts(&["a", "7"]), Some(vec![0, 2]), &[]),
        column("prices", Values::Float(vec![1.0]), None, &[]),
    ];
    let candidates = vec![
        column("user", users, None, &[]),
        column("price", Values::Float(vec![0.1; n]), None, &[]),
    ];
    entry(context, candidates, n)
}

/// Maximum bytes that open files buffer.
const HELD: usize = 64 << 20;

/// Checks that nothing was lost, and returns the number of written rows.
#[track_caller]
fn written_rows(kept: Kept) -> u64 {
    assert_eq!((kept.lost, &kept.errors[..]), (0, &[][..]));
    kept.written
}

fn log(folder: &Path) -> ParquetLog {
    ParquetLog::open(folder, 1000, Duration::from_secs(3600), HELD).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(path: &Path, columns: &[&str]) -> Block {
    let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let mut rows = ncs_readers::open(path, &Default::default(), &columns).unwrap();
    let block = rows.next_block().unwrap().unwrap().block;
    assert!(rows.next_block().unwrap().is_none());
    block
}

/// Writes one entry and returns its file.
fn written(folder: &Path, entry: &Entry) -> PathBuf {
    let mut log = log(folder);
    written_rows(log.write(entry));
    written_rows(log.finish());
    let [name] = &names(folder)[..] else {
        panic!("one file")
    };
    folder.join(name)
}

const FEATURES: [&str; 5] = ["user", "tags", "price", "prices", "session"];

/// Returns the rows of a request: the context joined with each candidate.
fn joined(entry: &Entry) -> Block {
    let n = entry.n_candidates();
    let mut rows = entry.question.context.select(&vec![0; n]);
    rows.columns
        .extend(entry.question.candidates.columns.iter().cloned());
    rows
}

/// Checks that the rows read back are encoded like the request.
fn check_ids(entry: &Entry) -> Block {
    let folder = tempfile::tempdir().unwrap();
    let rows = read(&written(folder.path(), entry), &FEATURES);
    let ids = |rows: &Block| -> Batch { Encoder::new(schema()).encode_features(rows).unwrap() };
    assert_eq!(ids(&rows), ids(&joined(entry)));
    rows
}

#[test]
fn a_file_holds_the_model_and_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let entry = Entry {
        role: Some("canary"),
        ..plain(2)
    };
    let path = written(folder.path(), &entry);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "scores-20260314T070809Z-01234567-1.parquet");
    let expected = [
        "ncs_request_id",
        "ncs_time",
        "ncs_model",
        "ncs_version",
        "ncs_model_hash",
        "ncs_role",
        "ncs_candidate",
        "user",
        "tags",
        "price",
        "prices",
        "session",
        "ncs_raw_ctr",
        "ncs_p_ctr",
    ];
    assert_eq!(
        ncs_readers::column_names(&path, &Default::default()).unwrap(),
        expected
    );
    let ours: Vec<&str> = expected
        .into_iter()
        .filter(|name| name.starts_with("ncs"))
        .collect();
    let scores = |column: &Column| match &column.values {
        Values::Float(numbers) => numbers.iter().map(|&x| x as f32).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let rows = read(&path, &ours);
    let values: Vec<&Values> = rows.columns.iter().map(|column| &column.values).collect();
    assert_eq!(values[0], &texts(&["r", "r"]));
    let Values::Time(times) = values[1] else {
        panic!("{:?}", values[1]);
    };
    assert_eq!(times.len(), 2);
    assert!(
        times
            .iter()
            .all(|time| time.to_string() == "2026-03-14 07:08:09.25"),
        "{times:?}"
    );
    assert_eq!(values[2], &texts(&["shop", "shop"]));
    assert_eq!(values[3], &Values::Int(vec![3, 3]));
    assert_eq!(values[4], &texts(&["0123456789abcdef"; 2]));
    assert_eq!(values[5], &texts(&["canary", "canary"]));
    assert_eq!(values[6], &Values::Int(vec![0, 1]));
    assert_eq!(scores(&rows.columns[7]), entry.raw[0]);
    assert_eq!(scores(&rows.columns[8]), entry.calibrated[0]);
}

#[test]
fn features_are_logged_as_the_encoder_reads_them() {
    let rows = check_ids(&plain(3));
    let values: Vec<&Values> = rows.columns.iter().map(|column| &column.values).collect();
    assert_eq!(values[0], &texts(&["0", "1", "2"]));
    assert_eq!(values[1], &texts(&["a", "7", "a", "7", "a", "7"]));
    assert_eq!(rows.columns[1].offsets, Some(vec![0, 2, 4, 6]));
    assert_eq!(values[2], &Values::Float(vec![0.1; 3]));
    assert_eq!(values[3], &texts(&["1"; 3]));
    assert_eq!(rows.columns[4].nulls, [true; 3], "no session was sent");
}

#[test]
fn nulls_empty_lists_and_odd_types_keep_their_ids() {
    let mut tags = ColumnBuilder::new("tags");
    // A list, an empty one, null, a text that is a list, a number.
    tags.begin_list(2);
    tags.push_text(b"b");
    tags.push_text(b"unheard of");
    tags.end_row();
    tags.begin_list(0);
    tags.end_row();
    tags.end_row();
    tags.push_text(b"a|b|NA");
    tags.end_row();
    tags.push_float(0.25);
    tags.end_row();
    let users = Values::Float(vec![17.0, -0.5, 1e19, 0.0, -1.0]);
    let no_user = [false, false, false, true, false];
    let prices = texts(&[" 2.5 ", "NA", "-1", "", "1e3"]);
    let context = vec![
        column("prices", texts(&["1.5", "-1", "2"]), Some(vec![0, 3]), &[]),
        column("session", Values::Int(vec![42]), None, &[]),
    ];
    let candidates = vec![
        column("user", users, None, &no_user),
        tags.finish(),
        column("price", prices, None, &[]),
    ];
    let rows = check_ids(&entry(context, candidates, 5));
    let [user, tags, price, _, session] = &rows.columns[..] else {
        panic!("five columns")
    };
    let written = texts(&["17", "-0.5", "10000000000000000000", "", "-1"]);
    assert_eq!((&user.values, &user.nulls[..]), (&written, &no_user[..]));
    assert_eq!(tags.offsets, Some(vec![0, 2, 2, 2, 3, 4]));
    assert_eq!(tags.nulls, [false, false, true, false, false]);
    assert_eq!(
        price.values,
        Values::Float(vec![2.5, 0.0, -1.0, 0.0, 1000.0])
    );
    assert_eq!(price.nulls, [false, true, false, true, false]);
    assert_eq!(session.values, texts(&["42"; 5]));
}

#[test]
fn many_rows_form_several_groups_and_long_contexts_compress() {
    let folder = tempfile::tempdir().unwrap();
    let mut log =
        ParquetLog::open(folder.path(), 200_000, Duration::from_secs(3600), HELD).unwrap();
    let items: Vec<i64> = (0..100).collect();
    let mut entry = plain(5000);
    let question = Arc::make_mut(&mut entry.question);
    question.context.columns[0] = column("tags", Values::Int(items), Some(vec![0, 100]), &[]);
    (0..30).for_each(|_| _ = written_rows(log.write(&entry)));
    written_rows(log.finish());
    let path = folder.path().join(&names(folder.path())[0]);
    let columns = ["user", "tags", "ncs_candidate"].map(str::to_owned);
    let mut rows = ncs_readers::open(&path, &Default::default(), &columns).unwrap();
    let mut n_rows = 0;
    while let Some(raw) = rows.next_block().unwrap() {
        let offsets = raw.block.columns[1].offsets.as_ref().unwrap();
        assert!(offsets.windows(2).all(|pair| pair[1] - pair[0] == 100));
        let Values::Int(candidates) = &raw.block.columns[2].values else {
            panic!("whole numbers")
        };
        let expected = (n_rows..).map(|row| row % 5000);
        assert!(
            candidates
                .iter()
                .copied()
                .eq(expected.take(raw.block.n_rows))
        );
        n_rows += raw.block.n_rows as i64;
    }
    assert_eq!(n_rows, 150_000);
    // A hundred items a row take a few bytes.
    assert!(fs::metadata(&path).unwrap().len() < 150_000 * 30);
}
