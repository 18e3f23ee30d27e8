//! The seeded order in which a cache's rows are visited.
//!
//! Shuffled: the blocks are put in a seeded order and read in windows of [`WINDOW_BLOCKS`]; the rows
//! of a window are put in a seeded order of their own. So every epoch visits every row once, memory
//! holds one window, and a window can be skipped without being read. Both orders are Fisher-Yates
//! shuffles by SplitMix64, seeded by XXH3 of the epoch and the window's number under the seed: the
//! same on every machine and in every release.

use crate::cache::BlockEntry;
use ncs_features::hash::{below, seeded_hash};
use ncs_features::{Batch, Pick};

/// Blocks whose rows are mixed with each other.
pub(crate) const WINDOW_BLOCKS: usize = 16;

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// Order of the file.
    #[default]
    Sequential,
    /// Shuffled; every epoch otherwise.
    Shuffled {
        /// Another seed gives other orders.
        seed: u64,
        /// The epoch, from 0.
        epoch: u64,
    },
}

/// The rows that are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rows {
    /// Every row.
    #[default]
    All,
    /// The rows whose label of this task (its number) is known.
    KnownLabel(usize),
}

/// Some blocks that are in memory together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The blocks' numbers.
    pub(crate) blocks: Vec<usize>,
    /// Number of their rows that are visited.
    pub(crate) rows: u64,
    /// Seed of the order of rows; `None`: as they lie in the file.
    seed: Option<u64>,
}

/// Returns the windows of an epoch, in order; blocks without rows to visit are left out.
pub(crate) fn windows(blocks: &[BlockEntry], order: Order, rows: Rows) -> Vec<Window> {
    let visited = |&block: &usize| visited_rows(&blocks[block], rows);
    let mut wanted: Vec<usize> = (0..blocks.len())
        .filter(|block| visited(block) > 0)
        .collect();
    let mut length = 1;
    if let Order::Shuffled { seed, epoch } = order {
        shuffle(&mut wanted, stream(seed, epoch, u64::MAX));
        length = WINDOW_BLOCKS;
    }
    let window = |(number, blocks): (usize, &[usize])| Window {
        blocks: blocks.to_vec(),
        rows: blocks.iter().map(visited).sum(),
        seed: match order {
            Order::Sequential => None,
            Order::Shuffled { seed, epoch } => Some(stream(seed, epoch, number as u64)),
        },
    };
    wanted.chunks(length).enumerate().map(window).collect()
}

/// Returns the number of rows of a block that are visited.
pub(crate) fn visited_rows(block: &BlockEntry, rows: Rows) -> u64 {
    match rows {
        Rows::All => u64::from(block.rows),
        Rows::KnownLabel(task) => block.known.get(task).copied().map_or(0, u64::from),
    }
}

impl Window {
    /// Returns the rows to visit, in their order, after the window's blocks are read.
    pub(crate) fn picks(&self, blocks: &[Batch], rows: Rows) -> Vec<Pick> {
        let mut picks = Vec::with_capacity(self.rows as usize);
        for (source, block) in blocks.iter().enumerate() {
            let all = (0..block.n_rows).filter(|&row| is_visited(block, row, rows));
            picks.extend(all.map(|row| Pick::new(source, row)));
        }
        if let Some(seed) = self.seed {
            shuffle(&mut picks, seed);
        }
        picks
    }
}

fn is_visited(block: &Batch, row: usize, rows: Rows) -> bool {
    match rows {
        Rows::All => true,
        Rows::KnownLabel(task) => !block.labels[task][row].is_nan(),
    }
}

fn stream(seed: u64, epoch: u64, window: u64) -> u64 {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&epoch.to_le_bytes());
    name[8..].copy_from_slice(&window.to_le_bytes());
    seeded_hash(&name, seed)
}

fn shuffle<T>(items: &mut [T], mut state: u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(&mut state, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(n: usize) -> Vec<BlockEntry> {
        let block = |i: usize| BlockEntry {
            offset: 0,
            n_bytes: 0,
            rows: 10,
            known: vec![(i % 2) as u32],
        };
        (0..n).map(block).collect()
    }

    fn order_of(order: Order, rows: Rows) -> Vec<usize> {
        let windows = windows(&blocks(40), order, rows);
        windows
            .into_iter()
            .flat_map(|window| window.blocks)
            .collect()
    }

    #[test]
    fn every_block_with_rows_comes_once() {
        let check = |order, rows, expected: Vec<usize>| {
            let mut found = order_of(order, rows);
            found.sort_unstable();
            assert_eq!(found, expected);
        };
        let shuffled = Order::Shuffled { seed: 1, epoch: 0 };
        check(shuffled, Rows::All, (0..40).collect());
        check(
            shuffled,
            Rows::KnownLabel(0),
            (0..40).filter(|i| i % 2 == 1).collect(),
        );
        check(shuffled, Rows::KnownLabel(9), vec![]);
        assert_eq!(
            order_of(Order::Sequential, Rows::All),
            (0..40).collect::<Vec<_>>()
        );
    }

    #[test]
    fn seeds_and_epochs_give_other_orders_and_the_same_ones_again() {
        let order = |seed, epoch| order_of(Order::Shuffled { seed, epoch }, Rows::All);
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
    }

    /// Runs that were begun before an upgrade must go on with the same rows.
    #[test]
    fn the_order_never_changes() {
        let mut items: Vec<u32> = (0..8).collect();
        shuffle(&mut items, stream(7, 1, 2));
        assert_eq!(items, [5, 6, 2, 3, 0, 1, 7, 4]);
    }
}
