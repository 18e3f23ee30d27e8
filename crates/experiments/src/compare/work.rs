//! Runs as separate processes: at most `jobs` at a time, in any number of comparisons that share the
//! folder.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Cell, Plan};
use super::run_table::{CellState, RunArguments, RunTable};
use super::toml_types::{SynthConflict, SynthLog};
use crate::error::Error;
use crate::progress::{Job, Progress};
use crate::run_folder;

/// Polling interval of the child processes.
const PAUSE: Duration = Duration::from_millis(30);

/// Polling interval of runs by other comparisons.
const SHARED_PAUSE: Duration = Duration::from_secs(1);

/// A run in progress. The lock marks it as taken for other comparisons; it is released when this is dropped or
/// the process ends.
struct ActiveRun {
    start: RunArguments,
    child: Child,
    _lock: File,
}

/// Generates the synthetic logs of the plan, one for each seed; existing ones are kept.
///
/// Fails if a log cannot be written, or the process is interrupted.
pub(crate) fn generate_logs(
    plan: &Plan,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(), Error> {
    for (name, set) in &plan.file.data {
        let Some(log) = &set.synth else { continue };
        for seed in plan.all_seeds() {
            let folder = plan.log_folder(name, seed);
            generate_log(log, seed, &folder, &plan.folder)?;
            crate::stop::refuse(stop, "run the same command again to resume")?;
        }
        progress.log(&format!(
            "{name}: {} synthetic logs",
            plan.all_seeds().len()
        ));
    }
    Ok(())
}

fn generate_log(log: &SynthLog, seed: u64, folder: &Path, root: &Path) -> Result<(), Error> {
    let expected = serde_json::to_string(log)? + "\n";
    let record = folder.with_extension("json");
    let _lock = loop {
        match lock(root, folder)? {
            Some(lock) => break lock,
            None => std::thread::sleep(PAUSE),
        }
    };
    match fs::read_to_string(&record) {
        Ok(found) if found == expected => return Ok(()),
        Ok(found) => {
            let text = format!(
                "{}: this log was generated with other settings, {}, and runs were trained on it; give the data \
                 set another name, or choose another folder with --out",
                folder.display(),
                found.trim()
            );
            return Err(text.into());
        }
        // Missing or incomplete.
        Err(_) => {}
    }
    let conflict = match log.conflict {
        SynthConflict::Network => "network",
        SynthConflict::Vectors => "vectors",
        SynthConflict::Both => "both",
    };
    let arguments = [
        ("--rows", log.rows.to_string()),
        ("--share", log.share.to_string()),
        ("--conflict", conflict.to_owned()),
        ("--click-rate", log.click_rate.to_string()),
        ("--conversion-rate", log.conversion_rate.to_string()),
        ("--seed", seed.to_string()),
        ("--out", folder.display().to_string()),
    ];
    let mut command = crate::program::command()?;
    command.args(["--quiet", "synth"]);
    for (flag, value) in arguments {
        command.args([flag, &value]);
    }
    let options = [("--unseen", log.unseen), ("--delays", log.delays)];
    for (flag, value) in options {
        command.args(
            value
                .iter()
                .flat_map(|value| [flag.to_owned(), value.to_string()]),
        );
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(ncs_model::tensor_file::write_bytes(
        &record,
        expected.as_bytes(),
    )?)
}

/// Runs all unfinished runs, `jobs` at a time. A run that fails is recorded in the table, and runs that do not
/// need it continue.
///
/// Fails if the process is interrupted, or the folder cannot be written.
pub(crate) fn run(
    table: &mut RunTable<'_>,
    jobs: usize,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let total = n_runs(table.plan);
    let mut job = progress.job("compare", Some(total), "runs");
    let mut running: Vec<ActiveRun> = Vec::new();
    let mut open: Vec<Cell> = table.plan.trained_cells().cloned().collect();
    let mut last_poll: Option<Instant> = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            terminate(running);
            return Err("stopped; run the same command again to resume".into());
        }
        let ended = reap(table, &mut running, &job)?;
        let is_poll_due =
            last_poll.is_none_or(|time| running.len() < jobs && time.elapsed() > SHARED_PAUSE);
        if ended || is_poll_due {
            let may_continue = fill(table, &mut running, &mut open, jobs)?;
            let done = table.n_ended();
            match last_poll {
                None => job.start_at(done),
                Some(_) => job.reach(done),
            }
            last_poll = Some(Instant::now());
            if running.is_empty() && open.is_empty() {
                break;
            }
            if running.is_empty() && !may_continue {
                // The remaining runs need runs that have failed.
                break;
            }
        }
        std::thread::sleep(PAUSE);
    }
    job.finish();
    Ok(())
}

/// Returns the number of runs of a plan: the trials, and the seeds that are not seeds of trials.
fn n_runs(plan: &Plan) -> u64 {
    let tuning = &plan.file.tuning;
    let more = plan
        .file
        .seeds
        .iter()
        .filter(|seed| !tuning.seeds.contains(seed))
        .count();
    let trials = tuning.trials as usize * tuning.seeds.len();
    (plan.trained_cells().count() * (trials + more)) as u64
}

/// Starts runs until `jobs` are in progress. Returns true if further runs may become possible without a run of
/// this process: another process has some of them, or cells just completed on which earlier cells of this pass
/// depend.
fn fill(
    table: &mut RunTable<'_>,
    running: &mut Vec<ActiveRun>,
    open: &mut Vec<Cell>,
    jobs: usize,
) -> Result<bool, Error> {
    let mut elsewhere = false;
    let mut done = HashSet::new();
    for cell in open.iter() {
        if running.len() >= jobs {
            break;
        }
        match table.next(cell)? {
            CellState::Done => {
                done.insert((cell.data.clone(), cell.method.clone()));
            }
            CellState::Blocked => {}
            CellState::Runs(starts) => {
                for start in starts {
                    let is_ours = running.iter().any(|run| run.start.folder == start.folder);
                    if is_ours || running.len() >= jobs {
                        continue;
                    }
                    match spawn(start, &table.plan.folder)? {
                        Some(run) => running.push(run),
                        None => elsewhere = true,
                    }
                }
            }
        }
    }
    open.retain(|cell| !done.contains(&(cell.data.clone(), cell.method.clone())));
    Ok(elsewhere || !done.is_empty())
}

/// Starts a run; `None` if another comparison has it.
fn spawn(start: RunArguments, root: &Path) -> Result<Option<ActiveRun>, Error> {
    let Some(lock) = lock(root, &start.folder)? else {
        return Ok(None);
    };
    // The runs of a comparison that was killed are still running.
    if run_folder::is_held(&start.folder) {
        return Ok(None);
    }
    let mut command = crate::program::command()?;
    command.args(["--quiet", "train"]).arg(&start.run_file);
    command.arg("--out").arg(&start.folder);
    for setting in &start.settings {
        command.args(["--set", setting]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Ctrl-C reaches only this process, which asks each run to stop: a second signal would end a run at
    // once, without a checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(Some(ActiveRun {
        child: command.spawn()?,
        start,
        _lock: lock,
    }))
}

/// Removes ended runs; returns true if there was one.
fn reap(table: &mut RunTable<'_>, running: &mut Vec<ActiveRun>, job: &Job) -> Result<bool, Error> {
    let mut ended = false;
    let mut at = 0;
    while at < running.len() {
        if running[at].child.try_wait()?.is_none() {
            at += 1;
            continue;
        }
        ended = true;
        let ActiveRun {
            start,
            child,
            _lock,
        } = running.swap_remove(at);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let run = &start.run;
            job.log(&format!(
                "{}, {}, seed {}: {message}",
                run.cell.data, run.cell.method, run.seed
            ));
            table.failed.insert(start.folder, message);
        }
    }
    Ok(ended)
}

/// Asks all runs to stop, and waits for them; each leaves a checkpoint.
fn terminate(running: Vec<ActiveRun>) {
    for mut run in running {
        #[cfg(unix)]
        if let Some(process) = rustix::process::Pid::from_raw(run.child.id() as i32) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        #[cfg(not(unix))]
        let _ = run.child.kill();
        let _ = run.child.wait();
    }
}

/// Locks a folder of the comparison for this process; `None` if another process has it.
fn lock(root: &Path, folder: &Path) -> Result<Option<File>, Error> {
    let name = blake3::hash(
        folder
            .strip_prefix(root)
            .unwrap_or(folder)
            .as_os_str()
            .as_encoded_bytes(),
    );
    let path: PathBuf = root
        .join("locks")
        .join(format!("{}.lock", &name.to_hex()[..16]));
    let failed = |error: std::io::Error| format!("{}: cannot be locked: {error}", path.display());
    fs::create_dir_all(root.join("locks")).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(failed(error).into()),
    }
}
