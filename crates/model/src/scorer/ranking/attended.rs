//! Attention over the events of a request. The user's events are looked up once, and weighed for each candidate.

use super::Request;
use crate::attention::{Attended, AttentionBuffers};
use crate::resolved_ids::Fields;

/// The vectors that attention has pooled for a request; buffers that are reused.
#[derive(Clone, Debug, Default)]
pub(super) struct AttendedRequest {
    buffers: AttentionBuffers<f32>,
    /// Those that are the same for all candidates, `[attended fields * dim]`; 0 for the others.
    of_context: Vec<f32>,
    /// The others, `[candidates, attended fields * dim]`.
    of_candidates: Vec<f32>,
}

impl AttendedRequest {
    /// Pools all events of a request.
    pub(super) fn run(
        &mut self,
        request: &Request<'_>,
        context: Fields<'_, f32>,
        candidates: Fields<'_, f32>,
        n_candidates: usize,
    ) {
        let (level, split) = (request.ranker.level, &request.ranker.split);
        let width = request.ranker.attended_fields.len() * context.spec.plan.dim;
        self.of_context.clear();
        self.of_context.resize(width, 0.0);
        self.of_candidates.clear();
        self.of_candidates.resize(n_candidates * width, 0.0);
        let mut first = 0;
        for attention in request.attentions {
            let place = first..first + attention.width();
            first = place.end;
            let sequence = attention.sequence();
            let is_given = |f: &usize| split.is_of_context(*f);
            let has_events = sequence.fields.iter().all(is_given);
            if has_events {
                self.buffers.gather_events(attention, context, 0);
                if sequence.targets.iter().flatten().all(is_given) {
                    self.buffers.gather_targets(attention, |_| (context, 0));
                    let pooled = &mut self.of_context[place];
                    self.buffers.forward(level, attention, pooled);
                    continue;
                }
            }
            for (row, pooled) in self.of_candidates.chunks_exact_mut(width).enumerate() {
                if !has_events {
                    self.buffers.gather_events(attention, candidates, row);
                }
                let source = |f: usize| {
                    if is_given(&f) {
                        (context, 0)
                    } else {
                        (candidates, row)
                    }
                };
                self.buffers.gather_targets(attention, source);
                let pooled = &mut pooled[place.clone()];
                self.buffers.forward(level, attention, pooled);
            }
        }
    }

    /// Returns the vectors that are the same for all candidates.
    pub(super) fn of_context<'a>(&'a self, request: &'a Request<'_>) -> Option<Attended<'a, f32>> {
        attended(request, &self.of_context)
    }

    /// Returns the vectors that vary with the candidate.
    pub(super) fn of_candidates<'a>(
        &'a self,
        request: &'a Request<'_>,
    ) -> Option<Attended<'a, f32>> {
        attended(request, &self.of_candidates)
    }
}

fn attended<'a>(request: &'a Request<'_>, values: &'a [f32]) -> Option<Attended<'a, f32>> {
    let fields = &request.ranker.attended_fields;
    (!fields.is_empty()).then_some(Attended {
        fields,
        first_row: 0,
        dim: request.spec.plan.dim,
        values,
    })
}
