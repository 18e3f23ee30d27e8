//! The order in which a product reads its connections.

use std::ops::Range;

/// Number of outputs whose sums are kept in registers together.
pub(super) const GROUP: usize = 4;

/// Maximum number of inputs in a block; they are numbered in a byte. Their lanes, 34 KB of a tile, nearly
/// fit the first-level cache; shorter blocks read and write the sums more often.
const LONGEST: usize = 136;

/// A set of outputs of a group, one bit for each output.
type Pattern = usize;

/// For each block of inputs and each group of outputs, the inputs sorted by the outputs of the group that use
/// them, with a bucket for each of the 15 patterns.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    n_inputs: usize,
    /// Number of inputs in every bucket, by block, then by group. Pattern 0 has none.
    pub(super) counts: Vec<[u8; 16]>,
    /// Inputs, numbered from the first of their block, by bucket.
    pub(super) inputs: Vec<u8>,
    /// Numbers of the connections: for each of `inputs`, one for each output of the pattern.
    pub(super) numbers: Vec<u32>,
}

impl Buckets {
    /// Sorts the connections `(input, output)` that have a number.
    pub(super) fn new(
        n_inputs: usize,
        n_outputs: usize,
        number: impl Fn(usize, usize) -> Option<u32>,
    ) -> Buckets {
        let mut buckets = Buckets {
            n_inputs,
            counts: Vec::new(),
            inputs: Vec::new(),
            numbers: Vec::new(),
        };
        for block in buckets.blocks() {
            for first in (0..n_outputs).step_by(GROUP) {
                let outputs = first..(first + GROUP).min(n_outputs);
                buckets.push_group(block.clone(), outputs, &number);
            }
        }
        buckets
    }

    /// Returns the blocks into which the inputs are divided.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        blocks(self.n_inputs, LONGEST)
    }

    fn push_group(
        &mut self,
        block: Range<usize>,
        outputs: Range<usize>,
        number: &impl Fn(usize, usize) -> Option<u32>,
    ) {
        let mut numbers = [[0; GROUP]; LONGEST];
        let mut buckets = [[0u8; LONGEST]; 16];
        let mut counts = [0u8; 16];
        let mut push = |pattern: Pattern, at: usize| {
            buckets[pattern][usize::from(counts[pattern])] = at as u8;
            counts[pattern] += 1;
        };
        for (at, input) in block.enumerate() {
            let mut pattern = 0;
            for (bit, output) in outputs.clone().enumerate() {
                if let Some(number) = number(input, output) {
                    numbers[at][bit] = number;
                    pattern |= 1 << bit;
                }
            }
            push(pattern, at);
        }
        counts[0] = 0;
        self.counts.push(counts);
        for pattern in 1..16 {
            let bucket = &buckets[pattern][..usize::from(counts[pattern])];
            self.inputs.extend_from_slice(bucket);
            let used = (0..GROUP).filter(|bit| pattern >> bit & 1 == 1);
            for &at in bucket {
                let numbers = used.clone().map(|bit| numbers[usize::from(at)][bit]);
                self.numbers.extend(numbers);
            }
        }
    }
}

/// Divides inputs into blocks of about the same length, at most `longest`; without inputs there is one empty
/// block.
pub(super) fn blocks(
    n_inputs: usize,
    longest: usize,
) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
    let n_blocks = n_inputs.div_ceil(longest).max(1);
    (0..n_blocks).map(move |block| n_inputs * block / n_blocks..n_inputs * (block + 1) / n_blocks)
}
