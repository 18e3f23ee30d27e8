//! Figures of methods, by seed and averaged.

use super::{Agreement, DataInput, FigureKey, MethodEstimate, MethodInput, Published, RowValues};
use super::{Comparison, DataResult, MeasuredRun};
use crate::figures::{FIGURES, FUNNEL, Figure, Role};
use crate::statistics::{Estimate, estimate};

impl FigureKey {
    /// Formats a difference as `+0.0123` and its interval, if there is one, as `[+0.0100, +0.0146]`, with the
    /// digits of the figure.
    pub(crate) fn signed(&self, difference: &Estimate) -> (String, Option<String>) {
        let decimals = self.known().map_or(4, |figure| figure.decimals);
        let number = |value: f64| format!("{value:+.decimals$}");
        let interval = difference.interval;
        let interval = interval.map(|[low, high]| format!("[{}, {}]", number(low), number(high)));
        (number(difference.mean), interval)
    }

    /// Returns the key of a task and a figure, by name.
    pub fn of(task: &str, figure: &str) -> FigureKey {
        FigureKey {
            task: task.to_owned(),
            figure: figure.to_owned(),
        }
    }

    /// Returns the definition of the figure; `None` for an unknown name.
    pub fn known(&self) -> Option<&'static Figure> {
        Figure::named(&self.figure)
    }

    /// Returns true if methods are compared by this figure.
    pub fn is_decisive(&self) -> bool {
        self.known()
            .is_some_and(|figure| figure.role == Role::Decisive)
    }
}

impl MeasuredRun {
    /// Returns the run's value of a figure.
    pub fn figure(&self, key: &FigureKey) -> Option<f64> {
        (key.known()?.value)(&self.metrics.of_task(&key.task)?)
    }

    /// Returns the figure's per-row values, if they were kept.
    pub(super) fn row_values(&self, key: &FigureKey) -> Option<&RowValues> {
        let matches = |(row_key, _): &&(FigureKey, RowValues)| row_key == key;
        self.rows.iter().find(matches).map(|(_, values)| values)
    }
}

impl DataInput {
    /// Returns the method of this name.
    pub fn method(&self, name: &str) -> Option<&MethodInput> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// Returns the names of the tasks that some run has, the product along the funnel last.
    pub fn tasks(&self) -> Vec<String> {
        let runs = || self.methods.iter().flat_map(|method| &method.seeds);
        let mut tasks: Vec<String> = Vec::new();
        for task in runs().flat_map(|run| run.metrics.tasks.keys()) {
            if !tasks.contains(task) {
                tasks.push(task.clone());
            }
        }
        if runs().any(|run| run.metrics.ctcvr.is_some()) {
            tasks.push(FUNNEL.to_owned());
        }
        for product in runs().flat_map(|run| run.metrics.products.keys()) {
            if !tasks.contains(product) {
                tasks.push(product.clone());
            }
        }
        tasks
    }

    /// Returns the figures that some run has, task by task.
    pub(super) fn keys(&self) -> Vec<FigureKey> {
        let applies = |key: &FigureKey| {
            let mut runs = self.methods.iter().flat_map(|method| &method.seeds);
            runs.any(|run| run.figure(key).is_some())
        };
        let of_task = |task: String| FIGURES.map(|figure| FigureKey::of(&task, figure.name));
        let keys = self.tasks().into_iter().flat_map(of_task);
        keys.filter(applies).collect()
    }
}

impl MethodInput {
    /// Returns true if the method has masks.
    pub fn has_masks(&self) -> bool {
        self.family.is_some() || self.seeds.iter().any(|run| !run.densities.is_empty())
    }

    /// Returns the share of connections that `task` keeps, mean over seeds; for the product along the funnel,
    /// mean over tasks too. `None` if no run has masks.
    pub fn density(&self, task: &str) -> Option<f64> {
        let densities = self.seeds.iter().flat_map(|run| &run.densities);
        let of_task = densities.filter(|(name, _)| name == task || task == FUNNEL);
        let shares: Vec<f64> = of_task.map(|(_, share)| *share).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }

    /// Returns the figure of each seed that has it.
    pub(super) fn values(&self, key: &FigureKey) -> Vec<f64> {
        self.seeds
            .iter()
            .filter_map(|run| run.figure(key))
            .collect()
    }
}

impl Comparison {
    /// Returns the data sets with their results.
    pub fn data_sets(&self) -> impl Iterator<Item = (&DataInput, &DataResult)> {
        self.input.data.iter().zip(&self.data)
    }
}

/// Returns the means of all figures that apply, figure by figure.
pub(super) fn estimates(data: &DataInput, confidence: f64) -> Vec<MethodEstimate> {
    let of_method = |key: &FigureKey, method: &MethodInput| {
        Some(MethodEstimate {
            method: method.name.clone(),
            key: key.clone(),
            estimate: estimate(&method.values(key), confidence)?,
        })
    };
    let of_key = |key| {
        let estimates = data
            .methods
            .iter()
            .map(move |method| of_method(&key, method));
        estimates.flatten()
    };
    data.keys().into_iter().flat_map(of_key).collect()
}

/// Returns the measured figures beside published ones.
pub(super) fn agreement(published: &[Published], estimates: &[MethodEstimate]) -> Vec<Agreement> {
    let agreement = |published: &Published| Agreement {
        published: published.clone(),
        ours: ours(published, estimates),
    };
    published.iter().map(agreement).collect()
}

/// Finds the measured figure by task and figure, or by the figure alone if only one task has it.
fn ours(published: &Published, estimates: &[MethodEstimate]) -> Option<Estimate> {
    let of_method = || estimates.iter().filter(|e| e.method == published.method);
    let exact = of_method().find(|e| e.key.to_string() == published.figure);
    let mut by_figure = of_method().filter(|e| e.key.figure == published.figure);
    let only = match (by_figure.next(), by_figure.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    };
    exact.or(only).map(|one| one.estimate)
}
