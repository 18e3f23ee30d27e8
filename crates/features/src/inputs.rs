//! Rows as a network in another runtime reads them: ids, texts and numbers, before tables and scales are applied.

use crate::batch::Batch;
use crate::block::Block;
use crate::encode::Encoder;
use crate::error::EncodeError;
use crate::schema::{Field, IdSpace};
use crate::value::FieldReader;
use crate::vector_reader::each_vector;

/// The values of one field, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldInput {
    /// The values, those of lists end to end.
    pub values: InputValues,
    /// For lists: offset of each row's values, one more than rows. Empty: one value a row.
    pub offsets: Vec<u32>,
}

/// The values of a [`FieldInput`].
#[derive(Clone, Debug, PartialEq)]
pub enum InputValues {
    /// Ids of a hashed column, a vocabulary, a cross or a part of a time, as in [`crate::FieldIds::ids`].
    Ids(Vec<u32>),
    /// Texts of a column of [`IdSpace::is_hashed_in_graphs`], as the hash reads them; empty: missing.
    Texts(Vec<String>),
    /// Numbers as the column holds them, those of vectors end to end, and past counts and rates; NaN: missing.
    Numbers(Vec<f64>),
}

impl FieldInput {
    /// Appends the rows of `other`, the same field of later rows.
    ///
    /// # Panics
    /// If the values of the two are of different kinds.
    pub fn append(&mut self, other: FieldInput) {
        let n_before = self.offsets.last().copied().unwrap_or_default();
        let further = other.offsets.iter().skip(1);
        self.offsets.extend(further.map(|end| n_before + end));
        match (&mut self.values, other.values) {
            (InputValues::Ids(ids), InputValues::Ids(more)) => ids.extend(more),
            (InputValues::Texts(texts), InputValues::Texts(more)) => texts.extend(more),
            (InputValues::Numbers(numbers), InputValues::Numbers(more)) => numbers.extend(more),
            _ => panic!("inputs of two fields"),
        }
    }
}

impl Encoder {
    /// Returns the inputs of `block`, one for each field of the schema; `batch` is its encoded rows.
    ///
    /// # Errors
    /// The same as [`Encoder::encode`].
    pub fn inputs(&self, block: &Block, batch: &Batch) -> Result<Vec<FieldInput>, EncodeError> {
        let fields = self.schema().fields.iter().enumerate();
        let input = |(f, field): (usize, &Field)| match &self.schema().tables[field.table].ids {
            ids if ids.is_hashed_in_graphs() => self.texts(field, block),
            IdSpace::Hash { .. }
            | IdSpace::Vocabulary { .. }
            | IdSpace::Cross(_)
            | IdSpace::Time(_) => Ok(FieldInput {
                values: InputValues::Ids(batch.fields[f].ids.clone()),
                offsets: batch.fields[f].offsets.clone(),
            }),
            IdSpace::Rate(rate) => {
                let mut numbers = Vec::with_capacity(batch.n_rows);
                let ids = |field: usize| (&batch.fields[field], false);
                rate.each_value(self.schema(), batch.n_rows, ids, |value| {
                    numbers.push(value.unwrap_or(f64::NAN));
                });
                Ok(FieldInput {
                    values: InputValues::Numbers(numbers),
                    offsets: Vec::new(),
                })
            }
            IdSpace::Vector(vector) => vectors(field, vector.length, block),
            _ => self.raw_numbers(field, block),
        };
        fields.map(input).collect()
    }

    fn raw_numbers(&self, field: &Field, block: &Block) -> Result<FieldInput, EncodeError> {
        self.read(
            field,
            block,
            InputValues::Numbers,
            |reader, row, numbers| reader.numbers(row, |x| numbers.push(x.unwrap_or(f64::NAN))),
        )
    }

    fn texts(&self, field: &Field, block: &Block) -> Result<FieldInput, EncodeError> {
        self.read(field, block, InputValues::Texts, |reader, row, texts| {
            reader.texts(row, |text| {
                // The reader has refused what is not UTF-8.
                texts.push(String::from_utf8_lossy(text.unwrap_or_default()).into_owned());
                Ok(())
            })
        })
    }

    /// Collects what `row` appends for each row.
    fn read<T>(
        &self,
        field: &Field,
        block: &Block,
        values: fn(Vec<T>) -> InputValues,
        mut row: impl FnMut(&mut FieldReader<'_>, usize, &mut Vec<T>) -> Result<(), EncodeError>,
    ) -> Result<FieldInput, EncodeError> {
        let mut reader = FieldReader::new(field, block, self.schema().value_rule)?;
        let is_list = field.pooling.is_some();
        let mut read = Vec::with_capacity(block.n_rows);
        let mut offsets = Vec::from_iter(is_list.then_some(0));
        for n in 0..block.n_rows {
            row(&mut reader, n, &mut read)?;
            offsets.extend(is_list.then_some(read.len() as u32));
        }
        Ok(FieldInput {
            values: values(read),
            offsets,
        })
    }
}

/// Returns the numbers of all vectors, end to end; a missing one is NaN throughout.
fn vectors(field: &Field, length: u32, block: &Block) -> Result<FieldInput, EncodeError> {
    let mut read = Vec::with_capacity(block.n_rows * length as usize);
    each_vector(field, length, block, |_, numbers| match numbers {
        Some(numbers) => read.extend_from_slice(numbers),
        None => read.extend(std::iter::repeat_n(f64::NAN, length as usize)),
    })?;
    Ok(FieldInput {
        values: InputValues::Numbers(read),
        offsets: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Column, Texts, Values};
    use crate::schema::{HashFunction, NumericPlan, Pooling, SchemaPlan, TablePlan};
    use crate::{Fit, IdSpacePlan, RatesPlan};
    use std::sync::Arc;

    fn field(name: &str, table: usize, pooling: Option<Pooling>) -> Field {
        Field {
            name: name.into(),
            column: name.into(),
            table,
            pooling,
            separator: None,
            max_values: None,
            beside: Default::default(),
            missing: vec!["-1".into()],
        }
    }

    fn plan() -> SchemaPlan {
        let table = |name: &str, ids| TablePlan {
            name: name.into(),
            ids,
        };
        let words = IdSpacePlan::Vocabulary {
            min_count: 1,
            max_size: None,
        };
        SchemaPlan {
            fields: vec![field("words", 0, Some(Pooling::Mean)), field("x", 1, None)],
            tables: vec![
                table("words", words),
                table(
                    "x",
                    IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces: 4 }),
                ),
            ],
            tasks: Vec::new(),
            group: None,
            rates: RatesPlan::None,
        }
    }

    #[test]
    fn numbers_are_raw_and_lists_keep_their_ids() {
        let column = |name: &str, values, offsets| Column {
            name: name.into(),
            values,
            offsets,
            nulls: Vec::new(),
        };
        let block = Block {
            n_rows: 3,
            columns: vec![
                column("words", Values::Int(vec![7, 7, 8]), Some(vec![0, 2, 2, 3])),
                column("x", Values::Float(vec![0.5, -1.0, 2.5]), None),
            ],
        };
        let mut fit = Fit::new(plan());
        fit.observe(&block).unwrap();
        let encoder = Encoder::new(Arc::new(fit.finish().unwrap()));
        let batch = encoder.encode(&block).unwrap();
        let mut inputs = encoder.inputs(&block, &batch).unwrap();
        assert_eq!(inputs[0].values, InputValues::Ids(vec![2, 2, 3]));
        let InputValues::Numbers(numbers) = &inputs[1].values else {
            panic!("{inputs:?}");
        };
        assert!(numbers[1].is_nan() && numbers[0] == 0.5 && numbers[2] == 2.5);
        let again = inputs[0].clone();
        inputs[0].append(again);
        assert_eq!(inputs[0].offsets, [0, 2, 2, 3, 5, 5, 6]);
    }

    #[test]
    fn texts_that_graphs_hash_are_canonical_and_empty_where_missing() {
        let ids = IdSpacePlan::Hash {
            buckets: 10,
            function: HashFunction::Murmur3,
        };
        let table = |name: &str| TablePlan {
            name: name.into(),
            ids: ids.clone(),
        };
        let plan = SchemaPlan {
            fields: vec![
                field("user", 0, None),
                Field {
                    separator: Some('|'),
                    ..field("tags", 1, Some(Pooling::Sum))
                },
            ],
            tables: vec![table("user"), table("tags")],
            ..plan()
        };
        let column = |name: &str, texts: &[&str]| {
            let mut values = Texts::default();
            texts.iter().for_each(|text| values.push(text.as_bytes()));
            Column {
                name: name.into(),
                values: Values::Text(values),
                ..Column::default()
            }
        };
        let block = Block {
            n_rows: 4,
            columns: vec![
                column("user", &[" Gr\u{FC}\u{DF}e", "7.0", "-1", ""]),
                column("tags", &["a| b|-1", "", "true", "\u{65E5}|1.50"]),
            ],
        };
        let mut fit = Fit::new(plan);
        fit.observe(&block).unwrap();
        let encoder = Encoder::new(Arc::new(fit.finish().unwrap()));
        let batch = encoder.encode(&block).unwrap();
        let inputs = encoder.inputs(&block, &batch).unwrap();
        let texts = |texts: &[&str]| {
            InputValues::Texts(texts.iter().map(|&text| text.to_owned()).collect())
        };
        assert_eq!(inputs[0].values, texts(&["Gr\u{FC}\u{DF}e", "7", "", ""]));
        assert_eq!(
            inputs[1].values,
            texts(&["a", "b", "1", "\u{65E5}", "1.50"])
        );
        assert_eq!(inputs[1].offsets, [0, 2, 2, 3, 5]);
        let id = |text: &str| 1 + (HashFunction::Murmur3.hash(text.as_bytes()) % 10) as u32;
        assert_eq!(batch.fields[0].ids, [id("Gr\u{FC}\u{DF}e"), id("7"), 0, 0]);
    }
}
