//! The input of a tile: embedding look-up and interaction, forward and backward.

use super::chunk::ChunkRunner;
use crate::attention::Attended;
use crate::kernels::{Lanes, tiles};
use crate::number::Real;
use crate::numbers;
use crate::resolved_ids::Fields;

/// The gradients of the field vectors of a chunk's rows, to be filled in.
pub(super) struct VectorGradients<'a, R> {
    /// The first row of the chunk.
    pub(super) first_row: usize,
    /// True if the gradients are added to, false if they are overwritten.
    pub(super) add: bool,
    /// `[rows of the chunk, fields * dim]`
    pub(super) values: &'a mut [R],
}

impl<R: Real> ChunkRunner<'_, R> {
    /// Fills a tile's input for these rows: field vectors, then their Gram matrix. `pooled` is a buffer
    /// for the vectors of one field, and `attended` holds those that attention has pooled.
    pub(super) fn input_forward(
        &self,
        rows: &[u32],
        pooled: &mut Vec<R>,
        attended: Option<Attended<'_, R>>,
        tile: &mut [Lanes<R>],
    ) {
        let spec = &self.network.spec;
        let interaction = spec.interaction();
        let dim = interaction.dim;
        let (gram, vectors) = tile.split_at_mut(interaction.folded_gram());
        let (vectors, numbers) = vectors.split_at_mut(interaction.vectors());
        let fields = Fields {
            spec,
            tables: &self.network.tables,
            batch: self.batch,
            ids: self.ids,
            attended,
        };
        let rows = rows.iter().map(|&row| row as usize);
        let mut vector_fields = spec.vector_fields().peekable();
        fields.prefetch(vector_fields.peek().copied(), rows.clone());
        for lanes in vectors.chunks_exact_mut(dim) {
            let Some(f) = vector_fields.next() else { break };
            fields.prefetch(vector_fields.peek().copied(), rows.clone());
            fields.vectors(f, rows.clone(), pooled);
            tiles::into_lanes(self.level, pooled, dim, lanes);
            self.drop_field(f, rows.clone(), lanes);
        }
        for (f, places) in spec.number_fields() {
            let numbers = &mut numbers[places];
            let is_vector = spec.fields[f].vector.is_some();
            numbers::fill_lanes(is_vector, &self.batch.fields[f], rows.clone(), numbers);
            self.drop_field(f, rows.clone(), numbers);
        }
        if !gram.is_empty() {
            let dims = [dim, interaction.shared_dim];
            tiles::gram(self.level, interaction.fields, dims, vectors, gram);
        }
    }

    /// Multiplies the numbers of a field, `lanes`, by the factor of each row in a step with dropout of fields: 0 where the
    /// field is dropped, and `1 / (1 - field_rate)` elsewhere. Going backward, the same turns gradients of what the layers
    /// have seen into those of the vectors.
    fn drop_field(&self, field: usize, rows: impl Iterator<Item = usize>, lanes: &mut [Lanes<R>]) {
        let Some(dropout) = self.dropout.filter(|dropout| dropout.field_rate > 0.0) else {
            return;
        };
        let rng = dropout.rng_of_field(field);
        let kept = R::of(1.0 / (1.0 - dropout.field_rate));
        for (place, row) in rows.enumerate() {
            let is_dropped = rng.uniform(row as u64) < dropout.field_rate;
            let factor = if is_dropped { R::ZERO } else { kept };
            for lanes in lanes.iter_mut() {
                lanes.0[place] = lanes.0[place] * factor;
            }
        }
    }

    /// Turns the gradients of a tile's input into those of its rows' field vectors. `buffer` is used where the rows are
    /// not consecutive.
    pub(super) fn input_backward(
        &self,
        x: &[Lanes<R>],
        d_x: &mut [Lanes<R>],
        rows: &[u32],
        buffer: &mut Vec<R>,
        d_vectors: &mut VectorGradients<'_, R>,
    ) {
        let interaction = self.network.spec.interaction();
        let (fields, dim) = (interaction.fields, interaction.dim);
        let n_gram = interaction.folded_gram();
        let width = interaction.vectors();
        let vectors = &x[n_gram..n_gram + width];
        let (d_gram, gradients) = d_x[..n_gram + width].split_at_mut(n_gram);
        if n_gram > 0 {
            let dims = [dim, interaction.shared_dim];
            tiles::gram_backward(self.level, fields, dims, vectors, d_gram, gradients);
        }
        let Some((&first, &last)) = rows.first().zip(rows.last()) else {
            return;
        };
        let is_consecutive = (last - first) as usize == rows.len() - 1;
        let start = |row: u32| (row as usize - d_vectors.first_row) * width;
        let target = if is_consecutive {
            &mut d_vectors.values[start(first)..start(first) + rows.len() * width]
        } else {
            buffer.resize(rows.len() * width, R::ZERO);
            buffer.as_mut_slice()
        };
        let add = d_vectors.add && is_consecutive;
        let vector_fields = self.network.spec.vector_fields();
        for ((f, lanes), field) in gradients
            .chunks_exact_mut(dim)
            .enumerate()
            .zip(vector_fields)
        {
            self.drop_field(field, rows.iter().map(|&row| row as usize), lanes);
            let target = &mut target[f * dim..];
            tiles::into_rows(self.level, lanes, rows.len(), width, add, target);
        }
        if !is_consecutive {
            for (&row, gradients) in rows.iter().zip(buffer.chunks_exact(width)) {
                let sums = d_vectors.values[start(row)..start(row) + width].iter_mut();
                sums.zip(gradients)
                    .for_each(|(sum, &gradient)| *sum += gradient);
            }
        }
    }
}
