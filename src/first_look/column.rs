//! What the first rows hold of a feature.

use std::collections::HashMap;

use ncs_features::canonical::{canonical, canonical_text};
use ncs_features::value::{TextBuffer, items, shown_text};
use ncs_features::{
    Block, Column, Field, HashFunction, IdSpacePlan, NumericPlan, SchemaPlan, Values,
};
use serde::Serialize;

/// How many values are shown.
const EXAMPLES: usize = 3;

/// What the first rows hold of a feature.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ColumnLook {
    /// The feature's name.
    pub(crate) name: String,
    /// The column of the log.
    pub(crate) column: String,
    /// `categorical`, `list` or `numeric`.
    pub(crate) kind: &'static str,
    /// What the file holds: `text`, `integer`, `number` or `time`.
    pub(crate) holds: &'static str,
    /// The id space.
    pub(crate) table: String,
    /// How values become ids.
    pub(crate) ids: String,
    /// Different values.
    pub(crate) distinct: usize,
    /// Rows without a value.
    pub(crate) nulls: u64,
    /// The most frequent values.
    pub(crate) examples: Vec<String>,
    /// For a list of texts without a separator: the character that most of them hold, and that
    /// separates their items, it seems.
    #[serde(skip)]
    pub(crate) unsplit: Option<char>,
}

impl ColumnLook {
    /// What is worth a second look, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        let (separator, column) = (self.unsplit?.to_string(), &self.column);
        Some(format!(
            "column {column:?} is a list without a separator, so every text is one item, but most \
             texts hold {separator:?}; state separator = {separator:?} if it stands between items"
        ))
    }
}

/// One for each feature.
pub(super) fn looks<'a>(
    schema: &SchemaPlan,
    blocks: impl Iterator<Item = &'a Block> + Clone,
) -> Vec<ColumnLook> {
    let look = |field| look(schema, field, blocks.clone());
    schema.fields.iter().map(look).collect()
}

fn look<'a>(
    schema: &SchemaPlan,
    field: &Field,
    blocks: impl Iterator<Item = &'a Block>,
) -> ColumnLook {
    let table = &schema.tables[field.table];
    let is_numeric = matches!(table.ids, IdSpacePlan::Numeric(_));
    let mut seen = Seen::new(field, is_numeric);
    for block in blocks {
        if let Some(column) = block.column(&field.column) {
            (0..block.n_rows).for_each(|row| seen.add(column, row));
        }
    }
    ColumnLook {
        name: field.name.clone(),
        column: field.column.clone(),
        kind: match (is_numeric, field.pooling) {
            (true, _) => "numeric",
            (false, Some(_)) => "list",
            (false, None) => "categorical",
        },
        holds: seen.holds,
        table: table.name.clone(),
        ids: ids(&table.ids),
        distinct: seen.counts.len(),
        nulls: seen.nulls,
        examples: seen.examples(),
        unsplit: seen.unsplit(),
    }
}

fn ids(plan: &IdSpacePlan) -> String {
    match plan {
        IdSpacePlan::Hash { buckets, function } => {
            let name = match function {
                HashFunction::Xxh3 => "xxh3",
                HashFunction::Farm => "farm",
            };
            format!("{name}, {buckets} buckets")
        }
        IdSpacePlan::Vocabulary { min_count, .. } => format!("vocabulary, seen {min_count} times"),
        IdSpacePlan::Numeric(NumericPlan::Standardise) => "standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Log) => "log, standardised".to_owned(),
        IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }) => format!("{buckets} quantiles"),
        IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces }) => {
            format!("piecewise linear, {pieces} pieces")
        }
    }
}

/// The values of a feature so far.
struct Seen<'f> {
    field: &'f Field,
    separator: Option<String>,
    /// Numbers that mean "missing"; empty for categories, whose texts are compared.
    missing_numbers: Vec<f64>,
    counts: HashMap<Box<[u8]>, u64>,
    nulls: u64,
    holds: &'static str,
    /// Rows that hold each of [`SEPARATORS`].
    with: [u64; SEPARATORS.len()],
    rows: u64,
}

/// What often stands between the items of a list that is a text.
const SEPARATORS: [char; 4] = ['|', ';', ',', ' '];

impl<'f> Seen<'f> {
    fn new(field: &'f Field, is_numeric: bool) -> Seen<'f> {
        let numbers = field.missing.iter().filter_map(|text| text.parse().ok());
        Seen {
            separator: field.separator.map(String::from),
            missing_numbers: numbers.filter(|_| is_numeric).collect(),
            field,
            counts: HashMap::new(),
            nulls: 0,
            holds: "",
            with: [0; SEPARATORS.len()],
            rows: 0,
        }
    }

    fn add(&mut self, column: &Column, row: usize) {
        self.holds = match column.values {
            Values::Text(_) => "text",
            Values::Int(_) => "integer",
            Values::Float(_) => "number",
            Values::Time(_) => "time",
        };
        self.rows += 1;
        self.count_separators(column, row);
        let mut buffer = TextBuffer::default();
        let mut scratch = Vec::new();
        let mut is_null = true;
        let separator = self.separator.clone();
        for i in column.range(row) {
            let text = buffer.plain(&column.values, i);
            for item in items(text, separator.as_deref()) {
                let item = canonical(item, &mut scratch);
                if !self.is_missing(item) {
                    is_null = false;
                    *self.counts.entry(item.into()).or_default() += 1;
                }
            }
        }
        self.nulls += u64::from(is_null);
    }

    /// Only in texts that should be lists and that nothing takes apart.
    fn count_separators(&mut self, column: &Column, row: usize) {
        let Values::Text(texts) = &column.values else {
            return;
        };
        let is_one_text = column.offsets.is_none() && self.separator.is_none();
        if !is_one_text || self.field.pooling.is_none() {
            return;
        }
        for i in column.range(row) {
            for (count, separator) in self.with.iter_mut().zip(SEPARATORS) {
                *count += u64::from(texts.get(i).contains(&(separator as u8)));
            }
        }
    }

    /// The separator that more than half of the rows with a value hold; the first of several.
    fn unsplit(&self) -> Option<char> {
        let in_most = |count: u64| 2 * count > self.rows - self.nulls;
        let mut separators = SEPARATORS.into_iter().zip(self.with);
        separators
            .find(|(_, count)| in_most(*count))
            .map(|(separator, _)| separator)
    }

    fn is_missing(&self, text: &[u8]) -> bool {
        let number = || std::str::from_utf8(text).ok()?.trim().parse::<f64>().ok();
        text.is_empty()
            || self
                .field
                .missing
                .iter()
                .any(|missing| canonical_text(missing).as_bytes() == text)
            || !self.missing_numbers.is_empty()
                && number().is_some_and(|number| self.missing_numbers.contains(&number))
    }

    /// The most frequent values, ties by text.
    fn examples(&self) -> Vec<String> {
        let mut values: Vec<(&[u8], u64)> = self.counts.iter().map(|(t, n)| (&**t, *n)).collect();
        values.sort_unstable_by(|(a, n_a), (b, n_b)| n_b.cmp(n_a).then_with(|| a.cmp(b)));
        let first = values.iter().take(EXAMPLES);
        first.map(|(text, _)| shown_text(text)).collect()
    }
}
