//! What all ranks of a training have in common, and ranks other than the first: they compute, and leave files and reports
//! to it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ncs_collective::{Collective, Wait};
use ncs_config::{RunFile, RunPlan};
use ncs_readers::Prepared;
use ncs_train::{NoopListener, Run};

use super::{CHECKPOINT_EVERY, in_folder, prepare_refit, prepare_rows, refit_rows, shards};
use crate::error::Error;
use crate::progress::Progress;
use crate::{memory, table_init};

/// Trains with the first rank, and returns when it has written the results.
///
/// # Errors
/// Those of a training; a rank has ended or does not answer.
pub(super) fn follow(
    file: &RunFile,
    folder: &Path,
    ranks: &dyn Collective,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let plan = &in_folder(&file.plan, folder);
    // The first rank reads the files, which may take long, and keeps the rows in the id cache.
    ranks.barrier(Wait::Unlimited)?;
    let data = prepare_rows(plan, Progress::Quiet, stop)?;
    let all = prepare_refit(plan, &data, Progress::Quiet, stop)?;
    let largest = all.as_ref().unwrap_or(&data);
    memory::check_fitted(file, &largest.schema, ranks.n_ranks())?;
    let initial = table_init::read(plan, &largest.schema)?;
    let run = Run {
        initial_rows: &initial.tables,
        ..run_of(plan, &data, all.as_ref(), folder, stop)
    };
    let trained = run.run_on(ranks, &mut NoopListener)?;
    // The first rank evaluates and writes, but for the shards of the model.
    shards::of_ranks(plan, &trained.artifact, &folder.join("model"), ranks)?;
    Ok(ranks.barrier(Wait::Unlimited)?)
}

/// Returns the run of a plan on its rows, whose tables begin at random vectors.
pub(super) fn run_of<'a>(
    plan: &'a RunPlan,
    data: &'a Prepared,
    all: Option<&'a Prepared>,
    folder: &'a Path,
    stop: &'a AtomicBool,
) -> Run<'a> {
    Run {
        network: &plan.network,
        plan: &plan.train,
        schema: &data.schema,
        train: &data.train,
        valid: data.valid.as_ref(),
        data_key: data.key,
        folder,
        checkpoint_every: CHECKPOINT_EVERY,
        stop,
        refit: all.map(refit_rows),
        initial_rows: &[],
        earlier: plan.start.as_ref().map(|start| &start.earlier),
    }
}
