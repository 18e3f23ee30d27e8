//! The command line.

use crate::paper::Size;
use std::collections::BTreeMap;
use std::str::FromStr;

pub(crate) const USAGE: &str = "cost step|forward|search|score|read|memory \
    [--density CTR CVR] [--threads N] [--batch N] [--width N] [--table-rows N] [--samples N] \
    [--candidates N ...] [--rounds N] [--steps-per-level N] [--steps N] [--log-rows N] [--half 0|1]";

const FLAGS: [&str; 12] = [
    "density",
    "threads",
    "batch",
    "width",
    "table-rows",
    "samples",
    "candidates",
    "rounds",
    "steps-per-level",
    "steps",
    "log-rows",
    "half",
];

/// Measurement to make.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) kind: String,
    /// Of the masks of CTR and CVR.
    pub(crate) density: [f64; 2],
    pub(crate) size: Size,
    pub(crate) samples: usize,
    /// Of a request: one user and so many.
    pub(crate) candidates: Vec<usize>,
    /// Prunings of a search.
    pub(crate) rounds: u32,
    /// Steps of each level that the cost of a search is worked out for.
    pub(crate) steps_per_level: u32,
    /// Steps on fresh batches, of `memory`.
    pub(crate) steps: u64,
    /// Rows of the log, of `read`.
    pub(crate) log_rows: u64,
}

impl Arguments {
    /// `KIND --flag value ...`.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let kind = words.next().ok_or(USAGE)?;
        let flags = Flags::parse(words)?;
        let paper = Size::PAPER;
        let density = flags.numbers("density", &[0.2, 0.2])?;
        Ok(Arguments {
            kind,
            density: density
                .try_into()
                .map_err(|_| "--density takes two numbers: of CTR and of CVR")?,
            size: Size {
                batch: flags.number("batch", paper.batch)?,
                table_rows: flags.number("table-rows", paper.table_rows)?,
                width: flags.number("width", paper.width)?,
                threads: flags.number("threads", paper.threads)?,
                is_half: flags.number("half", 0u8)? != 0,
            },
            samples: flags.number("samples", 9)?,
            candidates: flags.numbers("candidates", &[1, 64, 500])?,
            rounds: flags.number("rounds", 5)?,
            steps_per_level: flags.number("steps-per-level", 250)?,
            steps: flags.number("steps", 300)?,
            log_rows: flags.number("log-rows", 65_536)?,
        })
    }
}

/// The values of each flag.
struct Flags(BTreeMap<String, Vec<String>>);

impl Flags {
    fn parse(words: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut last = None;
        for word in words {
            match (word.strip_prefix("--"), &last) {
                (Some(name), _) if FLAGS.contains(&name) => {
                    flags.insert(name.to_owned(), Vec::new());
                    last = Some(name.to_owned());
                }
                (None, Some(name)) => flags.entry(name.clone()).or_default().push(word),
                _ => return Err(format!("no place for `{word}`; {USAGE}")),
            }
        }
        Ok(Flags(flags))
    }

    fn numbers<T: FromStr + Clone>(&self, name: &str, default: &[T]) -> Result<Vec<T>, String> {
        let Some(words) = self.0.get(name) else {
            return Ok(default.to_vec());
        };
        let number = |word: &String| {
            let wrong = || format!("--{name}: `{word}` is no such number");
            word.parse().map_err(|_| wrong())
        };
        words.iter().map(number).collect()
    }

    fn number<T: FromStr + Clone>(&self, name: &str, default: T) -> Result<T, String> {
        match self.numbers(name, &[default])?.as_slice() {
            [number] => Ok(number.clone()),
            _ => Err(format!("--{name} takes one number")),
        }
    }
}
