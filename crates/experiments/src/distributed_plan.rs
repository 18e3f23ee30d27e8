//! How long a training on several processes would take, and what each would hold and send: from the costs of a step,
//! measured on one process, and the network's bandwidth and latency (`ncs plan`).
//!
//! The model, for `N` processes and `b = B / N` of the rows of a batch:
//!
//! - computing: `fixed + b row + u(b) look-up`, and the optimizer's step of `u(B)` table rows, which divides among the
//!   processes where tables are in shards;
//! - exchanges: the bytes that a process sends over its bandwidth, and the latency of each exchange;
//! - reading: every process reads the whole batch, beside the rest.
//!
//! `u(b)` is the number of distinct table rows of `b` rows of the log. What is left out: validation, checkpoints, processes
//! that are slower than others.

mod measure;
mod text;

pub use measure::{Measuring, Steps, measure};

use ncs_train::RankTables;
use serde::{Deserialize, Serialize};

/// Bytes of an index by a hash for each table row, and of one by row number.
const INDEX_BYTES: [f64; 2] = [32.0, 4.0];

/// Costs of a step on one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepCosts {
    /// Threads of the process.
    pub threads: usize,
    /// Rows of a batch.
    pub batch: usize,
    /// Passes of a batch: one for each task that steps alone.
    pub passes: usize,
    /// Gradients of a pass: one for each task where these are combined.
    pub gradients: usize,
    /// Length of a table's vectors.
    pub dim: usize,
    /// Where the run file has the tables.
    pub tables: RankTables,
    /// Trained numbers of layers and heads, summed over the passes of a batch.
    pub dense: f64,
    /// Seconds of a batch that do not depend on its rows.
    pub fixed_seconds: f64,
    /// Seconds of each row: forward and backward.
    pub row_seconds: f64,
    /// Seconds of the optimizer's step of a table row.
    pub table_row_seconds: f64,
    /// Seconds of looking up a table row at its owner, and of the sum of its gradients, without the network.
    pub lookup_seconds: f64,
    /// Seconds of adding one more gradient of a table row, where tables are whole.
    pub sum_seconds: f64,
    /// Seconds of reading a row.
    pub reading_seconds: f64,
    /// Distinct table rows of parts of a batch, all passes together, from few rows to the whole.
    pub distinct: Vec<Distinct>,
    /// Training rows of the log on which it was measured.
    pub log_rows: f64,
    /// Rows of all tables, of all networks.
    pub table_rows: f64,
    /// Bytes of a table row: its vector and moments, and kept copies.
    pub table_row_bytes: f64,
    /// Bytes of everything but table rows.
    pub other_bytes: f64,
}

/// Distinct table rows of some rows of a log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// Rows of the log.
    pub rows: usize,
    /// Distinct rows of tables.
    pub table_rows: f64,
}

/// The machines, and the work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Largest number of processes.
    pub ranks: usize,
    /// Bandwidth of each process, in Gbit/s.
    pub gbit: f64,
    /// Latency of an exchange, in milliseconds.
    pub latency_ms: f64,
    /// Rows of the log.
    pub rows: f64,
    /// Rows of all tables; `None`: as measured.
    pub table_rows: Option<f64>,
}

/// What is to be expected of a number of processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Number of processes.
    pub ranks: usize,
    /// Milliseconds of a step.
    pub step_ms: f64,
    /// Of it, computing.
    pub computing_ms: f64,
    /// Of it, exchanges.
    pub exchange_ms: f64,
    /// Milliseconds of reading a batch, beside the step.
    pub reading_ms: f64,
    /// Megabytes that a process sends in a step.
    pub sent_mb: f64,
    /// Gigabytes of memory of each process.
    pub memory_gb: f64,
    /// Gigabytes of the tables without moments, which the first process gathers at the end.
    pub model_gb: f64,
    /// Hours of one pass over the log.
    pub hours: f64,
    /// Time of one process over that of these, divided by their number.
    pub efficiency: f64,
    /// What takes most of the time.
    pub limit: Limit,
}

/// What limits a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Computing that divides among the processes.
    Computing,
    /// Computing that each process does alike.
    Fixed,
    /// Bandwidth.
    Bandwidth,
    /// Latency of the exchanges.
    Latency,
    /// Reading batches.
    Reading,
}

/// Costs, machines, and what is to be expected of each number of processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The costs of a step.
    pub costs: StepCosts,
    /// The machines, and the work.
    pub cluster: Cluster,
    /// From one process on.
    pub predictions: Vec<Prediction>,
}

/// The part of a plan that another plan can begin with.
#[derive(Deserialize)]
struct CostsOnly {
    costs: StepCosts,
}

impl Planned {
    /// Predicts what follows from the costs of a step.
    pub fn of(costs: StepCosts, cluster: Cluster) -> Planned {
        Planned {
            predictions: costs.predict(&cluster),
            costs,
            cluster,
        }
    }

    /// Returns the costs in a plan that was printed as JSON.
    ///
    /// # Errors
    /// The text is no such plan.
    pub fn costs_of(json: &str) -> Result<StepCosts, serde_json::Error> {
        Ok(serde_json::from_str::<CostsOnly>(json)?.costs)
    }
}

impl StepCosts {
    /// Returns the number of distinct table rows of some rows of a batch, interpolated on logarithmic scales.
    pub fn distinct(&self, rows: f64) -> f64 {
        let Some(first) = self.distinct.first() else {
            return 0.0;
        };
        if rows <= first.rows as f64 {
            return first.table_rows * rows / first.rows.max(1) as f64;
        }
        let after = self
            .distinct
            .iter()
            .position(|point| point.rows as f64 >= rows);
        let Some(after) = after else {
            return self.distinct[self.distinct.len() - 1].table_rows;
        };
        let [low, high] = [after - 1, after].map(|at| self.distinct[at]);
        let [x, x0, x1] = [rows, low.rows as f64, high.rows as f64].map(f64::ln);
        let [y0, y1] = [low, high].map(|point| point.table_rows.max(1e-9).ln());
        (y0 + (y1 - y0) * (x - x0) / (x1 - x0)).exp()
    }

    /// Returns the predictions for 1, 2, 4 and more processes, up to those of the cluster.
    pub fn predict(&self, cluster: &Cluster) -> Vec<Prediction> {
        let doubled = std::iter::successors(Some(1usize), |n| n.checked_mul(2));
        let mut numbers: Vec<usize> = doubled.take_while(|n| *n < cluster.ranks).collect();
        numbers.push(cluster.ranks.max(1));
        let one = self.of_ranks(1, cluster);
        let prediction = |&n: &usize| Prediction {
            efficiency: one.step_ms / self.of_ranks(n, cluster).step_ms / n as f64,
            ..self.of_ranks(n, cluster)
        };
        numbers.iter().map(prediction).collect()
    }

    fn of_ranks(&self, n_ranks: usize, cluster: &Cluster) -> Prediction {
        let (n, batch) = (n_ranks as f64, self.batch as f64);
        let is_sharded = self.tables == RankTables::Sharded && n_ranks > 1;
        let own = self.distinct(batch / n);
        let divided_rows = self.row_seconds * batch / n;
        let table_rows = self.table_row_seconds * self.distinct(batch);
        let (divided_tables, fixed_tables) = match (n_ranks, is_sharded) {
            (1, _) => (table_rows, 0.0),
            (_, true) => (table_rows / n + self.lookup_seconds * own, 0.0),
            (_, false) => (0.0, table_rows + self.sum_seconds * own * n),
        };
        let (divided, fixed) = (
            divided_rows + divided_tables,
            self.fixed_seconds + fixed_tables,
        );
        let sent = self.sent_bytes(n_ranks);
        let bandwidth = sent * 8.0 / (cluster.gbit * 1e9);
        let latency = self.n_exchanges(n_ranks) * cluster.latency_ms / 1e3;
        let reading = self.reading_seconds * batch;
        let step = (divided + fixed + bandwidth + latency).max(reading);
        let parts = [
            (Limit::Computing, divided),
            (Limit::Fixed, fixed),
            (Limit::Bandwidth, bandwidth),
            (Limit::Latency, latency),
        ];
        let largest = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let limit = largest.map_or(Limit::Computing, |(limit, _)| limit);
        let [memory, model] = self.bytes(n_ranks, cluster);
        Prediction {
            ranks: n_ranks,
            step_ms: 1e3 * step,
            computing_ms: 1e3 * (divided + fixed),
            exchange_ms: 1e3 * (bandwidth + latency),
            reading_ms: 1e3 * reading,
            sent_mb: sent / 1e6,
            memory_gb: memory / 1e9,
            model_gb: model / 1e9,
            hours: cluster.rows / batch * step / 3600.0,
            efficiency: 1.0,
            limit: if step > reading {
                limit
            } else {
                Limit::Reading
            },
        }
    }

    /// Returns the bytes that each of `n_ranks` processes sends to others in a step.
    pub fn sent_bytes(&self, n_ranks: usize) -> f64 {
        let n = n_ranks as f64;
        let own = self.distinct(self.batch as f64 / n);
        let (gradients, vector) = (self.gradients as f64, 4.0 * self.dim as f64);
        let dense = 2.0 * 4.0 * self.dense * gradients * (n - 1.0) / n;
        let tables = match self.tables {
            RankTables::Sharded => {
                // Row number, whether there is such a row, vector, gradients with row numbers.
                own * (n - 1.0) / n * (5.0 + vector + gradients * (4.0 + vector))
            }
            RankTables::Replicated => own * (n - 1.0) * gradients * (4.0 + vector),
        };
        dense + tables
    }

    /// Returns the exchanges of a step, flags that one process sets for all among them.
    fn n_exchanges(&self, n_ranks: usize) -> f64 {
        let of_pass = match self.tables {
            _ if n_ranks == 1 => return 0.0,
            RankTables::Sharded => 4.0,
            RankTables::Replicated => 2.0,
        };
        of_pass * self.passes as f64 + 1.0
    }

    /// Returns the bytes of a process, and those of the tables without moments.
    fn bytes(&self, n_ranks: usize, cluster: &Cluster) -> [f64; 2] {
        let rows = cluster.table_rows.unwrap_or(self.table_rows);
        let [hashed, direct] = INDEX_BYTES.map(|bytes| bytes + self.table_row_bytes);
        let tables = match self.tables {
            RankTables::Sharded if n_ranks > 1 => rows * hashed / n_ranks as f64,
            _ => rows * direct,
        };
        let model = rows * 4.0 * (1.0 + self.dim as f64);
        [self.other_bytes + tables, model]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(tables: RankTables) -> StepCosts {
        StepCosts {
            threads: 1,
            batch: 1000,
            passes: 1,
            gradients: 1,
            dim: 16,
            tables,
            dense: 1e6,
            fixed_seconds: 1e-3,
            row_seconds: 1e-5,
            table_row_seconds: 1e-7,
            lookup_seconds: 1e-7,
            sum_seconds: 1e-7,
            reading_seconds: 1e-7,
            log_rows: 1e6,
            distinct: [(1, 10.0), (10, 100.0), (1000, 1000.0)]
                .map(|(rows, table_rows)| Distinct { rows, table_rows })
                .into(),
            table_rows: 1e9,
            table_row_bytes: 192.0,
            other_bytes: 1e9,
        }
    }

    fn cluster() -> Cluster {
        Cluster {
            ranks: 10,
            gbit: 8.0,
            latency_ms: 0.1,
            rows: 3.6e9,
            table_rows: None,
        }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
    }

    #[test]
    fn distinct_rows_follow_the_measured_ones() {
        let costs = costs(RankTables::Sharded);
        for (rows, expected) in [
            (0.5, 5.0),
            (10.0, 100.0),
            (100.0, 316.227_766_016_838),
            (5e3, 1e3),
        ] {
            near(costs.distinct(rows), expected);
        }
    }

    #[test]
    fn one_process_sends_nothing() {
        let [one, ..] = &costs(RankTables::Sharded).predict(&cluster())[..] else {
            panic!("no prediction")
        };
        near(one.step_ms, 1.0 + 10.0 + 0.1);
        assert_eq!((one.ranks, one.sent_mb, one.exchange_ms), (1, 0.0, 0.0));
        near(one.hours, 3.6e6 * 11.1e-3 / 3600.0);
        near(one.memory_gb, 1.0 + 196.0);
        assert_eq!(one.limit, Limit::Computing);
    }

    #[test]
    fn ten_processes_divide_rows_and_shards_and_repeat_the_rest() {
        let sharded = costs(RankTables::Sharded).predict(&cluster());
        assert_eq!(
            sharded.iter().map(|p| p.ranks).collect::<Vec<_>>(),
            [1, 2, 4, 8, 10]
        );
        let of_shards = &sharded[4];
        let own = 316.227_766_016_838;
        near(of_shards.computing_ms, 1.0 + 1.0 + 0.01 + own * 1e-4);
        near(
            of_shards.sent_mb,
            (7.2e6 + own * 0.9 * (5.0 + 64.0 + 68.0)) / 1e6,
        );
        // A gigabyte each second: a millisecond for each megabyte, and five exchanges.
        near(of_shards.exchange_ms, of_shards.sent_mb + 0.5);
        near(of_shards.memory_gb, 1.0 + 22.4);
        near(of_shards.model_gb, 68.0);
        assert_eq!(of_shards.limit, Limit::Bandwidth);
        let whole = costs(RankTables::Replicated).predict(&cluster());
        near(whole[4].computing_ms, 1.0 + 1.0 + 0.1 + own * 1e-3);
        near(whole[4].sent_mb, (7.2e6 + own * 9.0 * 68.0) / 1e6);
        near(whole[4].memory_gb, 1.0 + 196.0);
        near(
            whole[4].efficiency,
            whole[0].step_ms / whole[4].step_ms / 10.0,
        );
    }

    #[test]
    fn what_takes_longest_is_named() {
        let limit = |change: &dyn Fn(&mut StepCosts, &mut Cluster)| {
            let (mut costs, mut cluster) = (costs(RankTables::Sharded), cluster());
            change(&mut costs, &mut cluster);
            costs.predict(&cluster)[4].limit
        };
        assert_eq!(
            limit(&|costs, _| costs.reading_seconds = 1e-4),
            Limit::Reading
        );
        assert_eq!(
            limit(&|_, cluster| cluster.latency_ms = 9.0),
            Limit::Latency
        );
        assert_eq!(limit(&|costs, _| costs.fixed_seconds = 0.1), Limit::Fixed);
        assert_eq!(limit(&|_, cluster| cluster.gbit = 1e6), Limit::Computing);
    }
}
