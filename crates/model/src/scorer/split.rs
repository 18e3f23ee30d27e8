//! The fields of a request and those of its candidates, and what that makes of the folded input.

use crate::interaction::Interaction;

/// A split of the fields: the context's are the same for all candidates of a request.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// Fields of the context, ascending.
    pub(super) context: Vec<usize>,
    /// The other fields, ascending.
    pub(super) candidate: Vec<usize>,
    /// Folded inputs that are the same for all candidates: pairs of context fields (upper triangle, row
    /// by row), then the vectors of the context fields.
    pub(super) fixed: Vec<usize>,
    /// Folded inputs of a candidate: pairs of a context field with each of the candidate's, pairs of
    /// two of the candidate's fields (upper triangle), then the vectors of the candidate's fields.
    pub(super) varying: Vec<usize>,
    /// How many of `varying` are pairs with a context field.
    pub(super) n_across: usize,
    /// How many of `varying` are pairs of any kind.
    pub(super) n_pairs: usize,
}

impl Split {
    /// `None` where a context field is not there, or named twice.
    pub(super) fn new(interaction: Interaction, context: &[usize]) -> Option<Split> {
        let mut context = context.to_vec();
        context.sort_unstable();
        let is_split = context.is_sorted_by(|a, b| a < b);
        let is_there = context.last().is_none_or(|&last| last < interaction.fields);
        (is_split && is_there).then_some(())?;
        let all = 0..interaction.fields;
        let candidate: Vec<usize> = all.filter(|field| !context.contains(field)).collect();
        let pair = |i: usize, j: usize| {
            let (i, j) = (i.min(j), i.max(j));
            i * (2 * interaction.fields + 1 - i) / 2 + j - i
        };
        let sees_pairs = interaction.folded_gram() > 0;
        let triangle = |fields: &[usize]| -> Vec<usize> {
            let rows = fields.iter().enumerate().filter(|_| sees_pairs);
            rows.flat_map(|(at, &i)| fields[at..].iter().map(move |&j| pair(i, j)))
                .collect()
        };
        let vectors = |fields: &[usize]| -> Vec<usize> {
            let (first, dim) = (interaction.folded_gram(), interaction.dim);
            let places = |&field: &usize| first + field * dim..first + (field + 1) * dim;
            fields.iter().flat_map(places).collect()
        };
        let rows = context.iter().filter(|_| sees_pairs);
        let across = rows.flat_map(|&i| candidate.iter().map(move |&j| pair(i, j)));
        let across: Vec<usize> = across.collect();
        let n_across = across.len();
        let pairs = [across, triangle(&candidate)].concat();
        Some(Split {
            fixed: [triangle(&context), vectors(&context)].concat(),
            n_across,
            n_pairs: pairs.len(),
            varying: [pairs, vectors(&candidate)].concat(),
            context,
            candidate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Gram;

    #[test]
    fn every_folded_input_is_fixed_or_varies() {
        for gram in [Gram::Full, Gram::Triangle, Gram::None] {
            let interaction = Interaction {
                fields: 5,
                dim: 3,
                gram,
            };
            for context in [vec![], vec![3, 1], vec![0, 1, 2, 3, 4]] {
                let split = Split::new(interaction, &context).unwrap();
                let mut all = [split.fixed, split.varying].concat();
                all.sort_unstable();
                assert_eq!(all, Vec::from_iter(0..interaction.folded_inputs()));
            }
            assert!(Split::new(interaction, &[5]).is_none());
            assert!(Split::new(interaction, &[2, 2]).is_none());
        }
    }
}
