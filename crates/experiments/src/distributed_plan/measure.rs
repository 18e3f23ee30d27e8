//! Measures the costs of a step: a few seconds of training on one process, and its parts alone.

use super::{Distinct, StepCosts};
use crate::error::Error;
use crate::memory;
use crate::progress::Progress;
use crate::training::prepare_rows;
use ncs_collective::{Collective, Solo};
use ncs_config::{RunFile, RunPlan};
use ncs_features::Batch;
use ncs_model::{
    CounterRng, Gradient, Masks, Model, Purpose, RowRequests, Spec, Table, TableGradient,
    TableShare, masks,
};
use ncs_readers::Prepared;
use ncs_readers::batches::{BatchPlan, Order};
use ncs_train::optim::{OptimSettings, Optimizers};
use ncs_train::{
    Balance, Event, Keep, Listener, Rewind, Run, SearchKind, Shrinkage, TrainError, TrainPlan,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Batches whose distinct table rows are counted.
const COUNTED: usize = 4;

/// Rows of small batches that are trained as well: nearly all of their steps is what does not depend on rows. One tile.
const SMALL: usize = 64;

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Measuring {
    /// Time for each of the two trainings.
    pub time: Duration,
    /// Most steps of each.
    pub steps: u64,
}

/// Prepares the rows of a run file, or finds them in its id cache, and measures the costs of its steps.
///
/// # Errors
/// The rows cannot be read, or do not allow a training; `stop` was set.
pub fn measure(
    file: &RunFile,
    measuring: Measuring,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<StepCosts, Error> {
    let folder = Folder::new()?;
    let mut plan = file.plan.clone();
    if !plan.shares_cache {
        plan.data.cache = folder.0.join("rows");
    }
    let data = prepare_rows(&plan, progress, stop)?;
    let counts = data.train.label_counts();
    let batch = plan.train.rows_per_step(counts.rows);
    let batch = batch.min(counts.rows as usize).max(1);
    let small = SMALL.min(batch);
    let pool = rayon_pool(plan.train.threads)?;
    let parts = pool.install(|| Parts::measure(&plan, &data, batch))?;
    let mut seconds = [0.0; 2];
    for (seconds, rows) in seconds.iter_mut().zip([batch, small]) {
        progress.log(&format!("plan: measuring steps of {rows} rows"));
        let steps = Steps {
            plan: &plan,
            data: &data,
            rows,
            measuring,
            folder: &folder.0,
        };
        *seconds = median(steps.run_as(&Solo, &processor_time)?);
    }
    let [fixed_seconds, row_seconds] = parts.divide(seconds, [batch, small]);
    let (passes, gradients) = passes(&plan);
    Ok(StepCosts {
        threads: plan.train.threads,
        batch,
        passes,
        gradients,
        dim: plan.network.dim,
        tables: plan.train.rank_tables,
        dense: parts.dense,
        fixed_seconds,
        row_seconds,
        table_row_seconds: parts.table_row_seconds,
        lookup_seconds: parts.lookup_seconds,
        sum_seconds: parts.sum_seconds,
        reading_seconds: parts.reading_seconds,
        distinct: parts.distinct,
        log_rows: counts.rows as f64,
        table_rows: memory::table_rows(&plan, &data.schema),
        table_row_bytes: memory::table_row_bytes(&plan),
        other_bytes: memory::bytes_beside_tables(&plan),
    })
}

/// A training of nothing but steps.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// The run.
    pub plan: &'a RunPlan,
    /// Its rows.
    pub data: &'a Prepared,
    /// Rows of a batch.
    pub rows: usize,
    /// How long it takes.
    pub measuring: Measuring,
    /// Folder of files that nobody needs afterwards.
    pub folder: &'a Path,
}

impl Steps<'_> {
    /// Trains as one of several ranks, without a search, from the start, and returns the seconds of each step but the first
    /// ones, as `clock` tells them.
    ///
    /// # Errors
    /// The rows do not allow a training; a rank has ended.
    pub fn run_as(
        &self,
        ranks: &dyn Collective,
        clock: &(dyn Fn() -> Duration + Sync),
    ) -> Result<Vec<f64>, Error> {
        let stop = AtomicBool::new(false);
        let mut steps = StepClock::new(self.measuring, clock, &stop);
        let plan = steps_only(&self.plan.train, self.rows);
        let name = format!("steps-{}-{}", self.rows, ranks.n_ranks());
        let run = Run {
            network: &self.plan.network,
            plan: &plan,
            schema: &self.data.schema,
            train: &self.data.train,
            valid: None,
            data_key: self.data.key,
            folder: &self.folder.join(name),
            checkpoint_every: Duration::MAX,
            stop: &stop,
            refit: None,
            initial_rows: &[],
            earlier: None,
        };
        match run.run_on(ranks, &mut steps) {
            Ok(_) | Err(TrainError::Stopped { .. }) => Ok(steps.times),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the plan of a training of nothing but steps: random masks, no validation.
fn steps_only(plan: &TrainPlan, rows: usize) -> TrainPlan {
    let mut plan = plan.clone();
    plan.batch = Some(rows);
    plan.epochs = 1000;
    plan.keep = Keep::Last;
    plan.patience = None;
    plan.evaluations_per_epoch = 1;
    plan.refit = false;
    plan.checkpoint_steps = u64::MAX;
    if plan.shrinkage == Shrinkage::Validated {
        plan.shrinkage = Shrinkage::Conversions;
    }
    plan.id_dropout = ncs_train::IdDropoutPlan::None;
    let search = &mut plan.search;
    if !matches!(search.kind, SearchKind::Given(_)) {
        search.kind = SearchKind::Random;
    }
    let middle = search.candidates.get(search.candidates.len() / 2).copied();
    if let Some(density) = middle {
        search.density.fill(density);
    }
    search.candidates.clear();
    search.density_by_snr = false;
    search.measure_rho = false;
    search.rewind = Rewind::Initial;
    plan
}

/// Returns the passes of a batch, and the gradients of each.
fn passes(plan: &RunPlan) -> (usize, usize) {
    let n_tasks = plan.schema.tasks.len();
    let is_joint = plan.train.steps == ncs_train::Steps::Joint && plan.network.kind.shares_tables();
    match is_joint {
        false => (n_tasks, 1),
        true if plan.train.balance == Balance::PcGrad => (1, n_tasks),
        true if plan.train.evidence.is_some() => (1, n_tasks),
        true => (1, 1),
    }
}

/// Times the steps of a training, and stops it.
struct StepClock<'s> {
    measuring: Measuring,
    clock: &'s (dyn Fn() -> Duration + Sync),
    stop: &'s AtomicBool,
    begun: Instant,
    last: Option<Duration>,
    done: u64,
    times: Vec<f64>,
}

/// Steps that are not timed: memory is new to them.
const WARM_UP: u64 = 2;

impl<'s> StepClock<'s> {
    fn new(
        measuring: Measuring,
        clock: &'s (dyn Fn() -> Duration + Sync),
        stop: &'s AtomicBool,
    ) -> StepClock<'s> {
        StepClock {
            measuring,
            clock,
            stop,
            begun: Instant::now(),
            last: None,
            done: 0,
            times: Vec::new(),
        }
    }
}

impl Listener for StepClock<'_> {
    fn on_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Began { .. } => (self.begun, self.last) = (Instant::now(), None),
            Event::Stepped { .. } => {
                let now = (self.clock)();
                self.done += 1;
                if let Some(last) = self.last.filter(|_| self.done > WARM_UP) {
                    self.times.push((now - last).as_secs_f64());
                }
                self.last = Some(now);
                let is_long = self.begun.elapsed() > self.measuring.time && self.times.len() > 2;
                if is_long || self.done >= self.measuring.steps {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// Costs of parts of a step, each measured alone.
struct Parts {
    dense: f64,
    table_row_seconds: f64,
    lookup_seconds: f64,
    sum_seconds: f64,
    reading_seconds: f64,
    distinct: Vec<Distinct>,
}

impl Parts {
    /// Divides the seconds of steps of two numbers of rows, without the optimizer's step of table rows, into those of a step
    /// and those of each row.
    fn divide(&self, seconds: [f64; 2], rows: [usize; 2]) -> [f64; 2] {
        let of_tables = rows.map(|rows| {
            let point = self.distinct.iter().find(|point| point.rows >= rows);
            self.table_row_seconds * point.map_or(0.0, |point| point.table_rows)
        });
        let [large, small] = [0, 1].map(|i| seconds[i] - of_tables[i]);
        let more = rows[0].saturating_sub(rows[1]).max(1) as f64;
        let of_row = ((large - small) / more).max(0.0);
        [(large - of_row * rows[0] as f64).max(0.0), of_row]
    }

    fn measure(plan: &RunPlan, data: &Prepared, batch: usize) -> Result<Parts, Error> {
        let spec = Spec::of(&data.schema, &plan.network);
        let mut begun = processor_time();
        let mut batches: Vec<Batch> = Vec::new();
        let order = Order::Shuffled {
            seed: plan.train.seed,
            epoch: 0,
        };
        let reading = BatchPlan {
            rows_per_batch: batch,
            order,
            ..BatchPlan::default()
        };
        for found in data.train.batches(reading).take(COUNTED) {
            batches.push(found?);
            if batches.len() == 1 && data.train.n_rows() > batch as u64 {
                // The first batch opens the file and draws the order.
                begun = processor_time();
            }
        }
        let timed = &batches[usize::from(batches.len() > 1)..];
        let n_rows: usize = timed.iter().map(|batch| batch.n_rows).sum();
        let reading_seconds = since(begun) / n_rows.max(1) as f64;
        let (passes, _) = passes(plan);
        let distinct = distinct(&spec, &batches, passes > 1);
        let mut model: Model = Model::new(spec, CounterRng::new(plan.train.seed, "plan"));
        if plan.network.kind.has_masks() {
            model.set_masks(Some(Arc::new(random_masks(&model, &plan.train))));
        }
        let n_networks = model.networks().len();
        let per_network = (0..n_networks).map(|number| model.connections(number).len());
        let all: usize = per_network.sum();
        let dense = all as f64 * passes.max(n_networks) as f64 / n_networks as f64;
        let tables = of_tables(&mut model, &plan.train, &batches[0]);
        Ok(Parts {
            dense,
            table_row_seconds: tables[0],
            lookup_seconds: tables[1],
            sum_seconds: tables[2],
            reading_seconds,
            distinct,
        })
    }
}

fn random_masks(model: &Model, plan: &TrainPlan) -> Masks {
    let (plan, shapes) = (steps_only(plan, 1), model.spec().layer_shapes());
    let densities = plan.search.density.iter().zip(0..);
    let mask = |(&density, task)| {
        masks::random(
            &shapes,
            density,
            CounterRng::new(plan.seed, "plan").at(task),
        )
    };
    Masks {
        tasks: densities.map(mask).collect(),
        owners: None,
    }
}

/// Counts the distinct table rows of 1, 2, 4 and more rows of a batch, on average over some batches; `by_task`: each
/// task looks up those of its own rows.
fn distinct(spec: &Spec, batches: &[Batch], by_task: bool) -> Vec<Distinct> {
    let largest = batches.iter().map(|batch| batch.n_rows).min().unwrap_or(0);
    let doubled = std::iter::successors(Some(1), |rows| Some(2 * rows));
    let mut sizes: Vec<usize> = doubled.take_while(|rows| *rows < largest).collect();
    sizes.push(largest);
    let mut requests = RowRequests::default();
    let mut count = |batch: &Batch| {
        requests.find(spec, batch, 0..batch.n_rows, Purpose::Training, 1);
        requests.of_owner(0).map(<[u32]>::len).sum::<usize>()
    };
    let mut of_rows = |batch: &Batch, rows: usize| -> usize {
        if !by_task {
            return count(&batch.select(&(0..rows).collect::<Vec<_>>()));
        }
        let known = |labels: &Vec<f32>| (0..rows).filter(|&row| !labels[row].is_nan()).collect();
        let of_tasks: Vec<Vec<usize>> = batch.labels.iter().map(known).collect();
        of_tasks
            .iter()
            .map(|known| count(&batch.select(known)))
            .sum()
    };
    let mut point = |rows: usize| {
        let all: usize = batches.iter().map(|batch| of_rows(batch, rows)).sum();
        Distinct {
            rows,
            table_rows: all as f64 / batches.len() as f64,
        }
    };
    sizes.into_iter().map(&mut point).collect()
}

/// Returns the seconds for each table row of a batch: of the optimizer's step, of looking it up at its owner and summing its
/// gradients there, and of the latter alone.
fn of_tables(model: &mut Model, plan: &TrainPlan, batch: &Batch) -> [f64; 3] {
    let (n_connections, spec) = (model.connections(0).len(), model.spec().clone());
    let mut optimizers = Optimizers::new(model, settings(plan));
    model.network_mut(0).init_rows_of(batch);
    let network = model.network(0);
    let gradient = |table: &Table<f32>| {
        let ids = table.ids()[1..].to_vec();
        let values = vec![1e-3; ids.len() * table.dim()];
        TableGradient::new(ids, values)
    };
    let empty = |_: &Table<f32>| TableGradient::new(Vec::new(), Vec::new());
    let dense = vec![0.0; n_connections];
    let mut all = Gradient {
        tables: network.tables.iter().map(gradient).collect(),
        dense: dense.clone(),
    };
    let mut none = Gradient {
        tables: network.tables.iter().map(empty).collect(),
        dense,
    };
    let n_rows: usize = all.tables.iter().map(|table| table.ids.len()).sum();
    let mut tables = network.tables.clone();
    let mut step = |gradient: &mut Gradient| {
        time(|| optimizers.step(0, model.network_mut(0), gradient, &[0], 1.0))
    };
    let stepping = step(&mut all) - step(&mut none);
    let sum = || {
        for (gradient, table) in all.tables.iter().zip(&tables) {
            let part = (gradient.ids.clone(), gradient.values.to_vec());
            let mut summed = TableGradient::new(Vec::new(), Vec::new());
            summed.set_to_sum(table, &[part]).expect("its own rows");
        }
    };
    let summing = time(sum);
    let share = TableShare { index: 0, of: 1 };
    tables.iter_mut().for_each(|table| table.hold_share(share));
    let mut gathered: Vec<Table<f32>> = tables.iter().map(Table::gathering).collect();
    let mut requests = RowRequests::default();
    let looking_up = time(|| {
        requests.find(&spec, batch, 0..batch.n_rows, Purpose::Training, 1);
        for ((table, gathered), ids) in tables
            .iter_mut()
            .zip(&mut gathered)
            .zip(requests.of_owner(0))
        {
            let (mut values, mut found) = (Vec::new(), Vec::new());
            let looked_up = table.look_up(ids, true, &mut values, &mut found);
            looked_up.expect("its own rows");
            gathered.begin_gathering();
            let sent = values.clone();
            gathered
                .gather(ids.iter().copied(), &sent)
                .expect("new rows");
        }
    });
    let each = |seconds: f64| seconds.max(0.0) / n_rows.max(1) as f64;
    [each(stepping), each(looking_up + summing), each(summing)]
}

fn settings(plan: &TrainPlan) -> OptimSettings {
    OptimSettings {
        tables: plan.table_optimizer,
        weight_decay: plan.weight_decay,
        table_weight_decay: plan.table_weight_decay,
        clip_norm: plan.clip_norm,
        ..OptimSettings::new(plan.optimizer)
    }
}

/// Returns the median seconds of some runs, the first of which is not counted.
fn time(mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let begun = processor_time();
        work();
        since(begun)
    };
    once();
    median((0..9).map(|_| once()).collect())
}

/// Returns the processor time of this thread, which other programs on the machine do not make longer. The thread that
/// leads a step does its share of all work, so on a machine of one's own it takes as long as the step.
#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Returns the time since the first call: this system does not tell the processor time of a thread.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}

fn since(begun: Duration) -> f64 {
    processor_time().saturating_sub(begun).as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

fn rayon_pool(threads: usize) -> Result<rayon::ThreadPool, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let failed =
        |error: rayon::ThreadPoolBuildError| format!("cannot start {threads} threads: {error}");
    Ok(pool.build().map_err(failed)?)
}

/// A folder that is deleted in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Error> {
        let path = std::env::temp_dir().join(format!("ncs-plan-{}", std::process::id()));
        let created = std::fs::create_dir_all(&path);
        created.map_err(|error| format!("{}: cannot be created: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
