//! Refit on all rows, after validation has chosen the number of steps.
//!
//! Validation rows are the latest if the split is by time, so the most similar to those of serving, and a model that
//! stops by them is not trained on them. A refit trains again from the same initial weights, under the same
//! masks, on training and validation rows together, for as many passes as were best: `s` steps over `n` rows become
//! `s N / n` over `N`. No validation rows remain, so its validation metrics are those of the first training, and so
//! are its calibrators (docs/decisions/0045-training-again-on-all-rows.md).

use crate::admission::Admission;
use crate::context::{SearchContext, Training};
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::outcome::{self, Kept, Outcome, Start};
use crate::phase::Phase;
use crate::shrinkage::{self, Chosen};
use crate::step_budget::StepBudget;
use crate::trainer::Trainer;
use ncs_features::Schema;
use ncs_model::Spec;
use ncs_model::artifact::Artifact;
use ncs_readers::batches::Rows;
use ncs_readers::cache::Cache;
use std::path::PathBuf;
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

/// Trains again, once for each training whose weights were chosen, and returns the model and its trainings. `bench` is
/// that of the first training.
pub(crate) fn run(
    context: &SearchContext<'_>,
    rows: RefitRows<'_>,
    start: &Start,
    first: &Chosen,
    listener: &mut dyn Listener,
) -> Result<(Artifact, Vec<Training>), TrainError> {
    let identity = format!("{} {}", context.run, blake3::Hash::from(rows.data_key));
    let mut again = on_all_rows(context, rows, &identity)?;
    let mut trainings = Vec::new();
    let mut kept: Vec<Option<Kept>> = vec![None; first.of_slot.len()];
    for (number, variant) in first.variants.iter().enumerate() {
        let is_own = |&slot: &usize| first.of_slot[slot] == number;
        let own: Vec<usize> = (0..kept.len()).filter(is_own).collect();
        if own.is_empty() {
            continue;
        }
        // The checkpoint of the first training is kept, so that a run stopped here finds it finished.
        again.checkpoint = shrinkage::checkpoint(context, "refit", number > 0);
        again.evidence = shrinkage::count(&again, rows.train, variant.of_all)?;
        let phase = phase(context, &again, &variant.outcome, &own);
        let summary = summary(&phase, &variant.outcome, &own, rows.train.n_rows());
        listener.on_event(&Event::Noted { text: &summary });
        let trainer_context = again.trainer_context();
        let mut trainer = Trainer::new(&trainer_context, phase, start.model(&again))?;
        trainer.run(listener)?;
        let mut outcome = Outcome::of(&again, trainer)?;
        for slot in own.into_iter().rev() {
            kept[slot] = Some(outcome.kept.remove(slot));
        }
        trainings.push(outcome.training);
    }
    let kept = kept.iter().flatten();
    let artifact = outcome::artifact(&again, rows.schema, start.masks.clone(), kept)?;
    Ok((artifact, trainings))
}

/// Returns the context of trainings on all rows, which have no validation. Their checkpoint and evidence are still to be set.
fn on_all_rows<'a>(
    context: &SearchContext<'a>,
    rows: RefitRows<'a>,
    identity: &'a str,
) -> Result<SearchContext<'a>, TrainError> {
    Ok(SearchContext {
        plan: context.plan,
        schema: rows.schema,
        spec: Spec::of(rows.schema, &context.spec.plan),
        train: rows.train,
        valid: None,
        folder: context.folder,
        checkpoint: PathBuf::new(),
        checkpoint_every: context.checkpoint_every,
        run: identity,
        stop: context.stop,
        evidence: Vec::new(),
        admission: Admission::count(
            &context.plan.lifetimes,
            rows.schema,
            rows.train,
            context.earlier,
        )?,
        id_dropout: context.id_dropout.clone(),
        smoothings: context.smoothings.clone(),
        bias_counts: context.bias_counts,
        initial_rows: context.initial_rows,
        earlier: context.earlier,
        moments: context.moments,
        ranks: context.ranks,
        storage: context.storage.clone(),
    })
}

/// Returns the phase that refits the slots `own`, for their best number of steps.
fn phase(
    context: &SearchContext<'_>,
    again: &SearchContext<'_>,
    first: &Outcome,
    own: &[usize],
) -> Phase {
    let rows_per_batch = first.phase.rows_per_batch;
    let [n, more] = [context, again].map(|context| context.train.n_rows() as f64);
    let total_steps = scaled(first.phase.budget.total_steps, more / n);
    let steps = first.kept.iter().enumerate().map(|(slot, kept)| {
        if own.contains(&slot) {
            scaled(kept.step, more / n).min(total_steps)
        } else {
            // No step: another training has these.
            0
        }
    });
    let second = first.phase.name != first.phase.draws;
    Phase {
        name: if second {
            "refit/shrinkage-all"
        } else {
            "refit"
        }
        .to_owned(),
        draws: "refit".to_owned(),
        budget: StepBudget {
            batches_per_epoch: again.batches(Rows::All, rows_per_batch).max(1),
            total_steps,
            validations_per_epoch: 0,
        },
        keep_at: steps.collect(),
        patience: None,
        validates: false,
        ..first.phase.clone()
    }
}

/// Returns the steps for the same number of passes over `ratio` times the rows.
fn scaled(steps: u64, ratio: f64) -> u64 {
    ((steps as f64 * ratio).round() as u64).max(1)
}

/// `refit: 1600 steps over all 112000 rows, as the best of training were its first 1200`
fn summary(phase: &Phase, first: &Outcome, own: &[usize], n_rows: u64) -> String {
    let steps = |of_slot: &dyn Fn(usize) -> u64| {
        let mut texts: Vec<String> = own.iter().map(|&slot| of_slot(slot).to_string()).collect();
        texts.dedup();
        texts.join(" and ")
    };
    format!(
        "{}: {} steps over all {n_rows} rows, since the best weights were those of step {}",
        phase.name,
        steps(&|slot| phase.keep_at[slot]),
        steps(&|slot| first.kept[slot].step),
    )
}
