//! Registry of progress watchers by id: [`Progress`] is copied into every job and cannot hold a watcher itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Progress, Watcher};

/// Identifier of a [`Watcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatcherId(u64);

type Known = Vec<(WatcherId, Arc<dyn Watcher>)>;

static WATCHERS: Mutex<Known> = Mutex::new(Vec::new());

/// Registration of a watcher; dropping it removes the watcher.
#[derive(Debug)]
pub struct Watched(WatcherId);

impl Watched {
    /// Registers `watcher`: it receives the jobs of [`Watched::progress`].
    pub fn by(watcher: Arc<dyn Watcher>) -> Watched {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = WatcherId(NEXT.fetch_add(1, Ordering::Relaxed));
        known(|watchers| watchers.push((id, watcher)));
        Watched(id)
    }

    /// Returns the progress to pass to the watched command.
    pub fn progress(&self) -> Progress {
        Progress::To(self.0)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        known(|watchers| watchers.retain(|(id, _)| *id != self.0));
    }
}

/// Returns the watcher with this id while it is registered.
pub(super) fn find(id: WatcherId) -> Option<Arc<dyn Watcher>> {
    known(|watchers| {
        let found = watchers.iter().find(|(known, _)| *known == id);
        found.map(|(_, watcher)| watcher.clone())
    })
}

fn known<T>(work: impl FnOnce(&mut Known) -> T) -> T {
    work(&mut WATCHERS.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heard(Mutex<Vec<String>>);

    impl Watcher for Heard {
        fn began(&self, title: &str, total: Option<u64>, units: &str, done: u64) {
            self.push(format!("{title} {total:?} {units} {done}"));
        }
        fn reached(&self, done: u64) {
            self.push(done.to_string());
        }
        fn ended(&self) {
            self.push("ended".to_owned());
        }
        fn message(&self, text: &str) {
            self.push(text.to_owned());
        }
    }

    impl Heard {
        fn push(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
    }

    #[test]
    fn a_watcher_hears_of_jobs_until_it_is_dropped() {
        let heard = Arc::new(Heard(Mutex::new(Vec::new())));
        let watched = Watched::by(heard.clone());
        let progress = watched.progress();
        let mut job = progress.job("train", Some(10), "steps");
        job.start_at(4);
        job.advance(2);
        job.log("halfway");
        job.finish();
        drop(watched);
        progress.log("unheard");
        progress.job("later", None, "rows").reach(1);
        let found = heard.0.lock().unwrap().clone();
        assert_eq!(found[..4], ["train Some(10) steps 0", "4", "6", "halfway"]);
        assert!(found[4].starts_with("train: 2 steps in "), "{found:?}");
        assert_eq!(found[5..], ["ended"]);
    }
}
