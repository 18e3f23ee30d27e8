//! `ncs plan`: what several processes would make of a training.

use std::fs;

use ncs_experiments::distributed_plan::{Cluster, Measuring, Planned, measure};
use ncs_experiments::progress::Progress;

use super::{Outcome, open, print, print_json};
use crate::arguments::Plan;
use crate::interrupt;

/// Measures the costs of a step, or reads them, and prints what follows from them.
///
/// # Errors
/// The run file or its data, the file of the costs; or it was asked to stop.
pub fn run(arguments: &Plan, progress: Progress) -> Outcome {
    let file = open(&arguments.run, progress)?;
    let costs = match &arguments.costs {
        Some(path) => {
            let text = fs::read_to_string(path);
            let text =
                text.map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
            Planned::costs_of(&text).map_err(|error| {
                format!(
                    "{}: not what `ncs plan --json` prints: {error}",
                    path.display()
                )
            })?
        }
        None => {
            let measuring = Measuring {
                time: arguments.time,
                steps: u64::MAX,
            };
            measure(&file, measuring, progress, interrupt::flag()?)?
        }
    };
    let cluster = Cluster {
        ranks: arguments.ranks,
        gbit: arguments.gbit,
        latency_ms: arguments.latency_ms,
        rows: arguments.rows.unwrap_or(costs.log_rows),
        table_rows: arguments.table_rows,
    };
    let planned = Planned::of(costs, cluster);
    if arguments.json {
        print_json(&planned)
    } else {
        print(&planned.text())
    }
}
