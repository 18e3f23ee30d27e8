//! Where the time of a request goes.

use std::time::{Duration, Instant};

/// A part of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The body comes over the network.
    Receive,
    /// Waiting for a thread that computes.
    Queue,
    /// From bytes to columns.
    Parse,
    /// From columns to ids.
    Encode,
    /// From ids to scores.
    Score,
    /// From scores to bytes.
    Answer,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Stage; 6] = [
        Stage::Receive,
        Stage::Queue,
        Stage::Parse,
        Stage::Encode,
        Stage::Score,
        Stage::Answer,
    ];

    /// Its name in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Queue => "queue",
            Stage::Parse => "parse",
            Stage::Encode => "encode",
            Stage::Score => "score",
            Stage::Answer => "answer",
        }
    }
}

/// When each stage of a request began and how long it took, as far as it came.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    began: Instant,
    /// From the beginning of the request, and how long.
    spans: [Option<(Duration, Duration)>; Stage::ALL.len()],
}

impl Stages {
    /// A request that began then.
    pub fn new(began: Instant) -> Stages {
        Stages {
            began,
            spans: [None; Stage::ALL.len()],
        }
    }

    /// When the request began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// A stage ended now, which began where the last one ended.
    pub fn end(&mut self, stage: Stage) {
        let start = self.ended();
        let length = self.began.elapsed().saturating_sub(start);
        self.spans[stage as usize] = Some((start, length));
    }

    /// A stage that took so long, from where the last one ended.
    pub fn add(&mut self, stage: Stage, length: Duration) {
        self.spans[stage as usize] = Some((self.ended(), length));
    }

    /// How long a stage took; zero if it was not reached.
    pub fn time(&self, stage: Stage) -> Duration {
        self.spans[stage as usize].map_or(Duration::ZERO, |(_, length)| length)
    }

    /// The stages that were reached: when each began after the request did, and how long it took.
    pub fn reached(&self) -> impl Iterator<Item = (Stage, Duration, Duration)> {
        let all = Stage::ALL.into_iter().zip(self.spans);
        all.filter_map(|(stage, span)| span.map(|(start, length)| (stage, start, length)))
    }

    fn ended(&self) -> Duration {
        let ends = self
            .spans
            .iter()
            .flatten()
            .map(|(start, length)| *start + *length);
        ends.max().unwrap_or_default()
    }
}
