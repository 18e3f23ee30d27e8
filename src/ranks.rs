//! The ranks of `ncs train`: this process alone, or all those that an MPI launcher (mpirun, srun) has started as one job.

use std::time::Duration;

use ncs_collective::{Collective, Solo};
use ncs_experiments::Error;
use ncs_experiments::progress::tell;

use crate::interrupt;

#[cfg(feature = "mpi")]
mod mpi;

/// Time for which other ranks keep an error to themselves, since the first rank may end the job with the same one.
const AFTER_FIRST: Duration = Duration::from_secs(2);

/// Variables in which launchers tell each process how many there are: Open MPI, MPICH and Intel MPI, Slurm.
#[cfg(not(feature = "mpi"))]
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Variables that only a process of an MPI job has.
#[cfg(feature = "mpi")]
const LAUNCHED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"];

/// Joins the job that a launcher has started; without one, this process is the only rank. A rank that does not answer for
/// `timeout` ends the job.
///
/// # Errors
/// MPI cannot be started.
#[cfg(feature = "mpi")]
pub(crate) fn join(timeout: Duration) -> Result<Box<dyn Collective>, Error> {
    if LAUNCHED.iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(Box::new(mpi::Mpi::start(timeout)?));
    }
    Ok(Box::new(Solo))
}

/// Returns this process as the only rank.
///
/// # Errors
/// A launcher has started several processes, which this build cannot connect.
#[cfg(not(feature = "mpi"))]
pub(crate) fn join(_: Duration) -> Result<Box<dyn Collective>, Error> {
    let size = |name: &&str| std::env::var(name).ok()?.parse::<usize>().ok();
    match SIZES.iter().find_map(size) {
        Some(n) if n > 1 => Err(format!(
            "{n} processes were started as one job, but this ncs was built without MPI: build it with cargo build \
             --release --features mpi, or start one process (docs/distributed.md)"
        )
        .into()),
        _ => Ok(Box::new(Solo)),
    }
}

/// Ends the job after an error of this rank, if it has other ranks: prints it and does not return. An error that all ranks
/// have is printed by the first.
pub(crate) fn end(ranks: &dyn Collective, error: &Error) {
    if ranks.n_ranks() == 1 {
        return;
    }
    if ranks.rank() > 0 {
        std::thread::sleep(AFTER_FIRST);
    }
    tell(&format!(
        "rank {} of {}: {error}",
        ranks.rank(),
        ranks.n_ranks()
    ));
    ranks.abort(interrupt::exit_code().unwrap_or(1));
}
