//! Common initial weights of every training of a search and of the joint training after it.

use crate::context::SearchContext;
use crate::error::TrainError;
use crate::error::unfit;
use crate::events::Listener;
use crate::phase::Phase;
use crate::plan::{Keep, Rewind};
use crate::step_budget::StepBudget;
use crate::tensors::{Tensors, make_folder_of, read_weights};
use crate::trainer::Trainer;
use ncs_model::{TensorFile, Weights};
use ncs_readers::batches::Rows;

/// The initial weights, or those after some steps of joint training, which are made once and kept.
pub(super) fn start(
    bench: &SearchContext<'_>,
    listener: &mut dyn Listener,
) -> Result<Weights, TrainError> {
    let Some(phase) = phase(bench) else {
        return Ok(bench.model().network(0).weights());
    };
    let path = bench.folder.join("search").join("start.safetensors");
    let n_tables = bench.spec.tables.len();
    if path.exists() {
        let file = TensorFile::read(&path)?;
        if file.metadata("run") != Some(bench.run) {
            return Err(unfit(&path, "it belongs to another run".to_owned()));
        }
        return Ok(read_weights(&file, "start", n_tables)?);
    }
    let setting = bench.setting();
    let mut trainer = Trainer::new(&setting, phase, bench.model());
    trainer.run(listener)?;
    let weights = trainer.model.network(0).weights();
    let mut tensors = Tensors::default();
    tensors.weights("start", &weights);
    let metadata = [("run".to_owned(), bench.run.to_owned())];
    make_folder_of(&path)?;
    tensors.write(&path, &metadata.into())?;
    Ok(weights)
}

/// Returns the joint training before a search, if kept weights are reset to its result.
pub(super) fn phase(bench: &SearchContext<'_>) -> Option<Phase> {
    let Rewind::After { steps } = bench.plan.search.rewind else {
        return None;
    };
    Some(Phase {
        name: "search/warm-up".to_owned(),
        draws: "search/warm-up".to_owned(),
        tasks: (0..bench.schema.tasks.len()).collect(),
        rows: Rows::All,
        rows_per_batch: bench.rows_per_step(),
        budget: StepBudget {
            batches_per_epoch: bench.batches(Rows::All, bench.rows_per_step()),
            total_steps: steps,
            validations_per_epoch: 0,
        },
        keep: Keep::Last,
        patience: None,
        validates: false,
        average: None,
        keep_at: Vec::new(),
    })
}
