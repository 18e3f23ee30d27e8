//! System calls that end the process or fail, by strace.

use std::process::Command;

use super::ncs::{Ncs, misbehaved, output, text};
use super::{Outcome, Random};

/// What a run asks of the disk.
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

/// Calls of one kind that a run makes at most, or so.
const MOST_CALLS: u64 = 60;

const ERRORS: [&str; 5] = ["ENOSPC", "EIO", "EDQUOT", "EMFILE", "EACCES"];

/// Runs that end at a system call, and then run again undisturbed.
pub(super) fn crash_points(
    ncs: &Ncs,
    tries: u64,
    random: &mut Random,
) -> Result<Option<Outcome>, String> {
    attack(ncs, "killed at a system call", tries, random, |random| {
        let call = pick(&CALLS, random);
        format!("{call}:signal=KILL:when={}", 1 + random.below(MOST_CALLS))
    })
}

/// Runs in which a system call fails, once or from then on, and that then run again undisturbed.
pub(super) fn disk_errors(
    ncs: &Ncs,
    tries: u64,
    random: &mut Random,
) -> Result<Option<Outcome>, String> {
    attack(ncs, "a system call fails", tries, random, |random| {
        let (call, error) = (pick(&CALLS, random), pick(&ERRORS, random));
        let when = 20 + random.below(MOST_CALLS);
        let on = pick(&["", "+"], random);
        format!("{call}:error={error}:when={when}{on}")
    })
}

fn pick<'a>(from: &[&'a str], random: &mut Random) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn attack(
    ncs: &Ncs,
    what: &'static str,
    tries: u64,
    random: &mut Random,
    injection: impl Fn(&mut Random) -> String,
) -> Result<Option<Outcome>, String> {
    if !Command::new("strace")
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        println!("not tried: {what}; it needs strace");
        return Ok(None);
    }
    let (mut blows, mut failures) = (0, Vec::new());
    for number in 0..tries {
        let out = ncs.fresh("faulty");
        let cache = match number % 2 {
            0 => ncs.fresh("cache-faulty"),
            _ => ncs.folder.join("cache-of-1"),
        };
        let injected = injection(random);
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
        blows += u64::from(!disturbed.status.success());
        let killed = injected.contains("KILL") && !text(&disturbed).contains("panicked");
        if !killed {
            failures.extend(misbehaved(&disturbed).map(|how| format!("{injected}: {how}")));
        }
        let again = output(&mut ncs.train(&out, 1, &cache))?;
        match again.status.success() {
            true => failures.extend(ncs.differs(&out, 1).map(|how| format!("{injected}: {how}"))),
            false => failures.push(format!("{injected}: cannot go on: {}", text(&again))),
        }
    }
    Ok(Some(Outcome {
        what,
        tries,
        blows,
        failures,
    }))
}
