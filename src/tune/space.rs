//! The settings that are tried: those that the run file leaves open.

use std::collections::BTreeMap;

use ncs_eval::tuning::{TuningEffect, TuningLevel, TuningTrial};
use ncs_model::CounterRng;

use crate::run_file::RunFile;

/// Values of a setting.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// By equal ratios between two numbers.
    Ratio(f64, f64),
    /// One of these, as the run file writes them.
    OneOf(&'static [&'static str]),
}

const SETTINGS: [(&str, Values); 10] = [
    ("training.learning_rate", Values::Ratio(3e-4, 4e-3)),
    ("training.table_learning_rate", Values::Ratio(1e-4, 4e-3)),
    ("training.weight_decay", Values::Ratio(1e-7, 1e-2)),
    ("training.batch", Values::OneOf(&["256", "512", "1024"])),
    ("training.average", Values::OneOf(&["0", "0.99", "0.997"])),
    (
        "network.kind",
        Values::OneOf(&["\"sparse_sharing\"", "\"shared_bottom\"", "\"single_task\""]),
    ),
    ("network.dim", Values::OneOf(&["8", "16", "32"])),
    (
        "network.hidden",
        Values::OneOf(&["[128, 64]", "[256, 128]", "[512, 256, 128]"]),
    ),
    ("network.gram", Values::OneOf(&["\"none\"", "\"triangle\""])),
    ("network.dropout", Values::OneOf(&["0", "0.1", "0.2"])),
];

/// The weight of the task that counts the rows of another.
const WEIGHT: (f64, f64) = (0.3, 3.0);

/// Levels that a number's values are divided into for its effect.
const LEVELS: usize = 3;

/// The settings of a run file that are tried.
#[derive(Clone, Debug)]
pub(super) struct Space {
    settings: Vec<(String, Values)>,
    seed: u64,
    states_epochs: bool,
}

impl Space {
    /// What a run file does not state.
    pub(super) fn of(file: &RunFile) -> Space {
        let is_open = |key: &str| {
            let path: Vec<&str> = key.split('.').collect();
            !file.states(&path)
        };
        let known = SETTINGS.map(|(key, values)| (key.to_owned(), values));
        let tasks = &file.plan.schema.tasks;
        let last = tasks.last().filter(|_| tasks.len() > 1);
        let weight = last.map(|task| {
            let values = Values::Ratio(WEIGHT.0, WEIGHT.1);
            (format!("tasks.{}.weight", task.name), values)
        });
        let settings = known.into_iter().chain(weight);
        Space {
            settings: settings.filter(|(key, _)| is_open(key)).collect(),
            seed: file.plan.train.seed,
            states_epochs: file.states(&["training", "epochs"]),
        }
    }

    /// Whether the length of a training is open, so that the first rungs may shorten it.
    pub(super) fn may_shorten(&self) -> bool {
        !self.states_epochs
    }

    /// The settings of a trial as overrides of the run file; none for trial 0.
    pub(super) fn settings(&self, trial: usize) -> Vec<String> {
        if trial == 0 {
            return Vec::new();
        }
        let rng = CounterRng::new(self.seed, "tuning").at(trial as u64);
        let pairs = self.settings.iter().zip(0..);
        pairs
            .map(|((key, values), i)| format!("{key}={}", values.at(rng.uniform(i))))
            .collect()
    }
}

impl Values {
    /// The value at a share of the way through, in [0, 1).
    fn at(self, share: f64) -> String {
        match self {
            Values::Ratio(low, high) => {
                let exact = low * (high / low).powf(share);
                let rounded: f64 = format!("{exact:.2e}").parse().unwrap_or(exact);
                if rounded < 0.001 {
                    format!("{rounded:e}")
                } else {
                    rounded.to_string()
                }
            }
            Values::OneOf(values) => values[(share * values.len() as f64) as usize].to_owned(),
        }
    }
}

/// How the first rung's mean goodness differs between the values of each setting, the largest difference first.
pub(super) fn effects(trials: &[TuningTrial]) -> Vec<TuningEffect> {
    let first = trials.iter().filter(|trial| trial.rung == 0);
    let judged: Vec<(&TuningTrial, f64)> = first
        .filter_map(|trial| Some((trial, trial.goodness?)))
        .collect();
    let mut by_setting: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for (trial, goodness) in &judged {
        for (key, value) in &trial.settings {
            by_setting.entry(key).or_default().push((value, *goodness));
        }
    }
    let effect = |(setting, values): (&str, Vec<(&str, f64)>)| TuningEffect {
        setting: setting.to_owned(),
        levels: levels(values),
    };
    let mut effects: Vec<TuningEffect> = by_setting.into_iter().map(effect).collect();
    effects.sort_by(|a, b| b.spread().total_cmp(&a.spread()));
    effects
}

fn levels(values: Vec<(&str, f64)>) -> Vec<TuningLevel> {
    let mut groups: Vec<(String, Vec<f64>)> = Vec::new();
    let numbers: Option<Vec<f64>> = values.iter().map(|(text, _)| text.parse().ok()).collect();
    let distinct: std::collections::BTreeSet<&str> = values.iter().map(|v| v.0).collect();
    match numbers.filter(|_| distinct.len() > LEVELS) {
        Some(numbers) => {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
            for part in order.chunks(values.len().div_ceil(LEVELS)) {
                let name = format!(
                    "{} to {}",
                    values[part[0]].0,
                    values[part[part.len() - 1]].0
                );
                groups.push((name, part.iter().map(|&i| values[i].1).collect()));
            }
        }
        None => {
            let mut distinct: Vec<&str> = distinct.into_iter().collect();
            let number = |text: &str| text.parse().unwrap_or(f64::INFINITY);
            distinct.sort_by(|a, b| number(a).total_cmp(&number(b)));
            for value in distinct {
                let own = values.iter().filter(|(text, _)| *text == value);
                groups.push((
                    value.to_owned(),
                    own.map(|&(_, goodness)| goodness).collect(),
                ));
            }
        }
    }
    let level = |(name, own): (String, Vec<f64>)| TuningLevel {
        name,
        mean: own.iter().sum::<f64>() / own.len() as f64,
        trials: own.len(),
    };
    groups.into_iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn file(more: &str) -> RunFile {
        let text = format!(
            "[data]\ntrain = \"a.csv\"\nvalid = \"b.csv\"\n[columns]\nuser = \"categorical\"\n\
             [tasks.ctr]\nlabel = \"click\"\n[tasks.cvr]\nlabel = \"buy\"\nwhere = \"ctr\"\n{more}"
        );
        RunFile::parse("run.toml", &text, Path::new(""), &[], &|_: &_| {
            Ok(Vec::new())
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_the_run_file_states_is_not_tried() {
        let keys = |more: &str| -> Vec<String> {
            let settings = Space::of(&file(more)).settings(5);
            settings
                .iter()
                .map(|text| text.split('=').next().unwrap().to_owned())
                .collect()
        };
        let all = keys("");
        assert_eq!(all.len(), SETTINGS.len() + 1);
        assert!(all.contains(&"tasks.cvr.weight".to_owned()));
        let some = keys("[network]\nkind = \"shared_bottom\"\ndim = 4\n");
        assert_eq!(some.len(), all.len() - 2);
        assert!(!some.contains(&"network.dim".to_owned()));
    }

    #[test]
    fn every_trial_is_a_run_file_that_passes_its_checks() {
        let space = Space::of(&file(""));
        assert!(space.settings(0).is_empty());
        for trial in 1..60 {
            let settings = space.settings(trial);
            assert_eq!(settings, space.settings(trial));
            let text = "[data]\ntrain = \"a.csv\"\nvalid = \"b.csv\"\n[columns]\nuser = \"categorical\"\n\
                        [tasks.ctr]\nlabel = \"click\"\n[tasks.cvr]\nlabel = \"buy\"\nwhere = \"ctr\"\n";
            let found =
                RunFile::parse("r", text, Path::new(""), &settings, &|_: &_| Ok(Vec::new()));
            found.unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        }
    }

    #[test]
    fn the_setting_that_matters_most_comes_first() {
        let trial = |number: usize, rate: &str, dim: &str, goodness| TuningTrial {
            number,
            rung: 0,
            goodness: Some(goodness),
            seconds: 1.0,
            settings: vec![
                ("rate".to_owned(), rate.to_owned()),
                ("dim".to_owned(), dim.to_owned()),
            ],
        };
        let found = effects(&[
            trial(1, "0.1", "8", 0.5),
            trial(2, "0.2", "16", 0.51),
            trial(3, "0.3", "8", 0.7),
            trial(4, "0.4", "16", 0.71),
        ]);
        assert_eq!(found[0].setting, "rate");
        assert_eq!(found[0].levels.len(), 2);
        assert!((found[0].spread() - 0.2).abs() < 1e-9);
        // In the order of numbers, not of texts.
        assert_eq!(found[1].levels[0].name, "8");
        assert!((found[1].spread() - 0.01).abs() < 1e-9);
    }
}
