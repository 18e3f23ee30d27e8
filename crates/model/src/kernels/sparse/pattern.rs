//! The kept connections of a layer, and their numbers.

/// The number of no connection.
pub(super) const NONE: u32 = u32::MAX;

/// The kept connections of a layer, numbered from 0 in the order of `(input, output)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparsityPattern {
    inputs: usize,
    outputs: usize,
    /// One bit for each connection; each input starts a new word.
    words: Vec<u64>,
    /// For each word, the number of kept connections before it.
    before: Vec<u32>,
    n_kept: usize,
}

impl SparsityPattern {
    /// Creates a pattern of the connections for which `kept(input, output)` is true.
    pub fn from_fn(
        inputs: usize,
        outputs: usize,
        kept: impl Fn(usize, usize) -> bool,
    ) -> SparsityPattern {
        let words_per_input = outputs.div_ceil(64);
        let mut words = vec![0u64; inputs * words_per_input];
        for (input, row) in words.chunks_exact_mut(words_per_input.max(1)).enumerate() {
            for output in (0..outputs).filter(|&output| kept(input, output)) {
                row[output / 64] |= 1 << (output % 64);
            }
        }
        let mut n_kept = 0;
        let before = words.iter().map(|word| {
            let before = n_kept as u32;
            n_kept += word.count_ones() as usize;
            before
        });
        let before = before.collect();
        SparsityPattern {
            inputs,
            outputs,
            words,
            before,
            n_kept,
        }
    }

    /// Creates a pattern of all connections.
    pub fn full(inputs: usize, outputs: usize) -> SparsityPattern {
        SparsityPattern::from_fn(inputs, outputs, |_, _| true)
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of kept connections.
    pub fn n_kept(&self) -> usize {
        self.n_kept
    }

    /// Returns the share of kept connections; 1 for a layer without connections.
    pub fn density(&self) -> f64 {
        match self.inputs * self.outputs {
            0 => 1.0,
            all => self.n_kept as f64 / all as f64,
        }
    }

    /// Returns true if a connection is kept.
    #[inline]
    pub fn keeps(&self, input: usize, output: usize) -> bool {
        self.words[input * self.outputs.div_ceil(64) + output / 64] >> (output % 64) & 1 == 1
    }

    /// Returns the number of a connection, if it is kept.
    #[inline]
    pub fn number(&self, input: usize, output: usize) -> Option<u32> {
        let at = input * self.outputs.div_ceil(64) + output / 64;
        let (word, bit) = (self.words[at], output % 64);
        let before = (word & ((1 << bit) - 1)).count_ones();
        (word >> bit & 1 == 1).then(|| self.before[at] + before)
    }

    /// Iterates over `(output, number)` of every kept connection of an input, by number.
    pub(super) fn row(&self, input: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let first = input * self.outputs.div_ceil(64);
        let numbers = self.before.get(first).copied().unwrap_or(0)..;
        self.outputs_of(input).zip(numbers)
    }

    fn outputs_of(&self, input: usize) -> impl Iterator<Item = usize> + '_ {
        let per_input = self.outputs.div_ceil(64);
        let words = self.words[input * per_input..][..per_input].iter();
        words
            .enumerate()
            .flat_map(|(at, &word)| bits(word).map(move |bit| at * 64 + bit))
    }

    /// Iterates over `(input, output)` of every kept connection, by number.
    pub fn kept(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.inputs).flat_map(|input| self.outputs_of(input).map(move |output| (input, output)))
    }
}

/// Iterates over the positions of the bits that are set, ascending.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let rest = |&bits: &u64| Some(bits & (bits - 1)).filter(|&rest| rest != 0);
    let words = std::iter::successors(Some(word).filter(|&word| word != 0), rest);
    words.map(|bits| bits.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_the_kept_connections_in_order() {
        let pattern = SparsityPattern::from_fn(3, 130, |i, o| (i * 7 + o * 5) % 3 == 0);
        let kept: Vec<_> = pattern.kept().collect();
        assert_eq!(kept.len(), pattern.n_kept());
        assert!(kept.is_sorted());
        for (number, &(i, o)) in kept.iter().enumerate() {
            assert!(pattern.keeps(i, o));
            assert_eq!(pattern.number(i, o), Some(number as u32));
        }
        let all = (0..3).flat_map(|i| (0..130).map(move |o| (i, o)));
        let others = all.filter(|pair| !kept.contains(pair));
        others.for_each(|(i, o)| assert_eq!(pattern.number(i, o), None));
    }

    #[test]
    fn a_layer_without_connections_has_no_numbers() {
        let none = SparsityPattern::from_fn(4, 3, |_, _| false);
        assert_eq!((none.n_kept(), none.kept().count()), (0, 0));
        assert_eq!(SparsityPattern::full(0, 3).density(), 1.0);
        assert_eq!(SparsityPattern::full(2, 0).kept().count(), 0);
    }
}
