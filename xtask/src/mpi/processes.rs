//! Jobs of a launcher, and the processes of their ranks.

use super::{ENDS_WITHIN, MOST, succeed};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// Waits for a job, and ends it if it takes too long.
pub(super) fn ended(mut job: Child) -> Result<Output, String> {
    let begun = Instant::now();
    let failed = |error: std::io::Error| error.to_string();
    while job.try_wait().map_err(failed)?.is_none() {
        if begun.elapsed() > MOST {
            job.kill().map_err(failed)?;
            return Err(format!("a job has not ended within {MOST:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    job.wait_with_output().map_err(failed)
}

pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Returns the processes of a job's ranks in their order: the children of the launcher.
pub(super) fn ranks_of(launcher: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut ranks: Vec<(usize, u32)> = processes
        .filter_map(process)
        .filter(|&process| parent_of(process) == Some(launcher))
        .filter_map(|process| Some((rank_of(process)?, process)))
        .collect();
    ranks.sort_unstable();
    ranks.into_iter().map(|(_, process)| process).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}

fn rank_of(process: u32) -> Option<usize> {
    let variables = fs::read(format!("/proc/{process}/environ")).ok()?;
    let own = variables.split(|&byte| byte == 0).find_map(|variable| {
        std::str::from_utf8(variable)
            .ok()?
            .strip_prefix("OMPI_COMM_WORLD_RANK=")
    })?;
    own.parse().ok()
}

pub(super) fn signal(name: &str, process: u32) -> Result<(), String> {
    succeed(Command::new("kill").args(["-s", name, &process.to_string()]))
}

/// Checks that these processes have ended.
pub(super) fn none_left(processes: &[u32]) -> Result<(), String> {
    let begun = Instant::now();
    let is_there = |process: &&u32| Path::new(&format!("/proc/{process}")).exists();
    while let Some(process) = processes.iter().find(is_there) {
        if begun.elapsed() > ENDS_WITHIN {
            return Err(format!(
                "process {process} of a job that has ended is still there"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_the_child_of_its_parent() {
        let own = std::process::id();
        let mut child = Command::new("sleep")
            .arg("20")
            .env("OMPI_COMM_WORLD_RANK", "3")
            .spawn()
            .unwrap();
        while rank_of(child.id()) != Some(3) {
            std::thread::yield_now();
        }
        assert_eq!(parent_of(child.id()), Some(own));
        assert!(ranks_of(own).contains(&child.id()));
        signal("KILL", child.id()).unwrap();
        child.wait().unwrap();
        none_left(&[child.id()]).unwrap();
    }
}
