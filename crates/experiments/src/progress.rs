//! Progress of long jobs: a bar on a terminal, a line every few seconds elsewhere, or nothing.
//!
//! Written to standard error; standard output is for results.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use ncs_eval::render::duration;

mod watchers;

pub use watchers::{Watched, WatcherId};

/// Time between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Writes a line to standard error. Errors, such as a closed pipe or a full disk, are ignored.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Display of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A progress bar.
    Bar,
    /// A line every few seconds.
    Lines,
    /// No output.
    Quiet,
    /// Sent to a watcher of the program that runs a command as a library; see [`Watched`].
    To(WatcherId),
}

/// Receiver of progress in a program that runs a command as a library.
pub trait Watcher: Send + Sync {
    /// Called when a job begins: `done` of `total` units (if known) were completed earlier.
    fn began(&self, title: &str, total: Option<u64>, units: &str, done: u64);
    /// Called with the number of completed units.
    fn reached(&self, done: u64);
    /// Called when the latest job has ended or was abandoned.
    fn ended(&self);
    /// Called with a line between jobs, or about the current one.
    fn message(&self, text: &str);
}

impl Progress {
    /// Chooses a bar on a terminal, lines elsewhere, no output if `quiet`.
    pub fn new(quiet: bool) -> Progress {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Progress::Quiet,
            (false, true) => Progress::Bar,
            (false, false) => Progress::Lines,
        }
    }

    /// Starts a job of `total` `units` (rows, steps), if the total is known.
    pub fn job(self, title: &str, total: Option<u64>, units: &'static str) -> Job {
        let bar = (self == Progress::Bar).then(|| bar(title, total, units));
        let watcher = self.watcher();
        if let Some(watcher) = &watcher {
            watcher.began(title, total, units, 0);
        }
        let now = Instant::now();
        Job {
            display: self,
            bar,
            watcher: OneWatcher(watcher),
            title: title.to_owned(),
            total,
            units,
            done: 0,
            before: 0,
            start: now,
            last: now,
        }
    }

    /// Writes a line between jobs, such as a round's result.
    pub fn log(self, text: &str) {
        match self {
            Progress::Quiet => {}
            Progress::Bar | Progress::Lines => tell(text),
            Progress::To(_) => {
                if let Some(watcher) = self.watcher() {
                    watcher.message(text);
                }
            }
        }
    }

    fn watcher(self) -> Option<Arc<dyn Watcher>> {
        match self {
            Progress::To(id) => watchers::find(id),
            _ => None,
        }
    }
}

/// Returns the watcher of a job, if it has one.
struct OneWatcher(Option<Arc<dyn Watcher>>);

impl std::fmt::Debug for OneWatcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("OneWatcher")
            .field(&self.0.is_some())
            .finish()
    }
}

/// A job in progress. Dropping it removes its bar.
#[derive(Debug)]
pub struct Job {
    display: Progress,
    bar: Option<ProgressBar>,
    watcher: OneWatcher,
    title: String,
    total: Option<u64>,
    units: &'static str,
    done: u64,
    /// Units completed before this job started.
    before: u64,
    start: Instant,
    last: Instant,
}

impl Job {
    /// Adds `more` completed units.
    pub fn advance(&mut self, more: u64) {
        self.reach(self.done + more);
    }

    /// Sets the total of completed units to `done`.
    pub fn reach(&mut self, done: u64) {
        self.done = done;
        if let Some(watcher) = &self.watcher.0 {
            watcher.reached(done);
        } else if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.display == Progress::Lines && self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            tell(&self.line());
        }
    }

    /// Marks the first `done` units as completed earlier: they count for the percentage, not for the rate.
    pub fn start_at(&mut self, done: u64) {
        self.done = done;
        self.before = done;
        if let Some(watcher) = &self.watcher.0 {
            watcher.reached(done);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.reset_eta();
        }
    }

    /// Writes a line without disturbing the bar.
    pub fn log(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(text)),
            None => self.display.log(text),
        }
    }

    /// Ends the job, and writes a line with the completed units and the rate.
    pub fn finish(mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.display.log(&summary(
            &self.title,
            self.done - self.before,
            self.units,
            self.start.elapsed(),
        ));
    }

    fn line(&self) -> String {
        state(
            &self.title,
            [self.before, self.done],
            self.total,
            self.units,
            self.start.elapsed(),
        )
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher.0 {
            watcher.ended();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(title: &str, total: Option<u64>, units: &'static str) -> ProgressBar {
    let template = match total {
        Some(_) => format!(
            "{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {units} {{rate}} {{eta}} left"
        ),
        None => format!("{{msg}} {{spinner}} {{human_pos}} {units} {{rate}}"),
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template(&template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", move |state: &ProgressState, out: &mut dyn Write| {
        let _ = out.write_str(&speed(state.per_sec(), units));
    });
    bar.with_style(style).with_message(title.to_owned())
}

/// Formats the state of a job: `train: 12,000 of 50,000 rows (24 %), 3,000 rows/s, 13 s left`.
fn state(
    title: &str,
    [before, done]: [u64; 2],
    total: Option<u64>,
    units: &str,
    took: Duration,
) -> String {
    let mut line = format!("{title}: {}", grouped(done));
    if let Some(total) = total.filter(|total| *total > 0) {
        let percent = done * 100 / total;
        let _ = write!(line, " of {} {units} ({percent} %)", grouped(total));
    } else {
        let _ = write!(line, " {units}");
    }
    let rate = rate(done - before, took);
    if rate == 0.0 {
        return line;
    }
    let _ = write!(line, ", {}", speed(rate, units));
    if let Some(total) = total {
        let left = total.saturating_sub(done) as f64 / rate;
        let _ = write!(line, ", {} left", duration(left));
    }
    line
}

/// Formats the summary of a job: `train: 50,000 rows in 16 s, 3,125 rows/s`.
fn summary(title: &str, done: u64, units: &str, took: Duration) -> String {
    let mut line = format!(
        "{title}: {} {units} in {}",
        grouped(done),
        duration(took.as_secs_f64())
    );
    if done > 0 {
        let _ = write!(line, ", {}", speed(rate(done, took), units));
    }
    line
}

/// Formats a rate: `3,125 rows/s`, `2.5 steps/s`, `12 runs/min`, `3.0 runs/h`, in the shortest unit of time
/// that gives a number of 1 or more.
fn speed(per_second: f64, units: &str) -> String {
    let (rate, time) = match per_second {
        rate if rate >= 1.0 => (rate, "s"),
        rate if rate * 60.0 >= 1.0 => (rate * 60.0, "min"),
        rate => (rate * 3600.0, "h"),
    };
    if rate >= 10.0 {
        return format!("{} {units}/{time}", grouped(rate as u64));
    }
    format!("{rate:.1} {units}/{time}")
}

fn rate(done: u64, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64().max(1e-9)
}

/// Formats a number as `1,234,567`.
pub fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Formats a size: `12 bytes`, `1.5 KiB`, `3.0 GiB`.
pub fn size(n_bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n_bytes < 1024 {
        return format!("{n_bytes} bytes");
    }
    let power = (n_bytes.ilog2() / 10).min(UNITS.len() as u32);
    let number = n_bytes as f64 / 1024f64.powi(power as i32);
    format!("{number:.1} {}", UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        let check = |n_bytes, expected: &str| assert_eq!(size(n_bytes), expected);
        check(0, "0 bytes");
        check(1023, "1023 bytes");
        check(1536, "1.5 KiB");
        check(3 << 30, "3.0 GiB");
        check(5000 << 40, "5000.0 TiB");
    }

    #[test]
    fn a_line_shows_percentage_rate_and_remaining_time() {
        let check = |done, total, seconds, expected: &str| {
            let took = Duration::from_secs(seconds);
            assert_eq!(state("train", [0, done], total, "rows", took), expected);
        };
        check(
            12_000,
            Some(50_000),
            4,
            "train: 12,000 of 50,000 rows (24 %), 3,000 rows/s, 13 s left",
        );
        check(0, Some(50_000), 4, "train: 0 of 50,000 rows (0 %)");
        check(1_500, None, 3, "train: 1,500 rows, 500 rows/s");
        check(
            10,
            Some(73_010),
            10,
            "train: 10 of 73,010 rows (0 %), 1.0 rows/s, 20 h 16 min left",
        );
    }

    #[test]
    fn a_summary_shows_the_duration() {
        let took = Duration::from_secs(200);
        let expected = "read: 1,000,000 rows in 3 min 20 s, 5,000 rows/s";
        assert_eq!(summary("read", 1_000_000, "rows", took), expected);
        let nothing = "compare: 0 runs in 3 min 20 s";
        assert_eq!(summary("compare", 0, "runs", took), nothing);
    }

    #[test]
    fn slow_rates_are_shown_by_minute_or_hour() {
        let check = |done, seconds, expected: &str| {
            let rate = rate(done, Duration::from_secs(seconds));
            assert_eq!(speed(rate, "runs"), expected);
        };
        check(25, 10, "2.5 runs/s");
        check(150, 600, "15 runs/min");
        check(3, 60, "3.0 runs/min");
        check(5, 3600, "5.0 runs/h");
        check(1, 7200, "0.5 runs/h");
    }
}
