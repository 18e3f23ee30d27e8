//! The two passes over the files, each with one thread that reads and one that encodes.

use super::sift::{Sieve, Sifted};
use super::{PartReport, PlanFiles, PrepareError, Progress, Report, Stage, columns_of, split_of};
use crate::cache::{Draft, Folder, PartWriter, Record};
use crate::plan::DataPlan;
use crate::rows::{BrokenRows, FileState, Rows, RowsBlock};
use crate::source::ReadError;
use crate::split::{Part, SplitTally};
use ncs_features::{
    Encoder, Fit, HashFunction, IdSpace, IdSpacePlan, LabelCounts, NumericPlan, Pick, Schema,
    SchemaPlan, Table, TablePlan,
};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 4;

/// Fits and encodes, and completes the data set in the cache.
pub(super) fn run(
    plan: &DataPlan,
    schema: &SchemaPlan,
    files: &PlanFiles,
    folder: &Folder,
    states: &[FileState],
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Record, PrepareError> {
    let mut passes = Passes {
        plan,
        columns: columns_of(plan, schema),
        files,
        on,
    };
    let schema = passes.fit(schema)?;
    let draft = folder.draft()?;
    let report = passes.encode(&schema, &draft)?;
    files.refuse_changed(states)?;
    let record = Record { schema, report };
    draft.complete(&record)?;
    Ok(record)
}

struct Passes<'a> {
    plan: &'a DataPlan,
    columns: Vec<String>,
    files: &'a PlanFiles,
    on: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Passes<'_> {
    fn fit(&mut self, plan: &SchemaPlan) -> Result<Schema, PrepareError> {
        let mut fit = Fit::new(plan.clone());
        if fit.needs_rows() {
            let encoder = unfitted_encoder(plan);
            let counted = self.pass(Stage::Fit, &[Part::Train], &encoder, |sifted| {
                let rows = rows_of(&sifted.parts, Part::Train);
                let training = sifted.block.select(&rows);
                // The rows were encoded, so they can be observed.
                fit.observe(&training)
                    .expect("what encodes can be fitted to");
                Ok(())
            })?;
            self.refuse_split(&counted)?;
        }
        Ok(fit.finish()?)
    }

    fn encode(&mut self, schema: &Schema, draft: &Draft<'_>) -> Result<Report, PrepareError> {
        let encoder = Encoder::new(Arc::new(schema.clone()));
        let mut writers = Writers {
            draft,
            schema,
            parts: [None, None, None],
        };
        let counted = self.pass(Stage::Encode, &Part::ALL, &encoder, |sifted| {
            writers.push(sifted)
        })?;
        self.refuse_split(&counted)?;
        if writers.parts[0].is_none() {
            return Err(PrepareError::NoTrainingRows {
                rows: counted.training_rows,
            });
        }
        Ok(Report {
            parts: writers.finish()?,
            broken_rows: counted.broken,
            notes: counted.notes,
        })
    }

    fn refuse_split(&self, counted: &Counted) -> Result<(), PrepareError> {
        match counted.tally.fault(self.plan) {
            None => Ok(()),
            Some(what) => Err(PrepareError::Split(what)),
        }
    }

    /// Hands every block of the files of `parts` to `take`, without the rows that cannot be used.
    fn pass(
        &mut self,
        stage: Stage,
        parts: &[Part],
        encoder: &Encoder,
        mut take: impl FnMut(Sifted<'_>) -> Result<(), PrepareError>,
    ) -> Result<Counted, PrepareError> {
        let files: Vec<_> = self
            .files
            .iter()
            .filter(|(part, _)| parts.contains(part))
            .collect();
        let total_bytes = files
            .iter()
            .map(|(_, file)| file.metadata().map_or(0, |m| m.len()))
            .sum();
        let paths = files.iter().map(|(_, file)| (*file).clone()).collect();
        let rows = Rows::open(paths, &self.plan.reading, self.columns.clone());
        let mut broken = BrokenRows::new(self.plan.reading.max_broken_share);
        let (mut n_rows, mut training_rows) = (0, 0);
        let mut tally = SplitTally::default();
        let mut parts_with_rows = HashSet::new();
        let notes = each_block(rows, |rows| {
            let part = files[rows.file_number].0;
            parts_with_rows.insert(part);
            let sieve = Sieve {
                encoder,
                split: split_of(part, &self.plan.split),
                part,
                first_row: training_rows,
            };
            let sifted = sieve.sift(&rows)?;
            broken.add(&rows.file, sifted.batch.n_rows, &sifted.broken)?;
            if part == Part::Train {
                tally.add(&self.plan.split, &sifted.block, &sifted.parts);
            }
            take(sifted)?;
            n_rows += rows.block.n_rows as u64;
            if part == Part::Train {
                training_rows = n_rows;
            }
            let now = Progress {
                stage,
                rows: n_rows,
                bytes: rows.bytes_read,
                total_bytes,
            };
            match (self.on)(now) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(PrepareError::Stopped),
            }
        })?;
        broken.check_end()?;
        refuse_parts_without_rows(&files, &parts_with_rows)?;
        Ok(Counted {
            tally,
            training_rows,
            broken: broken.n_broken(),
            notes,
        })
    }
}

fn refuse_parts_without_rows(
    files: &[(Part, &PathBuf)],
    parts_with_rows: &HashSet<Part>,
) -> Result<(), ReadError> {
    let is_empty = |(part, _): &&(Part, &PathBuf)| !parts_with_rows.contains(part);
    let Some((empty, first)) = files.iter().find(is_empty) else {
        return Ok(());
    };
    let n_files = files.iter().filter(|(part, _)| part == empty).count();
    Err(ReadError::no_rows(first, n_files as u64))
}

/// What a pass saw.
struct Counted {
    /// How the split divides them.
    tally: SplitTally,
    /// Rows of the training files.
    training_rows: u64,
    broken: u64,
    /// What is worth telling of the files.
    notes: Vec<String>,
}

/// Reads on one thread and calls `take` on this one, block by block in order; returns what is worth
/// telling of the files.
fn each_block(
    mut rows: Rows,
    mut take: impl FnMut(RowsBlock) -> Result<(), PrepareError>,
) -> Result<Vec<String>, PrepareError> {
    let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            while let Some(block) = rows.next_block().transpose() {
                let is_last = block.is_err();
                // Nobody listens any more once `take` failed.
                if sender.send(block).is_err() || is_last {
                    break;
                }
            }
            rows.notes()
        });
        receiver.into_iter().try_for_each(|block| take(block?))?;
        Ok(reading.join().expect("reading does not panic"))
    })
}

/// An encoder that accepts the rows that the fitted one will accept.
fn unfitted_encoder(plan: &SchemaPlan) -> Encoder {
    let table = |table: &TablePlan| Table {
        name: table.name.clone(),
        ids: match table.ids {
            IdSpacePlan::Hash { .. } | IdSpacePlan::Vocabulary { .. } => IdSpace::Hash {
                buckets: 1,
                function: HashFunction::Xxh3,
                unknown: true,
            },
            IdSpacePlan::Numeric(NumericPlan::Quantiles { .. }) => IdSpace::Quantiles {
                boundaries: Vec::new(),
            },
            IdSpacePlan::Numeric(_) => IdSpace::Scaled {
                log: false,
                mean: 0.0,
                deviation: 1.0,
            },
        },
        range: None,
    };
    Encoder::new(Arc::new(Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        tables: plan.tables.iter().map(table).collect(),
        fields: plan.fields.clone(),
        tasks: plan.tasks.clone(),
        group: plan.group.clone(),
    }))
}

/// The files of the parts in the making; a part without rows has none.
struct Writers<'a> {
    draft: &'a Draft<'a>,
    schema: &'a Schema,
    parts: [Option<PartWriter>; 3],
}

impl Writers<'_> {
    fn push(&mut self, sifted: Sifted<'_>) -> Result<(), PrepareError> {
        let batches = [sifted.batch];
        for (part, writer) in Part::ALL.into_iter().zip(&mut self.parts) {
            let rows = rows_of(&sifted.parts, part);
            if rows.is_empty() {
                continue;
            }
            let writer = match writer {
                Some(writer) => writer,
                None => {
                    let path = self.draft.part_path(part);
                    writer.insert(PartWriter::create(&path, self.draft.key(), self.schema)?)
                }
            };
            let picks: Vec<Pick> = rows.into_iter().map(|row| Pick::new(0, row)).collect();
            writer.push(&batches, &picks)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<PartReport>, PrepareError> {
        let mut reports = Vec::new();
        for (part, writer) in Part::ALL.into_iter().zip(self.parts) {
            if let Some(writer) = writer {
                let labels: LabelCounts = writer.finish()?;
                reports.push(PartReport { part, labels });
            }
        }
        Ok(reports)
    }
}

fn rows_of(parts: &[Part], part: Part) -> Vec<usize> {
    let rows = parts
        .iter()
        .enumerate()
        .filter(|(_, found)| **found == part);
    rows.map(|(row, _)| row).collect()
}
