//! `ncs promote`: promotes a candidate unless it is worse than the live model.

use crate::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ncs_eval::render::fixed;
use ncs_eval::text_table;
use ncs_model::artifact::Artifact;

use super::{Outcome, model, print, print_json};
use crate::arguments::daily::Promote;
use crate::interrupt;
use crate::progress::{Progress, grouped};
use crate::promotion::{
    self, Action, Gate, GateSettings, GateTest, Promotion, PromotionListener, PromotionPlan,
    PromotionRows, Refused, Served,
};
use crate::scoring;

/// Compares, decides, and moves the link of the served model; or moves it back.
///
/// # Errors
/// The candidate is refused, a model or the rows cannot be read, files cannot be written, or it was asked to stop.
pub fn run(arguments: &Promote, progress: Progress) -> Outcome {
    let Some(promotion) = make(arguments, progress, interrupt::flag()?)? else {
        let live = arguments.live.display();
        return print(&format!(
            "{live}: the candidate is already live; nothing changed\n"
        ));
    };
    if arguments.json {
        print_json(&promotion)?
    } else {
        print(&in_words(&promotion, arguments))?
    }
    match (promotion.action, promotion.gate) {
        (Action::Refused, Some(gate)) => Err(Refused {
            reasons: gate.reasons,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Compares and decides; returns what was recorded, `None` if the candidate serves already.
///
/// # Errors
/// As [`run`], but for a refusal, which is returned.
pub fn make(
    arguments: &Promote,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Option<Promotion>, Error> {
    let served = Served::new(&arguments.live)?;
    let Some(candidate) = &arguments.candidate else {
        return Ok(Some(promotion::roll_back(&served, arguments.dry_run)?));
    };
    let rows = arguments.rows();
    let files = model::files(&rows)?;
    let plan = PromotionPlan {
        gate: GateSettings {
            level: arguments.level,
            tolerance: arguments.tolerance,
            calibration_bound: arguments.calibration_bound,
            min_labels: arguments.min_labels,
            slices: arguments.slices.clone(),
        },
        keep: arguments.keep,
        dry_run: arguments.dry_run,
        threads: arguments.threads,
    };
    let models = models_of_lookups(arguments);
    let compared = PromotionRows {
        named: &arguments.data,
        files: &files,
        reading: &model::reading(&rows, &models),
    };
    let mut job = progress.job("compare", None, "rows");
    let mut listener = PromotionListener {
        note: &mut |text| progress.log(&format!("note: {text}")),
        advance: &mut |rows| job.advance(rows),
        finish: &mut |encoded| model::log_notes(encoded, &rows, progress),
    };
    let promotion = promotion::promote(candidate, &served, &compared, &plan, stop, &mut listener)?;
    job.finish();
    Ok(promotion)
}

/// Returns the candidate and the live model where they are needed to know how features are looked up; what cannot be read
/// is refused later.
fn models_of_lookups(arguments: &Promote) -> Vec<Artifact> {
    let named = arguments.candidate.iter().chain([&arguments.live]);
    let is_needed = |_: &&PathBuf| !arguments.lookups.is_empty();
    let read = |path: &PathBuf| Artifact::read(&scoring::model_folder(path)).ok();
    named.filter(is_needed).filter_map(read).collect()
}

fn in_words(promotion: &Promotion, arguments: &Promote) -> String {
    let table = promotion.gate.as_ref().map_or(String::new(), table);
    let live = arguments.live.display();
    let version = promotion.version.as_deref().unwrap_or_default();
    let replaced = promotion.replaced.as_ref();
    let replaced = replaced.map_or(String::new(), |replaced| format!(" (previous: {replaced})"));
    let verdict = match promotion.action {
        Action::Refused => "refused".to_owned(),
        _ if arguments.dry_run && arguments.candidate.is_some() => {
            format!("{live}: would be promoted; nothing was changed (--dry-run)")
        }
        Action::Promoted => format!("{live}: now serves {version}{replaced}"),
        Action::RolledBack => format!(
            "{live}: {} {version} again{replaced}",
            if arguments.dry_run {
                "would serve"
            } else {
                "serves"
            }
        ),
    };
    format!("{table}{verdict}\n")
}

fn table(gate: &Gate) -> String {
    const HEADER: [&str; 10] = [
        "task",
        "slice",
        "rows",
        "positives",
        "candidate",
        "live",
        "difference",
        "p (worse)",
        "predicted / observed",
        "live's",
    ];
    let number = |value: Option<f64>, decimals| fixed(value.unwrap_or(f64::NAN), decimals);
    let row = |test: &GateTest| {
        let slice = test.slice.as_ref();
        let live = test.live.unwrap_or_default();
        let error = test
            .error
            .map_or(String::new(), |error| format!(" ({error:.4})"));
        let difference = test
            .difference
            .map(|difference| format!("{difference:+.4}{error}"));
        vec![
            test.task.clone(),
            slice.map_or("all rows".to_owned(), |s| {
                format!("{} = {}", s.column, s.value)
            }),
            grouped(test.rows),
            grouped(test.positives),
            number(test.candidate.tested().1, 4),
            number(live.tested().1, 4),
            difference.unwrap_or_else(|| fixed(f64::NAN, 4)),
            number(test.p_value, 4),
            number(test.candidate.pcoc, 3),
            number(live.pcoc, 3),
        ]
    };
    let rows: Vec<Vec<String>> = gate.tests.iter().map(row).collect();
    let n_tests = gate
        .tests
        .iter()
        .filter(|test| test.p_value.is_some())
        .count();
    let mut text = text_table(&HEADER, &rows);
    text += &format!(
        "Candidate and live: AUC (of a ratio, squared error; of a value, the relative one); difference with its standard error; p corrected for \
         {n_tests} tests, level {}.\n",
        gate.settings.level
    );
    if gate.left_out > 0 {
        text += &format!(
            "{} slices skipped: fewer than {} labels of a class, or beyond the 50 most frequent values.\n",
            gate.left_out, gate.settings.min_labels
        );
    }
    text
}
