//! Checks that the parts of a manifest form a model, before anything is built from them: checksums show that
//! no byte was changed, not that the writer was correct.

use super::Manifest;
use crate::networks::DenseSize;
use crate::spec::{FieldSpec, Spec};
use ncs_features::distribution::Distribution;
use ncs_features::{IdSpace, Population, Schema};

/// Maximum number of heads: each has one bit of a 64-bit set.
const MOST_HEADS: usize = 64;

/// Checks a manifest whose largest set of weights has `n_numbers` in layers and heads.
///
/// # Errors
/// A text that names the parts that do not match.
pub(super) fn check(manifest: &Manifest, n_numbers: usize) -> Result<(), String> {
    let (schema, spec) = (&manifest.schema, &manifest.spec);
    check_columns(schema)?;
    schema.check_sequences()?;
    if *spec != Spec::of(schema, &spec.plan) {
        return Err("its sizes are not those of its columns".to_owned());
    }
    check_tasks(schema, spec)?;
    check_network(spec)?;
    check_owners(manifest)?;
    check_agreements(manifest)?;
    check_distributions(manifest)?;
    check_context_columns(manifest)?;
    let n_fields = spec.vector_fields().count();
    let n_direct = spec.fields.iter().map(FieldSpec::n_numbers).sum();
    let size = DenseSize::of(&spec.plan, n_fields, n_direct, spec.tasks.len());
    if size.numbers > n_numbers as f64 {
        return Err(format!(
            "its network has more connections than the {n_numbers} numbers of its weights"
        ));
    }
    check_members(manifest)
}

fn check_columns(schema: &Schema) -> Result<(), String> {
    for (place, field) in schema.fields.iter().enumerate() {
        let Some(table) = schema.tables.get(field.table) else {
            return Err(format!("feature \"{}\" has no table", field.name));
        };
        if let IdSpace::Hash { buckets: 0, .. } = table.ids {
            return Err(format!("table \"{}\" has no buckets", table.name));
        }
        if table.range.is_some_and(|[least, most]| most < least) {
            return Err(format!(
                "the range of table \"{}\" ends before it begins",
                table.name
            ));
        }
        if let Some(scale) = table.ids.piecewise()
            && (scale.knots.is_empty() || field.pooling.is_some())
        {
            return Err(format!("table \"{}\" has no knots", table.name));
        }
        if let Some(vector) = table.ids.vector() {
            let checked = vector.check().and_then(|()| match field.pooling {
                None => Ok(()),
                Some(_) => Err("is pooled".to_owned()),
            });
            checked.map_err(|what| format!("table \"{}\" {what}", table.name))?;
        }
        if let IdSpace::Cross(cross) = &table.ids {
            cross.check(schema, place)?;
        }
        if let Some(rate) = table.ids.rate() {
            rate.check(schema, place)?;
        }
    }
    Ok(())
}

fn check_tasks(schema: &Schema, spec: &Spec) -> Result<(), String> {
    let n = spec.tasks.len();
    for (number, task) in schema.tasks.iter().enumerate() {
        if let Population::Where(other) = task.population
            && (other >= n || other == number)
        {
            return Err(format!(
                "the population of task \"{}\" is not another task",
                task.name
            ));
        }
    }
    let heads = &spec.plan.heads;
    let joint = heads.joint.into_iter().flatten();
    let taken = heads.takes.into_iter().flatten();
    let tasks = joint.chain(taken).chain(heads.auxiliary());
    let is_there = tasks.into_iter().all(|task| task < n);
    let mut pairs = heads.joint.into_iter().chain(heads.takes);
    let is_pair = pairs.all(|[first, second]| first != second);
    let n_heads = n + heads.auxiliary().count();
    let groups = heads
        .groups
        .iter()
        .max()
        .map_or(0, |last| last.saturating_add(1));
    let are_groups = heads.groups.is_empty()
        || heads.groups.len() == n && (0..groups).all(|group| heads.groups.contains(&group));
    if is_there && is_pair && are_groups && n > 0 && n_heads <= MOST_HEADS {
        Ok(())
    } else {
        Err("its heads are not those of its tasks".to_owned())
    }
}

/// Checks that owners of units come with masks, one for each task.
fn check_owners(manifest: &Manifest) -> Result<(), String> {
    let Some(owners) = manifest.owners else {
        return Ok(());
    };
    let n_tasks = manifest.spec.tasks.len();
    let is_share = (0.0..1.0).contains(&owners.common());
    let fits = manifest.has_masks && owners.n_tasks() == n_tasks && n_tasks > 1 && is_share;
    if fits {
        Ok(())
    } else {
        Err("the owners of its units are not its tasks".to_owned())
    }
}

/// Checks that measured agreements refer to existing tasks.
fn check_agreements(manifest: &Manifest) -> Result<(), String> {
    let n = manifest.spec.tasks.len();
    let mut tasks = manifest
        .agreements
        .iter()
        .flat_map(|agreement| agreement.tasks);
    if tasks.all(|task| task < n) {
        Ok(())
    } else {
        Err("it has an agreement of tasks that do not exist".to_owned())
    }
}

/// Checks that there is a distribution for each column and each score.
fn check_context_columns(manifest: &Manifest) -> Result<(), String> {
    let fields = &manifest.schema.fields;
    let is_read = |name: &&String| {
        fields
            .iter()
            .any(|f| f.columns().any(|column| column == *name))
    };
    match manifest.context_columns.iter().find(|name| !is_read(name)) {
        Some(name) => Err(format!("no feature reads its context column \"{name}\"")),
        None => Ok(()),
    }
}

fn check_distributions(manifest: &Manifest) -> Result<(), String> {
    let Some(found) = &manifest.distributions else {
        return Ok(());
    };
    let n_scores = manifest.schema.tasks.len() + manifest.schema.products().len();
    let mut all = found.columns.iter().chain(&found.scores);
    let fits = found.columns.len() == manifest.schema.fields.len()
        && found.scores.len() == n_scores
        && all.all(Distribution::is_whole);
    match fits {
        true => Ok(()),
        false => Err("its distributions are not those of its columns and scores".to_owned()),
    }
}

/// Checks the sizes of the network, as for a run file.
fn check_network(spec: &Spec) -> Result<(), String> {
    let plan = &spec.plan;
    let is_kind = plan.kind.fits(plan.hidden.len());
    // A part of each vector is for all tasks.
    let own = spec.tasks.len().checked_mul(plan.heads.task_vectors);
    let is_sized = !spec.fields.is_empty() && own.is_some_and(|own| own < plan.dim);
    if is_kind && is_sized && !plan.hidden.contains(&0) {
        Ok(())
    } else {
        Err("its network has a part of size 0".to_owned())
    }
}

/// Checks that every task has a weight set that scores it.
fn check_members(manifest: &Manifest) -> Result<(), String> {
    let (spec, of_task) = (&manifest.spec, &manifest.of_task);
    let networks = spec.networks();
    let network = |member: usize| networks.get(*manifest.networks.get(member)?);
    let is_scored = |(task, &member): (usize, &usize)| {
        network(member).is_some_and(|tasks| tasks.contains(&task))
    };
    let fits = of_task.len() == spec.tasks.len()
        && of_task.iter().enumerate().all(is_scored)
        && (0..manifest.networks.len()).all(|member| network(member).is_some());
    if fits {
        Ok(())
    } else {
        Err("its parts do not fit each other".to_owned())
    }
}
