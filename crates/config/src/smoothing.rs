//! Label smoothing: for which tasks it is defined.

use super::checks::Checks;
use super::toml_types::{self, ClickLogit, FunnelLoss, Loss};

/// Returns the share of each task; none where no task smooths its labels.
pub(crate) fn plan(config: &toml_types::RunFile, checks: &mut Checks<'_>) -> Vec<f64> {
    let shares: Vec<f64> = config
        .tasks
        .values()
        .map(|task| task.label_smoothing)
        .collect();
    if shares.iter().all(|&share| share == 0.0) {
        return Vec::new();
    }
    for (name, task) in config.tasks.iter().filter(|(_, t)| t.label_smoothing > 0.0) {
        if let Some(why) = misfit(config, task) {
            let text = format!("task {name:?}: label_smoothing {why}; leave it out");
            checks.say(&["tasks", name, "label_smoothing"], text);
        }
    }
    shares
}

/// Returns why the labels of a task cannot be smoothed.
fn misfit(config: &toml_types::RunFile, task: &toml_types::Task) -> Option<&'static str> {
    let is_joined = !matches!(config.training.loss.0, FunnelLoss::Clicked {});
    if !matches!(task.loss.0, Loss::CrossEntropy {}) {
        Some("is of loss = \"cross_entropy\"")
    } else if task.late.is_some() {
        Some("and late both change labels that are not final")
    } else if is_joined {
        Some("is of a task's own loss, and training.loss is one loss of both tasks")
    } else if config.training.click_logit != ClickLogit::None && task.population.is_some() {
        Some("would change what click_logit learns")
    } else {
        None
    }
}
