//! Settings of one training phase of a run.

use crate::averages::Average;
use crate::plan::Keep;
use crate::step_budget::StepBudget;
use ncs_readers::batches::Rows;

/// One training: what is trained, on which rows, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// Unique in its run, such as `search/ctr/level-1`.
    pub(crate) name: String,
    /// Name of the random stream of row order and dropout: two phases with the same name read the same batches.
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
    /// Moving average of layers and heads that is validated and kept; `None`: no averaging.
    pub(crate) average: Option<Average>,
    /// For each slot, the step after which its weights are kept, regardless of validation; the training ends with the
    /// last. If empty, validation decides.
    pub(crate) keep_at: Vec<u64>,
}

impl Phase {
    /// Returns the maximum number of steps.
    pub(crate) fn last_step(&self) -> u64 {
        let last = self.keep_at.iter().copied().max();
        last.unwrap_or(self.budget.total_steps)
    }
}
