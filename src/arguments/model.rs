//! Arguments of the commands that run a trained model on rows: `ncs evaluate`, `ncs importance`, `ncs score`.

use std::path::PathBuf;

use clap::Args;

use super::{ModelAndRows, at_least_1, score_file};

/// `ncs evaluate`
#[derive(Args, Clone, Debug)]
pub struct Evaluate {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub input: ModelAndRows,
    /// Evaluate also the rows of each value of this column. Can be repeated.
    #[arg(long = "slice", value_name = "COLUMN")]
    pub slices: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `ncs importance`
#[derive(Args, Clone, Debug)]
pub struct Importance {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub input: ModelAndRows,
    /// Maximum number of rows; a random sample if there are more.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = at_least_1)]
    pub sample: usize,
    /// Permutations of each column.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_1)]
    pub repeats: usize,
    /// Seed of the permutations.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Add bars to the report of the run in the folder (report.html, report.json).
    #[arg(long)]
    pub report: bool,
}

/// `ncs score`
#[derive(Args, Clone, Debug)]
pub struct Score {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub input: ModelAndRows,
    /// Output file, .parquet or .csv.
    #[arg(long, value_name = "FILE", value_parser = score_file)]
    pub out: PathBuf,
    /// Columns of the data to copy into the output, such as user_id,item_id.
    #[arg(long, value_name = "COLUMN,COLUMN,...", value_delimiter = ',')]
    pub keep: Vec<String>,
    /// Score one shard of the files, K/N with K from 1 to N: every N-th file, in the order of their names, from the K-th
    /// on. For jobs that share the files of a folder.
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Score in half precision (bfloat16), as ncs serve --half: scores differ in the third digit. A model whose
    /// self-test differs by more than 0.002 is refused.
    #[arg(long)]
    pub half: bool,
    /// Leave the vectors of tables in the model's file, which is mapped, as ncs serve --map-tables: memory may be smaller than
    /// the tables.
    #[arg(long)]
    pub map_tables: bool,
}

/// A share of the files of a command: every `n`-th one from number `k` on, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the shard, from 1.
    pub k: usize,
    /// Number of shards.
    pub n: usize,
}

impl Shard {
    /// Returns the files of this shard.
    pub fn of<T>(self, files: Vec<T>) -> Vec<T> {
        files.into_iter().skip(self.k - 1).step_by(self.n).collect()
    }
}

/// Parses `3/16`.
fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(k, n)| {
        let (k, n) = (k.parse().ok()?, n.parse().ok()?);
        (1 <= k && k <= n).then_some(Shard { k, n })
    });
    parsed.ok_or_else(|| "expected K/N with K from 1 to N, such as 3/16".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_files() {
        let files = |text: &str| shard(text).unwrap().of(vec!["a", "b", "c", "d", "e"]);
        assert_eq!(files("1/2"), ["a", "c", "e"]);
        assert_eq!(files("2/2"), ["b", "d"]);
        assert_eq!(files("1/1"), ["a", "b", "c", "d", "e"]);
        assert!(files("6/6").is_empty());
        for wrong in ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
