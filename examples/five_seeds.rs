//! Trains three networks on the shipped examples with five seeds each, and prints `docs/results.md`.
//!
//!     cargo run --release --example five_seeds > docs/results.md
//!
//! Runs go to `runs/five_seeds`; finished ones are found again. Needs the data in `../shared`.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ncs_eval::report::{ResultCell, ResultTable};
use ncs4cvr::comparison::{self, NetworkFigures};
use ncs4cvr::progress::Progress;
use ncs4cvr::run_file::RunFile;
use ncs4cvr::training;

const EXAMPLES: [&str; 5] = [
    "tencent_video",
    "ebnerd",
    "kuairec",
    "census_income",
    "coat",
];
const NETWORKS: [&str; 3] = ["single_task", "shared_bottom", "sparse_sharing"];
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{HEAD}");
    for example in EXAMPLES {
        let figures = NETWORKS.map(|network| figures(example, network));
        let figures: Vec<NetworkFigures> = figures.into_iter().collect::<Result<_, _>>()?;
        println!("## {example}\n");
        println!(
            "    ncs train examples/{example}.toml --out DIR --set network.kind=KIND --set seed=N\n"
        );
        println!("{}", markdown(&comparison::table("", &figures)));
        let (sparse, others) = figures.split_last().ok_or("there are networks")?;
        for line in comparison::verdicts(sparse, others) {
            println!("- {line}");
        }
        println!();
    }
    Ok(())
}

fn figures(example: &str, network: &str) -> Result<NetworkFigures, Box<dyn Error>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = project.join("examples").join(format!("{example}.toml"));
    let mut seeds = Vec::new();
    for seed in SEEDS {
        eprintln!("{example}, {network}, seed {seed}");
        let sets = [
            format!("network.kind={network:?}"),
            format!("seed={seed}"),
            "threads=2".to_owned(),
            "evaluation.bootstrap=0".to_owned(),
        ];
        let run = RunFile::open(&file, &sets)?;
        let folder = project.join(format!("runs/five_seeds/{example}/{network}/seed-{seed}"));
        let finished = training::run(&run, &folder, Progress::Quiet, &AtomicBool::new(false))?;
        seeds.push(finished.judged[0].metrics.clone());
    }
    Ok(NetworkFigures {
        network: network.to_owned(),
        seeds,
    })
}

fn markdown(table: &ResultTable) -> String {
    let names = table.columns.iter().map(|column| column.name.as_str());
    let header: Vec<&str> = ["task", "network"].into_iter().chain(names).collect();
    let mut lines = vec![format!("| {} |", header.join(" | "))];
    lines.push(format!("|{}", "---|".repeat(header.len())));
    for (at, row) in table.rows.iter().enumerate() {
        let cell = |(column, cell): (usize, &ResultCell)| {
            let text = match (cell.value, cell.interval) {
                (Some(value), Some([low, high])) => {
                    format!("{value:.4} ({:.4})", (high - low) / 2.0)
                }
                (Some(value), None) => format!("{value:.4}"),
                (None, _) => "–".to_owned(),
            };
            if table.is_best(at, column) {
                format!("**{text}**")
            } else {
                text
            }
        };
        let cells: Vec<String> = row.cells.iter().enumerate().map(cell).collect();
        lines.push(format!(
            "| {} | {} | {} |",
            row.task,
            row.network,
            cells.join(" | ")
        ));
    }
    lines.join("\n") + "\n"
}

const HEAD: &str = "# Results on real data

Written by `cargo run --release --example five_seeds > docs/results.md`: three networks on the five examples, seeds 1
to 5, two threads, test rows, early stopping for each task on validation rows. Mean over seeds; in parentheses half the
width of its 95 % interval (Student); the best mean of a task in bold. Below each table: `sparse_sharing` against the
others, seed by seed: mean difference, its 95 % interval, p of the paired t test, and the verdict that follows. The
intervals are over initial weights and orders of rows, for one split of the data; with so many comparisons, expect one in
twenty to be called separable by chance.

`sparse_sharing` is the paper's method: magnitude pruning, masks picked on validation. All three share tables,
interaction, optimizer, batches and early stopping; none was tuned.
";
