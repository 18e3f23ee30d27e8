//! Columns that evaluation can do without.

use std::path::Path;
use std::sync::Arc;

use ncs_features::{LateRules, Schema};

/// Removes the group, the true labels and the numbers of rows that the rows lack from the schema; metrics that need
/// them are omitted, or take each row once.
pub(super) fn present(
    schema: &Arc<Schema>,
    file: &Path,
    columns: &[String],
    note: &mut dyn FnMut(String),
) -> Arc<Schema> {
    let mut schema = Schema::clone(schema);
    let mut note = |column: &str, without: &str| {
        let file = file.display();
        note(format!(
            "{file}: note: no column {column:?}, so no {without}"
        ));
    };
    if let Some(group) = schema.group.take_if(|group| !columns.contains(group)) {
        note(&group, "grouped AUC");
    }
    for task in &mut schema.tasks {
        if let Some(truth) = task.truth.take_if(|truth| !columns.contains(truth)) {
            note(&truth, "entire-space AUC");
        }
        let rules = &mut task.row_rules;
        if let Some(weight) = rules
            .weight_column
            .take_if(|column| !columns.contains(column))
        {
            note(&weight, "weights of rows in metrics: each counts once");
        }
        let lacks = |late: &mut LateRules| {
            let times = [&late.click_time, &late.conversion_time];
            times.iter().any(|time| !columns.contains(time))
        };
        // What an earlier training knew is no matter of evaluation.
        rules.late.iter_mut().for_each(|late| late.since = None);
        if let Some(late) = rules.late.take_if(lacks) {
            let what = "check of the attribution window: labels are taken as they are";
            note(&late.conversion_time, what);
        }
        let rates = &mut rules.negative_rate_column;
        if let Some(rate) = rates.take_if(|column| !columns.contains(column)) {
            note(
                &rate,
                "correction for left-out rows in metrics: the rows are taken for all",
            );
        }
    }
    Arc::new(schema)
}
