//! Common initial weights of every training of a search and of the joint training after it.

use crate::context::SearchContext;
use crate::error::TrainError;
use crate::error::unfit;
use crate::events::Listener;
use crate::phase::Phase;
use crate::plan::{Keep, Rewind};
use crate::step_budget::StepBudget;
use crate::tensors::{Tensors, create_parent_folder, read, read_weights};
use crate::trainer::Trainer;
use ncs_model::Weights;
use ncs_readers::batches::Rows;
use std::sync::Arc;

/// The initial weights, or those after some steps of joint training, which are made once and kept.
pub(super) fn start(
    context: &SearchContext<'_>,
    listener: &mut dyn Listener,
) -> Result<Weights, TrainError> {
    let Some(phase) = phase(context) else {
        return Ok(context.model().network(0).stored_weights()?);
    };
    let path = context.folder.join("search").join("start.safetensors");
    let n_tables = context.spec.tables.len();
    if path.exists() {
        let file = read(&path, &context.storage)?;
        if file.metadata("run") != Some(context.run) {
            return Err(unfit(&path, "it belongs to another run".to_owned()));
        }
        return Ok(read_weights(&file, "start", n_tables)?);
    }
    let trainer_context = context.trainer_context();
    let mut trainer = Trainer::new(&trainer_context, phase, context.model())?;
    trainer.run(listener)?;
    let weights = Arc::new(trainer.model.network(0).stored_weights()?);
    let whole = context
        .ranks
        .whole(&context.spec, &weights, &context.storage)?;
    let mut tensors = Tensors::default();
    tensors.weights("start", &whole);
    let metadata = [("run".to_owned(), context.run.to_owned())];
    context.ranks.on_first(|| {
        create_parent_folder(&path)?;
        Ok(tensors.write(&path, &metadata.into())?)
    })?;
    Ok(Arc::unwrap_or_clone(weights))
}

/// Returns the joint training before a search, if kept weights are reset to its result.
pub(super) fn phase(context: &SearchContext<'_>) -> Option<Phase> {
    let Rewind::After { steps } = context.plan.search.rewind else {
        return None;
    };
    Some(Phase {
        name: "search/warm-up".to_owned(),
        draws: "search/warm-up".to_owned(),
        tasks: (0..context.schema.tasks.len()).collect(),
        rows: Rows::All,
        rows_per_batch: context.rows_per_step(),
        budget: StepBudget {
            batches_per_epoch: context.batches(Rows::All, context.rows_per_step()),
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
