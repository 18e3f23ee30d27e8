//! `ncs tune`

use super::{Outcome, print};
use crate::arguments::Tune;
use crate::interrupt;
use ncs_eval::tuning::Tuning;
use ncs_experiments::progress::Progress;
use ncs_experiments::tune;

/// Tunes a run file and prints the chosen settings.
///
/// # Errors
/// The run file, its data or the folder; or it was asked to stop.
pub fn run(arguments: &Tune, progress: Progress) -> Outcome {
    let run = &arguments.run;
    let tuning = tune::run(
        &run.file,
        &run.assignments,
        &arguments.out,
        arguments.budget,
        progress,
        interrupt::flag()?,
    )?;
    print(&in_words(&tuning))?;
    let tuned = arguments.out.join("tuned.toml");
    progress.log(&format!(
        "report: {}\ntrain it: ncs train {} --out DIR",
        arguments.out.join("tune.html").display(),
        tuned.display()
    ));
    Ok(())
}

fn in_words(tuning: &Tuning) -> String {
    let score = |score: Option<f64>| score.map_or("none".to_owned(), |score| format!("{score:.4}"));
    let best = tuning.best.as_ref();
    let mut text = format!(
        "{} trainings; validation score: {} best, {} with the run file as it is\n",
        tuning.trials.len(),
        score(best.and_then(|best| best.validation_score)),
        score(tuning.untouched)
    );
    match best.filter(|best| !best.settings.is_empty()) {
        Some(best) => {
            for (key, value) in &best.settings {
                text += &format!("  {key} = {value}\n");
            }
        }
        None => text += "  no other settings validated better\n",
    }
    if let Some(most) = tuning.effects.first() {
        text += &format!(
            "most important setting: {} ({:.4})\n",
            most.setting,
            most.spread()
        );
    }
    text
}
