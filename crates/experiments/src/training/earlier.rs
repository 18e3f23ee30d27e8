//! Notes of a training that continues an earlier model.

use ncs_config::RunPlan;
use ncs_eval::report::Note;
use ncs_features::{Schema, continued};
use ncs_train::SearchKind;

use crate::progress::grouped;

/// Describes the tables that new values made larger: `item_id: 120 new values (table rows 1,002 -> 1,122)`.
pub(super) fn growth(earlier: &Schema, now: &Schema) -> Vec<String> {
    let grown = continued::growth(earlier, now).into_iter();
    let line = |(table, before, after): (&str, usize, usize)| {
        format!(
            "{table}: {} new values (table rows {} -> {})",
            grouped((after - before) as u64),
            grouped(before as u64),
            grouped(after as u64)
        )
    };
    grown.map(line).collect()
}

/// Notes which model the training went on from, and what it gained.
pub(super) fn note(plan: &RunPlan, schema: &Schema, moments: Option<&str>) -> Option<Note> {
    let earlier = &plan.start.as_ref()?.earlier;
    let grown = growth(&earlier.artifact.schema, schema);
    let grown = if grown.is_empty() {
        "No table grew.".to_owned()
    } else {
        format!("{}.", grown.join("; "))
    };
    let evicted: Vec<String> = earlier.evicted.iter().map(ToString::to_string).collect();
    let evicted = if evicted.is_empty() {
        String::new()
    } else {
        format!(" Lifetimes: {}.", evicted.join("; "))
    };
    let masks = match (&plan.train.search.kind, plan.network.kind.has_masks()) {
        (_, false) => "",
        (SearchKind::Given(_), true) => " Its masks were kept.",
        _ => " New masks were searched from its weights.",
    };
    let text = format!(
        "The training went on from model {:.16}, whose ids, scales and weights it keeps; {}.{masks} {grown}{evicted}",
        earlier.hash.to_hex(),
        moments.unwrap_or("optimizer moments start anew")
    );
    let warning = false;
    Some(Note { warning, text })
}
