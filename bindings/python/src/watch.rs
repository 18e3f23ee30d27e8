//! What a run says while it works, on its way to callbacks of Python.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ncs_train::{Event, Listener};
use ncs4cvr::progress::Watcher;
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::work::Teller;

/// The least time between two calls that say how far a job is.
const PAUSE: Duration = Duration::from_millis(100);

/// An object of Python that hears of jobs: it has `began`, `reached`, `ended` and `said`.
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

    /// Progress is for people: where showing it fails, the work goes on.
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

    fn said(&self, text: &str) {
        self.call("said", (text,));
    }
}

/// Tells the events of a training to who called it.
pub(crate) struct EventTeller<'a> {
    pub(crate) teller: &'a mut Teller,
    /// Whether anyone hears.
    pub(crate) is_heard: bool,
}

impl Listener for EventTeller<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        if self.is_heard
            && let Some(said) = said(event)
        {
            self.teller.tell(said);
        }
    }
}

/// What Python is told of an event; nothing of single steps.
fn said(event: &Event<'_>) -> Option<Value> {
    Some(match *event {
        Event::Stepped { .. } => return None,
        Event::Began {
            phase,
            total_steps,
            done,
            finished,
            ..
        } => json!({
            "kind": "began", "phase": phase, "total_steps": total_steps, "done": done, "finished": finished,
        }),
        Event::Validated {
            phase,
            step,
            epoch,
            task,
            train_loss,
            validation_loss,
            metric,
            value,
            best,
        } => json!({
            "kind": "validated", "phase": phase, "step": step, "epoch": epoch, "task": task,
            "train_loss": train_loss, "validation_loss": validation_loss, "metric": metric, "value": value,
            "best": best,
        }),
        Event::Ended {
            phase,
            steps,
            reason,
        } => json!({ "kind": "ended", "phase": phase, "steps": steps, "reason": reason }),
        Event::Noted(text) => json!({ "kind": "noted", "text": text }),
    })
}
