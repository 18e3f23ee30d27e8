//! Encoded rows to the files of the parts, or counted only.

use super::PrepareError;
use super::filter::{Sifted, rows_of};
use super::sampling::Sampling;
use crate::cache::{Draft, PartWriter};
use crate::split::Part;
use ncs_features::{Batch, LabelCounts, Pick, Schema};

/// The files of the parts in the making; a part without rows has none.
pub(super) struct Writers<'a> {
    /// `None`: rows are counted only.
    pub(super) draft: Option<&'a Draft<'a>>,
    pub(super) schema: &'a Schema,
    pub(super) parts: [Option<Sink>; 3],
}

/// Destination of the rows of a part.
pub(super) enum Sink {
    File(Box<PartWriter>),
    Count(LabelCounts),
}

impl Sink {
    fn push(&mut self, batch: &[Batch; 1], rows: Vec<usize>) -> Result<(), PrepareError> {
        match self {
            Sink::Count(counts) => counts.observe(&batch[0].select(&rows)),
            Sink::File(writer) => {
                let picks: Vec<Pick> = rows.into_iter().map(|row| Pick::new(0, row)).collect();
                writer.push(batch, &picks)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<LabelCounts, PrepareError> {
        match self {
            Sink::Count(counts) => Ok(counts),
            Sink::File(writer) => Ok(writer.finish()?),
        }
    }
}

impl Writers<'_> {
    pub(super) fn push(
        &mut self,
        sifted: Sifted<'_>,
        sampling: &Sampling,
    ) -> Result<(), PrepareError> {
        let batch = [sifted.batch];
        for (at, part) in Part::ALL.into_iter().enumerate() {
            let rows = sampling.kept(&batch[0], part, rows_of(&sifted.parts, part));
            if rows.is_empty() {
                continue;
            }
            if self.parts[at].is_none() {
                self.parts[at] = Some(self.sink(part)?);
            }
            if let Some(sink) = &mut self.parts[at] {
                sink.push(&batch, rows)?;
            }
        }
        Ok(())
    }

    fn sink(&self, part: Part) -> Result<Sink, PrepareError> {
        Ok(match self.draft {
            None => Sink::Count(LabelCounts::new(self.schema.tasks.len())),
            Some(draft) => {
                let path = draft.part_path(part);
                Sink::File(Box::new(PartWriter::create(
                    &path,
                    draft.key(),
                    self.schema,
                )?))
            }
        })
    }

    pub(super) fn finish(self) -> Result<Vec<(Part, LabelCounts)>, PrepareError> {
        let mut finished = Vec::new();
        for (part, sink) in Part::ALL.into_iter().zip(self.parts) {
            if let Some(sink) = sink {
                finished.push((part, sink.finish()?));
            }
        }
        Ok(finished)
    }
}
