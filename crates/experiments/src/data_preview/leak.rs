//! Features that predict a label too well to be known before it.

use ncs_features::{Field, SchemaPlan, Task};

use crate::column_auc::{auc_of_number, auc_of_values};

use super::gathered::Gathered;

/// AUC that no single feature known before the event reaches.
const SUSPICIOUS_AUC: f64 = 0.98;

/// Minimum number of labels of each class for a test.
const MIN_LABELS: usize = 10;

/// Maximum number of rows that are tested.
const MAX_ROWS: usize = 100_000;

/// Warns about a feature that seems to be written after the labelled event. `labels` are those of the rows,
/// `[task][row]`.
pub(super) fn suspicion(
    field: &Field,
    plan: &SchemaPlan,
    gathered: &Gathered,
    labels: &[Vec<f32>],
) -> Option<String> {
    let tasks = plan.tasks.iter().zip(labels);
    let mut warnings = tasks.filter_map(|(task, labels)| of_task(field, task, gathered, labels));
    warnings.next()
}

fn of_task(field: &Field, task: &Task, gathered: &Gathered, labels: &[f32]) -> Option<String> {
    let known = (0..gathered.n_rows().min(labels.len())).filter(|&row| !labels[row].is_nan());
    let rows: Vec<usize> = known.take(MAX_ROWS).collect();
    let classes: Vec<f32> = rows
        .iter()
        .map(|&row| f32::from(labels[row] > 0.0))
        .collect();
    let positives = classes.iter().filter(|class| **class == 1.0).count();
    if positives < MIN_LABELS || classes.len() - positives < MIN_LABELS {
        return None;
    }
    let label = format!("the label of task {:?}", task.name);
    let what = match label_of_nulls(gathered, &rows, &classes) {
        Some(at) => format!("is null exactly where {label} is {at}"),
        None => {
            let by_values = auc_of_values(gathered, &rows, &classes);
            let best = by_values.max(auc_of_number(gathered, &rows, &classes));
            if best <= SUSPICIOUS_AUC {
                return None;
            }
            format!("alone ranks {label} with an AUC of {best:.3}")
        }
    };
    Some(format!(
        "column {:?} {what}: probably a leak, written after the event; leave it out unless it is known when the \
         model is queried",
        field.column
    ))
}

/// Returns the label whose rows are exactly those without a value, if there is one.
fn label_of_nulls(gathered: &Gathered, rows: &[usize], classes: &[f32]) -> Option<f32> {
    let pairs = || {
        let is_null = rows.iter().map(|&row| gathered.row(row).is_empty());
        is_null.zip(classes)
    };
    let matches = |at: &f32| pairs().all(|(is_null, class)| is_null == (class == at));
    [0.0, 1.0].into_iter().find(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_preview::gathered::Reads;
    use ncs_features::{Block, Column, Texts, Values};

    fn task() -> Task {
        Task {
            label: "buy".into(),
            ..ncs_testkit::task("cvr")
        }
    }

    fn suspected(values: Values, nulls: Vec<bool>, labels: &[f32]) -> String {
        let field = Field {
            name: "x".into(),
            column: "x".into(),
            table: 0,
            pooling: None,
            separator: None,
            max_values: None,
            beside: Default::default(),
            missing: vec![],
        };
        let reads = if matches!(values, Values::Text(_)) {
            Reads::Texts
        } else {
            Reads::Numbers
        };
        let column = Column {
            name: "x".into(),
            values,
            offsets: None,
            nulls,
        };
        let block = Block {
            n_rows: labels.len(),
            columns: vec![column],
        };
        let plan = SchemaPlan {
            fields: vec![],
            tables: vec![],
            tasks: vec![task()],
            group: None,
            rates: Default::default(),
        };
        let gathered = Gathered::of(&field, reads, [&block].into_iter());
        let warning = suspicion(&field, &plan, &gathered, &[labels.to_vec()]);
        warning.unwrap_or_default()
    }

    fn labels() -> Vec<f32> {
        (0..400).map(|row| f32::from(row % 7 == 0)).collect()
    }

    fn texts(text: impl Fn(usize) -> String) -> Values {
        let mut texts = Texts::default();
        (0..400).for_each(|row| texts.push(text(row).as_bytes()));
        Values::Text(texts)
    }

    #[test]
    fn a_column_that_is_null_where_the_label_is_0_is_suspected() {
        let labels = labels();
        let nulls: Vec<bool> = labels.iter().map(|label| *label == 0.0).collect();
        let warning = suspected(Values::Int((0..400).collect()), nulls.clone(), &labels);
        assert!(
            warning.contains("is null exactly where the label of task \"cvr\" is 0"),
            "{warning}"
        );
        let warning = suspected(texts(|row| format!("order {row}")), nulls, &labels);
        assert!(warning.contains("of task \"cvr\""), "{warning}");
    }

    #[test]
    fn a_number_or_a_category_that_predicts_the_label_is_suspected() {
        let labels = labels();
        let revenue = |label: &f32| f64::from(*label) * 9.5;
        let revenue = Values::Float(labels.iter().map(revenue).collect());
        let warning = suspected(revenue, vec![], &labels);
        assert!(warning.contains("an AUC of 1.000"), "{warning}");
        let less = Values::Float(labels.iter().map(|label| f64::from(-label)).collect());
        assert!(!suspected(less, vec![], &labels).is_empty());
        let state = texts(|row| ["shown", "paid"][usize::from(row % 7 == 0)].to_owned());
        assert!(!suspected(state, vec![], &labels).is_empty());
        // Codes that are not in the order of the label.
        let middle = |row: usize| {
            if row.is_multiple_of(7) {
                5
            } else {
                [1, 9][row % 2]
            }
        };
        let middle = Values::Int((0..400).map(middle).collect());
        assert!(!suspected(middle, vec![], &labels).is_empty());
    }

    #[test]
    fn ids_with_many_values_are_not_suspected() {
        let labels = labels();
        for n_ids in [400, 200, 37] {
            let warning = suspected(
                texts(|row| format!("user {}", row * 31 % n_ids)),
                vec![],
                &labels,
            );
            assert_eq!(warning, "", "{n_ids} ids");
        }
        let warning = suspected(Values::Int((0..400).collect()), vec![], &labels);
        assert_eq!(warning, "");
        let few = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let revenue = Values::Float(few.iter().map(|label| f64::from(*label)).collect());
        assert_eq!(suspected(revenue, vec![], &few), "");
    }
}
