//! Column values of a part of the data compared with the training rows: remarks, and the rows of a table.

use crate::note::Note;
use crate::render::{fixed, percent, thousands};
use ncs_features::coverage::{ColumnCoverage, Jump, LabelsBySeen, Shares};
use serde::{Deserialize, Serialize};

/// The columns of one part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartColumns {
    /// Name of the part, such as `test`, or the files.
    pub part: String,
    /// Coverage of each column, in the order of the features.
    pub columns: Vec<ColumnCoverage>,
    /// One entry for each column: its shares on the rows that it is compared with. Empty: no comparison.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<Shares>,
    /// Name of the part that the columns are compared with, such as `validation`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub compared_with: String,
}

/// Minimum share of unseen values, or of clipped numbers, at which a column is listed.
const MIN_REPORTED_SHARE: f64 = 0.01;

/// Names of the columns of [`PartColumns::rows`].
pub const HEADER: [&str; 8] = [
    "part",
    "column",
    "values",
    "nulls",
    "unseen",
    "clipped",
    "most frequent unseen",
    "label rate, seen / unseen",
];

impl PartColumns {
    /// Returns remarks on columns that changed: a warning where a share jumped or most numbers were clipped, a
    /// note where some numbers were clipped.
    pub fn remarks(&self) -> Vec<Note> {
        let remarks = (0..self.columns.len()).flat_map(|at| {
            let jumped = self.jumped(at).map(|text| Note {
                warning: true,
                text,
            });
            let clipped = self.clipped(at).map(|text| Note {
                warning: is_clipped_mostly(&self.columns[at]),
                text,
            });
            jumped.into_iter().chain(clipped)
        });
        remarks.collect()
    }

    fn jumped(&self, at: usize) -> Option<String> {
        let column = &self.columns[at];
        let reference = self.reference.get(at).copied();
        let (shares, name) = (column.shares(), &column.column);
        let before = |of: fn(Shares) -> Option<f64>| match reference.and_then(of) {
            Some(share) => format!(" ({}: {})", self.compared_with, percent(share)),
            None => String::new(),
        };
        Some(match column.jump(reference)? {
            Jump::Unseen => format!(
                "{}, column {name:?}: {} of the {} values{} do not occur in the training rows{}; the column's \
                 type or spelling may have changed",
                self.part,
                percent(shares.unseen.unwrap_or(0.0)),
                thousands(column.values),
                before(|shares| shares.unseen),
                most_frequent(column).map_or(String::new(), |values| format!(", such as {values}")),
            ),
            Jump::Nulls => format!(
                "{}, column {name:?}: {} of the {} rows have no value{}",
                self.part,
                percent(shares.nulls),
                thousands(column.rows),
                before(|shares| Some(shares.nulls)),
            ),
        })
    }

    fn clipped(&self, at: usize) -> Option<String> {
        let column = &self.columns[at];
        let [least, most] = column.range.filter(|_| is_clipped_much(column))?;
        let first = column.first_clipped.as_ref();
        let first = first.map_or(String::new(), |first| {
            format!("; the first: {} in {}", number(first.value), first.place)
        });
        Some(format!(
            "{}, column {:?}: {} of {} numbers were clipped to the range of the training rows, {} to {}{first}{}",
            self.part,
            column.column,
            thousands(column.clipped),
            thousands(column.values),
            number(least),
            number(most),
            if is_clipped_mostly(column) {
                "; the column's unit or scale may have changed"
            } else {
                ""
            },
        ))
    }

    /// Returns the table rows for the columns of [`HEADER`]: of all columns, or only of the reported ones.
    pub fn rows(&self, all: bool) -> Vec<Vec<String>> {
        let is_shown = |at: &usize| all || self.is_reported(*at);
        let rows = (0..self.columns.len()).filter(is_shown);
        rows.map(|at| self.row(at)).collect()
    }

    fn is_reported(&self, at: usize) -> bool {
        let column = &self.columns[at];
        let reference = self.reference.get(at).copied();
        is_clipped_much(column)
            || column.shares().unseen >= Some(MIN_REPORTED_SHARE)
            || column.jump(reference).is_some()
    }

    fn row(&self, at: usize) -> Vec<String> {
        let column = &self.columns[at];
        let (shares, has_ids) = (column.shares(), column.range.is_none());
        let or_nothing = |is_there: bool, text: String| if is_there { text } else { String::new() };
        vec![
            self.part.clone(),
            column.column.clone(),
            thousands(column.values),
            percent(shares.nulls),
            or_nothing(has_ids, percent(shares.unseen.unwrap_or(0.0))),
            or_nothing(!has_ids, thousands(column.clipped)),
            most_frequent(column).unwrap_or_default(),
            or_nothing(column.unseen > 0, rates(&column.labels)),
        ]
    }
}

/// Returns true if clipped numbers should be reported: one lies far outside the range, or there are many.
fn is_clipped_much(column: &ColumnCoverage) -> bool {
    let is_many = column.clipped as f64 >= MIN_REPORTED_SHARE * column.values as f64;
    column.clipped > 0 && (column.has_far_number() || is_many)
}

/// Returns true if at least half of the numbers were clipped, and at least `FEW`.
fn is_clipped_mostly(column: &ColumnCoverage) -> bool {
    const FEW: u64 = 10;
    column.clipped >= FEW && 2 * column.clipped >= column.values
}

/// `"True" (600), "False" (400)`
fn most_frequent(column: &ColumnCoverage) -> Option<String> {
    let values = column.new_values.iter().take(3);
    let values = values.map(|new| format!("\"{}\" ({})", new.value, thousands(new.count)));
    let values: Vec<String> = values.collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// `ctr 2.1 % / 1.0 %`
fn rates(labels: &[LabelsBySeen]) -> String {
    let of_task = |labels: &LabelsBySeen| {
        let rate = |rate: Option<f64>| percent(rate.unwrap_or(f64::NAN));
        let (seen, unseen) = (rate(labels.seen.rate()), rate(labels.unseen.rate()));
        format!("{} {seen} / {unseen}", labels.task)
    };
    let rates: Vec<String> = labels.iter().map(of_task).collect();
    rates.join(", ")
}

/// Formats a number briefly at any magnitude.
fn number(x: f64) -> String {
    match x.abs() {
        size if size == 0.0 || (1e-4..1e7).contains(&size) => {
            let text = fixed(x, 4);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{x:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::coverage::{Clipped, KnownLabels, NewValue};

    fn column(name: &str, rows: u64, nulls: u64, unseen: u64) -> ColumnCoverage {
        ColumnCoverage {
            column: name.into(),
            rows,
            nulls,
            values: rows - nulls,
            unseen,
            ..ColumnCoverage::default()
        }
    }

    fn part(columns: Vec<ColumnCoverage>, reference: &[(f64, f64)]) -> PartColumns {
        let shares = |&(unseen, nulls): &(f64, f64)| Shares {
            unseen: Some(unseen),
            nulls,
        };
        PartColumns {
            part: "test".into(),
            columns,
            reference: reference.iter().map(shares).collect(),
            compared_with: "validation".into(),
        }
    }

    fn vip() -> ColumnCoverage {
        let labels = |known, positives| KnownLabels { known, positives };
        ColumnCoverage {
            new_values: vec![
                NewValue {
                    value: "True".into(),
                    count: 1600,
                },
                NewValue {
                    value: "False".into(),
                    count: 399,
                },
            ],
            labels: vec![LabelsBySeen {
                task: "ctr".into(),
                seen: labels(0, 0),
                unseen: labels(2000, 20),
            }],
            ..column("vip", 2000, 1, 1999)
        }
    }

    fn price() -> ColumnCoverage {
        ColumnCoverage {
            clipped: 2,
            range: Some([-0.25, 12_345_678.0]),
            first_clipped: Some(Clipped {
                place: "test.csv: row 17".into(),
                value: 1e20,
            }),
            ..column("price", 2000, 0, 0)
        }
    }

    fn texts(part: &PartColumns) -> Vec<(bool, String)> {
        let remarks = part.remarks().into_iter();
        remarks.map(|note| (note.warning, note.text)).collect()
    }

    #[test]
    fn a_column_that_changed_its_spelling_is_a_warning() {
        let expected = "test, column \"vip\": 100.0 % of the 1,999 values (validation: 1.0 %) do not occur in \
                        the training rows, such as \"True\" (1,600), \"False\" (399); the column's type or \
                        spelling may have changed";
        let actual = texts(&part(vec![vip()], &[(0.01, 0.0)]));
        assert_eq!(actual, [(true, expected.to_owned())]);
        assert_eq!(texts(&part(vec![vip()], &[])).len(), 1);
    }

    #[test]
    fn a_column_without_values_is_a_warning() {
        let actual = texts(&part(vec![column("age", 500, 499, 0)], &[(0.0, 0.02)]));
        let expected =
            "test, column \"age\": 99.8 % of the 500 rows have no value (validation: 2.0 %)";
        assert_eq!(actual, [(true, expected.to_owned())]);
    }

    #[test]
    fn clipped_numbers_are_named_with_their_range_and_the_first() {
        let expected = "test, column \"price\": 2 of 2,000 numbers were clipped to the range of the training \
                        rows, -0.25 to 1.2345678e7; the first: 1e20 in test.csv: row 17";
        let actual = texts(&part(vec![price()], &[(0.0, 0.0)]));
        assert_eq!(actual, [(false, expected.to_owned())]);
    }

    #[test]
    fn a_column_in_another_unit_is_a_warning() {
        let other_unit = |clipped| ColumnCoverage { clipped, ..price() };
        let expected = "test, column \"price\": 1,000 of 2,000 numbers were clipped to the range of the training \
                        rows, -0.25 to 1.2345678e7; the first: 1e20 in test.csv: row 17; the column's unit or \
                        scale may have changed";
        let actual = texts(&part(vec![other_unit(1000)], &[]));
        assert_eq!(actual, [(true, expected.to_owned())]);
        let actual = texts(&part(vec![other_unit(999)], &[]));
        assert_eq!(actual.len(), 1);
        assert!(!actual[0].0 && !actual[0].1.contains("unit"), "{actual:?}");
    }

    #[test]
    fn a_few_slightly_larger_numbers_are_not_reported() {
        let larger = |clipped| ColumnCoverage {
            clipped,
            first_clipped: Some(Clipped {
                place: "test.csv: row 17".into(),
                value: 12_345_679.0,
            }),
            ..price()
        };
        assert!(texts(&part(vec![larger(2)], &[])).is_empty());
        assert_eq!(part(vec![larger(2)], &[]).rows(false).len(), 0);
        assert_eq!(texts(&part(vec![larger(20)], &[])).len(), 1);
    }

    #[test]
    fn an_unchanged_column_has_neither_remark_nor_row() {
        let part = part(
            vec![column("user", 1000, 10, 5), vip()],
            &[(0.01, 0.0), (0.99, 0.0)],
        );
        assert_eq!(part.remarks().len(), 1);
        let expected = [
            "test",
            "vip",
            "1,999",
            "0.050 %",
            "100.0 %",
            "",
            "\"True\" (1,600), \"False\" (399)",
            "ctr – / 1.0 %",
        ];
        assert_eq!(part.rows(false), [expected.map(String::from)]);
        assert_eq!(part.rows(true).len(), 2);
        assert_eq!(part.rows(true)[0].len(), HEADER.len());
    }
}
