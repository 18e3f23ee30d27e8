//! What the listeners of a run do with what they hear: progress on the terminal, lines in `log.txt`,
//! curves for TensorBoard.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ncs_eval::EventWriter;
use ncs_train::{Event, Listener};

use crate::progress::{Job, Progress};

/// Writes and shows what happens in a run.
#[derive(Debug)]
pub struct RunLog {
    progress: Progress,
    job: Option<Job>,
    file: File,
    folder: PathBuf,
    curves: Option<EventWriter>,
    /// Steps that the phase under way had done before this process.
    resumed_at: u64,
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
            trouble: None,
        })
    }

    /// Says a line on the terminal and in the log.
    pub fn say(&mut self, text: &str) {
        match &self.job {
            Some(job) => job.say(text),
            None => self.progress.say(text),
        }
        let written = writeln!(self.file, "{text}");
        self.remember(written);
    }

    /// What could not be written, if anything.
    pub fn finish(mut self) -> Option<io::Error> {
        if let Some(mut curves) = self.curves.take() {
            let flushed = curves.flush();
            self.remember(flushed);
        }
        self.trouble
    }

    fn remember(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.trouble.get_or_insert(error);
        }
    }

    fn begin(&mut self, phase: &str, total_steps: u64, done: u64) {
        if let Some(job) = self.job.take() {
            job.finish();
        }
        self.resumed_at = done;
        if done >= total_steps {
            return self.say(&format!("{phase}: finished before"));
        }
        if done > 0 {
            self.say(&format!("{phase}: going on after step {done}"));
        }
        let mut job = self.progress.job(phase, Some(total_steps), "steps");
        job.start_at(done);
        self.job = Some(job);
    }

    fn open_curves(&mut self) {
        let done = self.resumed_at;
        let folder = self.folder.join("tensorboard");
        let opened = match done {
            0 => EventWriter::create(&folder),
            _ => EventWriter::resume(&folder, done),
        };
        match opened {
            Ok(curves) => self.curves = Some(curves),
            Err(error) => self.remember(Err(error)),
        }
    }

    fn draw(&mut self, tag: &str, step: u64, value: f64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |since| since.as_secs_f64());
        if self.curves.is_none() {
            self.open_curves();
        }
        if let Some(curves) = &mut self.curves {
            let written = curves
                .scalar(tag, step, value, now)
                .and_then(|()| curves.flush());
            self.remember(written);
        }
    }
}

impl Listener for RunLog {
    fn hear(&mut self, event: &Event<'_>) {
        match *event {
            Event::Began {
                phase,
                total_steps,
                done,
            } => self.begin(phase, total_steps, done),
            Event::Stepped { done } => {
                if let Some(job) = &mut self.job {
                    job.reach(done);
                }
            }
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
            } => {
                let trained = train_loss.map_or(String::new(), |loss| format!("loss {loss:.4}, "));
                let mark = if best { ", the best so far" } else { "" };
                self.say(&format!(
                    "{phase}: epoch {epoch:.2}, {task}: {trained}validation loss \
                     {validation_loss:.4}, {metric} {value:.4}{mark}"
                ));
                let metric = metric.replace(' ', "_").to_lowercase();
                self.draw(&format!("{phase}/{task}/validation_{metric}"), step, value);
                self.draw(
                    &format!("{phase}/{task}/validation_loss"),
                    step,
                    validation_loss,
                );
                if let Some(loss) = train_loss {
                    self.draw(&format!("{phase}/{task}/loss"), step, loss);
                }
            }
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
            Event::Noted(text) => self.say(text),
        }
    }
}
