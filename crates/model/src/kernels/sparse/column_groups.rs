//! Gradients of kept weights, four columns of the layer at a time.

mod half;

use super::buckets::blocks;
use super::pattern::{NONE, SparsityPattern};
use crate::kernels::simd::{Kernel, Parts, Simd, Vector, prefetch_lanes};
use crate::kernels::{LANES, Lanes, SimdLevel};
use crate::number::Real;
use std::ops::Range;

/// Number of columns that are summed together: their gradients fill half of the AVX-512 registers.
const GROUP: usize = 4;

/// Number of inputs in a block: their lanes, 28 KB of a tile, fit the first-level cache.
const BLOCK: usize = 112;

/// For each block of inputs: the layer's columns in groups of four with about as many connections
/// each, and the connections of a group as steps, one of each column.
#[derive(Clone, Debug)]
pub(super) struct ColumnGroups {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The groups, by block.
    pub(super) groups: Vec<Group>,
    /// The inputs of every step, numbered from the first of their block.
    pub(super) steps: Vec<[u8; GROUP]>,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The first input of the block.
    pub(super) first_input: usize,
    pub(super) outputs: [usize; GROUP],
    pub(super) n_steps: usize,
}

impl ColumnGroups {
    /// Returns the groups, and the number of the connection of each sum, four for each step.
    pub(super) fn new(pattern: &SparsityPattern) -> (ColumnGroups, Vec<u32>) {
        let mut columns = ColumnGroups {
            inputs: pattern.inputs(),
            outputs: pattern.outputs(),
            groups: Vec::new(),
            steps: Vec::new(),
        };
        let mut numbers = Vec::new();
        for block in blocks(pattern.inputs(), BLOCK) {
            columns.push_block(pattern, block, &mut numbers);
        }
        (columns, numbers)
    }

    fn push_block(
        &mut self,
        pattern: &SparsityPattern,
        block: Range<usize>,
        numbers: &mut Vec<u32>,
    ) {
        // The inputs of each column, and the numbers of their connections.
        let mut kept = vec![Vec::new(); pattern.outputs()];
        for (at, input) in block.clone().enumerate() {
            for (output, number) in pattern.row(input) {
                kept[output].push((at as u8, number));
            }
        }
        let mut by_length: Vec<usize> = (0..kept.len()).collect();
        by_length.retain(|&output| !kept[output].is_empty());
        by_length.sort_by_key(|&output| kept[output].len());
        for group in by_length.chunks(GROUP) {
            self.push_group(block.start, group, &kept, numbers);
        }
    }

    /// Adds a group; shorter columns are padded with the first input of the block.
    fn push_group(
        &mut self,
        first_input: usize,
        group: &[usize],
        kept: &[Vec<(u8, u32)>],
        numbers: &mut Vec<u32>,
    ) {
        // The last column is the longest.
        let n_steps = group.last().map_or(0, |&output| kept[output].len());
        for step in 0..n_steps {
            let connections: [(u8, u32); GROUP] = std::array::from_fn(|column| {
                let connection = group.get(column).and_then(|&output| kept[output].get(step));
                *connection.unwrap_or(&(0, NONE))
            });
            self.steps.push(connections.map(|(input, _)| input));
            numbers.extend(connections.map(|(_, number)| number));
        }
        self.groups.push(Group {
            first_input,
            outputs: std::array::from_fn(|column| group[column.min(group.len() - 1)]),
            n_steps,
        });
    }

    /// Adds the sums over all tiles.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub(super) fn add<R: Real>(
        &self,
        level: SimdLevel,
        n_tiles: usize,
        x: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
    ) {
        assert_eq!(sums.len(), self.steps.len() * GROUP);
        assert_eq!(x.len(), n_tiles * self.inputs);
        assert_eq!(dy.len(), n_tiles * self.outputs);
        for tile in 0..n_tiles {
            R::vectorized(
                level,
                Tile {
                    columns: self,
                    x: &x[tile * self.inputs..(tile + 1) * self.inputs],
                    dy: &dy[tile * self.outputs..(tile + 1) * self.outputs],
                    sums,
                },
            );
        }
    }
}

/// The sums of one tile. The lengths of the slices match the columns.
struct Tile<'a, R> {
    columns: &'a ColumnGroups,
    x: &'a [Lanes<R>],
    dy: &'a [Lanes<R>],
    sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for Tile<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Simd<R>>(self) {
        let mut steps = self.columns.steps.as_ptr();
        let mut sums = self.sums.as_mut_ptr();
        // The next tile follows this one. It is prefetched meanwhile, since groups access it in random order.
        let n_groups = self.columns.groups.len();
        let mut next = [self.x, self.dy].map(|lanes| lanes.as_ptr_range().end);
        let shares = [self.x, self.dy].map(|lanes| lanes.len().div_ceil(n_groups));
        for group in &self.columns.groups {
            for (next, share) in next.iter_mut().zip(shares) {
                for _ in 0..share {
                    // SAFETY: the caller promises the instructions.
                    unsafe { prefetch_lanes::<R, S::Vector>(*next) };
                    *next = next.wrapping_add(1);
                }
            }
            let x = self.x[group.first_input..].as_ptr().cast::<R>();
            let dy = group.outputs.map(|output| self.dy[output].0.as_ptr());
            // SAFETY: the caller promises the instructions. The lengths of `steps` and `sums` are
            // those of all groups together; the inputs of a step are in its block, which `x` holds.
            unsafe {
                let mut gradients = [S::Tile::splat(R::ZERO); GROUP];
                for (gradients, dy) in gradients.iter_mut().zip(dy) {
                    *gradients = S::Tile::load(dy);
                }
                for _ in 0..group.n_steps {
                    let mut products = [S::Vector::splat(R::ZERO); GROUP];
                    for ((product, dy), input) in products.iter_mut().zip(gradients).zip(*steps) {
                        let x = S::Tile::load(x.add(usize::from(input) * LANES));
                        *product = dy.dot_add(x, *product);
                    }
                    S::Vector::add_sums(products, sums);
                    steps = steps.add(1);
                    sums = sums.add(GROUP);
                }
            }
        }
    }
}
