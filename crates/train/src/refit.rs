//! Training again on all rows, once validation has chosen for how long.
//!
//! Validation rows are the latest where the split is by time, so the ones most like those of serving, and a model that
//! stops by them has not learned from them. A refit trains anew from the same initial weights, under the same
//! masks, on training and validation rows together, for as many passes as were best: `s` steps over `n` rows become
//! `s N / n` over `N`. Nothing is left to choose by, so its validation figures are those of the first training, and so
//! are its calibrators (docs/decisions/0045-training-again-on-all-rows.md).

use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::plan::TrainPlan;
use crate::run::{SearchContext, Training, artifact, count_evidence};
use crate::step::StepBudget;
use crate::trainer::{Phase, Trainer};
use ncs_features::Schema;
use ncs_model::artifact::Artifact;
use ncs_model::{Masks, Spec, Weights};
use ncs_readers::batches::Rows;
use ncs_readers::cache::Cache;
use std::sync::Arc;

/// Training and validation rows as one part.
#[derive(Clone, Copy, Debug)]
pub struct RefitRows<'a> {
    /// The rows.
    pub train: &'a Cache,
    /// Their schema: that of the training rows, with the values that only validation rows hold at the end of its
    /// vocabularies.
    pub schema: &'a Arc<Schema>,
    /// Identifies data and schema.
    pub data_key: [u8; 32],
}

/// What a refit needs of the first training.
pub(crate) struct First {
    phase: Phase,
    /// For each slot the step whose weights were kept.
    steps: Vec<u64>,
    masks: Option<Arc<Masks>>,
    /// The weights that it began with, where a search left them.
    start: Option<Weights>,
}

impl First {
    /// Of a training that has ended.
    pub(crate) fn of(trainer: &Trainer<'_>, start: Option<Weights>) -> First {
        let last = trainer.state.step;
        let slots = trainer.slots.iter();
        First {
            phase: trainer.phase.clone(),
            steps: slots
                .map(|slot| trainer.kept(slot).map_or(last, |best| best.step))
                .collect(),
            masks: trainer.model.masks().cloned(),
            start,
        }
    }
}

/// Trains again and gives the model of it. `bench` is that of the first training.
pub(crate) fn run(
    bench: &SearchContext<'_>,
    rows: RefitRows<'_>,
    first: &First,
    listener: &mut dyn Listener,
) -> Result<(Artifact, Training), TrainError> {
    let plan: &TrainPlan = bench.plan;
    let identity = format!("{} {}", bench.run, blake3::Hash::from(rows.data_key));
    let again = SearchContext {
        plan,
        schema: rows.schema,
        spec: Spec::of(rows.schema, &bench.spec.plan),
        train: rows.train,
        valid: None,
        folder: bench.folder,
        // The first training's stays, so that a run that was stopped here finds it finished.
        checkpoint: bench.folder.join("refit.safetensors"),
        checkpoint_every: bench.checkpoint_every,
        run: &identity,
        stop: bench.stop,
        evidence: count_evidence(plan.evidence, rows.schema, rows.train, &bench.id_dropout)?,
        id_dropout: bench.id_dropout.clone(),
        rates_of: bench.rates_of,
        earlier: bench.earlier,
    };
    let phase = phase(bench, &again, first);
    listener.on_event(&Event::Noted(&said(&phase, first, rows.train.n_rows())));
    let mut model = again.model();
    if let Some(start) = &first.start {
        let restored = model.network_mut(0).restore(start);
        restored.expect("ids are what they were in the first training");
    }
    // After the weights: masks with owned units clear weights that no task may use.
    model.set_masks(first.masks.clone());
    let setting = again.setting();
    let mut trainer = Trainer::new(&setting, phase, model);
    trainer.run(listener)?;
    let training = again.training(&trainer.phase, trainer.state.step);
    Ok((artifact(&again, rows.schema, &trainer), training))
}

fn phase(bench: &SearchContext<'_>, again: &SearchContext<'_>, first: &First) -> Phase {
    let rows_per_batch = first.phase.rows_per_batch;
    let [n, more] = [bench, again].map(|bench| bench.train.n_rows() as f64);
    let total_steps = scaled(first.phase.budget.total_steps, more / n);
    Phase {
        name: "refit".to_owned(),
        budget: StepBudget {
            batches_per_epoch: again.batches(Rows::All, rows_per_batch).max(1),
            total_steps,
            validations_per_epoch: 0,
        },
        keep_at: first
            .steps
            .iter()
            .map(|&step| scaled(step, more / n).min(total_steps))
            .collect(),
        patience: None,
        validates: false,
        ..first.phase.clone()
    }
}

/// So many passes over more rows.
fn scaled(steps: u64, ratio: f64) -> u64 {
    ((steps as f64 * ratio).round() as u64).max(1)
}

/// `refit: 1600 steps over all 112000 rows, as the best of training were its first 1200`
fn said(phase: &Phase, first: &First, n_rows: u64) -> String {
    let steps = |steps: &[u64]| {
        let mut texts: Vec<String> = steps.iter().map(u64::to_string).collect();
        texts.dedup();
        texts.join(" and ")
    };
    format!(
        "refit: {} steps over all {n_rows} rows, since the best weights were those of step {}",
        steps(&phase.keep_at),
        steps(&first.steps),
    )
}
