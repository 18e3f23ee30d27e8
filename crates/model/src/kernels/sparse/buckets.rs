//! Kept connections in the order in which a product runs through them.

use super::Grid;

/// Outputs that are summed together.
pub(super) const GROUP: usize = 4;

/// The ways in which a group can use an input: which of its outputs, but not none.
pub(super) const PATTERNS: usize = (1 << GROUP) - 1;

/// Inputs of a block at most: the lanes of a tile's block come from the first-level cache, mostly. Fewer
/// inputs mean more, shorter lists; 130 to 140 were best at every density, measured with 32 KB.
const MOST: usize = 144;

/// The inputs of a block, in a layer of so many: blocks of like length.
pub(super) fn block_length(inputs: usize) -> usize {
    inputs.div_ceil(inputs.div_ceil(MOST).max(1)).max(1)
}

/// Connections by block of inputs, then by group of outputs, then by pattern: the inputs that the same
/// outputs of a group use stand together, so that an input is loaded once for all of them and nothing
/// has to be asked for each connection.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Inputs of a block.
    pub(super) length: usize,
    /// Number of inputs, `[blocks, groups, PATTERNS]`.
    pub(super) counts: Vec<u8>,
    /// The inputs, counted in their block.
    pub(super) places: Vec<u8>,
    /// The number of each connection: for each input those of the outputs that use it.
    pub(super) numbers: Vec<u32>,
}

impl Buckets {
    /// From the layer's inputs to its outputs.
    pub(super) fn forward(grid: &Grid) -> Buckets {
        let pattern = |input: usize, first: usize| grid.four(input, first);
        let number = |input: usize, output: usize| grid.number(input, output);
        Buckets::new(grid.inputs(), grid.outputs(), pattern, number)
    }

    /// From the layer's outputs to its inputs.
    pub(super) fn backward(grid: &Grid) -> Buckets {
        let pattern = |input: usize, first: usize| {
            let outputs = first..grid.inputs().min(first + GROUP);
            let bit = |(q, output)| usize::from(grid.keeps(output, input)) << q;
            outputs.enumerate().map(bit).sum()
        };
        let number = |input: usize, output: usize| grid.number(output, input);
        Buckets::new(grid.outputs(), grid.inputs(), pattern, number)
    }

    /// `pattern(input, first output of the group)` says which of the group's outputs use the input.
    fn new(
        inputs: usize,
        outputs: usize,
        pattern: impl Fn(usize, usize) -> usize,
        number: impl Fn(usize, usize) -> Option<u32>,
    ) -> Buckets {
        let mut buckets = Buckets {
            inputs,
            outputs,
            length: block_length(inputs),
            counts: Vec::new(),
            places: Vec::new(),
            numbers: Vec::new(),
        };
        for block in 0..buckets.n_blocks() {
            let first = block * buckets.length;
            let length = buckets.length.min(inputs - first);
            for group in (0..outputs).step_by(GROUP) {
                let mut patterns = [0u8; MOST];
                let mut counts = [0u8; PATTERNS + 1];
                for (place, found) in patterns[..length].iter_mut().enumerate() {
                    *found = pattern(first + place, group) as u8;
                    counts[usize::from(*found)] += 1;
                }
                buckets.counts.extend_from_slice(&counts[1..]);
                for wanted in 1..=PATTERNS as u8 {
                    if counts[usize::from(wanted)] == 0 {
                        continue;
                    }
                    for (place, _) in (0..length).zip(patterns).filter(|(_, p)| *p == wanted) {
                        buckets.places.push(place as u8);
                        let outputs = (0..GROUP).filter(|q| wanted >> q & 1 == 1);
                        let numbers = outputs.filter_map(|q| number(first + place, group + q));
                        buckets.numbers.extend(numbers);
                    }
                }
            }
        }
        buckets
    }

    /// At least one, so that outputs are started from.
    pub(super) fn n_blocks(&self) -> usize {
        self.inputs.div_ceil(self.length).max(1)
    }
}
