//! One training of a run, as a value.

use crate::plan::Keep;
use crate::step_budget::StepBudget;
use ncs_readers::batches::Rows;

/// One training: what is trained, on which rows, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// Unique in its run, such as `search/ctr/round-1`.
    pub(crate) name: String,
    /// Seeds the order of rows and dropout: two trainings with the same one read the same batches.
    pub(crate) draws: String,
    /// The tasks that are trained and validated.
    pub(crate) tasks: Vec<usize>,
    /// The rows of a step.
    pub(crate) rows: Rows,
    pub(crate) rows_per_batch: usize,
    pub(crate) budget: StepBudget,
    pub(crate) keep: Keep,
    pub(crate) patience: Option<u32>,
    /// If true, validates at the end even if `keep` and `patience` do not require it.
    pub(crate) validates: bool,
    /// Decay of the running average of layers and heads, where it is validated and kept in their place.
    pub(crate) average: Option<f64>,
    /// For each slot, the step after which its weights are kept, regardless of validation; the training ends with the
    /// last. If empty, validation decides.
    pub(crate) keep_at: Vec<u64>,
}

impl Phase {
    /// The step that it ends with at the latest.
    pub(crate) fn last_step(&self) -> u64 {
        let last = self.keep_at.iter().copied().max();
        last.unwrap_or(self.budget.total_steps)
    }
}
