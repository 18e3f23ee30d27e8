//! The settings of a run in words.

use ncs_train::entire_space::{EntireSpace, Propensity};
use ncs_train::{
    Average, AverageStart, CommonUnits, Control, IdDropoutPlan, Optimizer, OptimizerKind,
    SearchKind, SearchPlan, Shrinkage, ShrinkageRule, StepPrecision, TrainPlan,
};

use ncs_config::RunPlan;

/// `train_rows` is what the batch follows from where it is not stated.
pub(super) fn of(plan: &RunPlan, train_rows: u64) -> Vec<(String, String)> {
    let (network, train) = (&plan.network, &plan.train);
    let mut settings = vec![("network", network.kind.name().to_owned())];
    let sizes = network.kind.sizes().into_iter();
    // Keys as words: "shared experts".
    settings.extend(sizes.map(|(key, size)| (key, size.to_string())));
    settings.extend([
        ("dim", network.dim.to_string()),
        ("hidden", format!("{:?}", network.hidden)),
        ("gram", format!("{:?}", network.gram).to_lowercase()),
        ("dropout", network.dropout.to_string()),
        ("batch", train.rows_per_step(train_rows).to_string()),
        ("epochs at most", train.epochs.to_string()),
        ("steps", format!("{:?}", train.steps).to_lowercase()),
        ("loss", loss_in_words(train)),
        (
            "evidence for table rows",
            evidence_in_words(train.evidence, train.shrinkage),
        ),
        (
            "ids that become unknown",
            id_dropout_in_words(train.id_dropout),
        ),
        (
            "averaged weights",
            train.average.map_or("no".to_owned(), average_in_words),
        ),
        (
            "refit on all rows",
            if train.refit { "yes" } else { "no" }.to_owned(),
        ),
        ("balance", format!("{:?}", train.balance).to_lowercase()),
        ("optimizer", optimizer_in_words(train.optimizer)),
        ("table optimizer", optimizer_in_words(train.table_optimizer)),
        ("weight decay", train.weight_decay.to_string()),
        ("table weight decay", train.table_weight_decay.to_string()),
        ("seed", train.seed.to_string()),
        ("threads", train.threads.to_string()),
    ]);
    if train.precision == StepPrecision::Half {
        settings.push(("precision of the layers", "half (bfloat16)".to_owned()));
    }
    settings.extend(of_regularisation(train));
    if let Some(kappa) = train.kappa {
        let how = if kappa.permuted {
            "permuted (control)"
        } else {
            "learned"
        };
        settings.push(("part of the click's logit", how.to_owned()));
    }
    if network.kind.has_masks() {
        settings.extend(of_search(&train.search));
    }
    settings
        .into_iter()
        .map(|(name, value)| (name.replace('_', " "), value))
        .collect()
}

/// Dropout of fields and smoothing of labels, where they are stated.
fn of_regularisation(train: &TrainPlan) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if train.field_dropout > 0.0 {
        settings.push(("dropout of fields", train.field_dropout.to_string()));
    }
    if !train.label_smoothing.is_empty() {
        settings.push(("label smoothing", format!("{:?}", train.label_smoothing)));
    }
    settings
}

/// The settings of the mask search.
fn of_search(search: &SearchPlan) -> Vec<(&'static str, String)> {
    let kind = match &search.kind {
        SearchKind::Gradient => "gradient",
        SearchKind::Magnitude => "magnitude",
        SearchKind::Random => "random",
        SearchKind::Given(_) => "taken from another model",
    };
    let mut settings = vec![("search", kind.to_owned())];
    if search.control != Control::None {
        settings.push(("control", format!("{:?}", search.control).to_lowercase()));
    }
    if search.kind == SearchKind::Magnitude {
        settings.push(("rounds", search.rounds.to_string()));
    }
    let densities = match (search.density_by_snr, &search.candidates[..]) {
        (true, _) => "by evidence".to_owned(),
        (false, []) => format!("{:?}", search.density),
        (false, candidates) => format!("the best of {candidates:?}"),
    };
    settings.push(("densities", densities));
    let units = match search.common_units {
        CommonUnits::Share(share) => share.to_string(),
        CommonUnits::Auto => "chosen".to_owned(),
    };
    if search.common_units != CommonUnits::Share(1.0) {
        settings.push(("share of common units", units));
    }
    settings.push(("epochs a round", search.epochs_per_round.to_string()));
    settings
}

fn optimizer_in_words(optimizer: Optimizer) -> String {
    let (rate, kind) = (optimizer.learning_rate, optimizer.kind);
    let rowwise = if kind.is_rowwise() { "row-wise " } else { "" };
    match kind {
        OptimizerKind::Adam {
            beta1,
            beta2,
            epsilon,
        }
        | OptimizerKind::RowwiseAdam {
            beta1,
            beta2,
            epsilon,
        } => format!("{rowwise}Adam, rate {rate}, beta {beta1} and {beta2}, epsilon {epsilon:e}"),
        OptimizerKind::Adagrad { epsilon } | OptimizerKind::RowwiseAdagrad { epsilon } => {
            format!("{rowwise}Adagrad, rate {rate}, epsilon {epsilon:e}")
        }
    }
}

fn average_in_words(average: Average) -> String {
    let start = match average.start {
        AverageStart::Growing => "",
        AverageStart::Unbiased => ", unbiased from the first step",
    };
    format!("decay {}{start}", average.decay)
}

fn loss_in_words(plan: &TrainPlan) -> String {
    if plan.product.is_some() {
        return "esmm, products over chains of tasks".to_owned();
    }
    match plan.funnel.map(|funnel| funnel.kind) {
        None => "each task's own".to_owned(),
        Some(EntireSpace::Esmm) => "esmm".to_owned(),
        Some(EntireSpace::Escm2Ips(propensity)) => format!("escm2_ips, {}", in_words(propensity)),
        Some(EntireSpace::Escm2Dr(propensity)) => format!("escm2_dr, {}", in_words(propensity)),
        Some(EntireSpace::Dcmt {
            propensity,
            regularizer,
        }) => format!("dcmt, {}, regularizer {regularizer}", in_words(propensity)),
        Some(EntireSpace::Aitm { constraint }) => format!("aitm, constraint {constraint}"),
    }
}

fn evidence_in_words(rule: Option<ShrinkageRule>, shrinkage: Shrinkage) -> String {
    let Some(ShrinkageRule { k, cap, guarded }) = rule else {
        return "not asked for".to_owned();
    };
    let k = k.map_or("k derived for each table".to_owned(), |k| format!("k {k}"));
    let guarded = if guarded { ", over that of clicks" } else { "" };
    let tasks = match shrinkage {
        Shrinkage::Conversions => "",
        Shrinkage::All => ", for all tasks",
        Shrinkage::Validated => ", for which tasks by validation",
    };
    format!("{k}, cap {cap}{guarded}{tasks}")
}

fn id_dropout_in_words(plan: IdDropoutPlan) -> String {
    match plan {
        IdDropoutPlan::None => "none".to_owned(),
        IdDropoutPlan::Auto => "as many as are unknown in validation".to_owned(),
        IdDropoutPlan::Rate(rate) => format!("{rate} of all"),
    }
}

fn in_words(propensity: Propensity) -> String {
    let Propensity {
        floor,
        ctcvr_weight,
    } = propensity;
    format!("propensity at least {floor}, product {ctcvr_weight}")
}
