//! Memory estimate of a training from its sizes. The numbers of bytes are those of the allocated structures;
//! docs/decisions/0037-memory-before-anything.md compares them with measurements.

use ncs_features::rates::PIECES;
use ncs_features::{
    Field, IdSpacePlan, NumericPlan, Pooling, Schema, SchemaPlan, TablePlan, sequences,
};
use ncs_model::{AttentionLayout, DenseSize, NetworkPlan};
use ncs_train::{Balance, Keep, RankTables, SearchKind, Shrinkage, StorageKind, TrainPlan};

use ncs_config::RunPlan;
use ncs_readers::{Lookup, file_bytes};

/// Rows that each thread runs through the layers together.
const ROWS_PER_PASS: f64 = 1024.0;

/// Number of batches in memory: the current one and its selection, three that were read ahead, and the next.
const BATCHES: f64 = 6.0;

/// Further inputs of a number besides its pieces.
const EXTRA_INPUTS: usize = 3;

/// A part of a training's memory, and the setting that reduces it.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Description, such as `the layers of the network (1,000 numbers)`.
    pub(super) what: String,
    pub(super) bytes: f64,
    /// Run-file key that sets its size.
    pub(super) key: Vec<String>,
    pub(super) remedy: String,
}

/// A training's memory by part.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    pub(super) parts: Vec<Part>,
}

impl Estimate {
    /// Estimates the memory of each of `n_ranks` processes, from the run file alone or with the fitted schema.
    pub(super) fn of(plan: &RunPlan, fitted: Option<&Schema>, n_ranks: usize) -> Estimate {
        let Estimate { mut parts } = Estimate::beside_tables(plan);
        let tables = plan.schema.tables.iter().enumerate();
        parts.extend(tables.map(|(number, table)| {
            let used = table_use(plan, number, table, fitted);
            table_part(plan, table, used, n_ranks)
        }));
        let initial = fitted
            .into_iter()
            .flat_map(|schema| initial_rows(plan, schema));
        parts.extend(initial);
        Estimate { parts }
    }

    /// Estimates the memory of everything but tables.
    pub(super) fn beside_tables(plan: &RunPlan) -> Estimate {
        let mut parts = vec![layers(plan), threads(plan), batch(plan), resamples(plan)];
        parts.extend(rounds(plan));
        parts.extend(lookups(plan));
        Estimate { parts }
    }

    pub(super) fn bytes(&self) -> f64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Returns the largest part.
    pub(super) fn largest(&self) -> &Part {
        let all = self.parts.iter();
        let largest = all.max_by(|a, b| a.bytes.total_cmp(&b.bytes));
        largest.expect("layers are always a part")
    }
}

/// Returns the tables of features by id: at least as large as their files.
fn lookups(plan: &RunPlan) -> impl Iterator<Item = Part> {
    let bytes = |lookup: &Lookup| {
        let paths = lookup.paths().unwrap_or_default();
        let sizes = paths.iter().filter_map(|path| file_bytes(path).ok());
        sizes.sum::<u64>() as f64
    };
    let lookups = plan.data.reading.lookups.iter();
    lookups.map(move |lookup| Part {
        what: format!("the features by {}", lookup.key),
        bytes: bytes(lookup),
        key: ["data", "lookup", &lookup.key].map(str::to_owned).into(),
        remedy: "name fewer columns, or a smaller file".to_owned(),
    })
}

/// Returns the dense size of one network.
pub(super) fn dense(plan: &RunPlan) -> DenseSize {
    let direct = direct(plan);
    let n_fields = direct.iter().filter(|direct| direct.is_none()).count();
    let n_numbers = direct.iter().flatten().sum();
    let n_tasks = plan.schema.tasks.len();
    let mut size = DenseSize::of(&plan.network, n_fields, n_numbers, n_tasks);
    let found = sequences(plan.schema.fields.iter().map(|field| field.pooling));
    let of_sequence = |sequence| AttentionLayout::n_parameters(sequence, plan.network.dim);
    size.numbers += found.iter().map(of_sequence).sum::<f64>();
    size
}

/// Returns, for each field, its number of inputs if it enters the first layer directly.
fn direct(plan: &RunPlan) -> Vec<Option<usize>> {
    let of_field = |field: &Field| match plan.schema.tables[field.table].ids {
        IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces }) => {
            Some(pieces as usize + EXTRA_INPUTS)
        }
        IdSpacePlan::Numeric(NumericPlan::Vector(vector)) if !vector.projected => {
            Some(vector.length as usize + 1)
        }
        _ => None,
    };
    let past = PIECES as usize + EXTRA_INPUTS;
    let past = std::iter::repeat_n(Some(past), plan.schema.rates.n_fields());
    let fields = plan.schema.fields.iter().map(of_field);
    fields.chain(past).collect()
}

/// Returns the number of fields with an embedding.
fn n_vectors(plan: &RunPlan) -> f64 {
    let fields = direct(plan);
    fields.iter().filter(|direct| direct.is_none()).count() as f64
}

/// Returns the batch size: as configured, or else the smallest automatic one.
fn rows_per_step(plan: &RunPlan) -> f64 {
    plan.train.batch.unwrap_or(512) as f64
}

/// Returns the number of separately trained networks, each with its own tables and layers.
pub(super) fn n_networks(plan: &RunPlan) -> f64 {
    if plan.network.kind.shares_tables() {
        1.0
    } else {
        plan.schema.tasks.len() as f64
    }
}

/// Returns the number of subnetworks of a network: one for each task if there are masks.
fn n_subnets(plan: &RunPlan) -> f64 {
    if plan.network.kind.has_masks() {
        plan.schema.tasks.len() as f64
    } else {
        1.0
    }
}

/// Sets of weights of a network that are kept beside those in training: of each training where there are two, of a first
/// one those of its end at least.
pub(super) fn n_kept(plan: &RunPlan) -> f64 {
    let (of_one, of_first) = match (plan.train.keep, plan.network.kind) {
        (Keep::Last, _) => (0.0, 1.0),
        (Keep::BestPerTask, kind) if kind.shares_tables() => {
            let each = plan.schema.tasks.len() as f64;
            (each, each)
        }
        _ => (1.0, 1.0),
    };
    match plan.train.shrinkage {
        Shrinkage::Validated => of_one + of_first,
        Shrinkage::Conversions | Shrinkage::All => of_one,
    }
}

/// Memory of the layers: weights, their positions, moments, gradients, kept copies, sparse layouts of the
/// products, and the workspace of the first thread.
fn layers(plan: &RunPlan) -> Part {
    const WEIGHTS: f64 = 4.0;
    const POSITIONS: f64 = 8.0;
    const MOMENTS: f64 = 8.0;
    const GRADIENT: f64 = 4.0;
    /// Sparse layout of a subnetwork: indices, counts and values of three products.
    const SUBNET: f64 = 28.0;
    /// A layer's name, node and vectors.
    const LAYER: f64 = 300.0;
    let size = dense(plan);
    let per_task = match plan.train.balance {
        Balance::PcGrad => plan.schema.tasks.len() as f64,
        _ => 0.0,
    };
    let searches = plan.network.kind.has_masks();
    let sums = match plan.train.search.kind {
        SearchKind::Gradient if searches => 2.0 * plan.schema.tasks.len() as f64,
        _ => 0.0,
    };
    // A copy for each task: weights, moments and gradients, and sums over two halves of the batches.
    let n_tasks = plan.schema.tasks.len() as f64;
    let copies = if searches && plan.train.search.measure_rho {
        n_tasks * (4.0 + 4.0 * n_tasks)
    } else {
        0.0
    };
    let sums = sums + copies;
    let each = WEIGHTS * (1.0 + n_kept(plan) + sums + f64::from(u8::from(searches)))
        + POSITIONS
        + MOMENTS
        + GRADIENT * (1.0 + per_task)
        + n_subnets(plan) * SUBNET * share_computed(plan)
        + plan.train.average.map_or(0.0, |_| WEIGHTS);
    Part {
        what: format!(
            "the layers of the network ({} numbers)",
            count(size.numbers * n_networks(plan))
        ),
        bytes: n_networks(plan) * (size.numbers * each + size.layers * LAYER)
            + workspace_bytes(plan),
        key: largest_size(plan),
        remedy: "make it smaller".to_owned(),
    }
}

/// Returns the share of the connections that is computed: about half of a full Gram matrix.
fn share_computed(plan: &RunPlan) -> f64 {
    let fields = n_vectors(plan);
    let inputs = dense(plan).inputs;
    match plan.network.gram {
        ncs_model::Gram::Full => inputs / (inputs + fields * (fields - 1.0) / 2.0).max(1.0),
        _ => 1.0,
    }
}

/// Returns the key of the largest configured size that determines the layers.
pub(super) fn largest_size(plan: &RunPlan) -> Vec<String> {
    let NetworkPlan {
        kind, dim, hidden, ..
    } = &plan.network;
    let fields = plan.schema.fields.len();
    let width = hidden.iter().copied().max().unwrap_or(0);
    let mut sizes = vec![("hidden", width), ("dim", *dim)];
    let of_kind = kind.sizes().into_iter();
    sizes.extend(of_kind.filter(|(key, _)| *key != "levels"));
    let (key, size) = sizes
        .into_iter()
        .rev()
        .max_by_key(|(_, size)| *size)
        .unwrap_or(("hidden", 0));
    if fields > size && plan.network.gram != ncs_model::Gram::None {
        return vec!["network".to_owned(), "gram".to_owned()];
    }
    vec!["network".to_owned(), key.to_owned()]
}

/// Returns the bytes of a thread's workspace: outputs and gradients of some tiles, and sums over rows.
fn workspace_bytes(plan: &RunPlan) -> f64 {
    let size = dense(plan);
    let rows = ROWS_PER_PASS.min(rows_per_step(plan));
    let tiles = rows * 2.0 * (size.inputs + size.outputs);
    let sums = n_subnets(plan) * size.numbers * share_computed(plan);
    4.0 * (tiles + sums)
}

/// Memory of the workspaces beyond the first, and of all stacks; the first workspace counts as part of the
/// layers.
fn threads(plan: &RunPlan) -> Part {
    const STACK: f64 = 65_536.0;
    let n_threads = plan.train.threads as f64;
    // No thread gets fewer than 64 rows.
    let active = n_threads.min((rows_per_step(plan) / 64.0).ceil());
    Part {
        what: format!("{} threads", plan.train.threads),
        bytes: n_threads * STACK + (active - 1.0).max(0.0) * workspace_bytes(plan),
        key: vec!["threads".to_owned()],
        remedy: "use fewer threads, or a smaller network".to_owned(),
    }
}

/// Memory of the batches: several copies of ids and labels, and the gradients of their embeddings.
fn batch(plan: &RunPlan) -> Part {
    const ID: f64 = 4.0;
    /// Table row, row of the batch, and the order of rows.
    const LOOKED_UP: f64 = 24.0;
    let fields = plan.schema.fields.iter();
    let fields: f64 = fields.map(|field| n_ids(plan, field)).sum();
    let vectors = n_vectors(plan);
    // Gradients of the events that attention pools.
    let events = plan.schema.fields.iter();
    let events: f64 = events
        .filter(|field| field.pooling.is_some_and(Pooling::is_attention))
        .map(|field| n_ids(plan, field) * plan.network.dim as f64)
        .sum();
    let labels = 2.0 * plan.schema.tasks.len() as f64 + 2.0;
    let row = BATCHES * (fields * ID + labels * 4.0)
        + fields * LOOKED_UP
        + 2.0 * 4.0 * vectors * plan.network.dim as f64
        + 4.0 * events;
    Part {
        what: format!("batches of {} rows", count(rows_per_step(plan))),
        bytes: row * rows_per_step(plan),
        key: vec!["training".to_owned(), "batch".to_owned()],
        remedy: "use fewer rows".to_owned(),
    }
}

/// Returns the numbers of a row of a field, in units of four bytes: one id, those of the longest sequence, or the numbers of a vector, with an id each
/// where they are projected.
fn n_ids(plan: &RunPlan, field: &Field) -> f64 {
    if let (Some(Pooling::Events(_)), Some(n_events)) = (field.pooling, field.max_values) {
        let numbers = if field.beside.has_numbers() { 2.0 } else { 1.0 };
        return numbers * n_events as f64;
    }
    match plan.schema.tables[field.table].ids {
        IdSpacePlan::Numeric(NumericPlan::Vector(vector)) => {
            f64::from(vector.length) * if vector.projected { 2.0 } else { 1.0 }
        }
        _ => 1.0,
    }
}

/// Memory of the resampled AUCs of one task, twice while they are sorted.
fn resamples(plan: &RunPlan) -> Part {
    Part {
        what: format!("{} resamples", count(f64::from(plan.evaluation.bootstrap))),
        bytes: 24.0 * f64::from(plan.evaluation.bootstrap),
        key: vec!["evaluation".to_owned(), "bootstrap".to_owned()],
        remedy: "use fewer".to_owned(),
    }
}

/// Memory of a search by magnitude, which keeps the masks of all rounds, one bit for each connection.
fn rounds(plan: &RunPlan) -> Option<Part> {
    let TrainPlan { search, .. } = &plan.train;
    let searches = plan.network.kind.has_masks() && matches!(search.kind, SearchKind::Magnitude);
    searches.then(|| Part {
        what: format!("the masks of {} rounds", search.rounds),
        bytes: (f64::from(search.rounds) + 1.0) * dense(plan).maskable / 8.0,
        key: vec!["search".to_owned(), "rounds".to_owned()],
        remedy: "use fewer rounds".to_owned(),
    })
}

/// The rows of a table, as far as they are known.
struct TableUse {
    rows: f64,
    /// Rows that take memory for their embeddings.
    used: f64,
    /// True if these are all that the training will use.
    all_used: bool,
}

/// Returns the rows of a table: a first chunk of embeddings takes memory, and those that are certainly used.
fn table_use(
    plan: &RunPlan,
    number: usize,
    table: &TablePlan,
    fitted: Option<&Schema>,
) -> TableUse {
    const CHUNK: f64 = 4096.0;
    let rows = match (fitted, &table.ids) {
        (Some(schema), _) => schema.tables[number].ids.n_rows() as f64,
        // Unknown before the rows are read: `max_size` is only a bound.
        (None, IdSpacePlan::Vocabulary { .. }) => 2.0,
        (None, _) => rows_planned(table) as f64,
    };
    let all_used = plan.train.parity_stale_momentum
        || fitted.is_some() && matches!(table.ids, IdSpacePlan::Vocabulary { .. });
    let used = if all_used {
        rows.max(CHUNK.min(rows))
    } else {
        CHUNK.min(rows)
    };
    TableUse {
        rows,
        used,
        all_used,
    }
}

/// Memory of a table: an index, and the embeddings of the rows that are used, with their moments.
fn table_part(plan: &RunPlan, table: &TablePlan, of_table: TableUse, n_ranks: usize) -> Part {
    /// Bytes of an index by row number for each row, and of one by a hash for each used row.
    const INDEX: [f64; 2] = [4.0, 32.0];
    let TableUse {
        rows,
        used,
        all_used,
    } = of_table;
    let dim = plan.network.dim;
    let kept = n_kept(plan) * f64::from(u8::from(all_used));
    let per_row = match plan.train.table_storage {
        StorageKind::Memory => {
            plan.train.table_optimizer.kind.values_per_row(dim) as f64 + kept * dim as f64
        }
        // Row numbers alone.
        StorageKind::File => 1.0 + kept,
    };
    let (bytes, more) = match plan.train.rank_tables {
        RankTables::Sharded if n_ranks > 1 => (
            used * (INDEX[1] + 4.0 * per_row) / n_ranks as f64,
            ", or more processes",
        ),
        _ if n_ranks > 1 => (
            INDEX[0] * rows + used * 4.0 * per_row,
            ", or set distributed.tables = \"sharded\"",
        ),
        _ => (INDEX[0] * rows + used * 4.0 * per_row, ""),
    };
    let in_files = match plan.train.table_storage {
        StorageKind::Memory => ", or set training.table_storage = \"file\"",
        StorageKind::File => "",
    };
    Part {
        what: format!("table {:?} of {} rows", table.name, count(rows)),
        bytes: bytes * n_networks(plan),
        key: table_key(plan, table),
        remedy: format!(
            "use fewer buckets or a smaller vocabulary, or a smaller network.dim{in_files}{more}"
        ),
    }
}

/// Memory of the vectors at which tables begin, of each value of a table at most: the vectors, whose list may have grown to
/// twice their number, and the place of each in a hash table.
fn initial_rows(plan: &RunPlan, schema: &Schema) -> impl Iterator<Item = Part> {
    const PLACE: f64 = 24.0;
    plan.initial.iter().map(move |init| {
        let rows = schema.tables[init.table].ids.n_rows() as f64;
        Part {
            what: format!(
                "the vectors of {}, of {} values",
                ncs_readers::shown_path(&init.file),
                count(rows)
            ),
            bytes: rows * (2.0 * 4.0 * plan.network.dim as f64 + PLACE),
            key: vec!["columns".to_owned(), init.column.clone()],
            remedy: "use a smaller vocabulary, or a smaller network.dim".to_owned(),
        }
    })
}

/// Returns the key of the larger of a table's two sizes.
fn table_key(plan: &RunPlan, table: &TablePlan) -> Vec<String> {
    if plan.network.dim as u128 > u128::from(rows_planned(table)) {
        return vec!["network".to_owned(), "dim".to_owned()];
    }
    vec!["columns".to_owned(), field(&plan.schema, table).to_owned()]
}

/// Returns the rows of the table as far as the run file determines them, including the reserved ones.
pub(super) fn rows_planned(table: &TablePlan) -> u64 {
    match table.ids {
        IdSpacePlan::Hash { buckets, .. } => u64::from(buckets) + 2,
        IdSpacePlan::Cross(ref cross) => u64::from(cross.buckets) + 2,
        IdSpacePlan::Time(part) => part.n_rows() as u64,
        IdSpacePlan::Vocabulary { max_size, .. } => u64::from(max_size.unwrap_or(0)) + 2,
        IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets }) => u64::from(buckets) + 1,
        IdSpacePlan::Numeric(NumericPlan::Standardise | NumericPlan::Log) => 3,
        IdSpacePlan::Numeric(NumericPlan::Boundaries(ref boundaries)) => {
            boundaries.len() as u64 + 2
        }
        IdSpacePlan::Numeric(NumericPlan::Piecewise { .. }) => 0,
        IdSpacePlan::Numeric(NumericPlan::Vector(vector)) if vector.projected => {
            u64::from(vector.length) + 2
        }
        IdSpacePlan::Numeric(NumericPlan::Vector(_)) => 0,
    }
}

/// Returns the first column that uses the table, or else the table's own name.
pub(super) fn field<'s>(schema: &'s SchemaPlan, table: &'s TablePlan) -> &'s str {
    let number = schema.tables.iter().position(|other| other == table);
    let field = schema
        .fields
        .iter()
        .find(|field| Some(field.table) == number);
    field.map_or(&table.name, |field| &field.name)
}

/// Formats a count as `1,234,567`, or as `1.2e20` from 1e15 on.
pub(super) fn count(number: f64) -> String {
    if number < 1e15 {
        crate::progress::grouped(number as u64)
    } else {
        format!("{number:.1e}")
    }
}
