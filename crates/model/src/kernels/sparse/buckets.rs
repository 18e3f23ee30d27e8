//! The order in which a product runs through its connections.

use std::ops::Range;

/// Outputs whose sums are kept in registers together.
pub(super) const GROUP: usize = 4;

/// Inputs of the longest block; they are numbered in a byte.
const LONGEST: usize = 192;

/// A set of outputs of a group, one bit an output.
type Pattern = usize;

/// Patterns of three outputs, each as a pair and the third.
const TRIPLES: [(Pattern, [Pattern; 2]); 4] = [
    (0b0111, [0b0011, 0b0100]),
    (0b1011, [0b0011, 0b1000]),
    (0b1101, [0b1100, 0b0001]),
    (0b1110, [0b1100, 0b0010]),
];

/// For each block of inputs and each group of outputs, the inputs by which outputs of the group use
/// them: a bucket for each of the 15 patterns.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    n_inputs: usize,
    longest_block: usize,
    /// Inputs of every bucket; block after block, in it group after group. Pattern 0 has none.
    pub(super) counts: Vec<[u8; 16]>,
    /// Inputs, counted from the first of their block, bucket after bucket.
    pub(super) inputs: Vec<u8>,
    /// Numbers of the connections: for each of `inputs`, one for each output of the pattern.
    pub(super) numbers: Vec<u32>,
}

impl Buckets {
    /// Sorts the connections `(input, output)` that have a number; `density` is their share.
    pub(super) fn new(
        n_inputs: usize,
        n_outputs: usize,
        density: f64,
        number: impl Fn(usize, usize) -> Option<u32>,
    ) -> Buckets {
        let mut buckets = Buckets {
            n_inputs,
            // The lanes of 112 inputs, 28 KB of a tile, stay in the first-level cache; where little is
            // kept, reading and writing sums once more costs more than leaving that cache.
            longest_block: if density < 0.15 { LONGEST } else { 112 },
            counts: Vec::new(),
            inputs: Vec::new(),
            numbers: Vec::new(),
        };
        // Loops over the few inputs of rare patterns end unforeseen.
        let split_triples = density < 0.25;
        for block in buckets.blocks() {
            for first in (0..n_outputs).step_by(GROUP) {
                let outputs = first..(first + GROUP).min(n_outputs);
                buckets.push_group(block.clone(), outputs, split_triples, &number);
            }
        }
        buckets
    }

    /// The blocks that the inputs are cut into.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        blocks(self.n_inputs, self.longest_block)
    }

    fn push_group(
        &mut self,
        block: Range<usize>,
        outputs: Range<usize>,
        split_triples: bool,
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
            match TRIPLES
                .iter()
                .find(|triple| split_triples && triple.0 == pattern)
            {
                Some((_, parts)) => parts.iter().for_each(|&part| push(part, at)),
                None => push(pattern, at),
            }
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

/// Inputs cut into blocks of about the same length, `longest` at most; one, and that empty, where
/// there are none.
pub(super) fn blocks(
    n_inputs: usize,
    longest: usize,
) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
    let n_blocks = n_inputs.div_ceil(longest).max(1);
    (0..n_blocks).map(move |block| n_inputs * block / n_blocks..n_inputs * (block + 1) / n_blocks)
}
