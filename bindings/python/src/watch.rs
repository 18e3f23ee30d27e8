//! Progress and events of a run, forwarded to Python callbacks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ncs_experiments::progress::Watcher;
use ncs_train::{Event, Listener};
use pyo3::prelude::*;

use crate::work::Teller;

/// Minimum time between two progress calls.
const PAUSE: Duration = Duration::from_millis(100);

/// Python object that receives progress: it has the methods `began`, `reached`, `ended` and `message`.
pub(crate) struct PythonWatcher {
    object: Py<PyAny>,
    last: Mutex<Instant>,
}

impl PythonWatcher {
    pub(crate) fn new(object: Py<PyAny>) -> Arc<PythonWatcher> {
        Arc::new(PythonWatcher {
            object,
            last: Mutex::new(Instant::now()),
        })
    }

    /// Calls a method of the object. Errors are reported as unraisable and do not stop the work: progress is only for
    /// display.
    fn call(&self, name: &str, arguments: impl for<'py> pyo3::call::PyCallArgs<'py>) {
        Python::attach(|py| {
            if let Err(error) = self.object.bind(py).call_method1(name, arguments) {
                error.write_unraisable(py, None);
            }
        });
    }
}

impl Watcher for PythonWatcher {
    fn began(&self, title: &str, total: Option<u64>, units: &str, done: u64) {
        self.call("began", (title, total, units, done));
    }

    fn reached(&self, done: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < PAUSE {
            return;
        }
        *last = Instant::now();
        drop(last);
        self.call("reached", (done,));
    }

    fn ended(&self) {
        self.call("ended", ());
    }

    fn message(&self, text: &str) {
        self.call("message", (text,));
    }
}

/// Listener that sends the events of a training to the calling thread.
pub(crate) struct EventTeller<'a> {
    pub(crate) teller: &'a mut Teller,
    /// True if there is a callback.
    pub(crate) is_heard: bool,
}

impl Listener for EventTeller<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        // Single steps would make a training wait for Python thousands of times.
        if !self.is_heard || matches!(event, Event::Stepped { .. }) {
            return;
        }
        // Its fields are numbers and texts, so it has a JSON form.
        if let Ok(event) = serde_json::to_value(event) {
            self.teller.tell(event);
        }
    }
}
