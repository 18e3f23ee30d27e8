//! The two passes over the files, each with one thread that reads and one that encodes.

use super::filter::{Sieve, Sifted, rows_of};
use super::late::{self, Immature};
use super::past::{Past, Times};
use super::sampling::Sampling;
use super::tally::Tally;
use super::variation::Variation;
use super::writers::Writers;
use super::{
    FileReport, PartReport, PlanFiles, PrepareError, Progress, Report, Stage, columns_of, split_of,
};
use crate::cache::{Draft, Folder, Record};
use crate::data_file::file_bytes;
use crate::find::skipped_folders;
use crate::plan::{DataPlan, Split};
use crate::rows::{BrokenRows, FileState, Rows, RowsBlock};
use crate::source::ReadError;
use crate::split::{Part, Resolved, SplitTally, resolve};
use ncs_features::{
    Encoder, Fit, HashFunction, IdSpace, IdSpacePlan, NumericPlan, Schema, SchemaPlan, Table,
    TablePlan,
};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 4;

/// Schema and files of a data set to prepare.
#[derive(Clone, Copy)]
pub(super) struct What<'a> {
    pub(super) schema: &'a SchemaPlan,
    /// The schema that is extended; `None`: it is fitted to the training rows alone.
    pub(super) base: Option<Base<'a>>,
    pub(super) files: &'a PlanFiles,
}

/// A schema that is extended by the values of more rows.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) schema: &'a Schema,
    /// True if validation rows count among the training rows.
    pub(super) joins_validation: bool,
    /// The schema of the earlier model that training continues from, whose past counts precede all rows.
    pub(super) earlier: Option<&'a Schema>,
}

/// Fits and encodes, and completes the data set in the cache.
pub(super) fn run(
    plan: &DataPlan,
    What {
        schema,
        base,
        files,
    }: What<'_>,
    folder: &Folder,
    states: &[FileState],
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Record, PrepareError> {
    let (plan, note) = resolved(plan, files, on)?;
    let mut passes = Passes {
        plan: &plan,
        columns: columns_of(&plan, schema),
        files,
        base,
        on,
    };
    let (schema, past) = passes.fit(schema)?;
    let draft = folder.draft()?;
    let mut report = passes.encode(&schema, past, Some(&draft))?;
    report.notes.splice(0..0, note);
    files.refuse_changed(states)?;
    let record = Record { schema, report };
    draft.complete(&record)?;
    Ok(record)
}

/// Fits and encodes, and keeps nothing but what was counted.
pub(super) fn rehearse(
    plan: &DataPlan,
    schema: &SchemaPlan,
    base: Option<Base<'_>>,
    files: &PlanFiles,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Record, PrepareError> {
    let (plan, note) = resolved(plan, files, on)?;
    let mut passes = Passes {
        plan: &plan,
        columns: columns_of(&plan, schema),
        files,
        base,
        on,
    };
    let (schema, past) = passes.fit(schema)?;
    let mut report = passes.encode(&schema, past, None)?;
    report.notes.splice(0..0, note);
    Ok(Record { schema, report })
}

/// Returns the plan with a resolved split, and notes about it.
pub(super) fn resolved(
    plan: &DataPlan,
    files: &PlanFiles,
    on: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(DataPlan, Option<String>), PrepareError> {
    let n_bytes = |(_, file): (Part, &PathBuf)| file_bytes(file).unwrap_or(0);
    let training = files.iter().filter(|(part, _)| *part == Part::Train);
    let total_bytes = training.map(n_bytes).sum();
    let found = resolve(plan, &mut |rows, bytes| {
        on(Progress {
            stage: Stage::Times,
            rows,
            bytes,
            total_bytes,
        })
    })?;
    let mut plan = plan.clone();
    let note = found.as_ref().map(Resolved::note);
    if let Some(found) = found {
        plan.split = found.split;
    }
    Ok((plan, note))
}

pub(super) struct Passes<'a> {
    plan: &'a DataPlan,
    columns: Vec<String>,
    files: &'a PlanFiles,
    pub(super) base: Option<Base<'a>>,
    on: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl<'a> Passes<'a> {
    /// Creates passes over the rows of the files as they are, that read these columns.
    pub(super) fn over(
        plan: &'a DataPlan,
        columns: Vec<String>,
        files: &'a PlanFiles,
        on: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Passes<'a> {
        Passes {
            plan,
            columns,
            files,
            base: None,
            on,
        }
    }
}

impl Passes<'_> {
    /// Returns the parts whose files hold training rows.
    pub(super) fn training_parts(&self) -> &'static [Part] {
        if self.base.is_some_and(|base| base.joins_validation) {
            &[Part::Train, Part::Valid]
        } else {
            &[Part::Train]
        }
    }

    fn fit(&mut self, plan: &SchemaPlan) -> Result<(Schema, Past), PrepareError> {
        let mut fit = match self.base {
            None => Fit::new(plan.clone()),
            Some(base) => Fit::extending(plan.clone(), base.schema),
        };
        let mut times = Times::new(&plan.rates, &self.plan.split);
        let mut n_valid = 0;
        if fit.needs_rows() || times.are_wanted() {
            let encoder = unfitted_encoder(plan);
            let parts = self.training_parts();
            let counted = self.pass(Stage::Fit, parts, &encoder, |sifted| {
                let rows = rows_of(&sifted.parts, Part::Train);
                times.observe(&sifted.block, &rows);
                let training = sifted.block.select(&rows);
                // The rows were encoded, so they can be observed.
                let encodes = "what encodes can be fitted to";
                fit.observe_delays(&training).expect(encodes);
                if late::rereads(&plan.tasks) {
                    let rows = late::labelled(&sifted.batch, &rows);
                    fit.observe_values(&sifted.block.select(&rows))
                } else {
                    fit.observe_values(&training)
                }
                .expect(encodes);
                Ok(())
            })?;
            self.refuse_split(&counted)?;
            n_valid = counted.tally.n_rows_of(Part::Valid);
        }
        let schema = fit.finish()?;
        self.gather(plan, schema, times, n_valid)
    }

    fn encode(
        &mut self,
        schema: &Schema,
        mut past: Past,
        draft: Option<&Draft<'_>>,
    ) -> Result<Report, PrepareError> {
        let schema_of_all = Arc::new(schema.clone());
        let mut tally = Tally::new(&schema_of_all);
        let encoder = Encoder::new(schema_of_all);
        let mut writers = Writers {
            draft,
            schema,
            parts: [None, None, None],
        };
        let mut variation = Variation::new(schema.fields.len());
        let (mut sampling, mut immature) = (Sampling::new(schema), Immature::new(schema));
        let counted = self.pass(Stage::Encode, &Part::ALL, &encoder, |mut sifted| {
            past.put_back(&mut sifted);
            tally.observe(&sifted);
            variation.observe(&sifted.batch, &rows_of(&sifted.parts, Part::Train));
            immature.observe(schema, &sifted);
            sampling.apply(&mut sifted);
            writers.push(sifted, &sampling)
        })?;
        self.refuse_split(&counted)?;
        if writers.parts[0].is_none() {
            return Err(PrepareError::NoTrainingRows {
                rows: counted.training_rows,
            });
        }
        let in_turn = self.plan.split == Split::Files;
        let labels = writers.finish()?;
        let columns = tally.finish(draft, in_turn, &labels)?;
        let parts = labels.into_iter().zip(columns);
        let part = |((part, labels), columns)| PartReport {
            part,
            labels,
            columns,
        };
        Ok(Report {
            parts: parts.map(part).collect(),
            broken_rows: counted.broken,
            notes: self.notes(
                counted.notes,
                past.notes
                    .into_iter()
                    .chain(immature.notes())
                    .chain(sampling.notes()),
            )?,
            files: counted.files,
            varies: variation.finish(),
        })
    }

    /// Returns notes about the files, with the folders that were skipped.
    fn notes(
        &self,
        mut notes: Vec<String>,
        of_the_rows: impl Iterator<Item = String>,
    ) -> Result<Vec<String>, ReadError> {
        notes.extend(of_the_rows);
        for patterns in [&self.plan.train, &self.plan.valid, &self.plan.test] {
            notes.extend(skipped_folders(patterns, &self.plan.root)?);
        }
        Ok(notes)
    }

    fn refuse_split(&self, counted: &Counted) -> Result<(), PrepareError> {
        match counted.tally.fault(self.plan) {
            None => Ok(()),
            Some(what) => Err(PrepareError::Split(what)),
        }
    }

    /// Hands every block of the files of `parts` to `take`, without the rows that cannot be used.
    pub(super) fn pass(
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
        let n_bytes = |(_, file): &(Part, &PathBuf)| file_bytes(file).unwrap_or(0);
        let total_bytes = files.iter().map(n_bytes).sum();
        let paths = files.iter().map(|(_, file)| (*file).clone()).collect();
        let rows = Rows::open(paths, &self.plan.reading, self.columns.clone());
        let mut broken = BrokenRows::new(self.plan.reading.max_broken_share);
        let mut n_rows = 0;
        let mut counted = Counted::of(&files);
        let mut parts_with_rows = HashSet::new();
        counted.notes = each_block(rows, |rows| {
            let part = files[rows.file_number].0;
            parts_with_rows.insert(part);
            let sieve = Sieve {
                encoder,
                split: split_of(part, &self.plan.split),
                part,
                first_row: counted.training_rows,
            };
            let mut sifted = sieve.sift(&rows)?;
            broken.add(&rows.file, sifted.batch.n_rows, &sifted.broken)?;
            if part == Part::Train {
                let tally = &mut counted.tally;
                tally.add(&self.plan.split, &sifted.block, &sifted.parts);
            }
            if self.base.is_some_and(|base| base.joins_validation) {
                join_validation(&mut sifted.parts);
            }
            counted.files[rows.file_number].rows += sifted.batch.n_rows as u64;
            take(sifted)?;
            n_rows += rows.block.n_rows as u64;
            if part == Part::Train {
                counted.training_rows = n_rows;
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
        counted.broken = broken.n_broken();
        Ok(counted)
    }
}

/// Makes training rows of validation rows.
fn join_validation(parts: &mut [Part]) {
    let valid = parts.iter_mut().filter(|part| **part == Part::Valid);
    valid.for_each(|part| *part = Part::Train);
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

/// Counts of a pass.
pub(super) struct Counted {
    /// Division of the rows by the split.
    tally: SplitTally,
    /// Rows of the training files.
    training_rows: u64,
    broken: u64,
    /// Notes about the files.
    notes: Vec<String>,
    /// The files of the pass and their usable rows.
    files: Vec<FileReport>,
}

impl Counted {
    /// Counts no rows of these files yet.
    fn of(files: &[(Part, &PathBuf)]) -> Counted {
        // One name, however the plan spells it: the cache may serve another run.
        let place = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let report = |(part, path): &(Part, &PathBuf)| FileReport {
            part: *part,
            path: place(path).display().to_string(),
            rows: 0,
        };
        Counted {
            tally: SplitTally::default(),
            training_rows: 0,
            broken: 0,
            notes: Vec::new(),
            files: files.iter().map(report).collect(),
        }
    }
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

/// Returns an encoder that accepts the same rows as the fitted one.
pub(super) fn unfitted_encoder(plan: &SchemaPlan) -> Encoder {
    let table = |table: &TablePlan| Table {
        name: table.name.clone(),
        ids: match &table.ids {
            IdSpacePlan::Hash { .. } | IdSpacePlan::Vocabulary { .. } => IdSpace::Hash {
                buckets: 1,
                function: HashFunction::Xxh3,
                unknown: true,
            },
            IdSpacePlan::Cross(cross) => IdSpace::Cross(cross.clone()),
            IdSpacePlan::Time(part) => IdSpace::Time(*part),
            IdSpacePlan::Numeric(NumericPlan::Quantiles { .. } | NumericPlan::Boundaries(_)) => {
                IdSpace::Quantiles {
                    boundaries: Vec::new(),
                }
            }
            IdSpacePlan::Numeric(NumericPlan::Vector(plan)) => {
                IdSpace::Vector(plan.fitted(Vec::new()))
            }
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
