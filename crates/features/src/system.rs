//! Advice for errors of the operating system.

use std::io::{Error, ErrorKind};

/// Returns advice for an error of the operating system: `usual`, except for errors that mean that files and
/// folders are correct and another resource is exhausted.
pub fn advice(error: &Error, usual: &'static str) -> &'static str {
    const TOO_MANY_IN_PROCESS: i32 = 24;
    const TOO_MANY_IN_SYSTEM: i32 = 23;
    const DEVICE_FAILED: i32 = 5;
    match (error.kind(), error.raw_os_error()) {
        (_, Some(TOO_MANY_IN_PROCESS)) if cfg!(unix) => {
            "too many files are open at once: raise the limit (ulimit -n), or run fewer at a time"
        }
        (_, Some(TOO_MANY_IN_SYSTEM)) if cfg!(unix) => {
            "the system has too many open files: end other programs, or raise its limit (fs.file-max)"
        }
        (_, Some(DEVICE_FAILED)) if cfg!(unix) => {
            "the disk or the network behind it failed: check it, and run again"
        }
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => {
            "no space is left: free some, and run again"
        }
        (ErrorKind::ReadOnlyFilesystem, _) => {
            "the file system can only be read: choose a folder on another"
        }
        (ErrorKind::OutOfMemory, _) => "memory has run out: end other programs, and run again",
        _ => usual,
    }
}

/// Returns the advice as the end of a sentence, if there is any.
pub fn after(error: &Error) -> String {
    match advice(error, "") {
        "" => String::new(),
        advice => format!("; {advice}"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_told_from_what_is_missing() {
        let check = |code: i32, expected: &str| {
            let hint = advice(&Error::from_raw_os_error(code), "check that it exists");
            assert!(hint.contains(expected), "{code}: {hint}");
        };
        check(24, "ulimit -n");
        check(23, "fs.file-max");
        check(28, "free some");
        check(2, "check that it exists");
        check(13, "check that it exists");
    }
}
