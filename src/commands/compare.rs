//! `ncs compare`

use super::{Outcome, print};
use crate::arguments::compare::Compare;
use crate::interrupt;
use ncs_eval::Comparison;
use ncs_experiments::compare;
use ncs_experiments::progress::Progress;

/// Runs a comparison and prints its verdicts.
///
/// # Errors
/// The file, its settings or the folder; a run that failed; or it was asked to stop.
pub fn run(arguments: &Compare, progress: Progress) -> Outcome {
    let options = arguments.options();
    let compared = compare::run(
        &arguments.file,
        &arguments.out,
        options,
        progress,
        interrupt::flag()?,
    )?;
    print(&verdicts(&compared.comparison))?;
    progress.log(&format!(
        "report: {}",
        arguments.out.join("report.html").display()
    ));
    match compared.failed.as_slice() {
        [] => Ok(()),
        failed => Err(format!("{} runs failed:\n{}", failed.len(), failed.join("\n")).into()),
    }
}

/// Summary of the comparison for each data set, in sentences.
fn verdicts(comparison: &Comparison) -> String {
    let of_data = |data: &ncs_eval::comparison::DataResult| {
        let sentences: String = data
            .sentences
            .iter()
            .map(|sentence| format!("- {sentence}\n"))
            .collect();
        format!("{}\n{sentences}\n", data.name)
    };
    comparison.data.iter().map(of_data).collect()
}
