//! Delays of conversions, learned from the training rows that are old enough to be final.

use crate::block::Block;
use crate::error::{EncodeError, FitError};
use crate::labels;
use crate::late::{DelaySample, LateMethod};
use crate::row_terms::late_values;
use crate::schema::Task;

/// Adds the delays of a block's mature rows to the samples, task by task.
///
/// # Errors
/// A label or a time is not valid: see [`EncodeError`].
pub(crate) fn observe(
    tasks: &[Task],
    block: &Block,
    samples: &mut [DelaySample],
) -> Result<(), EncodeError> {
    if tasks.iter().all(|task| task.row_rules.late.is_none()) {
        return Ok(());
    }
    let mut labels = labels::labels(tasks, block)?;
    let terms = labels::terms(tasks, block, &mut labels)?;
    for ((task, sample), terms) in tasks.iter().zip(samples).zip(terms) {
        let Some(late) = &task.row_rules.late else {
            continue;
        };
        let values = late_values(task, late, block)?;
        let ages = terms.ages.iter().zip(&terms.known_shares);
        let labelled = ages.filter(|(_, known)| !known.is_nan());
        labelled.for_each(|(&age, _)| sample.see(late, age));
        let times = terms.delays.iter().zip(&terms.ages).enumerate();
        for (row, (delay, _)) in times.filter(|(_, (d, age))| !d.is_nan() && **age >= 1.0) {
            sample.add(values.get(row).map_or("", String::as_str), *delay);
        }
    }
    Ok(())
}

/// Fits the rules of tasks to the delays of mature rows; where these are too few, they keep the delays of the model
/// that training goes on from, whose tasks are `base`.
///
/// # Errors
/// A task needs delays, and there are none; or it needs older rows than there are.
pub(crate) fn fit(
    tasks: &mut [Task],
    samples: Vec<DelaySample>,
    base: &[Task],
) -> Result<(), FitError> {
    for (t, (task, delays)) in tasks.iter_mut().zip(samples).enumerate() {
        let Some(late) = &mut task.row_rules.late else {
            continue;
        };
        let earlier = base.get(t).and_then(|task| task.row_rules.late.as_ref());
        let earlier = earlier.filter(|earlier| !earlier.delays.is_empty());
        if let Some(earlier) = earlier.filter(|_| delays.is_few(late)) {
            late.delays = earlier.delays.clone();
            late.delays_of = earlier.delays_of.clone();
            continue;
        }
        if late.method == LateMethod::DelayDistribution && delays.is_empty() {
            return Err(FitError::NoDelays {
                task: task.name.clone(),
            });
        }
        if delays.is_short(late) {
            return Err(FitError::ShortLog {
                task: task.name.clone(),
                days: ((2.0 - late.elapsed) * late.window / 86_400.0).to_string(),
            });
        }
        late.fit(delays);
    }
    Ok(())
}
