//! Connections that a task may keep: those into units that it may use, from inputs that it may read. The part of a vector that
//! is for one task is read by that task alone.
//!
//! Past click rates help the click task. They harm the conversion task, which uses the same tables,
//! if conversions are rare (docs/decisions/0065-past-rates-for-clicks-alone.md), so tasks that count only the rows
//! of another task do not read past counts and rates unless the plan says so.

use crate::context::SearchContext;
use crate::plan::RateReaders;
use ncs_features::{Population, Schema};
use ncs_model::{Mask, TaskMask, UnitOwners, masks};

/// Returns the connections that a task may keep, layer by layer.
pub(super) fn allowed(
    context: &SearchContext<'_>,
    owners: Option<UnitOwners>,
    task: usize,
) -> TaskMask {
    let shapes = context.spec.layer_shapes();
    let mut allowed = match owners {
        Some(owners) => owners.allowed(&shapes, task),
        None => masks::full(&shapes),
    };
    if !reads_rates(context.schema, context.plan.search.rate_readers, task) {
        let is_rate: Vec<bool> = context
            .spec
            .input_groups()
            .iter()
            .map(|&group| is_rate(context.schema, group))
            .collect();
        if let Some(first) = allowed.first_mut() {
            *first = without(first, &is_rate);
        }
    }
    if context.spec.plan.heads.task_vectors > 0
        && let Some(first) = allowed.first_mut()
    {
        let readers = context.spec.input_readers().into_iter();
        let is_of_another = |reader: Option<usize>| reader.is_some_and(|reader| reader != task);
        *first = without(first, &readers.map(is_of_another).collect::<Vec<bool>>());
    }
    allowed
}

/// Returns true if a task may read past counts and rates. If every task counts the rows of another, all may.
fn reads_rates(schema: &Schema, readers: RateReaders, task: usize) -> bool {
    let counts_all = |task: usize| schema.tasks[task].population == Population::All;
    readers == RateReaders::All || counts_all(task) || !(0..schema.tasks.len()).any(counts_all)
}

/// Returns true if an input group is a past count or rate; products of two fields never are.
fn is_rate(schema: &Schema, group: usize) -> bool {
    schema.rate(group).is_some()
}

/// Returns the mask without the connections from the inputs that are marked.
fn without(mask: &Mask, inputs: &[bool]) -> Mask {
    Mask::from_fn(mask.inputs(), mask.outputs(), |position| {
        mask.keeps(position) && !inputs[position / mask.outputs()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::{Objective, Task, ValueRule};

    fn schema(populations: &[Population]) -> Schema {
        let task = |&population: &Population| Task {
            name: "task".into(),
            label: "label".into(),
            population,
            objective: Objective::CrossEntropy,
            weight: 1.0,
            truth: None,
            row_rules: Default::default(),
        };
        Schema {
            value_rule: ValueRule::CURRENT,
            fields: Vec::new(),
            tables: Vec::new(),
            tasks: populations.iter().map(task).collect(),
            group: None,
        }
    }

    #[test]
    fn conversions_read_no_past_rates_unless_the_plan_says_so() {
        let funnel = schema(&[Population::All, Population::Where(0)]);
        let reads =
            |schema: &Schema, readers| [0, 1].map(|task| reads_rates(schema, readers, task));
        assert_eq!(reads(&funnel, RateReaders::Clicks), [true, false]);
        assert_eq!(reads(&funnel, RateReaders::All), [true, true]);
        let beside = schema(&[Population::All; 2]);
        assert_eq!(reads(&beside, RateReaders::Clicks), [true, true]);
    }

    #[test]
    fn connections_from_marked_inputs_go() {
        let mask = Mask::from_fn(3, 2, |position| position != 0);
        let left = without(&mask, &[false, true, false]);
        assert_eq!(left.to_bools(), [false, true, false, false, true, true]);
    }
}
