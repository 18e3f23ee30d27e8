//! Memory still available to this process: free memory of the machine, limits of its control groups, and limits
//! of the shell (`ulimit -v`).

use std::fs;
use std::path::{Path, PathBuf};

/// A bound on memory, and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes still available.
    pub(crate) bytes: u64,
    /// Words before the bytes in a message, such as `this machine has`.
    pub(crate) subject: String,
}

impl Limit {
    fn new(bytes: u64, subject: impl Into<String>) -> Limit {
        Limit {
            bytes,
            subject: subject.into(),
        }
    }
}

/// Returns the tightest bound; `None` if the system reports none.
pub(crate) fn tightest() -> Option<Limit> {
    let own_groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = control_groups(Path::new("/sys/fs/cgroup"), &own_groups);
    let all = of_machine(&machine).into_iter().chain(groups);
    all.chain(of_process()).min_by_key(|limit| limit.bytes)
}

/// Returns the memory available to programs, including swap space, as Linux estimates it.
fn of_machine(meminfo: &str) -> Option<Limit> {
    let kilobytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let free = kilobytes("MemAvailable:")? + kilobytes("SwapFree:").unwrap_or(0);
    Some(Limit::new(free.saturating_mul(1024), "this machine has"))
}

/// Returns the tightest limit of the control groups of this process: a container's, a service's, a job's. `own`
/// is `/proc/self/cgroup`: a line `0::/path` with version 2, lines `5:memory:/path` with version 1.
fn control_groups(root: &Path, own: &str) -> Option<Limit> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let names = match controllers {
            "" => (root.to_owned(), VERSION_2),
            list if list.split(',').any(|name| name == "memory") => {
                (root.join("memory"), VERSION_1)
            }
            _ => return None,
        };
        Some((names.0, path.trim_start_matches('/').to_owned(), names.1))
    };
    let groups = own.lines().filter_map(of_line);
    let left = groups.flat_map(|(root, path, files)| {
        let mut folders: Vec<PathBuf> = vec![root.clone()];
        for part in Path::new(&path).components() {
            let inner = folders[folders.len() - 1].join(part);
            folders.push(inner);
        }
        folders
            .into_iter()
            .filter_map(move |folder| left_in(&folder, files))
    });
    let least = left.min()?;
    Some(Limit::new(
        least,
        "the control group of this process (a container's limit) leaves",
    ))
}

/// File names of the limit and the usage, and the name of the reclaimable part of the usage in `memory.stat`.
type GroupFiles = [&'static str; 3];

const VERSION_2: GroupFiles = ["memory.max", "memory.current", "inactive_file"];
const VERSION_1: GroupFiles = [
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
];

fn left_in(folder: &Path, [limit, used, inactive]: GroupFiles) -> Option<u64> {
    let number = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // `max`, or a very large number, means no limit.
    let limit = number(limit).filter(|&limit| limit < 1 << 60)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let reclaimable = statistics.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == inactive).then(|| value.parse::<u64>().ok())?
    });
    let used = number(used)
        .unwrap_or(0)
        .saturating_sub(reclaimable.unwrap_or(0));
    Some(limit.saturating_sub(used))
}

/// Returns what remains of `ulimit -v` and `ulimit -d` after the process's current usage.
#[cfg(unix)]
fn of_process() -> Option<Limit> {
    use rustix::process::{Resource, getrlimit};
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let used = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or(0).saturating_mul(1024)
    };
    let left = |resource, used: u64, subject: &str| {
        let limit = getrlimit(resource).current?;
        Some(Limit::new(limit.saturating_sub(used), subject))
    };
    let of_addresses = left(
        Resource::As,
        used("VmSize:"),
        "the limit on address space (ulimit -v) leaves",
    );
    let of_data = left(
        Resource::Data,
        used("VmData:"),
        "the limit on data (ulimit -d) leaves",
    );
    of_addresses
        .into_iter()
        .chain(of_data)
        .min_by_key(|limit| limit.bytes)
}

#[cfg(not(unix))]
fn of_process() -> Option<Limit> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_its_available_memory_and_swap_space() {
        let text = "MemTotal:  9000 kB\nMemAvailable:    500 kB\nSwapFree:  24 kB\n";
        assert_eq!(of_machine(text).unwrap().bytes, 524 << 10);
        assert_eq!(of_machine(""), None);
    }

    /// Every group above the process is a bound; the tightest counts.
    #[test]
    fn the_tightest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let left = |own: &str| control_groups(root.path(), own).map(|limit| limit.bytes);
        write("a/memory.max", "1000\n");
        write("a/memory.current", "300\n");
        write("a/memory.stat", "anon 100\ninactive_file 200\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "299\n");
        assert_eq!(left("0::/a/b\n"), Some(900));
        write("a/b/memory.max", "350\n");
        assert_eq!(left("0::/a/b\n"), Some(51));
        assert_eq!(left("0::/other\n"), None);
        write("memory/job/memory.limit_in_bytes", "4096\n");
        write("memory/job/memory.usage_in_bytes", "96\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(left("7:cpu,memory:/job\n3:pids:/job\n"), Some(4000));
        assert_eq!(left("3:pids:/job\n"), None);
    }

    #[test]
    fn this_process_has_a_bound() {
        if cfg!(target_os = "linux") {
            assert!(tightest().unwrap().bytes > 1 << 20);
        }
    }
}
