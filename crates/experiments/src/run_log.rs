//! Listeners of a run's events: progress on the terminal, lines in `log.txt`,
//! curves for TensorBoard.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, Unit};
use ncs_eval::EventWriter;
use ncs_train::{Event, Listener, Resumed, Validated};

use crate::progress::{Job, Progress, grouped};

/// Writes and shows what happens in a run.
#[derive(Debug)]
pub struct RunLog {
    progress: Progress,
    job: Option<Job>,
    file: File,
    folder: PathBuf,
    /// The curves of the phase under way.
    curves: Option<EventWriter>,
    /// Steps that the phase under way had done before this process.
    resumed_at: u64,
    /// Whether this process made a step.
    worked: bool,
    /// The first thing that could not be written; a run does not end because of it.
    trouble: Option<io::Error>,
}

impl RunLog {
    /// Appends to the log in `folder`, which must be there.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn open(folder: &Path, progress: Progress) -> io::Result<RunLog> {
        let path = folder.join("log.txt");
        Ok(RunLog {
            progress,
            job: None,
            file: OpenOptions::new().create(true).append(true).open(path)?,
            folder: folder.to_owned(),
            curves: None,
            resumed_at: 0,
            worked: false,
            trouble: None,
        })
    }

    /// Says a line on the terminal and in the log.
    pub fn log(&mut self, text: &str) {
        match &self.job {
            Some(job) => job.log(text),
            None => self.progress.log(text),
        }
        let written = writeln!(self.file, "{text}");
        self.remember(written);
    }

    /// Error of a file that could not be written, if any.
    pub fn finish(mut self) -> Option<io::Error> {
        self.close_curves();
        self.trouble
    }

    fn remember(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.trouble.get_or_insert(error);
        }
    }

    /// Whether this process made a step: a finished run that is called again makes none.
    pub fn has_worked(&self) -> bool {
        self.worked
    }

    fn begin(&mut self, phase: &str, total_steps: u64, done: u64, resumed: Option<Resumed>) {
        if let Some(job) = self.job.take() {
            job.finish();
        }
        self.close_curves();
        self.resumed_at = done;
        if let Some(resumed) = resumed {
            self.log(&resumption(phase, total_steps, done, resumed));
        }
        let mut job = self.progress.job(phase, Some(total_steps), "steps");
        job.start_at(done);
        self.job = Some(job);
    }

    fn close_curves(&mut self) {
        if let Some(mut curves) = self.curves.take() {
            let flushed = curves.flush();
            self.remember(flushed);
        }
    }

    fn open_curves(&mut self, phase: &str) {
        // A folder for each phase: TensorBoard shows it as a run, and a resumption cuts that run only.
        let folder = self.folder.join("tensorboard").join(phase);
        match EventWriter::resume(&folder, self.resumed_at) {
            Ok(curves) => self.curves = Some(curves),
            Err(error) => self.remember(Err(error)),
        }
    }

    fn validated(&mut self, validated: &Validated<'_>) {
        self.log(&validated.to_string());
        let Validated {
            phase, step, task, ..
        } = *validated;
        let metric = validated.metric.replace(' ', "_").to_lowercase();
        let tag = |what: &str| format!("{task}/{what}");
        let tag_of_metric = tag(&format!("validation_{metric}"));
        self.draw(phase, &tag_of_metric, step, validated.value);
        self.draw(
            phase,
            &tag("validation_loss"),
            step,
            validated.validation_loss,
        );
        if let Some(loss) = validated.train_loss {
            self.draw(phase, &tag("loss"), step, loss);
        }
    }

    fn draw(&mut self, phase: &str, tag: &str, step: u64, value: f64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |since| since.as_secs_f64());
        if self.curves.is_none() {
            self.open_curves(phase);
        }
        if let Some(curves) = &mut self.curves {
            let written = curves
                .scalar(tag, step, value, now)
                .and_then(|()| curves.flush());
            self.remember(written);
        }
    }
}

/// `train: resumed from the checkpoint of 2026-11-28T18:40:12Z: step 1,200 of 5,000, epoch 2.40`
fn resumption(phase: &str, total_steps: u64, done: u64, resumed: Resumed) -> String {
    let time = resumed
        .saved
        .and_then(|time| Timestamp::try_from(time).ok());
    let of_time = time.and_then(|time| time.round(Unit::Second).ok());
    let of_time = of_time.map_or(String::new(), |time| format!(" of {time}"));
    format!(
        "{phase}: resumed from the checkpoint{of_time}: step {} of {}, epoch {:.2}",
        grouped(done),
        grouped(total_steps),
        resumed.epoch
    )
}

impl Listener for RunLog {
    fn on_event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Began {
                phase,
                finished: true,
                ..
            } => self.log(&format!("{phase}: finished before")),
            Event::Began {
                phase,
                total_steps,
                done,
                resumed,
                ..
            } => self.begin(phase, total_steps, done, resumed),
            Event::Stepped { done } => {
                self.worked = true;
                if let Some(job) = &mut self.job {
                    job.reach(done);
                }
            }
            Event::Validated(ref validated) => self.validated(validated),
            Event::Ended {
                phase,
                steps,
                reason,
            } => {
                if let Some(job) = self.job.take() {
                    job.finish();
                }
                let line = format!("{phase}: ended after {steps} steps: {reason}");
                let written = writeln!(self.file, "{line}");
                self.remember(written);
            }
            Event::Noted { text } => self.log(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_resumption_says_from_where() {
        let resumed = Resumed {
            epoch: 2.4,
            saved: Some(UNIX_EPOCH + Duration::from_millis(1_764_355_212_700)),
        };
        assert_eq!(
            resumption("train", 5000, 1200, resumed),
            "train: resumed from the checkpoint of 2025-11-28T18:40:13Z: step 1,200 of 5,000, epoch 2.40"
        );
    }
}
