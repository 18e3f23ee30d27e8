//! `ncs forget`: values erased from a model and what was written beside it.

use std::sync::atomic::AtomicBool;

use ncs_eval::text_table;
use ncs_experiments::forget::{self, ForgetPlan, Forgotten, Found, SharedRows};

use super::{Outcome, print, print_json};
use crate::arguments::daily::Forget;
use crate::error::Error;
use crate::interrupt;
use crate::progress::{Progress, grouped};

/// Erases, and prints every file and folder that held a value.
///
/// # Errors
/// The model or the values cannot be read, a file cannot be written, it was asked to stop, or the search afterwards still
/// finds a value, or could not look at a file.
pub fn run(arguments: &Forget, progress: Progress) -> Outcome {
    let forgotten = make(arguments, progress, interrupt::flag()?)?;
    if arguments.json {
        print_json(&forgotten)?;
    } else {
        print(&text(&forgotten))?;
    }
    if forgotten.dry_run || forgotten.is_complete() {
        return Ok(());
    }
    Err(remaining(&forgotten).into())
}

/// Erases.
///
/// # Errors
/// As [`run`], but for what remains.
pub fn make(arguments: &Forget, progress: Progress, stop: &AtomicBool) -> Result<Forgotten, Error> {
    let plan = ForgetPlan {
        model: arguments.model.clone(),
        column: arguments.column.clone(),
        values: forget::read_values(&arguments.values)?,
        also: arguments.also.clone(),
        dry_run: arguments.dry_run,
    };
    forget::forget(&plan, &mut |note| progress.log(&note), stop)
}

/// Says what still holds values, and what to do.
fn remaining(forgotten: &Forgotten) -> String {
    let left = forgotten.left.iter();
    let left =
        left.map(|found| format!("{} ({}: {})", found.path.display(), found.kind, found.what));
    let all: Vec<String> = left.chain(forgotten.unsearched.iter().cloned()).collect();
    format!(
        "not everything is erased: {}; delete the values from logs and files of yours, stop a server that writes its \
         score log, and run the same command again",
        all.join("; ")
    )
}

fn text(forgotten: &Forgotten) -> String {
    let row = |found: &Found| {
        vec![
            found.path.display().to_string(),
            found.kind.to_owned(),
            found.what.clone(),
            action(forgotten, found),
        ]
    };
    let rows: Vec<Vec<String>> = forgotten.found.iter().map(row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text += &text_table(&["found in", "kind", "what held values", "action"], &rows);
    }
    for SharedRows {
        table,
        rows,
        others,
    } in &forgotten.shared
    {
        text += &format!(
            "table {table} is hashed: {} rows were reset, each shared with {others:.2} other values on average; these score as \
             unseen ones until they are trained again\n",
            grouped(*rows as u64)
        );
    }
    let n = |n: usize| grouped(n as u64);
    text + &if forgotten.dry_run {
        format!(
            "{} values of {}: found in {} places of {} files; nothing was changed\n",
            n(forgotten.values),
            forgotten.column,
            n(forgotten.found.len()),
            n(forgotten.searched)
        )
    } else {
        format!(
            "{} values of {}: held by {} of {} files and folders; a search afterwards found {}\n",
            n(forgotten.values),
            forgotten.column,
            n(forgotten.found.len()),
            n(forgotten.searched),
            match forgotten.left.len() {
                0 => "nothing".to_owned(),
                left => format!("{left} that still hold one"),
            }
        )
    }
}

fn action(forgotten: &Forgotten, found: &Found) -> String {
    use ncs_experiments::forget::Action;
    let (done, to_do) = match found.action {
        Action::Rewritten => ("rewritten", "to rewrite"),
        Action::Deleted => ("deleted", "to delete"),
        Action::Left => ("left as it is", "not changed by this command"),
    };
    if forgotten.dry_run { to_do } else { done }.to_owned()
}
