//! Losses that join a click and a conversion task, and what they need.

use ncs_features::schema::chain;
use ncs_features::{Population, Task};
use ncs_model::Heads;
use ncs_train::entire_space::{self, EntireSpace, Propensity};
use ncs_train::product_loss::ProductLoss;
use ncs_train::{Balance, KappaPlan, Shrinkage, ShrinkageRule, Steps};

use super::checks::Checks;
use super::late;
use super::toml_types::{self, ClickLogit, EmbeddingEvidence, FunnelLoss};

const LOSS: [&str; 2] = ["training", "loss"];

/// The loss over the entire space that the run file asks for, if it asks for one.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    tasks: &[Task],
    checks: &mut Checks<'_>,
) -> Option<entire_space::FunnelLoss> {
    let kind = kind(config)?;
    let name = name(kind);
    joined(config, name, checks);
    if product(config, tasks).is_some() {
        products(tasks, checks);
        return None;
    }
    let Some((click, conversion)) = funnel(tasks) else {
        let text = format!("{name} needs a task that counts the rows of another: tasks.NAME.where");
        checks.say(&LOSS, text);
        return None;
    };
    for task in [click, conversion] {
        if !entire_space::fits(tasks[task].objective) {
            let text = format!(
                "{name} is made of cross-entropies; task {:?} has another loss",
                tasks[task].name
            );
            checks.say(&["tasks", &tasks[task].name, "loss"], text);
        }
    }
    let others = (0..tasks.len()).filter(|&t| t != conversion);
    for task in others.filter(|&t| tasks[t].population != Population::All) {
        checks.note(format!(
            "training.loss = {name:?} joins tasks {:?} and {:?}; task {:?} is trained on the rows that it counts",
            tasks[click].name, tasks[conversion].name, tasks[task].name
        ));
    }
    let pair = [&tasks[click], &tasks[conversion]];
    rows(kind, pair, checks);
    late::refuse_beside(&LOSS, name, &pair, checks);
    Some(entire_space::FunnelLoss {
        click,
        conversion,
        kind,
    })
}

/// What every loss over several tasks needs.
fn joined(config: &toml_types::RunFile, name: &str, checks: &mut Checks<'_>) {
    if config.network.kind == toml_types::NetworkKind::SingleTask {
        let text =
            format!("{name} joins the tasks, and network.kind = \"single_task\" trains them apart");
        checks.say(&LOSS, text);
    }
    if config.training.balance == Balance::PcGrad {
        let text = format!("pcgrad needs a loss for each task, and {name} is one loss of both");
        checks.say(&["training", "balance"], text);
    }
}

/// The products that "esmm" trains where several tasks count the rows of others: each such task by the product of its
/// chain.
pub(crate) fn product(config: &toml_types::RunFile, tasks: &[Task]) -> Option<ProductLoss> {
    let is_esmm = matches!(config.training.loss.0, FunnelLoss::Esmm {});
    let chains: Vec<Vec<usize>> = (0..tasks.len()).map(|task| chain(tasks, task)).collect();
    let longer = chains.iter().filter(|chain| chain.len() > 1);
    if !is_esmm || longer.clone().count() < 2 {
        return None;
    }
    let is_part = |task: usize| longer.clone().any(|chain| chain.contains(&task));
    let parts = (0..tasks.len()).filter(|&task| is_part(task));
    Some(ProductLoss {
        chains: parts.map(|task| chains[task].clone()).collect(),
    })
}

/// The tasks of products are of 0 and 1, and their rows count alike.
fn products(tasks: &[Task], checks: &mut Checks<'_>) {
    let name = "esmm";
    for (number, task) in tasks.iter().enumerate() {
        let chain = chain(tasks, number);
        let is_part = chain.len() > 1
            || tasks
                .iter()
                .any(|t| t.population == Population::Where(number));
        if !is_part {
            continue;
        }
        if !entire_space::fits(task.objective) {
            let text = format!(
                "{name} is made of cross-entropies; task {:?} has another loss",
                task.name
            );
            checks.say(&["tasks", &task.name, "loss"], text);
        }
        let first = &tasks[chain[0]];
        rows(EntireSpace::Esmm, [first, task], checks);
        late::refuse_beside(&LOSS, name, &[task], checks);
    }
}

/// The rows of both tasks count alike, and none are left out for which the loss cannot correct.
fn rows(kind: EntireSpace, [click, conversion]: [&Task; 2], checks: &mut Checks<'_>) {
    let name = name(kind);
    let [of_click, of_conversion] = [click, conversion].map(|task| &task.row_rules);
    if of_click.weight_column != of_conversion.weight_column {
        let text = format!(
            "{name} is one loss over the rows of both tasks, which have one weight: state the same weight_column for \
             {:?} and {:?}, or none",
            click.name, conversion.name
        );
        checks.say(&LOSS, text);
    }
    let is_same = click.name == conversion.name;
    let says_of = |left_out: bool, of: &Task, why: &str| {
        left_out.then(|| {
            format!(
                "task {:?}: rows of label 0 are left out (negative_rate), which {name} cannot correct for: {why}; leave \
                 it out, or choose another training.loss",
                of.name
            )
        })
    };
    let problems = [
        says_of(
            of_conversion.leaves_out_negatives() && !is_same,
            conversion,
            "its conversions are counted over all impressions",
        ),
        says_of(
            kind.is_joint() && of_click.leaves_out_negatives(),
            click,
            "one of its heads predicts click and conversion at once",
        ),
    ];
    for text in problems.into_iter().flatten() {
        checks.say(&LOSS, text);
    }
}

/// The first task that counts rows of a task of all rows, behind that other.
fn funnel(tasks: &[Task]) -> Option<(usize, usize)> {
    let pair = |conversion: usize| match chain(tasks, conversion)[..] {
        [click, conversion] => Some((click, conversion)),
        _ => None,
    };
    (0..tasks.len()).find_map(pair)
}

fn kind(config: &toml_types::RunFile) -> Option<EntireSpace> {
    Some(match config.training.loss.0 {
        FunnelLoss::Clicked {} => return None,
        FunnelLoss::Esmm {} => EntireSpace::Esmm,
        FunnelLoss::Escm2Ips(propensity) => EntireSpace::Escm2Ips(propensity),
        FunnelLoss::Escm2Dr(propensity) => EntireSpace::Escm2Dr(propensity),
        FunnelLoss::Dcmt {
            floor,
            ctcvr_weight,
            regularizer,
        } => EntireSpace::Dcmt {
            propensity: Propensity {
                floor,
                ctcvr_weight,
            },
            regularizer,
        },
        FunnelLoss::Aitm { constraint } => EntireSpace::Aitm { constraint },
    })
}

fn name(kind: EntireSpace) -> &'static str {
    match kind {
        EntireSpace::Esmm => "esmm",
        EntireSpace::Escm2Ips(_) => "escm2_ips",
        EntireSpace::Escm2Dr(_) => "escm2_dr",
        EntireSpace::Dcmt { .. } => "dcmt",
        EntireSpace::Aitm { .. } => "aitm",
    }
}

/// Heads that the losses need.
pub(crate) fn heads(
    funnel: Option<&entire_space::FunnelLoss>,
    kappa: Option<KappaPlan>,
    tasks: &[Task],
) -> Heads {
    let takes = kappa.filter(|kappa| !kappa.permuted);
    let takes = takes.map(|kappa| [kappa.from, kappa.to]);
    let auxiliary = funnel.filter(|funnel| funnel.kind.has_auxiliary_head());
    let joint = funnel.filter(|funnel| funnel.kind.is_joint());
    Heads {
        takes,
        late: late::heads(tasks),
        outputs: further_outputs(tasks),
        auxiliary_head_of: auxiliary.map(|funnel| funnel.conversion),
        joint: joint.map(|funnel| [funnel.click, funnel.conversion]),
        ..Heads::default()
    }
}

/// Returns the tasks that need further outputs, once for each of them.
fn further_outputs(tasks: &[Task]) -> Vec<usize> {
    let of_task =
        |(t, task): (usize, &Task)| std::iter::repeat_n(t, task.objective.n_further_outputs());
    tasks.iter().enumerate().flat_map(of_task).collect()
}

/// Whether tasks step together: they do where the loss or the balance needs it.
pub(crate) fn steps(config: &toml_types::RunFile, checks: &mut Checks<'_>) -> Steps {
    let training = &config.training;
    // Adam would move a task's part of a vector in the steps of another.
    let is_stem = config.network.kind == toml_types::NetworkKind::Stem;
    let joins = kind(config).is_some() || training.balance != Balance::Fixed || is_stem;
    if training.balance != Balance::Fixed
        && config.network.kind == toml_types::NetworkKind::SingleTask
    {
        let text =
            "network.kind = \"single_task\" has nothing to balance: its tasks are trained apart";
        checks.say(&["training", "balance"], text);
    }
    match training.steps {
        Some(Steps::Alternating) if joins => {
            let text = "training.loss, training.balance or network.kind needs the tasks to step together: \"joint\"";
            checks.say(&["training", "steps"], text);
            Steps::Joint
        }
        None if joins => Steps::Joint,
        None | Some(Steps::Alternating) => Steps::Alternating,
        Some(Steps::Joint) => Steps::Joint,
    }
}

/// The task that takes in another's logit, if the run file asks for it.
pub(crate) fn kappa(
    config: &toml_types::RunFile,
    tasks: &[Task],
    checks: &mut Checks<'_>,
) -> Option<KappaPlan> {
    const KEY: [&str; 2] = ["training", "click_logit"];
    let permuted = match config.training.click_logit {
        ClickLogit::None => return None,
        ClickLogit::Learned => false,
        ClickLogit::Permuted => true,
    };
    let Some((from, to)) = funnel(tasks) else {
        let text =
            "click_logit is of a task that counts the rows of another, and no task states where";
        checks.say(&KEY, text);
        return None;
    };
    if kind(config).is_some() {
        let text = "click_logit needs a loss for each task; training.loss is one loss of both";
        checks.say(&KEY, text);
    }
    if config.network.kind == toml_types::NetworkKind::SingleTask {
        let text =
            "click_logit joins the tasks, and network.kind = \"single_task\" trains them apart";
        checks.say(&KEY, text);
    }
    late::refuse_beside(&KEY, "click_logit", &[&tasks[to]], checks);
    if !entire_space::fits(tasks[to].objective) {
        let text = format!(
            "click_logit is learned by a cross-entropy; task {:?} has another loss",
            tasks[to].name
        );
        checks.say(&KEY, text);
    }
    Some(KappaPlan { from, to, permuted })
}

/// The rule by which a task may move table rows, and whether it goes with the rest. Where none is stated, it is
/// derived if it does.
pub(crate) fn evidence(
    config: &toml_types::RunFile,
    checks: &mut Checks<'_>,
) -> Option<ShrinkageRule> {
    let usual = config.training.shrinkage == Shrinkage::Conversions;
    let derived = ShrinkageRule::default();
    let mut key = "embedding_evidence";
    let rule = match config.training.embedding_evidence {
        None if usual => return misfit(config, key).is_none().then_some(derived),
        None => {
            key = "shrinkage";
            derived
        }
        Some(EmbeddingEvidence::None) => {
            if !usual {
                let text = "shrinkage says for which tasks embedding_evidence holds, and that is \"none\"; state one of \
                            them";
                checks.say(&["training", "shrinkage"], text.to_owned());
            }
            return None;
        }
        Some(EmbeddingEvidence::Auto) => derived,
        Some(EmbeddingEvidence::Guarded) => ShrinkageRule {
            guarded: true,
            ..derived
        },
        Some(EmbeddingEvidence::With(rule)) => rule,
    };
    if let Some(text) = misfit(config, key) {
        checks.say(&["training", key], text);
    }
    Some(rule)
}

/// Why evidence for table rows does not go with the rest; `key` is what asks for it.
fn misfit(config: &toml_types::RunFile, key: &str) -> Option<String> {
    let usual = config.training.shrinkage == Shrinkage::Conversions;
    if usual && config.tasks.values().all(|task| task.population.is_none()) {
        return Some(format!(
            "{key} is of tasks that count the rows of another, and no task states where; training.shrinkage = \"all\" \
             is for all tasks"
        ));
    }
    if kind(config).is_some() {
        return Some(format!(
            "{key} needs a loss for each task; training.loss is one loss of both"
        ));
    }
    let pcgrad = config.training.balance == Balance::PcGrad;
    pcgrad.then(|| format!("{key} and pcgrad both change the sum of gradients; state one of them"))
}
