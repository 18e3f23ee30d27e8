//! Numbers of rows beside their labels: weights.

use ncs_features::labels::{labels, terms};
use ncs_features::{Batch, Block, Column, LabelCounts, Pick, RowRules, RowTerms, Task, Values};
use ncs_testkit::{task, task_where};

fn column(name: &str, values: &[f64]) -> Column {
    Column {
        name: name.into(),
        values: Values::Float(values.into()),
        ..Column::default()
    }
}

fn weighted(task: Task, column: &str) -> Task {
    Task {
        row_rules: RowRules {
            weight_column: Some(column.into()),
            ..RowRules::default()
        },
        ..task
    }
}

fn read(tasks: &[Task], columns: Vec<Column>) -> Result<Batch, String> {
    let n_rows = columns[0].values.len();
    let block = Block { n_rows, columns };
    let mut labels = labels(tasks, &block).unwrap();
    let terms = terms(tasks, &block, &mut labels).map_err(|error| error.to_string())?;
    Ok(Batch {
        n_rows,
        truths: vec![Vec::new(); tasks.len()],
        labels,
        terms,
        ..Batch::default()
    })
}

#[test]
fn a_row_of_weight_0_has_no_label_and_decides_on_other_tasks_all_the_same() {
    let tasks = [weighted(task("ctr"), "w"), task_where("cvr", 0)];
    let clicks = column("ctr", &[1.0, 0.0, 1.0, 1.0]);
    let batch = read(
        &tasks,
        vec![
            clicks,
            column("cvr", &[1.0, 1.0, 0.0, f64::NAN]),
            column("w", &[0.0, 2.5, 1.0, 0.5]),
        ],
    )
    .unwrap();
    assert_eq!(
        format!("{:?}", batch.labels),
        "[[NaN, 0.0, 1.0, 1.0], [1.0, NaN, 0.0, NaN]]"
    );
    assert_eq!(batch.terms(0).weights, [0.0, 2.5, 1.0, 0.5]);
    assert_eq!(batch.terms(1), &RowTerms::default());
    let mut counts = LabelCounts::new(2);
    counts.observe(&batch);
    assert_eq!(counts.tasks[0].masses(), [4.0, 1.5]);
    assert_eq!(counts.tasks[1].masses(), [2.0, 1.0]);
    assert_eq!(counts.tasks[0].known, 3);
    assert_eq!(counts.tasks[0].weighted_rate(), 0.375);
}

#[test]
fn weights_that_are_none_are_refused_with_column_and_row() {
    let check = |weights: &[f64], found: &str| {
        let tasks = [weighted(task("ctr"), "w")];
        let columns = vec![
            column("ctr", &vec![1.0; weights.len()]),
            column("w", weights),
        ];
        let expected = format!(
            "column \"w\", row {}: the weight of task \"ctr\" is {found}; it must be a finite number, at least 0",
            weights.len()
        );
        assert_eq!(read(&tasks, columns).unwrap_err(), expected);
    };
    check(&[1.0, -0.5], "-0.5");
    check(&[1.0, 2.0, f64::INFINITY], "inf");
    check(&[f64::NAN], "missing");
    check(&[1.0, 1e39], &format!("1{}", "0".repeat(39)));
    let tasks = [weighted(task("ctr"), "w")];
    let absent = read(&tasks, vec![column("ctr", &[1.0])]).unwrap_err();
    assert!(
        absent.starts_with("no column \"w\", which the weight of task \"ctr\" reads"),
        "{absent}"
    );
}

#[test]
fn a_row_whose_label_is_unknown_needs_no_weight() {
    let tasks = [task("ctr"), weighted(task_where("cvr", 0), "w")];
    let columns = vec![
        column("ctr", &[0.0, 1.0]),
        column("cvr", &[0.0, 1.0]),
        column("w", &[f64::NAN, 3.0]),
    ];
    let batch = read(&tasks, columns).unwrap();
    assert_eq!(batch.terms(1).weights, [0.0, 3.0]);
}

#[test]
fn rows_keep_their_weights_when_they_are_picked() {
    let tasks = [task("ctr"), weighted(task("cvr"), "w")];
    let columns = || {
        vec![
            column("ctr", &[0.0, 1.0, 0.0]),
            column("cvr", &[0.0, 1.0, 1.0]),
            column("w", &[1.0, 2.0, 3.0]),
        ]
    };
    let batch = read(&tasks, columns()).unwrap();
    assert_eq!(batch.select(&[2, 0]).terms(1).weights, [3.0, 1.0]);
    let mut gathered = Batch::empty_like(&batch);
    let picks = [Pick::new(0, 1), Pick::new(1, 2)];
    gathered.gather(&[batch.clone(), batch.clone()], &picks);
    assert_eq!(gathered.terms(1).weights, [2.0, 3.0]);
    gathered.push_row(&batch, 0);
    assert_eq!(gathered.terms(1).weights, [2.0, 3.0, 1.0]);
    assert_eq!(gathered.terms(0), &RowTerms::default());
}
