//! Network, mask search and training.

use ncs_features::Task;
use ncs_model::kernels::SimdLevel;
use ncs_model::{Gram, Heads, NetworkKind, NetworkPlan};
use ncs_train::{
    Keep, Optimizer, Pick, RankTables, Schedule, SearchKind, SearchPlan, Shrinkage, StepPrecision,
    StorageKind, TrainPlan,
};

use super::checks::Checks;
use super::funnel;
use super::given_masks;
use super::late;
use super::problem::hint;
use super::rates;
use super::smoothing;
use super::task_groups;
use super::toml_types::{self, Density, Epochs};
use super::units;

/// The network and how it learns; `data` says whether there are rows to choose by.
pub(crate) fn plan(
    config: &toml_types::RunFile,
    tasks: &[Task],
    data: &ncs_readers::DataPlan,
    checks: &mut Checks<'_>,
) -> (NetworkPlan, TrainPlan) {
    let usual = toml_types::Search::default();
    let search = config.search.as_ref().unwrap_or(&usual);
    idle_settings(config, checks);
    steps_fit(&config.training, config.distributed.tables, checks);
    if !super::data::has_validation(data) {
        needs_validation(config, search, checks);
    }
    kind_fits(config, checks);
    let is_stem = config.network.kind == toml_types::NetworkKind::Stem;
    let funnel = funnel::plan(config, tasks, checks);
    let kappa = funnel::kappa(config, tasks, checks);
    late::check_network(config, tasks, checks);
    let mut network = NetworkPlan {
        heads: Heads {
            groups: task_groups::groups(&config.network, tasks, checks),
            ..funnel::heads(funnel.as_ref(), kappa, tasks)
        },
        ..network(&config.network)
    };
    if is_stem {
        network.gram = Gram::None;
        let parts = network.kind.vector_parts(tasks.len());
        network.dim = network.dim.saturating_mul(parts);
    }
    if config.network.task_tables {
        task_groups::check_tables(config, checks);
        network.heads.task_vectors = network.dim;
        network.dim = network.dim.saturating_mul(1 + tasks.len());
    }
    let table_folder = config.training.table_folder.as_ref();
    let mut train = TrainPlan {
        table_folder: table_folder.map(|folder| data.root.join(folder)),
        funnel,
        product: funnel::product(config, tasks),
        kappa,
        ..train(config, search, checks)
    };
    if network.kind == NetworkKind::SparseSharing {
        given_masks::check(search, checks);
        units::check(config, search, checks);
        let masks = given_masks::read(config, search, &network, &data.root, checks);
        if let Some(masks) = masks {
            train.search.kind = SearchKind::Given(masks);
        }
    }
    (network, train)
}

/// Settings that some kinds of networks need, or have not.
fn kind_fits(config: &toml_types::RunFile, checks: &mut Checks<'_>) {
    use toml_types::NetworkKind::{Home, Ple, Stem};
    match config.network.kind {
        Ple => enough_layers(&config.network, checks),
        Home if config.network.hidden.len() < 2 => checks.say(
            &["network", "hidden"],
            "network.kind = \"home\" has two levels of experts; state two hidden layers or more",
        ),
        Stem if checks.states(&["network", "gram"]) && config.network.gram != Gram::None => checks.say(
            &["network", "gram"],
            "network.kind = \"stem\" has no Gram matrix; state gram = \"none\", or leave it out",
        ),
        _ => {}
    }
}

/// Each level of extraction takes a hidden layer.
fn enough_layers(config: &toml_types::Network, checks: &mut Checks<'_>) {
    let (levels, layers) = (config.levels(), config.hidden.len());
    if levels > layers {
        let text =
            format!("{levels} levels need as many hidden layers, and network.hidden has {layers}");
        checks.say(&["network", "levels"], text);
    }
}

/// Row-wise optimizers are for tables, shards for steps of the rows of a batch, half precision for processors that have it.
fn steps_fit(training: &toml_types::Training, tables: RankTables, checks: &mut Checks<'_>) {
    let kind = training.optimizer.0;
    if kind.is_rowwise() {
        let name = kind.name();
        let text = format!(
            "training.optimizer: {name:?} keeps one moment for each table row, and layers have no rows; set \
             training.table_optimizer = {name:?}"
        );
        checks.say(&["training", "optimizer"], text);
    }
    if training.precision == StepPrecision::Half && !SimdLevel::best().has_half() {
        let text = "training.precision = \"half\": this processor has no products of bfloat16 (AVX-512 BF16); training takes \
                    longer with it";
        checks.note(text);
    }
    let of_tables = training.table_optimizer.unwrap_or(training.optimizer).0;
    if training.parity.stale_momentum && of_tables.is_rowwise() {
        let text = "training.parity.stale_momentum is of the paper's released code, which has no row-wise optimizer";
        checks.say(&["training", "parity", "stale_momentum"], text);
    }
    if training.parity.stale_momentum && tables == RankTables::Sharded {
        let text = "training.parity.stale_momentum moves all rows of all tables in each step, which tables in shards do not; \
                    set distributed.tables = \"replicated\"";
        checks.say(&["distributed", "tables"], text);
    }
    if training.table_folder.is_some() && training.table_storage == StorageKind::Memory {
        let text = "training.table_folder has no effect: tables are in memory (training.table_storage = \"file\" puts them \
                    into files)";
        checks.note(text);
    }
}

/// Settings that the chosen network does not look at.
fn idle_settings(config: &toml_types::RunFile, checks: &mut Checks<'_>) {
    idle_experts(&config.network, checks);
    if config.network.kind == toml_types::NetworkKind::Linear
        && config.training.precision == StepPrecision::Half
    {
        let text =
            "training.precision has no effect: network.kind = \"linear\" has no hidden layers";
        checks.note(text);
    }
    if config.network.kind == toml_types::NetworkKind::SparseSharing {
        return;
    }
    if config.search.is_some() {
        checks.note("[search] has no effect: only network.kind = \"sparse_sharing\" has masks");
    }
    if config.training.parity.stale_momentum {
        let text = "training.parity.stale_momentum is about masks; network.kind has none";
        checks.say(&["training", "parity", "stale_momentum"], text);
    }
}

/// Only some networks have experts and levels.
fn idle_experts(config: &toml_types::Network, checks: &mut Checks<'_>) {
    let is_ple = config.kind == toml_types::NetworkKind::Ple;
    let is_home = config.kind == toml_types::NetworkKind::Home;
    let has_shared = is_ple || is_home || config.kind == toml_types::NetworkKind::Stem;
    let has_experts = has_shared || config.kind == toml_types::NetworkKind::Mmoe;
    let mut idle = |key: &str, stated: Option<usize>, is_used: bool, who: &str| {
        if stated.is_some() && !is_used {
            let text = format!("network.{key} has no effect: only network.kind = {who}");
            checks.note(text);
        }
    };
    let who = r#""mmoe", "ple", "stem" and "home" have experts"#;
    idle("experts", config.experts, has_experts, who);
    let who = r#""ple", "stem" and "home" have shared experts"#;
    idle("shared_experts", config.shared_experts, has_shared, who);
    idle("levels", config.levels, is_ple, r#""ple" has levels"#);
    if config.task_groups.is_some() && !is_home {
        checks.note(
            "network.task_groups has no effect: only network.kind = \"home\" has groups of tasks",
        );
    }
    if config.kind == toml_types::NetworkKind::Linear && checks.states(&["network", "hidden"]) {
        let text = "network.hidden has no effect: network.kind = \"linear\" has no hidden layers";
        checks.note(text);
    }
}

fn needs_validation(
    config: &toml_types::RunFile,
    search: &toml_types::Search,
    checks: &mut Checks<'_>,
) {
    let searches = config.network.kind == toml_types::NetworkKind::SparseSharing;
    let chooser = if config.training.patience.is_some() {
        "training.patience"
    } else if config.training.refit {
        "training.refit"
    } else if config.training.shrinkage == Shrinkage::Validated {
        "training.shrinkage = \"validated\""
    } else if config.training.keep != Keep::Last {
        "training.keep"
    } else if searches
        && search.pick == Pick::Best
        && search.kind == toml_types::SearchKind::Magnitude
    {
        "search.pick"
    } else if searches && !candidates(search).is_empty() {
        "search.density = \"auto\""
    } else {
        return;
    };
    let text = format!("{chooser} needs validation rows; state data.valid or data.split");
    checks.say(&["data"], text);
}

fn network(config: &toml_types::Network) -> NetworkPlan {
    NetworkPlan {
        kind: match config.kind {
            toml_types::NetworkKind::SparseSharing => NetworkKind::SparseSharing,
            toml_types::NetworkKind::SingleTask => NetworkKind::SingleTask,
            toml_types::NetworkKind::SharedBottom => NetworkKind::SharedBottom,
            toml_types::NetworkKind::CrossStitch => NetworkKind::CrossStitch,
            toml_types::NetworkKind::Mmoe => NetworkKind::Mmoe {
                experts: config.experts(),
            },
            toml_types::NetworkKind::Ple => NetworkKind::Ple {
                levels: config.levels(),
                experts: config.experts(),
                shared: config.shared_experts(),
            },
            toml_types::NetworkKind::Stem => NetworkKind::Stem {
                experts: config.experts(),
                shared: config.shared_experts(),
            },
            toml_types::NetworkKind::Home => NetworkKind::Home {
                experts: config.experts(),
                shared: config.shared_experts(),
            },
            toml_types::NetworkKind::Aitm => NetworkKind::Aitm,
            toml_types::NetworkKind::Linear => NetworkKind::Linear,
        },
        dim: config.dim,
        hidden: match config.kind {
            toml_types::NetworkKind::Linear => Vec::new(),
            _ => config.hidden.clone(),
        },
        gram: config.gram,
        dropout: config.dropout as f32,
        table_deviation: config.table_deviation.map(|deviation| deviation as f32),
        heads: Heads::default(),
    }
}

/// Most passes over the rows where validation says when to stop, and where nothing does.
const EPOCHS_WITH_PATIENCE: u32 = 30;
const EPOCHS: u32 = 3;

/// Validations without an improvement after which a training stops by default.
const PATIENCE: u32 = 4;

/// As stated; by default, a training whose length is not stated runs until validation no longer improves.
fn patience(training: &toml_types::Training) -> Option<u32> {
    let chooses = stated_epochs(training).is_none() && training.keep != Keep::Last;
    training.patience.or(chooses.then_some(PATIENCE))
}

/// Returns the number of epochs that the run file states; `None` for "auto".
fn stated_epochs(training: &toml_types::Training) -> Option<u32> {
    training.epochs.and_then(Epochs::stated)
}

/// With `epochs = "auto"` something has to end the training.
fn automatic_epochs(training: &toml_types::Training, checks: &mut Checks<'_>) {
    if training.epochs == Some(Epochs::Auto) && patience(training).is_none() {
        let text = "training.epochs = \"auto\" trains until validation no longer improves, and keep = \"last\" compares no \
                    validations; state patience, the number of epochs, or another keep";
        checks.say(&["training", "epochs"], text);
    }
}

fn train(
    config: &toml_types::RunFile,
    search: &toml_types::Search,
    checks: &mut Checks<'_>,
) -> TrainPlan {
    let training = &config.training;
    let table_rate = training.table_learning_rate;
    let patience = patience(training);
    automatic_epochs(training, checks);
    TrainPlan {
        seed: config.seed,
        threads: config.threads.unwrap_or_else(cores),
        batch: training.batch,
        epochs: stated_epochs(training).unwrap_or(match patience {
            Some(_) => EPOCHS_WITH_PATIENCE,
            None => EPOCHS,
        }),
        steps: funnel::steps(config, checks),
        balance: training.balance,
        funnel: None,
        product: None,
        kappa: None,
        evidence: funnel::evidence(config, checks),
        shrinkage: training.shrinkage,
        precision: training.precision,
        id_dropout: training.id_dropout,
        field_dropout: training.field_dropout,
        label_smoothing: smoothing::plan(config, checks),
        average: training.average.plan(),
        optimizer: Optimizer {
            learning_rate: training.learning_rate,
            kind: training.optimizer.0,
        },
        table_optimizer: Optimizer {
            learning_rate: table_rate.unwrap_or(training.learning_rate),
            kind: training.table_optimizer.unwrap_or(training.optimizer).0,
        },
        schedule: Schedule {
            warmup_steps: training.warmup_steps,
            decay: training.decay.0,
        },
        weight_decay: training.weight_decay as f32,
        table_weight_decay: training.table_weight_decay as f32,
        clip_norm: training.clip_norm.map(|norm| norm as f32),
        evaluations_per_epoch: training.evaluations_per_epoch,
        patience,
        keep: training.keep,
        refit: training.refit,
        checkpoint_steps: training.checkpoint_steps,
        rank_tables: config.distributed.tables,
        model_files: config.distributed.model,
        table_storage: training.table_storage,
        table_folder: None,
        search: search_plan(search, config, checks),
        lifetimes: Vec::new(),
        day: None,
        parity_stale_momentum: training.parity.stale_momentum,
    }
}

/// One thread for each core that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

fn search_plan(
    config: &toml_types::Search,
    run: &toml_types::RunFile,
    checks: &mut Checks<'_>,
) -> SearchPlan {
    let names: Vec<&str> = run.tasks.keys().map(String::as_str).collect();
    SearchPlan {
        kind: match config.kind {
            toml_types::SearchKind::Gradient => SearchKind::Gradient,
            toml_types::SearchKind::Magnitude => SearchKind::Magnitude,
            toml_types::SearchKind::Random | toml_types::SearchKind::Model => SearchKind::Random,
        },
        rounds: config.rounds,
        density: densities(config, &names, checks),
        density_by_snr: density_by_snr(config),
        common_units: units::plan(config),
        rate_readers: rates::readers(run, checks),
        measure_rho: config.measure_rho,
        candidates: candidates(config),
        epochs_per_round: config.epochs_per_round,
        rewind: config.rewind,
        pick: config.pick,
        seed: config.seed,
        control: config.control,
    }
}

/// Whether the density follows from what the search finds.
fn density_by_snr(config: &toml_types::Search) -> bool {
    let is_found = matches!(config.density, None | Some(Density::Evidence));
    config.kind == toml_types::SearchKind::Gradient && is_found
}

/// The densities that are tried.
fn candidates(config: &toml_types::Search) -> Vec<f64> {
    match (config.kind, &config.density) {
        (toml_types::SearchKind::Gradient, Some(Density::Auto)) => vec![0.4, 0.2, 0.1],
        _ => Vec::new(),
    }
}

/// A density for each task, in the order of the tasks.
fn densities(config: &toml_types::Search, tasks: &[&str], checks: &mut Checks<'_>) -> Vec<f64> {
    let of_each = match &config.density {
        None | Some(Density::Evidence | Density::Auto) => {
            // Found later; widths are matched as if all were kept.
            let usual = match config.kind {
                toml_types::SearchKind::Gradient => 1.0,
                _ => 0.4,
            };
            return vec![usual; tasks.len()];
        }
        Some(Density::OfAll(density)) => return vec![*density; tasks.len()],
        Some(Density::OfEach(of_each)) => of_each,
    };
    for name in of_each
        .keys()
        .filter(|name| !tasks.contains(&name.as_str()))
    {
        let hint = hint(name, tasks.iter().copied());
        let text = format!("search.density names {name:?}, which is not a task{hint}");
        checks.say(&["search", "density", name], text);
    }
    let density = |task: &&str| match of_each.get(*task) {
        Some(share) => share.0,
        None => {
            let text = format!("search.density does not say how much task {task:?} keeps");
            checks.say(&["search", "density"], text);
            1.0
        }
    };
    tasks.iter().map(density).collect()
}
