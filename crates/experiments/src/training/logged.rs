//! A training with its log.

use ncs_collective::Collective;
use ncs_train::{Event, Listener, Run, TrainError, Trained};

use crate::error::Error;
use crate::progress::Progress;
use crate::run_log::RunLog;

/// Runs a training, as the first of these ranks, with its log in the run's folder; returns with the result whether anything was left to do.
pub(super) fn run(
    run: &Run<'_>,
    ranks: &dyn Collective,
    progress: Progress,
    listener: &mut (dyn Listener + Send),
) -> Result<Result<(Trained, bool), TrainError>, Error> {
    let mut log = RunLog::open(run.folder, progress)
        .map_err(|error| format!("{}/log.txt: {error}", run.folder.display()))?;
    let mut both = Both {
        log: &mut log,
        listener,
    };
    let trained = match run.run_on(ranks, &mut both) {
        Ok(trained) => trained,
        Err(error) => return Ok(Err(error)),
    };
    let worked = log.has_worked();
    if let Some(error) = log.finish() {
        progress.log(&format!(
            "note: the log or the curves for TensorBoard are incomplete: {error}"
        ));
    }
    Ok(Ok((trained, worked)))
}

/// The log of a run, and who else listens.
struct Both<'a> {
    log: &'a mut RunLog,
    listener: &'a mut (dyn Listener + Send),
}

impl Listener for Both<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        self.log.on_event(event);
        self.listener.on_event(event);
    }
}
