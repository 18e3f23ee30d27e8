//! The input of the first layer: the Gram matrix of the field vectors, and the
//! vectors themselves (NCS4CVR; the interaction of DLRM with both triangles).
//!
//! The *logical* input is that of the paper's first layer: `[gram, flattened vectors]`, 720 wide for
//! 20 fields of 16. The full Gram matrix is symmetric, so only the *folded* input is computed: its
//! upper triangle and the vectors, 530 wide. Direct numeric inputs (`numbers.rs`) follow
//! in both. A folded connection carries the sum of the two logical
//! weights, each under its own mask; both receive the same gradient. This is exact.

use crate::number::Real;
use crate::plan::Gram;

/// The shape of the interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// Number of fields.
    pub fields: usize,
    /// Length of a field vector.
    pub dim: usize,
    /// How many of its first numbers count in the Gram matrix: all but the parts of single tasks.
    pub shared_dim: usize,
    /// The part of the Gram matrix that is an input.
    pub gram: Gram,
    /// Number of direct numeric inputs, which follow the vectors.
    pub numbers: usize,
}

impl Interaction {
    /// Returns the width of the logical input.
    pub fn inputs(&self) -> usize {
        let gram = match self.gram {
            Gram::Full => self.fields * self.fields,
            Gram::Triangle => self.triangle(),
            Gram::None => 0,
        };
        gram + self.vectors() + self.numbers
    }

    /// Returns the width of the flattened vectors.
    pub fn vectors(&self) -> usize {
        self.fields * self.dim
    }

    /// Returns the width of the Gram part of the folded input.
    pub fn folded_gram(&self) -> usize {
        match self.gram {
            Gram::Full | Gram::Triangle => self.triangle(),
            Gram::None => 0,
        }
    }

    /// Returns the width of the folded input.
    pub fn folded_inputs(&self) -> usize {
        self.folded_gram() + self.vectors() + self.numbers
    }

    /// Returns the group of each logical input of the Gram matrix and the vectors: the field whose vector it is part
    /// of, or the pair of fields whose product it is (a full Gram matrix has each product twice). Fields come first.
    pub(crate) fn groups(&self) -> Vec<usize> {
        let pair = |i: usize, j: usize| {
            let (i, j) = (i.min(j), i.max(j));
            self.fields + i * self.fields - i * (i + 1) / 2 + j
        };
        let fields = 0..self.fields;
        let products: Vec<usize> = match self.gram {
            Gram::Full => fields
                .clone()
                .flat_map(|i| fields.clone().map(move |j| (i, j)))
                .map(|(i, j)| pair(i, j))
                .collect(),
            Gram::Triangle => (self.fields..self.fields + self.triangle()).collect(),
            Gram::None => Vec::new(),
        };
        let vectors = fields.flat_map(|field| std::iter::repeat_n(field, self.dim));
        products.into_iter().chain(vectors).collect()
    }

    fn triangle(&self) -> usize {
        self.fields * (self.fields + 1) / 2
    }

    /// Returns the logical inputs for which folded input `folded` stands: one, or two mirrored ones.
    pub fn logical(&self, folded: usize) -> (usize, Option<usize>) {
        let gram = self.folded_gram();
        if self.gram != Gram::Full {
            return (folded, None);
        }
        if folded >= gram {
            return (self.fields * self.fields + folded - gram, None);
        }
        let (i, j) = self.pair(folded);
        (i * self.fields + j, (i != j).then_some(j * self.fields + i))
    }

    /// Returns the pair of fields `i <= j` at position `folded` of the upper triangle, row by row.
    fn pair(&self, folded: usize) -> (usize, usize) {
        let mut start = 0;
        for i in 0..self.fields {
            let length = self.fields - i;
            if folded < start + length {
                return (i, i + folded - start);
            }
            start += length;
        }
        unreachable!("a folded input within the triangle")
    }

    /// Folds first-layer weights `[inputs, outputs]` to `[folded_inputs, outputs]`.
    ///
    /// `kept(position)` is the mask over the logical connections.
    pub(crate) fn fold<R: Real>(
        &self,
        weights: &[R],
        outputs: usize,
        kept: impl Fn(usize) -> bool,
    ) -> Vec<R> {
        let mut folded = vec![R::ZERO; self.folded_inputs() * outputs];
        for (f, sums) in folded.chunks_exact_mut(outputs).enumerate() {
            let (a, b) = self.logical(f);
            for i in [Some(a), b].into_iter().flatten() {
                let first = i * outputs;
                for (sum, position) in sums.iter_mut().zip(first..) {
                    if kept(position) {
                        *sum += weights[position];
                    }
                }
            }
        }
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_the_paper() {
        let paper = Interaction {
            fields: 20,
            dim: 16,
            shared_dim: 16,
            gram: Gram::Full,
            numbers: 0,
        };
        assert_eq!((paper.inputs(), paper.folded_inputs()), (720, 530));
        let triangle = Interaction {
            gram: Gram::Triangle,
            ..paper
        };
        assert_eq!((triangle.inputs(), triangle.folded_inputs()), (530, 530));
        let none = Interaction {
            gram: Gram::None,
            ..paper
        };
        assert_eq!((none.inputs(), none.folded_inputs()), (320, 320));
    }

    #[test]
    fn groups_are_fields_or_pairs() {
        for gram in [Gram::Full, Gram::Triangle, Gram::None] {
            let shape = Interaction {
                fields: 4,
                dim: 2,
                shared_dim: 2,
                gram,
                numbers: 0,
            };
            let groups = shape.groups();
            assert_eq!(groups.len(), shape.inputs());
            assert_eq!(groups[groups.len() - 8..], [0, 0, 1, 1, 2, 2, 3, 3]);
            // Folded inputs of the Gram matrix are the pairs, in their order.
            for folded in 0..shape.folded_gram() {
                let (a, b) = shape.logical(folded);
                assert_eq!(groups[a], 4 + folded, "{gram:?}");
                assert!(b.is_none_or(|b| groups[b] == 4 + folded), "{gram:?}");
            }
        }
    }

    #[test]
    fn every_logical_input_is_folded_once() {
        let full = Interaction {
            fields: 5,
            dim: 3,
            shared_dim: 3,
            gram: Gram::Full,
            numbers: 4,
        };
        let mut seen = vec![0; full.inputs()];
        for f in 0..full.folded_inputs() {
            let (a, b) = full.logical(f);
            seen[a] += 1;
            if let Some(b) = b {
                seen[b] += 1;
            }
        }
        assert_eq!(seen, vec![1; full.inputs()]);
    }
}
