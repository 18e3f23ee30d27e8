//! The division of fields between context and candidates, and the resulting division of the folded input.

use crate::interaction::Interaction;
use crate::spec::Spec;
use std::ops::Range;

/// A split of the fields: those of the context are the same for all candidates of a request.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// All fields whose ids are in the context, ascending. The vectors of its events vary with the candidate if attention
    /// compares them with one.
    given: Vec<usize>,
    /// Fields of the context that have a vector, ascending.
    pub(super) context: Vec<usize>,
    /// The other fields that have a vector, ascending.
    pub(super) candidate: Vec<usize>,
    /// Numeric fields of the context that are direct inputs, ascending, with the number of inputs of each.
    pub(super) context_numbers: Vec<(usize, usize)>,
    /// The other numeric fields.
    pub(super) candidate_numbers: Vec<(usize, usize)>,
    /// Folded inputs that are the same for all candidates: pairs of context fields (upper triangle, row
    /// by row), the vectors of the context fields, then their numbers.
    pub(super) fixed: Vec<usize>,
    /// Folded inputs of a candidate: pairs of a context field with each of the candidate's, pairs of
    /// two of the candidate's fields (upper triangle), the vectors of the candidate's fields, then their numbers.
    pub(super) varying: Vec<usize>,
    /// Number of `varying` inputs that are pairs with a context field.
    pub(super) n_across: usize,
    /// Number of `varying` inputs that are pairs of any kind.
    pub(super) n_pairs: usize,
    /// Number of `varying` inputs that are elements of vectors.
    pub(super) n_vectors: usize,
}

/// Positions of the folded inputs: pairs of vectors (upper triangle, row by row), vectors, numbers.
struct FoldedInputs(Interaction);

impl FoldedInputs {
    fn pair(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i.min(j), i.max(j));
        i * (2 * self.0.fields + 1 - i) / 2 + j - i
    }

    /// Returns the pairs of these fields, each with itself too; none if the network does not see pairs.
    fn pairs_within(&self, places: &[usize]) -> Vec<usize> {
        let sees_pairs = self.0.folded_gram() > 0;
        let rows = places.iter().enumerate().filter(|_| sees_pairs);
        rows.flat_map(|(at, &i)| places[at..].iter().map(move |&j| self.pair(i, j)))
            .collect()
    }

    /// Returns the pairs of one of the first with one of the second fields; none if the network does not see pairs.
    fn pairs_across(&self, first: &[usize], second: &[usize]) -> Vec<usize> {
        let sees_pairs = self.0.folded_gram() > 0;
        let rows = first.iter().filter(|_| sees_pairs);
        rows.flat_map(|&i| second.iter().map(move |&j| self.pair(i, j)))
            .collect()
    }

    fn vectors(&self, places: &[usize]) -> Vec<usize> {
        let (first, dim) = (self.0.folded_gram(), self.0.dim);
        let inputs = |&place: &usize| first + place * dim..first + (place + 1) * dim;
        places.iter().flat_map(inputs).collect()
    }

    fn numbers(&self, numbers: &[(usize, Range<usize>)]) -> Vec<usize> {
        let first = self.0.folded_gram() + self.0.vectors();
        let inputs = numbers.iter().flat_map(|(_, inputs)| inputs.clone());
        inputs.map(|input| first + input).collect()
    }
}

impl Split {
    /// Splits the fields; `None` if a context field does not exist, or is given twice, or if only some attributes of the
    /// same events are given.
    pub(super) fn new(spec: &Spec, fields: &[usize]) -> Option<Split> {
        let interaction = spec.interaction();
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        let is_unique = fields.is_sorted_by(|a, b| a < b);
        let exists = fields.last().is_none_or(|&last| last < spec.fields.len());
        (is_unique && exists).then_some(())?;
        let is_given = |f: &usize| fields.binary_search(f).is_ok();
        let mut varying: Vec<usize> = Vec::new();
        for sequence in spec.sequences() {
            let n_given = sequence.fields.iter().filter(|f| is_given(f)).count();
            (n_given == 0 || n_given == sequence.fields.len()).then_some(())?;
            let mut targets = sequence.targets.iter().flatten();
            if sequence.is_attention() && !targets.all(is_given) {
                varying.extend(sequence.fields);
            }
        }
        let is_of_context = |f: &usize| is_given(f) && !varying.contains(f);
        // Vectors, by their position among all vectors.
        let vectors: Vec<usize> = spec.vector_fields().collect();
        let places = 0..vectors.len();
        let (context, candidate): (Vec<usize>, Vec<usize>) =
            places.partition(|&place| is_of_context(&vectors[place]));
        let (context_numbers, candidate_numbers): (Vec<_>, Vec<_>) =
            spec.number_fields().partition(|(f, _)| is_of_context(f));
        let folded = FoldedInputs(interaction);
        let across = folded.pairs_across(&context, &candidate);
        let n_across = across.len();
        let pairs = [across, folded.pairs_within(&candidate)].concat();
        let of_vectors = folded.vectors(&candidate);
        let fields_at = |places: &[usize]| places.iter().map(|&place| vectors[place]).collect();
        let sizes = |numbers: &[(usize, Range<usize>)]| {
            let sizes = numbers.iter().map(|(f, inputs)| (*f, inputs.len()));
            sizes.collect()
        };
        Some(Split {
            given: fields.clone(),
            fixed: [
                folded.pairs_within(&context),
                folded.vectors(&context),
                folded.numbers(&context_numbers),
            ]
            .concat(),
            n_across,
            n_pairs: pairs.len(),
            n_vectors: of_vectors.len(),
            varying: [pairs, of_vectors, folded.numbers(&candidate_numbers)].concat(),
            context: fields_at(&context),
            candidate: fields_at(&candidate),
            context_numbers: sizes(&context_numbers),
            candidate_numbers: sizes(&candidate_numbers),
        })
    }

    /// Returns true if the ids or numbers of a field of the schema are in the context.
    pub(super) fn is_of_context(&self, f: usize) -> bool {
        self.given.binary_search(&f).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Gram, Heads, NetworkKind, NetworkPlan};
    use crate::spec::{FieldSpec, TableSpec};

    fn spec(gram: Gram) -> Spec {
        let field = |pieces| FieldSpec {
            table: 0,
            pooling: None,
            pieces,
            vector: None,
        };
        Spec {
            fields: [None, Some(4), None, None, Some(0), None, None]
                .map(field)
                .to_vec(),
            tables: vec![TableSpec {
                name: "word".into(),
                rows: 10,
                unknown: None,
            }],
            tasks: vec!["ctr".into()],
            links: Vec::new(),
            plan: NetworkPlan {
                kind: NetworkKind::SharedBottom,
                dim: 3,
                hidden: vec![4],
                gram,
                dropout: 0.0,
                table_deviation: None,
                heads: Heads::default(),
            },
        }
    }

    #[test]
    fn every_folded_input_is_fixed_or_varies() {
        for gram in [Gram::Full, Gram::Triangle, Gram::None] {
            let spec = spec(gram);
            for context in [vec![], vec![3, 1], vec![0, 1, 2, 3, 4, 5, 6]] {
                let split = Split::new(&spec, &context).unwrap();
                assert!((0..7).all(|f| split.is_of_context(f) == context.contains(&f)));
                let mut all = [split.fixed, split.varying].concat();
                all.sort_unstable();
                assert_eq!(all, Vec::from_iter(0..spec.interaction().folded_inputs()));
            }
            assert!(Split::new(&spec, &[7]).is_none());
            assert!(Split::new(&spec, &[2, 2]).is_none());
        }
    }
}
