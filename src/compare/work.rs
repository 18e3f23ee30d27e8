//! Runs as processes of their own: as many at a time as there are jobs, in any number of comparisons that
//! share the folder.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bench::{Next, RunTable, Start};
use super::plan::{Cell, Plan};
use super::toml_types::{SynthConflict, SynthLog};
use crate::progress::{Job, Progress};
use crate::run_folder;

/// Time between two looks at the processes.
const PAUSE: Duration = Duration::from_millis(30);

/// Time between two looks at what other comparisons have finished.
const LOOK: Duration = Duration::from_secs(1);

/// A run under way. The lock says to other comparisons that it is taken; it goes when this is dropped, or
/// the process ends.
struct RunLock {
    start: Start,
    child: Child,
    _lock: File,
}

/// Makes the logs that the plan wants made up, one for each seed; those that are there stay.
///
/// # Errors
/// A log cannot be made, or it was asked to stop.
pub(crate) fn make_logs(
    plan: &Plan,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(), Box<dyn Error>> {
    for (name, set) in &plan.file.data {
        let Some(log) = &set.synth else { continue };
        for seed in plan.all_seeds() {
            let folder = plan.log_folder(name, seed);
            make_log(log, seed, &folder, &plan.folder)?;
            crate::interrupt::refuse(stop, "run the same command again to go on")?;
        }
        progress.say(&format!("{name}: {} made-up logs", plan.all_seeds().len()));
    }
    Ok(())
}

fn make_log(log: &SynthLog, seed: u64, folder: &Path, root: &Path) -> Result<(), Box<dyn Error>> {
    let wanted = serde_json::to_string(log)? + "\n";
    let record = folder.with_extension("json");
    let _lock = loop {
        match lock(root, folder)? {
            Some(lock) => break lock,
            None => std::thread::sleep(PAUSE),
        }
    };
    match fs::read_to_string(&record) {
        Ok(found) if found == wanted => return Ok(()),
        Ok(found) => {
            let text = format!(
                "{}: this log was made with other settings, {}, and runs learned from it; give the data \
                 set another name, or choose another folder with --out",
                folder.display(),
                found.trim()
            );
            return Err(text.into());
        }
        // Not made yet, or not to its end.
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
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--quiet", "synth"]);
    for (flag, value) in arguments {
        command.args([flag, &value]);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(ncs_model::tensor_file::write_bytes(
        &record,
        wanted.as_bytes(),
    )?)
}

/// Runs everything that is not finished yet, `jobs` runs at a time. A run that fails is noted in the
/// bench, and what does not need it goes on.
///
/// # Errors
/// It was asked to stop, or the folder cannot be written.
pub(crate) fn run(
    bench: &mut RunTable<'_>,
    jobs: usize,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(), Box<dyn Error>> {
    let total = n_runs(bench.plan);
    let mut job = progress.job("compare", Some(total), "runs");
    let mut running: Vec<RunLock> = Vec::new();
    let mut open: Vec<Cell> = bench.plan.trained_cells().cloned().collect();
    let mut looked: Option<Instant> = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            end(running);
            return Err("stopped; run the same command again to go on".into());
        }
        let ended = reap(bench, &mut running, &job)?;
        let is_time = looked.is_none_or(|looked| running.len() < jobs && looked.elapsed() > LOOK);
        if ended || is_time {
            let more_may_come = fill(bench, &mut running, &mut open, jobs)?;
            let done = bench.n_over();
            match looked {
                None => job.start_at(done),
                Some(_) => job.reach(done),
            }
            looked = Some(Instant::now());
            if running.is_empty() && open.is_empty() {
                break;
            }
            if running.is_empty() && !more_may_come {
                // What is left waits for runs that have failed.
                break;
            }
        }
        std::thread::sleep(PAUSE);
    }
    job.finish();
    Ok(())
}

/// Runs of a plan: the trials, and the seeds that were no trial.
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

/// Starts runs until `jobs` are under way. Returns whether a run may become possible without one of ours: some
/// run elsewhere, or have just been found finished, which those before them in this pass still waited for.
fn fill(
    bench: &mut RunTable<'_>,
    running: &mut Vec<RunLock>,
    open: &mut Vec<Cell>,
    jobs: usize,
) -> Result<bool, Box<dyn Error>> {
    let mut elsewhere = false;
    let mut done = HashSet::new();
    for cell in open.iter() {
        if running.len() >= jobs {
            break;
        }
        match bench.next(cell)? {
            Next::Done => {
                done.insert((cell.data.clone(), cell.method.clone()));
            }
            Next::Waits => {}
            Next::Runs(starts) => {
                for start in starts {
                    let is_ours = running.iter().any(|run| run.start.folder == start.folder);
                    if is_ours || running.len() >= jobs {
                        continue;
                    }
                    match begin(start, &bench.plan.folder)? {
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

/// Starts a run; `None` where another comparison has it.
fn begin(start: Start, root: &Path) -> Result<Option<RunLock>, Box<dyn Error>> {
    let Some(lock) = lock(root, &start.folder)? else {
        return Ok(None);
    };
    // A comparison that was killed leaves its runs behind: they work on.
    if run_folder::is_held(&start.folder) {
        return Ok(None);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--quiet", "train"]).arg(&start.run_file);
    command.arg("--out").arg(&start.folder);
    for setting in &start.settings {
        command.args(["--set", setting]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Ctrl-C reaches this process alone, which asks each run to end: a second signal would end a run at
    // once, without its checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(Some(RunLock {
        child: command.spawn()?,
        start,
        _lock: lock,
    }))
}

/// Takes ended runs out; whether there was one.
fn reap(
    bench: &mut RunTable<'_>,
    running: &mut Vec<RunLock>,
    job: &Job,
) -> Result<bool, Box<dyn Error>> {
    let mut ended = false;
    let mut at = 0;
    while at < running.len() {
        if running[at].child.try_wait()?.is_none() {
            at += 1;
            continue;
        }
        ended = true;
        let RunLock {
            start,
            child,
            _lock,
        } = running.swap_remove(at);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let run = &start.run;
            job.say(&format!(
                "{}, {}, seed {}: {said}",
                run.cell.data, run.cell.method, run.seed
            ));
            bench.failed.insert(start.folder, said);
        }
    }
    Ok(ended)
}

/// Asks all runs to end, and waits until they have: each leaves a checkpoint.
fn end(running: Vec<RunLock>) {
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

/// Takes a folder of the comparison for this process; `None` where another has it.
fn lock(root: &Path, folder: &Path) -> Result<Option<File>, Box<dyn Error>> {
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
