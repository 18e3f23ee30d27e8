//! Predictions as a table.

use super::{Limit, Planned, Prediction};
use crate::progress::grouped;
use ncs_eval::text_table;
use ncs_train::RankTables;

impl Limit {
    fn in_words(self) -> &'static str {
        match self {
            Limit::Computing => "computing",
            Limit::Fixed => "what each process repeats",
            Limit::Bandwidth => "bandwidth",
            Limit::Latency => "latency",
            Limit::Reading => "reading rows",
        }
    }
}

impl Planned {
    /// Returns the plan as text: a table, and what was measured.
    pub fn text(&self) -> String {
        let Planned {
            costs,
            cluster,
            predictions,
        } = self;
        let header = [
            "processes",
            "ms a step",
            "computing",
            "exchanges",
            "MB sent",
            "GB memory",
            "hours a pass",
            "efficiency",
            "limit",
        ];
        let row = |found: &Prediction| {
            vec![
                found.ranks.to_string(),
                figure(found.step_ms),
                figure(found.computing_ms),
                figure(found.exchange_ms),
                figure(found.sent_mb),
                figure(found.memory_gb),
                figure(found.hours),
                format!("{:.2}", found.efficiency),
                found.limit.in_words().to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = predictions.iter().map(row).collect();
        let tables = match costs.tables {
            RankTables::Sharded => "in shards",
            RankTables::Replicated => "whole in each process",
        };
        let distinct = costs.distinct(costs.batch as f64);
        let model = predictions.last().map_or(0.0, |found| found.model_gb);
        format!(
            "{}\nBatches of {} rows with {} distinct table rows, {} numbers in layers and heads, tables {tables}; {} rows in the log, \
             {} Gbit/s, {} ms.\nMeasured on one process of {} threads: {} ms fixed, {} us a row, {} ns a table row, {} ns a \
             look-up, {} us a row for reading.\nThe first process gathers {} GB of tables when the training has ended.\n",
            text_table(&header, &rows),
            grouped(costs.batch as u64),
            grouped(distinct as u64),
            grouped(costs.dense as u64),
            figure(cluster.rows),
            figure(cluster.gbit),
            figure(cluster.latency_ms),
            costs.threads,
            figure(1e3 * costs.fixed_seconds),
            figure(1e6 * costs.row_seconds),
            figure(1e9 * costs.table_row_seconds),
            figure(1e9 * costs.lookup_seconds),
            figure(1e6 * costs.reading_seconds),
            figure(model),
        )
    }
}

/// Formats a number with three digits: `0.0123`, `12.3`, `1,234`, `1.2e11`.
fn figure(number: f64) -> String {
    let digits = match number.abs() {
        0.0 => return "0".to_owned(),
        x if !(1e-3..1e7).contains(&x) => return format!("{number:.2e}"),
        x if x >= 100.0 => return grouped(number.round() as u64),
        x => (2 - x.log10().floor() as i32).max(0) as usize,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let numbers = [
            0.0, 1e11, 0.000_02, 12_345.6, 123.4, 12.34, 1.0, 0.1234, 0.001_234,
        ];
        let texts = numbers.map(figure);
        let expected = [
            "0", "1.00e11", "2.00e-5", "12,346", "123", "12.3", "1.00", "0.123", "0.00123",
        ];
        assert_eq!(texts, expected);
    }
}
