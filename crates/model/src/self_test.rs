//! Rows saved with a model, and their scores: on loading, they verify that the model still computes the same scores,
//! encoding included.

use crate::scorer::Scorer;
use crate::workspace::Workspace;
use ncs_features::value::TextBuffer;
use ncs_features::{Batch, Block, Column, Encoder, Texts, Values};
use serde::{Deserialize, Serialize};

/// Maximum difference of a score on another processor or SIMD level.
const TOLERANCE: f32 = 1e-5;

/// Raw rows, and the scores of the model that was saved with them.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTest {
    /// The rows, with every column that some field reads.
    pub rows: Block,
    /// `scores[task][row]`, as computed by [`Scorer::score`].
    pub scores: Vec<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
struct File {
    rows: usize,
    columns: Vec<FileColumn>,
    scores: Vec<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
struct FileColumn {
    name: String,
    #[serde(flatten)]
    values: FileValues,
    /// Number of values in each row, for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<u32>>,
    /// Rows without a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nulls: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "values", rename_all = "snake_case")]
enum FileValues {
    Text(Vec<String>),
    Int(Vec<i64>),
    Float(Vec<f64>),
}

impl SelfTest {
    /// Records the scores of `rows`, of which only the columns that the scorer reads are kept. Returns `None` if a
    /// column cannot be read, or holds a text that JSON cannot represent.
    pub fn record(scorer: &Scorer, rows: &Block) -> Option<SelfTest> {
        let is_read = |column: &&Column| {
            let mut fields = scorer.schema().fields.iter();
            fields.any(|field| field.column == column.name)
        };
        let rows = Block {
            n_rows: rows.n_rows,
            columns: rows.columns.iter().filter(is_read).map(plain).collect(),
        };
        let test = SelfTest {
            scores: score(scorer, &rows).ok()?,
            rows,
        };
        SelfTest::from_json(&test.to_json()).filter(|read| *read == test)
    }

    /// Compares the recorded scores with those of `scorer`.
    ///
    /// # Errors
    /// A row cannot be read, or a score differs.
    pub fn check(&self, scorer: &Scorer) -> Result<(), String> {
        let scores = score(scorer, &self.rows)?;
        let tasks = scorer.spec().tasks.iter();
        for ((task, expected), scores) in tasks.zip(&self.scores).zip(&scores) {
            for (row, (expected, score)) in expected.iter().zip(scores).enumerate() {
                // NaN differs from any score.
                let is_same = (expected - score).abs() <= TOLERANCE;
                if !is_same {
                    return Err(format!(
                        "row {} of the self-test scores {score} for task \"{task}\" and scored {expected} \
                         when the model was saved",
                        row + 1
                    ));
                }
            }
        }
        Ok(())
    }

    /// Encodes the rows.
    ///
    /// # Errors
    /// A row cannot be read.
    pub(crate) fn batch(&self, scorer: &Scorer) -> Result<Batch, String> {
        encode(scorer, &self.rows)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let file = File {
            rows: self.rows.n_rows,
            columns: self.rows.columns.iter().map(to_file).collect(),
            scores: self.scores.clone(),
        };
        serde_json::to_vec(&file).expect("a self-test is plain data")
    }

    /// Parses a self-test; `None` if the text is not one.
    pub(crate) fn from_json(text: &[u8]) -> Option<SelfTest> {
        let file: File = serde_json::from_slice(text).ok()?;
        let column = |column| from_file(column, file.rows);
        let columns = file.columns.into_iter().map(column);
        let is_whole = file.scores.iter().all(|scores| scores.len() == file.rows);
        is_whole.then_some(SelfTest {
            rows: Block {
                n_rows: file.rows,
                columns: columns.collect::<Option<_>>()?,
            },
            scores: file.scores,
        })
    }
}

/// Returns the column as it is read from a file: without null flags if no row is null.
fn plain(column: &Column) -> Column {
    let mut column = column.clone();
    if !column.nulls.contains(&true) {
        column.nulls.clear();
    }
    column
}

fn encode(scorer: &Scorer, rows: &Block) -> Result<Batch, String> {
    let encoder = Encoder::new(scorer.schema().clone());
    let batch = encoder.encode_features(rows);
    batch.map_err(|error| format!("the self-test: {error}"))
}

fn score(scorer: &Scorer, rows: &Block) -> Result<Vec<Vec<f32>>, String> {
    Ok(scorer.score(&encode(scorer, rows)?, &mut Workspace::new(1)))
}

fn to_file(column: &Column) -> FileColumn {
    let values = match &column.values {
        Values::Int(numbers) => FileValues::Int(numbers.clone()),
        Values::Float(numbers) if numbers.iter().all(|x| x.is_finite()) => {
            FileValues::Float(numbers.clone())
        }
        // JSON has no NaN and no times: write the text of the value.
        values => {
            let mut buffer = TextBuffer::default();
            let mut text = |i| String::from_utf8_lossy(buffer.plain(values, i)).into_owned();
            FileValues::Text((0..values.len()).map(&mut text).collect())
        }
    };
    let lengths = |offsets: &Vec<u32>| offsets.windows(2).map(|ends| ends[1] - ends[0]).collect();
    let nulls = column.nulls.iter().enumerate().filter(|(_, null)| **null);
    FileColumn {
        name: column.name.clone(),
        values,
        lengths: column.offsets.as_ref().map(lengths),
        nulls: nulls.map(|(row, _)| row).collect(),
    }
}

fn from_file(column: FileColumn, n_rows: usize) -> Option<Column> {
    let (n, values) = match column.values {
        FileValues::Int(numbers) => (numbers.len(), Values::Int(numbers)),
        FileValues::Float(numbers) => (numbers.len(), Values::Float(numbers)),
        FileValues::Text(strings) => {
            let mut texts = Texts::default();
            strings.iter().for_each(|text| texts.push(text.as_bytes()));
            (strings.len(), Values::Text(texts))
        }
    };
    let offsets = column.lengths.map(|lengths| {
        let mut offsets = vec![0u32];
        let mut end = 0u32;
        offsets.extend(lengths.iter().map(|length| {
            end = end.saturating_add(*length);
            end
        }));
        offsets
    });
    let (rows, n_values) = match &offsets {
        Some(offsets) => (offsets.len() - 1, *offsets.last()? as usize),
        None => (n, n_rows),
    };
    // Checked before anything of this size is allocated.
    (rows == n_rows && n == n_values).then_some(())?;
    let mut nulls = vec![false; if column.nulls.is_empty() { 0 } else { n_rows }];
    for row in column.nulls {
        *nulls.get_mut(row)? = true;
    }
    Some(Column {
        name: column.name,
        values,
        offsets,
        nulls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::time::Timestamp;

    fn test() -> SelfTest {
        let column = |name: &str, values, offsets: Option<&[u32]>, nulls: &[bool]| Column {
            name: name.into(),
            values,
            offsets: offsets.map(Into::into),
            nulls: nulls.into(),
        };
        let mut texts = Texts::default();
        ["a", "\u{e9}\"", ""]
            .iter()
            .for_each(|text| texts.push(text.as_bytes()));
        SelfTest {
            rows: Block {
                n_rows: 2,
                columns: vec![
                    column("x", Values::Int(vec![i64::MIN, 0]), None, &[false, true]),
                    column("y", Values::Float(vec![0.1, 1e300]), None, &[]),
                    column("z", Values::Text(texts), Some(&[0, 0, 3]), &[]),
                ],
            },
            scores: vec![vec![0.25, 0.1]],
        }
    }

    #[test]
    fn json_round_trips() {
        assert_eq!(SelfTest::from_json(&test().to_json()), Some(test()));
    }

    #[test]
    fn values_without_json_type_become_texts() {
        let column = |values| Column {
            name: "x".into(),
            values,
            ..Column::default()
        };
        let times = Values::Time(vec![Timestamp::new(0, 500_000_000)]);
        let check = |values: Values, text: &str| {
            let n_rows = values.len();
            let file = from_file(to_file(&column(values)), n_rows).unwrap();
            let mut texts = Texts::default();
            text.split('|').for_each(|text| texts.push(text.as_bytes()));
            assert_eq!(file.values, Values::Text(texts));
        };
        check(times, "1970-01-01 00:00:00.5");
        check(Values::Float(vec![0.5, f64::NAN]), "0.5|NaN");
    }

    #[test]
    fn null_flags_are_omitted_if_no_row_is_null() {
        let column = |nulls: &[bool]| Column {
            name: "x".into(),
            values: Values::Int(vec![1, 2]),
            offsets: None,
            nulls: nulls.into(),
        };
        assert_eq!(plain(&column(&[false, false])), column(&[]));
        assert_eq!(plain(&column(&[false, true])), column(&[false, true]));
    }

    #[test]
    fn inconsistent_files_are_rejected() {
        let text = String::from_utf8(test().to_json()).unwrap();
        let check = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} in {text}");
            let changed = text.replacen(from, to, 1);
            assert_eq!(SelfTest::from_json(changed.as_bytes()), None, "{changed}");
        };
        check("\"rows\":2", "\"rows\":3");
        check("\"rows\":2", "\"rows\":1152921504606846976");
        check("[0,3]", "[0,4]");
        check("[0,3]", "[4294967295,4]");
        check("\"nulls\":[1]", "\"nulls\":[2]");
        check("\"type\":\"int\"", "\"type\":\"float8\"");
        check("\"scores\":[[0.25,0.1]]", "\"scores\":[[0.25]]");
        check("{\"rows\"", "");
    }
}
