//! Contexts whose part of the network has been computed, to be kept between requests.

use super::{RankBuffers, Ranker};
use ncs_features::{Batch, FieldIds};

/// All that a [`Ranker`] computes of a context alone. Its scores are those of the context itself, bit for bit.
#[derive(Clone, Debug)]
pub struct PreparedContext {
    /// For each weight set.
    pub(super) members: Vec<PreparedMember>,
}

/// The vectors of the context's fields, `[fields, dim]`, and the initial first-layer sums of each branch.
#[derive(Clone, Debug)]
pub(super) struct PreparedMember {
    pub(super) vectors: Vec<f32>,
    pub(super) starts: Vec<Vec<f32>>,
}

impl PreparedContext {
    /// Returns its memory in bytes, about.
    pub fn n_bytes(&self) -> usize {
        let member = |member: &PreparedMember| {
            let numbers: usize = member.starts.iter().map(Vec::len).sum();
            let lists = 2 + member.starts.len();
            4 * (member.vectors.len() + numbers) + size_of::<Vec<f32>>() * lists
        };
        self.members.iter().map(member).sum()
    }
}

impl PreparedMember {
    /// Fills in what [`Request::start`](super::Request) would compute.
    pub(super) fn fill(&self, buffers: &mut RankBuffers) {
        buffers.context.clone_from(&self.vectors);
        buffers.starts.clone_from(&self.starts);
    }
}

impl Ranker {
    /// Computes what all candidates of a context share, for later requests with an equal context.
    ///
    /// # Panics
    /// If `context` does not have one row, or lacks fields.
    pub fn prepare(&self, context: &Batch, buffers: &mut RankBuffers) -> PreparedContext {
        assert_eq!(context.n_rows, 1, "one context a request");
        let nobody = Batch {
            fields: vec![FieldIds::default(); context.fields.len()],
            ..Batch::default()
        };
        let members = (0..self.branches.len()).map(|number| {
            let request = self.request(number, &nobody);
            request.find_context(context, buffers);
            request.find_candidates(buffers);
            request.pool_events(context, buffers);
            request.start(context, buffers);
            PreparedMember {
                vectors: buffers.context.clone(),
                starts: buffers.starts[..self.branches[number].0.len()].to_vec(),
            }
        });
        PreparedContext {
            members: members.collect(),
        }
    }

    /// Like [`Ranker::score_uncalibrated`], for a context that this ranker has prepared. Of `context` itself only the events
    /// are read that attention weighs for each candidate.
    ///
    /// # Panics
    /// As for [`Ranker::score_uncalibrated`], or if another ranker has prepared the context.
    pub fn score_prepared(
        &self,
        (context, prepared): (&Batch, &PreparedContext),
        candidates: &Batch,
        buffers: &mut RankBuffers,
        scores: &mut [Vec<f32>],
    ) {
        let n_members = prepared.members.len();
        assert_eq!(n_members, self.branches.len(), "a context of this ranker");
        self.score_candidates(context, Some(prepared), candidates, buffers, scores);
    }
}
