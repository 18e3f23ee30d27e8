//! Cost of a run, for `cost.json`: trainings, samples, time, memory, and the size of the model.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ncs_eval::comparison::RunCost;
use ncs_model::{Kept, NetworkSize, Scorer, tensor_file};
use ncs_train::Trained;
use serde::{Deserialize, Serialize};

use crate::error::Error;

const COST: &str = "cost.json";
const CLOCK: &str = "clock.json";

/// Resources used so far by the processes of a run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Usage {
    /// Processor time of all threads, in seconds.
    seconds: f64,
    /// Peak memory of one process in bytes; 0 if the system does not report it.
    peak_bytes: u64,
    /// Wall time in seconds.
    #[serde(default)]
    wall_seconds: f64,
}

/// Contents of `cost.json`.
#[derive(Serialize, Deserialize)]
struct CostFile {
    #[serde(flatten)]
    cost: RunCost,
    /// Wall time in seconds; none in a file of an earlier version.
    wall_seconds: Option<f64>,
}

/// Measures this process's part of a run.
#[derive(Debug)]
pub(crate) struct Meter {
    before: Usage,
    start: Duration,
    started: Instant,
}

impl Meter {
    /// Starts measuring, adding to the usage of earlier processes for the run in `folder`.
    pub(crate) fn start(folder: &Path) -> Meter {
        let text = fs::read_to_string(folder.join(CLOCK)).unwrap_or_default();
        Meter {
            before: serde_json::from_str(&text).unwrap_or_default(),
            start: processor_time(),
            started: Instant::now(),
        }
    }

    fn now(&self) -> Usage {
        let own = processor_time().saturating_sub(self.start);
        Usage {
            seconds: self.before.seconds + own.as_secs_f64(),
            peak_bytes: self.before.peak_bytes.max(peak_bytes()),
            wall_seconds: self.wall_seconds(),
        }
    }

    /// Returns the wall time in seconds of all processes of the run.
    pub(crate) fn wall_seconds(&self) -> f64 {
        self.before.wall_seconds + self.started.elapsed().as_secs_f64()
    }

    /// Saves the usage when a run is stopped, so that the next process continues from it.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn pause(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_string(&self.now())? + "\n";
        Ok(tensor_file::write_bytes(
            &folder.join(CLOCK),
            text.as_bytes(),
        )?)
    }

    /// Writes `cost.json`, with the same `wall_seconds` as the report.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn finish(
        &self,
        folder: &Path,
        trained: &Trained,
        scorer: &Scorer,
        wall_seconds: Option<f64>,
    ) -> Result<(), Error> {
        let cost = CostFile {
            cost: cost(self.now(), trained, scorer),
            wall_seconds,
        };
        let text = serde_json::to_string_pretty(&cost)? + "\n";
        Ok(tensor_file::write_bytes(
            &folder.join(COST),
            text.as_bytes(),
        )?)
    }
}

/// Reads the cost of a finished run.
///
/// Fails if the folder has no finished run, or its file was changed.
pub(crate) fn read(folder: &Path) -> Result<RunCost, Error> {
    Ok(read_file(folder)?.cost)
}

/// Returns the wall time in seconds of a finished run, if its cost has it.
pub(crate) fn wall_seconds(folder: &Path) -> Option<f64> {
    read_file(folder).ok()?.wall_seconds
}

fn read_file(folder: &Path) -> Result<CostFile, Error> {
    let path = folder.join(COST);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cost =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(cost)
}

/// Returns true if the run in a folder was finished.
pub(crate) fn is_finished(folder: &Path) -> bool {
    folder.join(COST).exists()
}

fn cost(clock: Usage, trained: &Trained, scorer: &Scorer) -> RunCost {
    let artifact = &trained.artifact;
    let kept = artifact.masks.as_deref().map_or(Kept::All, Kept::By);
    let size = NetworkSize::of(&artifact.spec, kept);
    RunCost {
        trainings: trained.trainings.len() as u32,
        samples: trained
            .trainings
            .iter()
            .map(|training| training.samples)
            .sum(),
        seconds: clock.seconds,
        peak_bytes: clock.peak_bytes,
        parameters: scorer.n_parameters() as u64,
        weights: size.weights as u64,
        multiply_adds: size.multiply_adds as u64,
    }
}

/// Returns the processor time of this process, all threads together.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Returns the time since the first call, if the system does not report processor time.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Returns the peak memory of this process in bytes, as Linux reports it; 0 elsewhere.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
