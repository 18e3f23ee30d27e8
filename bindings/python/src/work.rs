//! Rust work inside a Python process: on its own thread, with the interpreter released; stopped by Ctrl-C; refused
//! after a fork.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::Value;

use crate::errors::Failure;
use crate::json;

/// Interval between two checks for signals.
const LOOK: Duration = Duration::from_millis(50);

/// Sender of events to the calling thread; it waits until each event has been handled.
pub(crate) struct Teller {
    events: Sender<Value>,
    heard: Receiver<()>,
}

impl Teller {
    /// Sends an event to the calling thread.
    pub(crate) fn tell(&self, event: Value) {
        // The calling thread receives until the work ends.
        if self.events.send(event).is_ok() {
            let _ = self.heard.recv();
        }
    }
}

/// Runs `work` without holding the interpreter. If a signal handler raises, as for Ctrl-C, the flag passed to `work`
/// is set, and the exception is raised after `work` has ended.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send,
) -> PyResult<T> {
    run_telling(py, None, |stop, _| work(stop))
}

/// Runs `work` like [`run`], and calls `on_event` on the calling thread with each event. An exception in `on_event`
/// stops the work as a signal does.
pub(crate) fn run_telling<T: Send>(
    py: Python<'_>,
    on_event: Option<Bound<'_, PyAny>>,
    work: impl FnOnce(&AtomicBool, &mut Teller) -> Result<T, Failure> + Send,
) -> PyResult<T> {
    refuse_after_fork().map_err(|failure| failure.raised(py))?;
    let stop = AtomicBool::new(false);
    let mut raised = None;
    let outcome = std::thread::scope(|scope| {
        let stop = &stop;
        let (events, mut told) = channel();
        let (say_heard, heard) = channel();
        // The worker owns the sender: when it ends, the channel disconnects and the loop below stops.
        let worker = scope.spawn(move || work(stop, &mut Teller { events, heard }));
        loop {
            let told = &mut told;
            match py.detach(move || told.recv_timeout(LOOK)) {
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(event) => {
                    if let (Some(on_event), None) = (&on_event, &raised) {
                        let heard =
                            json::to_python(py, &event).and_then(|event| on_event.call1((event,)));
                        end_after(heard.map(drop), stop, &mut raised);
                    }
                    let _ = say_heard.send(());
                }
            }
            end_after(py.check_signals(), stop, &mut raised);
        }
        py.detach(|| worker.join())
    });
    if let Some(raised) = raised {
        return Err(raised);
    }
    match outcome {
        Ok(outcome) => outcome.map_err(|failure| failure.raised(py)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Sets the flag and keeps the exception, if there is one and no earlier one.
fn end_after(outcome: PyResult<()>, stop: &AtomicBool, raised: &mut Option<PyErr>) {
    if let Err(error) = outcome {
        stop.store(true, Ordering::Relaxed);
        raised.get_or_insert(error);
    }
}

/// Refuses work in a forked child of a process that has already worked: the threads of the pools do not exist after a
/// fork, and waiting for them would never end.
pub(crate) fn refuse_after_fork() -> Result<(), Failure> {
    static WORKS: AtomicU32 = AtomicU32::new(0);
    let me = std::process::id();
    match WORKS.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(known) if known == me => Ok(()),
        Err(known) => Err(Failure::new(
            "ForkError",
            format!(
                "this process was forked from process {known}, which has used ncs4cvr: its threads are not here, and \
                 the call would wait for ever; start processes by \"spawn\" or \"forkserver\" \
                 (multiprocessing.set_start_method), or use ncs4cvr in the children only"
            ),
        )),
    }
}
