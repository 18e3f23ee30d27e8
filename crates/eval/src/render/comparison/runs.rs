//! Tables of every run and every trial, with links to their folders.

use super::tables::{Cell, Table};
use crate::comparison::{DataInput, DataResult, FigureKey, MeasuredRun, MethodInput, Trial};
use crate::render::numbers::{ABSENT, fixed};

/// Returns the runs of a data set with their figures.
pub(super) fn runs(data: &DataInput, result: &DataResult) -> Table {
    let keys = result.keys();
    let row = |(method, run): (&MethodInput, &MeasuredRun)| {
        let cell = |key: &FigureKey| {
            let decimals = key.known().map_or(4, |figure| figure.decimals);
            let value = run.figure(key);
            Cell::number(value.map_or(ABSENT.to_owned(), |value| fixed(value, decimals)))
        };
        let mut cells = vec![
            Cell::words(&method.name),
            Cell::number(run.seed.to_string()),
        ];
        cells.push(folder(&run.folder));
        cells.extend(keys.iter().map(cell));
        cells
    };
    let methods = data.methods.iter();
    let runs = methods.flat_map(|method| method.seeds.iter().map(move |run| (method, run)));
    let mut header: Vec<String> = ["method", "seed", "folder"].map(String::from).into();
    header.extend(keys.iter().map(FigureKey::to_string));
    Table {
        caption: format!("{}: runs", data.name),
        header,
        rows: runs.map(row).collect(),
    }
}

/// Returns the trials before the settings were chosen; `None` without any.
pub(super) fn trials(data: &DataInput) -> Option<Table> {
    let row = |(method, at, trial): (&MethodInput, usize, &Trial)| {
        let is_picked = method.picked == Some(at);
        let validation = trial
            .validation
            .map_or(ABSENT.to_owned(), |value| fixed(value, 4));
        vec![
            Cell::words(&method.name),
            Cell::words(trial.settings.join(", ")),
            Cell {
                bold: is_picked,
                ..Cell::number(validation)
            },
            Cell::words(if is_picked { "chosen" } else { "" }),
            folder(&trial.folder),
        ]
    };
    let of_method = |method: &'_ MethodInput| {
        let trials = method.trials.iter().enumerate();
        trials
            .map(|(at, trial)| row((method, at, trial)))
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = data.methods.iter().flat_map(of_method).collect();
    (!rows.is_empty()).then(|| Table {
        caption: format!("{}: trials", data.name),
        header: ["method", "settings", "validation", "", "folder"]
            .map(String::from)
            .into(),
        rows,
    })
}

fn folder(path: &str) -> Cell {
    Cell {
        is_words: true,
        links: vec![(path.to_owned(), path.to_owned())],
        ..Cell::default()
    }
}
