//! The settings that are tried: those that the run file leaves open.

use std::collections::BTreeSet;

use ncs_eval::tuning::{TuningEffect, TuningLevel, TuningTrial};
use ncs_model::CounterRng;
use ncs_train::Balance;

use ncs_config::RunFile;

/// Values of a setting.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// By equal ratios between two numbers.
    Ratio(f64, f64),
    /// One of these, as the run file writes them.
    OneOf(&'static [&'static str]),
}

/// Settings that are tried beside the default, which most trials keep.
const SETTINGS: [(&str, Values); 13] = [
    ("training.learning_rate", Values::Ratio(3e-4, 4e-3)),
    ("training.table_learning_rate", Values::Ratio(1e-4, 4e-3)),
    ("training.weight_decay", Values::Ratio(1e-4, 1e1)),
    ("training.batch", Values::OneOf(&["256", "1024", "2048"])),
    ("training.average", Values::OneOf(&["0", "0.997"])),
    (SHRINKAGE, Values::OneOf(&["\"all\""])),
    (
        "training.id_dropout",
        Values::OneOf(&["\"none\"", "0.05", "0.2"]),
    ),
    (
        "network.kind",
        Values::OneOf(&["\"shared_bottom\"", "\"single_task\""]),
    ),
    ("network.dim", Values::OneOf(&["8", "32"])),
    (
        "network.hidden",
        Values::OneOf(&["[64, 32]", "[256, 128]", "[1024, 512, 256]"]),
    ),
    ("network.gram", Values::OneOf(&["\"none\"", "\"triangle\""])),
    ("network.dropout", Values::OneOf(&["0.1", "0.3"])),
    (RATES, Values::OneOf(&["\"none\""])),
];

/// Tried only where the rule that it extends is allowed.
const SHRINKAGE: &str = "training.shrinkage";

const RATES: &str = "features.rates";

/// The probability that a trial changes a setting. The defaults are good and the trials few: one that differs in a few
/// settings can be better by any of them, one that differs in all is seldom better at all.
const CHANGED: f64 = 0.25;

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
    /// Returns the settings that a run file does not state.
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
            settings: settings
                .filter(|(key, _)| is_open(key) && (key != SHRINKAGE || can_shrink(file)))
                .filter(|(key, _)| file.plan.start.is_none() || keeps_the_model(key))
                .collect(),
            seed: file.plan.train.seed,
            states_epochs: file.states(&["training", "epochs"]),
        }
    }

    /// Returns true if the run file does not state the epochs, so that the first rungs may shorten a training.
    pub(super) fn may_shorten(&self) -> bool {
        !self.states_epochs
    }

    /// The settings that a trial changes, as overrides of the run file: one at least, none for trial 0.
    pub(super) fn settings(&self, trial: usize) -> Vec<String> {
        let n = self.settings.len();
        if trial == 0 || n == 0 {
            return Vec::new();
        }
        let rng = CounterRng::new(self.seed, "tuning").at(trial as u64);
        let one = (rng.at(1).uniform(0) * n as f64) as usize;
        let is_changed = |i: usize| i == one || rng.at(2).uniform(i as u64) < CHANGED;
        let pairs = self.settings.iter().enumerate();
        pairs
            .filter(|(i, _)| is_changed(*i))
            .map(|(i, (key, values))| format!("{key}={}", values.at(rng.uniform(i as u64))))
            .collect()
    }
}

/// True if a training that goes on from a model may change the setting: its columns and its network are given.
fn keeps_the_model(key: &str) -> bool {
    key == "network.dropout" || (key != RATES && !key.starts_with("network."))
}

/// Returns true if shrinkage for all tasks is compatible with the run file.
fn can_shrink(file: &RunFile) -> bool {
    let train = &file.plan.train;
    let is_off = file.states(&["training", "embedding_evidence"]) && train.evidence.is_none();
    !train.couples_heads() && train.balance != Balance::PcGrad && !is_off
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

/// The level of the trials that do not change a setting.
const UNCHANGED: &str = "as it is";

/// Returns, for each setting, the difference of the first rung's mean metric between its values, largest first.
pub(super) fn effects(trials: &[TuningTrial]) -> Vec<TuningEffect> {
    let first = trials.iter().filter(|trial| trial.rung == 0);
    let scored: Vec<(&TuningTrial, f64)> = first
        .filter_map(|trial| Some((trial, trial.validation_score?)))
        .collect();
    let keys = scored.iter().flat_map(|(trial, _)| &trial.settings);
    let keys: BTreeSet<&str> = keys.map(|(key, _)| key.as_str()).collect();
    let effect = |setting: &str| {
        let of_trial = |(trial, validation_score): &(&'_ TuningTrial, f64)| {
            let mut settings = trial.settings.iter();
            let own = settings.find(|(key, _)| key == setting);
            (own.map(|(_, value)| value.clone()), *validation_score)
        };
        let (changed, unchanged): (Vec<_>, Vec<_>) = scored
            .iter()
            .map(of_trial)
            .partition(|(value, _)| value.is_some());
        let changed = changed.iter();
        let changed = changed
            .filter_map(|(value, validation_score)| Some((value.as_deref()?, *validation_score)));
        let unchanged: Vec<f64> = unchanged
            .into_iter()
            .map(|(_, validation_score)| validation_score)
            .collect();
        let mut levels = levels(changed.collect());
        if !unchanged.is_empty() {
            levels.insert(0, level((UNCHANGED.to_owned(), unchanged)));
        }
        TuningEffect {
            setting: setting.to_owned(),
            levels,
        }
    };
    let mut effects: Vec<TuningEffect> = keys.into_iter().map(effect).collect();
    effects.sort_by(|a, b| b.spread().total_cmp(&a.spread()));
    effects
}

fn levels(values: Vec<(&str, f64)>) -> Vec<TuningLevel> {
    let mut groups: Vec<(String, Vec<f64>)> = Vec::new();
    let numbers: Option<Vec<f64>> = values.iter().map(|(text, _)| text.parse().ok()).collect();
    let distinct: BTreeSet<&str> = values.iter().map(|v| v.0).collect();
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
                    own.map(|&(_, validation_score)| validation_score).collect(),
                ));
            }
        }
    }
    groups.into_iter().map(level).collect()
}

fn level((name, own): (String, Vec<f64>)) -> TuningLevel {
    TuningLevel {
        name,
        mean: own.iter().sum::<f64>() / own.len() as f64,
        trials: own.len(),
    }
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
            let settings = Space::of(&file(more)).settings;
            settings.into_iter().map(|(key, _)| key).collect()
        };
        let all = keys("");
        assert_eq!(all.len(), SETTINGS.len() + 1);
        assert!(all.contains(&"tasks.cvr.weight".to_owned()));
        let some = keys("[network]\nkind = \"shared_bottom\"\ndim = 4\n");
        assert_eq!(some.len(), all.len() - 2);
        assert!(!some.contains(&"network.dim".to_owned()));
        for refuses in [
            "loss = \"esmm\"",
            "balance = \"pcgrad\"",
            "embedding_evidence = \"none\"",
        ] {
            let some = keys(&format!("[training]\n{refuses}\n"));
            assert!(!some.contains(&SHRINKAGE.to_owned()), "{refuses}");
        }
    }

    #[test]
    fn a_trial_changes_a_few_settings() {
        let space = Space::of(&file(""));
        let changed: Vec<usize> = (1..200).map(|trial| space.settings(trial).len()).collect();
        let mean = changed.iter().sum::<usize>() as f64 / changed.len() as f64;
        assert!(changed.iter().all(|&n| n > 0));
        assert!((3.0..5.5).contains(&mean), "{mean}");
        let key = |text: &String| text.split('=').next().unwrap_or_default().to_owned();
        let seen: BTreeSet<String> = (1..60)
            .flat_map(|trial| space.settings(trial).iter().map(key).collect::<Vec<_>>())
            .collect();
        assert_eq!(seen.len(), SETTINGS.len() + 1, "every setting is tried");
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
        let trial = |number: usize, rate: &str, dim: &str, validation_score| TuningTrial {
            number,
            rung: 0,
            validation_score: Some(validation_score),
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
        let one = trial(5, "0.5", "8", 0.9);
        let mut without = trial(6, "0.5", "8", 0.4);
        without.settings.clear();
        let found = effects(&[one, without]);
        assert_eq!(found[0].levels[0].name, UNCHANGED);
        assert_eq!(found[0].levels[0].trials, 1);
        assert!((found[0].spread() - 0.5).abs() < 1e-9);
    }
}
