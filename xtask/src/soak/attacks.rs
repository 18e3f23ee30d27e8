//! Kills, changed bytes, shared folders and caches, sizes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ncs::{Ncs, misbehaved, output, text};
use super::{AttackResult, Random};

type Attacked = Result<Option<AttackResult>, String>;

fn result(name: &'static str, tries: u64, faults: u64, failures: Vec<String>) -> Attacked {
    Ok(Some(AttackResult {
        name,
        tries,
        faults,
        failures,
    }))
}

/// Kills runs at random moments until they finish.
pub(super) fn kills(ncs: &Ncs, tries: u64, random: &mut Random) -> Attacked {
    let (mut faults, mut failures) = (0, Vec::new());
    for number in 0..tries {
        let out = ncs.fresh("killed");
        let cache = match number % 2 {
            0 => ncs.fresh("cache-killed"),
            _ => ncs.folder.join("cache-of-1"),
        };
        let whole = ncs.whole_run.as_micros() as u64;
        // A run that is always killed early makes no progress, so the last attempts are not killed.
        for attempt in 0.. {
            let mut command = ncs.train(&out, 1, &cache);
            let mut child = command.spawn().map_err(|error| error.to_string())?;
            if attempt < 8 {
                std::thread::sleep(Duration::from_micros(random.below(whole)));
                faults += u64::from(child.kill().is_ok());
            }
            let output = child
                .wait_with_output()
                .map_err(|error| error.to_string())?;
            if output.status.success() {
                break;
            }
            if output.status.code().is_some() {
                failures.push(format!(
                    "kill {number}, attempt {attempt}: {}",
                    text(&output)
                ));
                break;
            }
        }
        failures.extend(ncs.differs(&out, 1));
    }
    result("kill -9 at random moments", tries, faults, failures)
}

/// Flips a bit in a file of a model: the model is refused, or its scores are unchanged.
pub(super) fn flips_in_a_model(ncs: &Ncs, tries: u64, random: &mut Random) -> Attacked {
    let rows = ncs.folder.join("log/test.parquet").display().to_string();
    let scores = ncs.folder.join("scores.csv");
    let score = |model: &Path| {
        let mut command = ncs.command(&["score"]);
        command
            .arg(model)
            .args(["--data", &rows, "--out"])
            .arg(&scores);
        output(&mut command)
    };
    let whole = ncs.folder.join("whole-1/model");
    score(&whole)?;
    let expected = fs::read(&scores).map_err(|error| error.to_string())?;
    let mut failures = Vec::new();
    for _ in 0..tries {
        let model = ncs.fresh("flipped");
        copy(&whole, &model)?;
        let flipped = flip(&model, random)?;
        let _ = fs::remove_file(&scores);
        let output = score(&model)?;
        failures.extend(misbehaved(&output).map(|how| format!("{flipped}: {how}")));
        if output.status.success() && fs::read(&scores).ok().as_ref() != Some(&expected) {
            failures.push(format!("{flipped}: other scores, and no error"));
        }
    }
    result("one bit changed in a model", tries, tries, failures)
}

/// Flips a bit in the files from which an interrupted run resumes, its cache included: the run reports it, or ends
/// with the same results.
pub(super) fn flips_in_a_run(ncs: &Ncs, tries: u64, random: &mut Random) -> Attacked {
    let (half, half_cache) = (ncs.fresh("half"), ncs.fresh("cache-half"));
    let mut child = ncs
        .train(&half, 1, &half_cache)
        .spawn()
        .map_err(|error| error.to_string())?;
    std::thread::sleep(ncs.whole_run * 2 / 3);
    let _ = child.kill();
    let _ = child.wait();
    let mut failures = Vec::new();
    for _ in 0..tries {
        let (out, cache) = (ncs.fresh("flipped"), ncs.fresh("cache-flipped"));
        copy(&half, &out)?;
        copy(&half_cache, &cache)?;
        let which = if random.below(2) == 0 { &out } else { &cache };
        let flipped = flip(which, random)?;
        let output = output(&mut ncs.train(&out, 1, &cache))?;
        failures.extend(misbehaved(&output).map(|how| format!("{flipped}: {how}")));
        if output.status.success() {
            failures.extend(ncs.differs(&out, 1).map(|how| format!("{flipped}: {how}")));
        }
    }
    result(
        "one bit changed in a half-finished run or its cache",
        tries,
        tries,
        failures,
    )
}

/// Starts two runs at once in one folder: one gets it, the other fails with an error, and nothing is mixed.
pub(super) fn two_runs_in_a_folder(ncs: &Ncs, tries: u64, _: &mut Random) -> Attacked {
    let mut failures = Vec::new();
    for number in 0..tries {
        let out = ncs.fresh("shared");
        let start = |seed: usize| {
            let cache = ncs.folder.join(format!("cache-of-{seed}"));
            ncs.train(&out, seed, &cache)
                .spawn()
                .map_err(|error| error.to_string())
        };
        let children = [start(1)?, start(2)?];
        let mut winners = Vec::new();
        for (child, seed) in children.into_iter().zip([1, 2]) {
            let output = child
                .wait_with_output()
                .map_err(|error| error.to_string())?;
            let printed = text(&output);
            if output.status.success() {
                winners.push(seed);
            } else if !printed.contains("works in this folder") && !printed.contains("another run")
            {
                failures.push(format!("pair {number}: {printed}"));
            }
        }
        match winners[..] {
            [seed] => failures.extend(ncs.differs(&out, seed)),
            _ => failures.push(format!("pair {number}: {} runs succeeded", winners.len())),
        }
    }
    result("two runs in one folder", tries, 2 * tries, failures)
}

/// Starts three runs at once without a cache: each writes it, and one of the drafts gets its name.
pub(super) fn runs_on_one_cache(ncs: &Ncs, tries: u64, _: &mut Random) -> Attacked {
    let mut failures = Vec::new();
    for number in 0..tries {
        let cache = ncs.fresh("cache-shared");
        let outs = [0, 1, 2].map(|run| ncs.fresh(&format!("sharing-{run}")));
        let mut children = Vec::new();
        for out in &outs {
            let child = ncs.train(out, 1, &cache).spawn();
            children.push(child.map_err(|error| error.to_string())?);
        }
        for (child, out) in children.into_iter().zip(&outs) {
            let output = child
                .wait_with_output()
                .map_err(|error| error.to_string())?;
            if output.status.success() {
                failures.extend(ncs.differs(out, 1))
            } else {
                failures.push(format!("cache {number}: {}", text(&output)))
            }
        }
    }
    result("three runs that make one cache", tries, 3 * tries, failures)
}

/// Trains with sizes that do not fit into 1 GiB, alone and in pairs, under a limit of 1 GiB of address space.
pub(super) fn sizes(ncs: &Ncs, tries: u64, random: &mut Random) -> Attacked {
    if !cfg!(unix) {
        return Ok(None);
    }
    let sizes = [
        "100000",
        "4000000",
        "4294967294",
        "4294967295",
        "9223372036854775807",
    ];
    let keys = [
        "network.hidden=[N]",
        "network.hidden=[8,N,N]",
        "network.dim=N",
        "training.batch=N",
        "threads=N",
        "evaluation.bootstrap=N",
        "search.rounds=N",
        "training.epochs=N",
        "training.warmup_steps=N",
        "network.kind=\"mmoe\" network.experts=N",
        "network.kind=\"ple\" network.experts=N",
        "network.kind=\"ple\" network.shared_experts=N",
        "columns.user={kind=\"categorical\",buckets=N}",
        "columns.user={kind=\"categorical\",vocabulary={max_size=N}}",
    ];
    let mut failures = Vec::new();
    for _ in 0..tries {
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "ulimit -v 1048576; exec timeout -s KILL 60 \"$@\"",
            "sh",
        ]);
        // One epoch is enough: memory is allocated before the first step.
        let (out, cache) = (ncs.fresh("sized"), ncs.folder.join("cache-of-1"));
        let mut command = ncs.train_under(command, &out, &cache);
        command.args(["--set", "training.epochs=1"]);
        let mut settings = Vec::new();
        for _ in 0..=random.below(2) {
            let key = keys[random.below(keys.len() as u64) as usize];
            let size = sizes[random.below(sizes.len() as u64) as usize];
            for set in key.split(' ') {
                settings.push(set.replace('N', size));
                command.args(["--set", settings[settings.len() - 1].as_str()]);
            }
        }
        let output = output(&mut command)?;
        // A valid run may be long; it is ended after a minute.
        let is_long = output.status.code() == Some(137) || output.status.code().is_none();
        if !is_long || text(&output).contains("memory allocation") {
            failures
                .extend(misbehaved(&output).map(|how| format!("{}: {how}", settings.join(" "))));
        }
    }
    result("sizes under 1 GiB of addresses", tries, tries, failures)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?
        } else {
            fs::copy(&path, target).map(drop).map_err(failed)?
        }
    }
    Ok(())
}

/// Flips a random bit of a random file below `folder`; returns its place.
fn flip(folder: &Path, random: &mut Random) -> Result<String, String> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
    let file = &files[random.below(files.len() as u64) as usize];
    let mut bytes = fs::read(file).map_err(|error| error.to_string())?;
    let at = random.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << random.below(8);
    fs::write(file, bytes).map_err(|error| error.to_string())?;
    Ok(format!("{}, byte {at}", file.display()))
}

/// Collects the non-empty files from which a run resumes: all but logs and curves.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_read = !path.ends_with("log.txt") && !path.ends_with("run.lock");
        if path.is_dir() && !path.ends_with("tensorboard") {
            collect(&path, files);
        } else if is_read && fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0)
        {
            files.push(path);
        }
    }
}
