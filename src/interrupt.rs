//! Signals. Of Ctrl-C and SIGTERM, the first asks a verb to stop gracefully, the second ends it at once; SIGXFSZ
//! (`ulimit -f`) becomes an error of the write.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The signal that asked; 0 before.
static SIGNAL: AtomicU8 = AtomicU8::new(0);

/// The number of SIGINT on every system, which Ctrl-C sends.
const INTERRUPT: u8 = 2;

/// Listens from now on; the flag is set once the program was asked to end.
///
/// # Errors
/// The system does not allow it.
pub fn flag() -> std::io::Result<&'static AtomicBool> {
    static LISTENS: std::sync::Once = std::sync::Once::new();
    let mut outcome = Ok(());
    LISTENS.call_once(|| outcome = listen());
    outcome.map(|()| &ASKED)
}

/// The exit code that tells which signal ended the program: 130 after Ctrl-C, 143 after SIGTERM. `None`
/// where no signal came.
pub fn exit_code() -> Option<u8> {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(128 + signal),
    }
}

/// Records a signal; the second one ends the program.
fn note(signal: u8) {
    if SIGNAL.swap(signal, Ordering::Relaxed) != 0 {
        std::process::exit(128 + i32::from(signal));
    }
    ASKED.store(true, Ordering::Relaxed);
    // On a thread of its own: whoever should read the message may have stopped reading.
    let tell = || crate::progress::tell("stopping; a second signal ends at once");
    let _ = std::thread::Builder::new().spawn(tell);
}

#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let wait = move || {
        let numbers = signals.forever();
        numbers.for_each(|number| note(u8::try_from(number).unwrap_or(INTERRUPT)));
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(wait).map(drop)
}

#[cfg(not(unix))]
fn listen() -> std::io::Result<()> {
    ctrlc::set_handler(|| note(INTERRUPT)).map_err(std::io::Error::other)
}

/// Makes a write beyond the size that `ulimit -f` allows fail like one to a full disk, with an error to report and
/// to recover from. By default the system ends the program there without a message.
#[cfg(unix)]
pub fn report_file_limits() {
    let exceeded = std::sync::Arc::new(AtomicBool::new(false));
    // Where the system refuses a handler, its default stays.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, exceeded);
}

/// As on Unix, where there is such a limit; elsewhere there is nothing to do.
#[cfg(not(unix))]
pub fn report_file_limits() {}

/// Refuses to go on once the program was asked to end: `what` was left undone.
///
/// # Errors
/// It was asked.
pub(crate) fn refuse(asked: &AtomicBool, what: &str) -> Result<(), String> {
    match asked.load(Ordering::Relaxed) {
        true => Err(format!("stopped; {what}")),
        false => Ok(()),
    }
}
