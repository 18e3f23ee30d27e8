//! Notes of a training that continues an earlier model.

use super::shards;
use ncs_collective::Collective;
use ncs_config::RunPlan;
use ncs_eval::report::Note;
use ncs_features::{Schema, continued};
use ncs_model::artifact::{Artifact, ArtifactDraft, ArtifactError, DeltaDraft, DeltaSize};
use ncs_train::SearchKind;
use std::path::Path;

use crate::error::Error;
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

/// Notes the rows that wait for more sightings before they are trained.
pub(super) fn waiting(artifact: &Artifact) -> Option<Note> {
    let tables = ncs_train::lifetimes::waiting(artifact).into_iter();
    let told: Vec<String> = tables
        .map(|(table, n)| format!("{table}: {}", grouped(n as u64)))
        .collect();
    (!told.is_empty()).then(|| Note {
        warning: false,
        text: format!(
            "Rows that are read as unknown until they were seen min_count times: {}.",
            told.join("; ")
        ),
    })
}

/// Writes a model as the first of these ranks, with a delta against the model that the training went on from where there is
/// one. Returns the delta's size, or why there is none, in words.
///
/// # Errors
/// The file system of a rank reports an error; an existing folder is then unchanged.
pub(super) fn write_model(
    plan: &RunPlan,
    artifact: &Artifact,
    folder: &Path,
    ranks: &dyn Collective,
) -> Result<Option<Note>, Error> {
    let draft = ArtifactDraft::begin(folder)?;
    let shards = shards::of_ranks(plan, artifact, folder, ranks)?;
    let Some(start) = &plan.start else {
        draft.publish(artifact, shards, |_| Ok(()))?;
        return Ok(None);
    };
    let new = draft;
    let draft = DeltaDraft::between(artifact, &start.folder, Some(&start.earlier.hash));
    let text = match &draft {
        Ok(draft) => in_words(draft.size()),
        Err(error) => format!("No delta was written: {error}."),
    };
    let draft = draft.ok().filter(|draft| draft.size().is_smaller());
    let add = |folder: &Path| -> Result<(), ArtifactError> {
        draft.as_ref().map_or(Ok(()), |draft| draft.write(folder))
    };
    new.publish(artifact, shards, add)?;
    let warning = false;
    Ok(Some(Note { warning, text }))
}

fn in_words(size: DeltaSize) -> String {
    let share = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    if !size.is_smaller() {
        return "No delta was written: almost all table rows changed.".to_owned();
    }
    format!(
        "Beside the model is its delta against the earlier one, {:.1} % of the bytes of its weights: {} of {} table rows \
         are new or changed, {} are gone.",
        share(size.bytes, size.whole_bytes),
        grouped(size.changed),
        grouped(size.rows),
        grouped(size.removed)
    )
}
