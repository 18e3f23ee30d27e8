//! Features that tell a label too well to be known before it.

use ncs_features::{Field, SchemaPlan, Task};

use crate::column_auc::{auc_of_number, auc_of_values};

use super::gathered::Gathered;

/// An AUC that no feature alone reaches that is known before the event.
const TOO_GOOD: f64 = 0.98;

/// Fewer labels of a kind than this prove nothing.
const FEW: usize = 10;

/// Rows that are looked at, of which there may be millions.
const MOST_ROWS: usize = 100_000;

/// Why a feature is suspected to be written after the event that a label tells, if it is; `labels` are those
/// of the rows, `[task][row]`.
pub(super) fn suspicion(
    field: &Field,
    plan: &SchemaPlan,
    gathered: &Gathered,
    labels: &[Vec<f32>],
) -> Option<String> {
    let tasks = plan.tasks.iter().zip(labels);
    let mut found = tasks.filter_map(|(task, labels)| of_task(field, task, gathered, labels));
    found.next()
}

fn of_task(field: &Field, task: &Task, gathered: &Gathered, labels: &[f32]) -> Option<String> {
    let known = (0..gathered.n_rows().min(labels.len())).filter(|&row| !labels[row].is_nan());
    let rows: Vec<usize> = known.take(MOST_ROWS).collect();
    let truths: Vec<f32> = rows
        .iter()
        .map(|&row| f32::from(labels[row] > 0.0))
        .collect();
    let positives = truths.iter().filter(|truth| **truth == 1.0).count();
    if positives < FEW || truths.len() - positives < FEW {
        return None;
    }
    let label = format!("the label of task {:?}", task.name);
    let what = match nulls_tell(gathered, &rows, &truths) {
        Some(at) => format!("is null exactly where {label} is {at}"),
        None => {
            let by_values = auc_of_values(gathered, &rows, &truths);
            let found = by_values.max(auc_of_number(gathered, &rows, &truths));
            if found <= TOO_GOOD {
                return None;
            }
            format!("alone ranks {label} with an AUC of {found:.3}")
        }
    };
    Some(format!(
        "column {:?} {what}: a leak, it seems, that is written after the event; leave it out unless it is known \
         when the model is asked",
        field.column
    ))
}

/// The label at which there is no value, where there is none exactly there.
fn nulls_tell(gathered: &Gathered, rows: &[usize], truths: &[f32]) -> Option<f32> {
    let pairs = || {
        let is_null = rows.iter().map(|&row| gathered.row(row).is_empty());
        is_null.zip(truths)
    };
    let tells = |at: &f32| pairs().all(|(is_null, truth)| is_null == (truth == at));
    [0.0, 1.0].into_iter().find(tells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::{Block, Column, Objective, Population, Texts, Values};

    fn task() -> Task {
        Task {
            name: "cvr".into(),
            label: "buy".into(),
            population: Population::All,
            objective: Objective::CrossEntropy,
            weight: 1.0,
            truth: None,
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
            missing: vec![],
        };
        let is_numeric = !matches!(values, Values::Text(_));
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
        };
        let gathered = Gathered::of(&field, is_numeric, [&block].into_iter());
        let found = suspicion(&field, &plan, &gathered, &[labels.to_vec()]);
        found.unwrap_or_default()
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
        let found = suspected(Values::Int((0..400).collect()), nulls.clone(), &labels);
        assert!(
            found.contains("is null exactly where the label of task \"cvr\" is 0"),
            "{found}"
        );
        let found = suspected(texts(|row| format!("order {row}")), nulls, &labels);
        assert!(found.contains("of task \"cvr\""), "{found}");
    }

    #[test]
    fn a_number_or_a_category_that_tells_the_label_is_suspected() {
        let labels = labels();
        let revenue = |label: &f32| f64::from(*label) * 9.5;
        let revenue = Values::Float(labels.iter().map(revenue).collect());
        let found = suspected(revenue, vec![], &labels);
        assert!(found.contains("an AUC of 1.000"), "{found}");
        let less = Values::Float(labels.iter().map(|label| f64::from(-label)).collect());
        assert!(!suspected(less, vec![], &labels).is_empty());
        let state = texts(|row| ["shown", "paid"][usize::from(row % 7 == 0)].to_owned());
        assert!(!suspected(state, vec![], &labels).is_empty());
        // Codes in no order of the label.
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
    fn ids_of_many_values_are_not_accused() {
        let labels = labels();
        for n_ids in [400, 200, 37] {
            let found = suspected(
                texts(|row| format!("user {}", row * 31 % n_ids)),
                vec![],
                &labels,
            );
            assert_eq!(found, "", "{n_ids} ids");
        }
        let found = suspected(Values::Int((0..400).collect()), vec![], &labels);
        assert_eq!(found, "");
        let few = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let revenue = Values::Float(few.iter().map(|label| f64::from(*label)).collect());
        assert_eq!(suspected(revenue, vec![], &few), "");
    }
}
