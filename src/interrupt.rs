//! Signals. The first Ctrl-C or SIGTERM requests a graceful stop, the second ends the program at once; SIGXFSZ
//! (`ulimit -f`) becomes an error of the write.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// True once the program was asked to stop.
static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Number of the first signal; 0 before.
static SIGNAL: AtomicU8 = AtomicU8::new(0);

/// Number of SIGINT on every system, which Ctrl-C sends.
const INTERRUPT: u8 = 2;

/// Installs the signal handlers, and returns the flag that is set once the program is asked to stop.
///
/// Fails if the system does not allow it.
pub fn flag() -> std::io::Result<&'static AtomicBool> {
    static LISTEN_ONCE: std::sync::Once = std::sync::Once::new();
    let mut outcome = Ok(());
    LISTEN_ONCE.call_once(|| outcome = listen());
    outcome.map(|()| &STOP_REQUESTED)
}

/// Returns the exit code for the signal that ended the program: 130 after Ctrl-C, 143 after SIGTERM. `None`
/// without a signal.
pub fn exit_code() -> Option<u8> {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(128 + signal),
    }
}

/// Records a signal; the second one ends the program.
fn record(signal: u8) {
    if SIGNAL.swap(signal, Ordering::Relaxed) != 0 {
        std::process::exit(128 + i32::from(signal));
    }
    STOP_REQUESTED.store(true, Ordering::Relaxed);
    // On a separate thread, since writing blocks if the reader of standard error has stopped reading.
    let print = || ncs_experiments::progress::tell("stopping; a second signal ends at once");
    let _ = std::thread::Builder::new().spawn(print);
}

#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let wait = move || {
        let numbers = signals.forever();
        numbers.for_each(|number| record(u8::try_from(number).unwrap_or(INTERRUPT)));
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(wait).map(drop)
}

#[cfg(not(unix))]
fn listen() -> std::io::Result<()> {
    ctrlc::set_handler(|| record(INTERRUPT)).map_err(std::io::Error::other)
}

/// Makes a write beyond the size that `ulimit -f` allows fail like one to a full disk, with an error that can
/// be reported and handled. By default the system ends the program without a message.
#[cfg(unix)]
pub fn report_file_limits() {
    let exceeded = std::sync::Arc::new(AtomicBool::new(false));
    // If no handler can be installed, the default behaviour stays.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, exceeded);
}

/// Does nothing: this system has no such limit.
#[cfg(not(unix))]
pub fn report_file_limits() {}
