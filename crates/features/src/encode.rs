//! Raw rows to ids: the one path, used by training and by serving.
//!
//! A value becomes its one text first (see [`crate::canonical`]), so that it gets the same id from
//! every file format; a missing one (null, empty, NaN, or one of the field's `missing` texts) gets id 0.

use crate::batch::{Batch, FieldIds, NO_GROUP};
use crate::block::Block;
use crate::error::EncodeError;
use crate::event_decay;
use crate::hash::TextHash;
use crate::labels;
use crate::piecewise::{PER_ROW, Piecewise, signed_log};
use crate::schema::{Field, HashFunction, IdSpace, Pooling, Schema};
use crate::sequence::Sequence;
use crate::value::{FieldReader, TextBuffer};
use std::collections::HashMap;
use std::sync::Arc;

/// Turns blocks of raw rows into batches of ids by one fitted schema.
#[derive(Clone, Debug)]
pub struct Encoder {
    schema: Arc<Schema>,
    /// One for each table; empty but for vocabularies.
    vocabularies: Arc<[Vocabulary]>,
    /// The fields that are computed from the ids of others.
    derived: Arc<[usize]>,
    sequences: Arc<[Sequence]>,
}

type Vocabulary = HashMap<Box<[u8]>, u32, TextHash>;

impl Encoder {
    /// Creates an encoder for `schema`.
    pub fn new(schema: Arc<Schema>) -> Encoder {
        let vocabularies = schema
            .tables
            .iter()
            .map(|table| vocabulary(&table.ids))
            .collect();
        let derived = (0..schema.fields.len()).filter(|&f| schema.parts(f).is_some());
        Encoder {
            derived: derived.collect(),
            sequences: schema.sequences().into(),
            schema,
            vocabularies,
        }
    }

    /// Returns the schema of the encoder.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Encodes the rows of `block` with their labels, true probabilities and groups.
    ///
    /// # Errors
    /// A column is absent, a number is not valid, or a label is outside its range: see [`EncodeError`].
    pub fn encode(&self, block: &Block) -> Result<Batch, EncodeError> {
        let mut batch = self.encode_features(block)?;
        batch.labels = labels::labels(&self.schema.tasks, block)?;
        batch.terms = labels::terms(&self.schema.tasks, block, &mut batch.labels)?;
        batch.truths = labels::truths(&self.schema.tasks, block)?;
        batch.groups = self.groups(block)?;
        Ok(batch)
    }

    /// Encodes the rows of `block` without labels, true probabilities and groups, whose columns may be
    /// absent: one empty vector per task, and no group.
    ///
    /// # Errors
    /// The same as [`Encoder::encode`].
    pub fn encode_features(&self, block: &Block) -> Result<Batch, EncodeError> {
        self.encode_some(block, |_| true)
    }

    /// Encodes like [`Encoder::encode_features`], but only the fields (by their position in the schema) that
    /// are `wanted`, such as those of a request's context. The other fields hold no ids, and their columns
    /// may be absent.
    ///
    /// # Errors
    /// The same as [`Encoder::encode`].
    pub fn encode_some(
        &self,
        block: &Block,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Batch, EncodeError> {
        let n_tasks = self.schema.tasks.len();
        for sequence in &*self.sequences {
            self.check_events(sequence, block, &wanted)?;
        }
        let fields = self.schema.fields.iter().enumerate();
        let fields = fields.map(|(f, field)| {
            if wanted(f) && self.schema.parts(f).is_none() {
                self.field(field, block)
            } else {
                Ok(FieldIds::default())
            }
        });
        let mut batch = Batch {
            n_rows: block.n_rows,
            fields: fields.collect::<Result<_, _>>()?,
            labels: vec![Vec::new(); n_tasks],
            truths: vec![Vec::new(); n_tasks],
            terms: Vec::new(),
            groups: Vec::new(),
        };
        for &f in &*self.derived {
            let parts = self.schema.parts(f).unwrap_or_default();
            if wanted(f) && parts.iter().all(|&part| wanted(part)) {
                let ids = |field: usize| (&batch.fields[field], false);
                batch.fields[f] = self.derive(f, batch.n_rows, ids);
            }
        }
        Ok(batch)
    }

    /// Fills in crosses, and past counts and rates of pairs, with an id of the request and one of the candidate. `context`
    /// (one row) is the result of [`Encoder::encode_some`] for the fields that are `in_context`, and
    /// `candidates` for the others.
    pub fn encode_across(
        &self,
        context: &Batch,
        candidates: &mut Batch,
        in_context: impl Fn(usize) -> bool,
    ) {
        for &f in &*self.derived {
            let parts = self.schema.parts(f).unwrap_or_default();
            let n_shared = parts.iter().filter(|&&part| in_context(part)).count();
            if (1..parts.len()).contains(&n_shared) {
                let ids = |field: usize| {
                    if in_context(field) {
                        (&context.fields[field], true)
                    } else {
                        (&candidates.fields[field], false)
                    }
                };
                candidates.fields[f] = self.derive(f, candidates.n_rows, ids);
            }
        }
    }

    /// Computes a field from the ids of others.
    fn derive<'b>(
        &self,
        field: usize,
        n_rows: usize,
        ids_of: impl Fn(usize) -> (&'b FieldIds, bool),
    ) -> FieldIds {
        match &self.schema.tables[self.schema.fields[field].table].ids {
            IdSpace::Rate(rate) => rate.encode(&self.schema, n_rows, ids_of),
            IdSpace::Cross(cross) => cross.encode(&self.schema, n_rows, ids_of),
            _ => FieldIds::default(),
        }
    }

    /// Returns the columns of two attributes of the same events, one that is `in_context` and one that is not, if there
    /// are such: the events of a request are either the user's or the candidate's.
    pub fn divided_events(&self, in_context: impl Fn(usize) -> bool) -> Option<[&str; 2]> {
        self.sequences.iter().find_map(|sequence| {
            let mut fields = sequence.fields.iter();
            let inside = fields.clone().find(|&&f| in_context(f))?;
            let outside = fields.find(|&&f| !in_context(f))?;
            Some([inside, outside].map(|&f| self.schema.fields[f].column.as_str()))
        })
    }

    /// Checks that every row holds as many values of each attribute of its events.
    fn check_events(
        &self,
        sequence: &Sequence,
        block: &Block,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<(), EncodeError> {
        let fields = sequence.fields.iter().filter(|&&f| wanted(f));
        let readers = fields.map(|&f| {
            let rule = self.schema.value_rule;
            FieldReader::new(&self.schema.fields[f], block, rule)
        });
        let readers: Vec<FieldReader<'_>> = readers.collect::<Result<_, _>>()?;
        let Some((first, others)) = readers
            .split_first()
            .filter(|(_, others)| !others.is_empty())
        else {
            return Ok(());
        };
        for row in 0..block.n_rows {
            let n = first.n_events(row);
            if let Some(other) = others.iter().find(|other| other.n_events(row) != n) {
                return Err(EncodeError::EventCounts {
                    column: first.column_name().to_owned(),
                    row: row as u64 + 1,
                    n,
                    other: other.column_name().to_owned(),
                    n_other: other.n_events(row),
                });
            }
        }
        Ok(())
    }

    fn field(&self, field: &Field, block: &Block) -> Result<FieldIds, EncodeError> {
        let mut out = self.ids(field, block)?;
        event_decay::encode(field, block, self.schema.value_rule, &mut out)?;
        Ok(out)
    }

    fn ids(&self, field: &Field, block: &Block) -> Result<FieldIds, EncodeError> {
        let table = &self.schema.tables[field.table];
        let rows = Rows {
            field,
            reader: FieldReader::new(field, block, self.schema.value_rule)?,
            n_rows: block.n_rows,
            range: table.range,
        };
        match &table.ids {
            IdSpace::Hash {
                buckets, function, ..
            } => rows.hashed(*buckets, *function),
            IdSpace::Vocabulary { .. } => rows.looked_up(&self.vocabularies[field.table]),
            IdSpace::Quantiles { boundaries } => rows.cut(boundaries),
            IdSpace::Piecewise(scale) => rows.placed(scale),
            IdSpace::Vector(vector) => vector.encode(field, block),
            IdSpace::Time(part) => part.encode(field, block),
            // They follow from the ids of other fields, once these are there.
            IdSpace::Rate(_) | IdSpace::Cross(_) => Ok(FieldIds::default()),
            IdSpace::Scaled {
                log,
                mean,
                deviation,
            } => rows.scaled(|x| ((if *log { signed_log(x) } else { x }) - mean) / deviation),
        }
    }

    /// Returns the XXH3 hash of each row's group, [`NO_GROUP`] if it is null.
    fn groups(&self, block: &Block) -> Result<Vec<u64>, EncodeError> {
        let Some(name) = &self.schema.group else {
            return Ok(Vec::new());
        };
        let column = block.require(name, "the group of grouped AUC")?;
        let mut buffer = TextBuffer::default();
        let mut group = |row| {
            let value = column.only(row)?;
            let hash = |i| HashFunction::Xxh3.hash(buffer.text(&column.values, i));
            Ok(value.map_or(NO_GROUP, hash))
        };
        (0..block.n_rows).map(&mut group).collect()
    }
}

fn vocabulary(ids: &IdSpace) -> Vocabulary {
    let IdSpace::Vocabulary { values } = ids else {
        return Vocabulary::default();
    };
    let numbered = values.iter().zip(2u32..);
    // An erased value has left an empty text.
    numbered
        .filter(|(value, _)| !value.is_empty())
        .map(|(value, id)| (value.as_bytes().into(), id))
        .collect()
}

/// The values of one field, on their way to ids.
struct Rows<'a> {
    field: &'a Field,
    reader: FieldReader<'a>,
    n_rows: usize,
    range: Option<[f64; 2]>,
}

/// Returns `x`, clipped to the range; the row of a clipped number is recorded.
fn clip(range: Option<[f64; 2]>, x: f64, row: usize, clipped: &mut Vec<u32>) -> f64 {
    let Some([least, most]) = range.filter(|[least, most]| x < *least || *most < x) else {
        return x;
    };
    clipped.push(row as u32);
    if x < least { least } else { most }
}

impl Rows<'_> {
    fn hashed(self, buckets: u32, function: HashFunction) -> Result<FieldIds, EncodeError> {
        let buckets = u64::from(buckets.max(1));
        self.texts(|text| 1 + (function.hash(text) % buckets) as u32)
    }

    fn looked_up(self, vocabulary: &Vocabulary) -> Result<FieldIds, EncodeError> {
        self.texts(|text| vocabulary.get(text).copied().unwrap_or(1))
    }

    fn texts(mut self, id: impl Fn(&[u8]) -> u32) -> Result<FieldIds, EncodeError> {
        let mut out = self.empty();
        for row in 0..self.n_rows {
            let mut weights = Vec::new();
            self.reader.weighted_texts(row, |text, weight| {
                out.ids.push(text.map_or(0, &id));
                if self.field.beside.weighs() {
                    weights.push(weight);
                }
                Ok(())
            })?;
            self.extend_factors(&mut out.weights, &weights);
            self.end_row(&mut out);
        }
        Ok(out)
    }

    /// Appends the factors of the vectors of a list from the weights of its values. The network takes the sum of the
    /// vectors times the factors, and for a mean divides it by their number: a weighted mean needs factors of mean 1.
    fn extend_factors(&self, factors: &mut Vec<f32>, weights: &[f64]) {
        let total: f64 = weights.iter().sum();
        let scale = match self.field.pooling {
            Some(Pooling::Mean) => weights.len() as f64 / total,
            _ => 1.0,
        };
        factors.extend(weights.iter().map(|weight| (weight * scale) as f32));
    }

    fn cut(mut self, boundaries: &[f64]) -> Result<FieldIds, EncodeError> {
        let mut out = self.empty();
        let id = |x| 1 + boundaries.partition_point(|&boundary| boundary <= x) as u32;
        let range = self.range;
        for row in 0..self.n_rows {
            self.reader.numbers(row, |x| {
                let x = x.map(|x| clip(range, x, row, &mut out.clipped));
                out.ids.push(x.map_or(0, id));
            })?;
            self.end_row(&mut out);
        }
        Ok(out)
    }

    fn scaled(mut self, z: impl Fn(f64) -> f64) -> Result<FieldIds, EncodeError> {
        self.refuse_lists()?;
        let mut out = FieldIds::default();
        out.offsets.push(0);
        let range = self.range;
        for row in 0..self.n_rows {
            self.reader.numbers(row, |x| {
                let Some(x) = x else {
                    out.ids.push(0);
                    return out.weights.push(1.0);
                };
                let x = clip(range, x, row, &mut out.clipped);
                out.ids.extend([1, 2]);
                out.weights.extend([z(x) as f32, 1.0]);
            })?;
            out.offsets.push(out.ids.len() as u32);
        }
        Ok(out)
    }

    fn placed(mut self, scale: &Piecewise) -> Result<FieldIds, EncodeError> {
        self.refuse_lists()?;
        let mut out = FieldIds::of_numbers(PER_ROW);
        let range = self.range;
        for row in 0..self.n_rows {
            self.reader.numbers(row, |x| {
                let x = x.map(|x| clip(range, x, row, &mut out.clipped));
                out.numbers.extend(scale.encode(x));
            })?;
        }
        Ok(out)
    }

    fn refuse_lists(&self) -> Result<(), EncodeError> {
        match self.field.pooling {
            Some(_) => Err(EncodeError::ScaledList {
                field: self.field.name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn empty(&self) -> FieldIds {
        let mut out = FieldIds::default();
        out.ids.reserve(self.n_rows);
        if self.field.pooling.is_some() {
            out.offsets.reserve(self.n_rows + 1);
            out.offsets.push(0);
        }
        out
    }

    fn end_row(&self, out: &mut FieldIds) {
        if self.field.pooling.is_some() {
            out.offsets.push(out.ids.len() as u32);
        }
    }
}
