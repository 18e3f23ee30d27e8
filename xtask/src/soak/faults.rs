//! System calls that kill the process or fail, injected by strace.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::ncs::{Ncs, misbehaved, output, text};
use super::{AttackResult, Random};

/// The system calls of a run for files.
const CALLS: [&str; 9] = [
    "openat",
    "write",
    "rename",
    "renameat2",
    "fsync",
    "mkdir",
    "unlink",
    "unlinkat",
    "flock",
];

/// Calls of `openat` by the loader, before those of the program: without them no program starts.
const CALLS_OF_THE_LOADER: u64 = 20;

const ERRORS: [&str; 5] = ["ENOSPC", "EIO", "EDQUOT", "EMFILE", "EACCES"];

/// Kills runs at a system call, and then runs them again without faults.
pub(super) fn crash_points(
    ncs: &Ncs,
    tries: u64,
    random: &mut Random,
) -> Result<Option<AttackResult>, String> {
    attack(
        ncs,
        "killed at a system call",
        tries,
        random,
        |calls, random| {
            let (call, n) = pick_call(calls, random);
            format!("{call}:signal=KILL:when={}", 1 + random.below(n))
        },
    )
}

/// Makes a system call of a run fail, once or from then on, and then runs it again without faults.
pub(super) fn disk_errors(
    ncs: &Ncs,
    tries: u64,
    random: &mut Random,
) -> Result<Option<AttackResult>, String> {
    attack(
        ncs,
        "a system call fails",
        tries,
        random,
        |calls, random| {
            let (call, n) = pick_call(calls, random);
            let error = pick(&ERRORS, random);
            let first = match call {
                "openat" => CALLS_OF_THE_LOADER,
                _ => 1,
            };
            let when = first + random.below(n.saturating_sub(first) + 1);
            let on = pick(&["", "+"], random);
            format!("{call}:error={error}:when={when}{on}")
        },
    )
}

/// Returns how often a run without faults makes each call, in its busiest thread, since strace counts per thread.
fn count_calls(ncs: &Ncs) -> Result<BTreeMap<&'static str, u64>, String> {
    let trace = ncs.folder.join("calls.txt");
    let (out, cache) = (ncs.fresh("counted"), ncs.fresh("cache-counted"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qqq", "-e", &format!("trace={}", CALLS.join(","))]);
    strace.arg("-o").arg(&trace);
    ncs.must(&mut ncs.train_under(strace, &out, &cache))?;
    let text = fs::read(&trace).map_err(|error| format!("{}: {error}", trace.display()))?;
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else {
            continue;
        };
        let called = CALLS
            .iter()
            .find(|call| rest.starts_with(&format!("{call}(")));
        if let Some(call) = called {
            *counts.entry((call, thread.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), n) in counts {
        let known: &mut u64 = most.entry(call).or_default();
        *known = n.max(*known);
    }
    Ok(most)
}

/// Picks one of the calls that a run makes; returns it with its count.
fn pick_call(calls: &BTreeMap<&'static str, u64>, random: &mut Random) -> (&'static str, u64) {
    let place = random.below(calls.len() as u64) as usize;
    let picked = calls.iter().nth(place);
    picked.map_or(("write", 1), |(call, n)| (call, *n))
}

fn pick<'a>(from: &[&'a str], random: &mut Random) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn attack(
    ncs: &Ncs,
    name: &'static str,
    tries: u64,
    random: &mut Random,
    injection: impl Fn(&BTreeMap<&'static str, u64>, &mut Random) -> String,
) -> Result<Option<AttackResult>, String> {
    if !Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        println!("not tried: {name}; it needs strace");
        return Ok(None);
    }
    let calls = count_calls(ncs)?;
    let (mut faults, mut failures) = (0, Vec::new());
    for number in 0..tries {
        let out = ncs.fresh("faulty");
        let cache = match number % 2 {
            0 => ncs.fresh("cache-faulty"),
            _ => ncs.folder.join("cache-of-1"),
        };
        let injected = injection(&calls, random);
        let call = injected.split(':').next().unwrap_or_default();
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
        ]);
        strace.args(["-e", &format!("inject={injected}")]);
        let disturbed = output(&mut ncs.train_under(strace, &out, &cache))?;
        faults += u64::from(!disturbed.status.success());
        let killed = injected.contains("KILL") && !text(&disturbed).contains("panicked");
        if !killed {
            failures.extend(misbehaved(&disturbed).map(|how| format!("{injected}: {how}")));
        }
        let again = output(&mut ncs.train(&out, 1, &cache))?;
        if again.status.success() {
            failures.extend(ncs.differs(&out, 1).map(|how| format!("{injected}: {how}")))
        } else {
            failures.push(format!("{injected}: cannot resume: {}", text(&again)))
        }
    }
    Ok(Some(AttackResult {
        name,
        tries,
        faults,
        failures,
    }))
}
