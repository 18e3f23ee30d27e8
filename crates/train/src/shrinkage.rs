//! Choice of the tasks with shrinkage of table rows, by the plan or by validation.
//!
//! Evidence for table rows ([`ShrinkageRule`](crate::ShrinkageRule)) is a shrinkage: the step of a row with few labels
//! is scaled towards zero. It always applies to tasks that count the rows of another. For the others the effect
//! depends on the log: it helps if there are many ids with few labels each, and harms if labels are plentiful
//! (docs/decisions/0053-shrinkage-for-every-task.md). [`Shrinkage::Validated`] trains with both, from the
//! same start under the same masks on the same batches, one after the other. Each slot (the weights of a task or of
//! all) keeps the weights of the usual training unless the other is better on the validation rows by more than two
//! standard errors of the paired difference (docs/decisions/0055-shrinkage-by-validation.md).

use crate::context::SearchContext;
use crate::difference::{self, MIN_STANDARD_ERRORS};
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::evidence::{self, CountedRows, RowShrinkage};
use crate::outcome::{self, Kept, Outcome, Start};
use crate::phase::Phase;
use crate::plan::Shrinkage;
use crate::progress::ValidationRecord;
use crate::trainer::{Trainer, TrainerContext};
use ncs_eval::PairedDifference;
use ncs_features::{Schema, Task};
use ncs_model::artifact::Artifact;
use ncs_readers::cache::Cache;
use std::path::PathBuf;
use std::sync::Arc;

/// Training with its shrinkage rule.
pub(crate) struct Variant {
    /// True if shrinkage applies to every task.
    pub(crate) of_all: bool,
    pub(crate) outcome: Outcome,
}

/// Trainings of a run and, slot by slot, the variant with the chosen weights.
pub(crate) struct Chosen {
    pub(crate) variants: Vec<Variant>,
    /// For each slot, the index of its variant.
    pub(crate) of_slot: Vec<usize>,
    /// Reason for the choice, if there was one.
    pub(crate) why: Option<String>,
}

impl Chosen {
    /// Returns the chosen weights, slot by slot.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Kept> {
        let slots = self.of_slot.iter().enumerate();
        slots.map(|(slot, &variant)| &self.variants[variant].outcome.kept[slot])
    }

    /// Returns the validations of each task in the training that its weights come from.
    pub(crate) fn history(&self) -> Vec<ValidationRecord> {
        let own = self
            .variants
            .iter()
            .enumerate()
            .flat_map(|(number, variant)| {
                let history = variant.outcome.history.iter();
                history.filter(move |point| self.variant_of(point.task) == Some(number))
            });
        own.cloned().collect()
    }

    fn variant_of(&self, task: usize) -> Option<usize> {
        let slots = &self.variants[0].outcome.kept;
        let slot = slots.iter().position(|kept| kept.tasks.contains(&task))?;
        Some(self.of_slot[slot])
    }
}

/// Returns the variants of a plan, in order: true if a variant shrinks the steps of every task.
fn variants(plan: Shrinkage) -> &'static [bool] {
    match plan {
        Shrinkage::Conversions => &[false],
        Shrinkage::All => &[true],
        Shrinkage::Validated => &[false, true],
    }
}

/// Returns the checkpoint path of a variant: `NAME.safetensors` (first) or `NAME-shrinkage.safetensors` (second).
pub(crate) fn checkpoint(context: &SearchContext<'_>, name: &str, is_second: bool) -> PathBuf {
    let more = if is_second { "-shrinkage" } else { "" };
    context.folder.join(format!("{name}{more}.safetensors"))
}

/// Trains each variant of the plan, and chooses between them.
pub(crate) fn train(
    context: &SearchContext<'_>,
    schema: &Arc<Schema>,
    start: &Start,
    phase: &Phase,
    listener: &mut dyn Listener,
) -> Result<Chosen, TrainError> {
    let plan = context.plan;
    let mut trained = Vec::new();
    for (number, &of_all) in variants(plan.shrinkage).iter().enumerate() {
        let is_second = number > 0;
        let evidence = count(context, context.train, of_all)?;
        let checkpoint = checkpoint(context, "checkpoint", is_second);
        let trainer_context = TrainerContext {
            evidence: &evidence,
            checkpoint: &checkpoint,
            ..context.trainer_context()
        };
        let mut phase = phase.clone();
        if is_second {
            phase.name += "/shrinkage-all";
        }
        let mut trainer = Trainer::new(&trainer_context, phase, start.model(context))?;
        trainer.run(listener)?;
        if let Some(text) = trainer.kappa_text() {
            listener.on_event(&Event::Noted { text: &text });
        }
        let outcome = Outcome::of(context, trainer)?;
        trained.push(Variant { of_all, outcome });
    }
    let n_slots = trained[0].outcome.kept.len();
    let mut chosen = Chosen {
        of_slot: vec![0; n_slots],
        variants: trained,
        why: None,
    };
    if let (Shrinkage::Validated, Some(valid)) = (plan.shrinkage, context.valid) {
        choose(context, schema, start, valid, &mut chosen)?;
    }
    if let Some(why) = &chosen.why {
        listener.on_event(&Event::Noted { text: why });
    }
    Ok(chosen)
}

/// The evidence of these rows, for every task or for conversions alone.
pub(crate) fn count(
    context: &SearchContext<'_>,
    train: &Cache,
    of_all: bool,
) -> Result<Vec<Option<RowShrinkage>>, TrainError> {
    let rule = context.plan.evidence;
    let counted = CountedRows {
        schema: context.schema,
        train,
        id_dropout: &context.id_dropout,
        ranks: context.ranks,
    };
    evidence::of_tasks(rule, of_all, counted)
}

/// Chooses the second variant's weights if they are significantly better.
fn choose(
    context: &SearchContext<'_>,
    schema: &Arc<Schema>,
    start: &Start,
    valid: &Cache,
    chosen: &mut Chosen,
) -> Result<(), TrainError> {
    let mut models = Vec::new();
    for variant in &chosen.variants {
        let kept = variant.outcome.kept.iter();
        let masks = start.masks.clone();
        models.push(outcome::artifact(context, schema, masks, kept)?);
    }
    let slots = &chosen.variants[0].outcome.kept;
    let (of_slot, why) = context
        .ranks
        .by_whole_model(|| compare(context, schema, &models, slots, valid))?;
    (chosen.of_slot, chosen.why) = (of_slot, Some(why));
    Ok(())
}

/// Returns for each slot the better one of two models, and the reason.
fn compare(
    context: &SearchContext<'_>,
    schema: &Schema,
    models: &[Artifact],
    slots: &[Kept],
    valid: &Cache,
) -> Result<(Vec<usize>, String), TrainError> {
    let mut found = Vec::new();
    for model in models {
        found.push(outcome::predictions(context.plan.threads, model, valid)?);
    }
    let difference = |&task: &usize| {
        let [usual, other] = [&found[0].tasks[task], &found[1].tasks[task]];
        let objective = schema.tasks[task].objective;
        difference::of_task(objective, usual, &other.scores, &usual.scores)
    };
    let (mut of_slot, mut words) = (Vec::new(), Vec::new());
    for kept in slots {
        let tasks: Option<Vec<_>> = kept.tasks.iter().map(difference).collect();
        let joint = tasks.and_then(|tasks| difference::joint(&tasks));
        of_slot.push(usize::from(is_better(joint)));
        let tasks: Vec<&Task> = kept.tasks.iter().map(|&task| &schema.tasks[task]).collect();
        words.push(in_words(&tasks, joint));
    }
    Ok((of_slot, format!("shrinkage: {}", words.join("; "))))
}

fn is_better(found: Option<PairedDifference>) -> bool {
    found.is_some_and(|found| found.value > MIN_STANDARD_ERRORS * found.error)
}

/// Returns the choice in words: `ctr for all tasks, which validates better by 0.0060 (standard error 0.0011)`.
fn in_words(tasks: &[&Task], found: Option<PairedDifference>) -> String {
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let names = names.join(" and ");
    let Some(difference) = found else {
        return format!(
            "{names} for conversions, since the validation rows do not allow a comparison"
        );
    };
    let PairedDifference { value, error } = difference;
    if is_better(found) {
        format!(
            "{names} for all tasks, which validates better by {value:.4} (standard error {error:.4})"
        )
    } else {
        format!(
            "{names} for conversions: for all tasks it validates by {value:.4} (standard error {error:.4}), not better \
             by more than two standard errors"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_training_is_taken_unless_the_other_is_better_beyond_doubt() {
        let task = Task {
            label: "y".into(),
            ..ncs_testkit::task("ctr")
        };
        let check = |found: Option<(f64, f64)>, expected: bool, words: &str| {
            let found = found.map(|(value, error)| PairedDifference { value, error });
            assert_eq!(is_better(found), expected);
            let text = in_words(&[&task], found);
            assert!(text.contains(words), "{text}");
        };
        check(
            Some((0.006, 0.001)),
            true,
            "better by 0.0060 (standard error 0.0010)",
        );
        check(
            Some((0.002, 0.001)),
            false,
            "for conversions: for all tasks it validates by 0.0020",
        );
        check(Some((-0.1, 0.001)), false, "by -0.1000");
        check(Some((0.0, 0.0)), false, "for conversions");
        check(None, false, "do not allow a comparison");
    }

    #[test]
    fn the_usual_training_comes_first_where_both_are_made() {
        assert_eq!(variants(Shrinkage::Conversions), [false]);
        assert_eq!(variants(Shrinkage::All), [true]);
        assert_eq!(variants(Shrinkage::Validated), [false, true]);
    }
}
