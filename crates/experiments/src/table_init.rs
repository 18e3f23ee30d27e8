//! Tables whose rows begin at the vectors of a file, by id.

mod chunks;
mod matrix;

use std::collections::HashSet;
use std::sync::Arc;

use ncs_config::{RunFile, RunPlan, TableInit};
use ncs_eval::note::Note;
use ncs_features::hash::seeded_hash;
use ncs_features::value::{TextBuffer, shown};
use ncs_features::vector_reader::VectorReader;
use ncs_features::{Beside, Block, Column, Encoder, Field, IdSpace, Schema};
use ncs_model::InitialRows;
use ncs_readers::shown_path;

use crate::error::Error;
use crate::progress::grouped;
use chunks::{Chunk, Chunks};

/// Checks the files of all tables that begin at vectors: that they can be read, which columns they have, and that
/// their vectors are as long as those of the network.
///
/// # Errors
/// The first that does not fit, with its line of the run file.
pub(crate) fn check(file: &RunFile) -> Result<(), Error> {
    let dim = file.plan.network.dim;
    for init in &file.plan.initial {
        let first = Chunks::open(init).and_then(|mut chunks| chunks.first_length());
        let found = first.map_err(|error| at(file, init, error.to_string()))?;
        if let Some(length) = found.filter(|length| *length != dim) {
            let text = format!(
                "{}: vectors of {length} numbers, and network.dim is {dim}; set network.dim = {length}, or write \
                 vectors of {dim} numbers (by principal components, say)",
                shown_path(&init.file)
            );
            return Err(at(file, init, text));
        }
    }
    Ok(())
}

fn at(file: &RunFile, init: &TableInit, text: String) -> Error {
    file.error_at(&["columns", &init.column, "init"], text)
        .into()
}

/// The vectors of all tables that begin at some.
#[derive(Default)]
pub(crate) struct Initial {
    /// One for each table; empty if no table begins at vectors.
    pub(crate) tables: Vec<Option<Arc<InitialRows>>>,
    /// How many values of each table have a vector.
    pub(crate) notes: Vec<Note>,
}

/// Reads the vectors of the values that the schema has.
///
/// # Errors
/// A file, an id or a vector cannot be read; an id comes twice; or no id is a value of the table.
pub(crate) fn read(plan: &RunPlan, schema: &Arc<Schema>) -> Result<Initial, Error> {
    let mut initial = Initial::default();
    for init in &plan.initial {
        let (rows, text) = read_one(init, plan.network.dim, schema)?;
        initial.tables.resize(schema.tables.len(), None);
        initial.tables[init.table] = Some(Arc::new(rows));
        initial.notes.push(Note {
            warning: false,
            text,
        });
    }
    Ok(initial)
}

fn read_one(init: &TableInit, dim: usize, schema: &Schema) -> Result<(InitialRows, String), Error> {
    let mut found = Found {
        ids: Ids::of(init, schema),
        rows: InitialRows::new(dim, init.frozen),
        seen: HashSet::new(),
        first: None,
    };
    let mut chunks = Chunks::open(init)?;
    while let Some(chunk) = chunks.next_chunk()? {
        found.add(&chunk, dim)?;
    }
    let values = match &schema.tables[init.table].ids {
        IdSpace::Vocabulary { values } => &values[..],
        _ => &[],
    };
    let file = shown_path(&init.file);
    if found.rows.is_empty() {
        let of_file = found.first.unwrap_or_else(|| "none".to_owned());
        let of_table = values.first().map_or("none", |value| value);
        return Err(format!(
            "{file}: none of its {} ids is a value of column {:?} in the training rows: its first id is {of_file:?}, the \
             most frequent value {of_table:?}; write the same ids",
            grouped(found.seen.len() as u64),
            init.column
        )
        .into());
    }
    let note = format!(
        "table {:?}: {} of its {} values begin at vectors of {file}, which has {}{}",
        schema.tables[init.table].name,
        grouped(found.rows.len() as u64),
        grouped(values.len() as u64),
        grouped(found.seen.len() as u64),
        if init.frozen {
            "; training leaves them as they are"
        } else {
            ""
        }
    );
    Ok((found.rows, note))
}

/// Vectors found so far.
struct Found {
    ids: Ids,
    rows: InitialRows,
    /// Hashes of all ids, those that no training row has included.
    seen: HashSet<u64>,
    /// The first id.
    first: Option<String>,
}

impl Found {
    fn add(&mut self, chunk: &Chunk, dim: usize) -> Result<(), Error> {
        let ids = self.ids.encode(chunk)?;
        let mut reader = VectorReader::new(&chunk.vectors, None, dim as u32);
        let mut buffer = TextBuffer::default();
        for (row, &id) in ids.iter().enumerate() {
            let numbers = reader.row(row).map_err(|error| chunk.error(error))?;
            let numbers = numbers.ok_or_else(|| chunk.at(row, "it has no vector"))?;
            let i = chunk.ids.only(row).map_err(|error| chunk.error(error))?;
            let i = i.ok_or_else(|| chunk.at(row, "it has no id"))?;
            if !self
                .seen
                .insert(seeded_hash(buffer.text(&chunk.ids.values, i), 0))
            {
                let what = format!(
                    "an earlier row has the same id {:?}; write each once",
                    shown(&chunk.ids.values, i)
                );
                return Err(chunk.at(row, &what));
            }
            self.first
                .get_or_insert_with(|| shown(&chunk.ids.values, i));
            if id > 1 {
                let vector: Vec<f32> = numbers.iter().map(|x| *x as f32).collect();
                self.rows.insert(id, &vector);
            }
        }
        Ok(())
    }
}

/// Turns ids of a file into those of a table.
struct Ids {
    encoder: Encoder,
    column: String,
}

impl Ids {
    /// One value a row, read as the values of the feature are.
    fn of(init: &TableInit, schema: &Schema) -> Ids {
        let column = init.column.clone();
        let field = schema.fields.iter().find(|field| field.name == column);
        let field = Field {
            name: column.clone(),
            column: column.clone(),
            table: 0,
            pooling: None,
            separator: None,
            max_values: None,
            beside: Beside::None,
            missing: field.map_or(Vec::new(), |field| field.missing.clone()),
        };
        let schema = Schema {
            value_rule: schema.value_rule,
            fields: vec![field],
            tables: vec![schema.tables[init.table].clone()],
            tasks: Vec::new(),
            group: None,
        };
        Ids {
            encoder: Encoder::new(Arc::new(schema)),
            column,
        }
    }

    /// Returns the id of each row: 0 where it is missing, 1 where no training row has it.
    fn encode(&self, chunk: &Chunk) -> Result<Vec<u32>, Error> {
        let block = Block {
            n_rows: chunk.n_rows,
            columns: vec![Column {
                name: self.column.clone(),
                ..chunk.ids.clone()
            }],
        };
        let batch = self.encoder.encode_features(&block);
        let mut batch = batch.map_err(|error| chunk.error(error))?;
        Ok(std::mem::take(&mut batch.fields[0].ids))
    }
}
