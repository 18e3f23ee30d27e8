//! Behaviour sequences: what a user did before, event by event, each with several attributes.
//!
//! Every attribute of the events (item, category, age, ...) is a field of its own: a list of ids, one for each event, in
//! a column parallel to those of the other attributes. The fields of one sequence are cut to the same most recent
//! events, and their vectors are pooled with the same weights: event `j` has the vectors `e_j1 .. e_jk` of its
//! attributes, and attribute `k` becomes the field vector `sum_j w_j e_jk`. By [`SequencePooling::Din`] the weights depend
//! on the candidate, whose fields are the *targets* of the attributes; by [`SequencePooling::Mha`] several heads weigh
//! them.

use serde::{Deserialize, Serialize};

/// Largest width of a hidden layer of the attention.
pub const MOST_UNITS: u32 = 1024;

/// Largest number of heads.
pub const MOST_HEADS: u32 = 64;

/// The rate at which weights of events decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventDecay {
    /// By the stated half-life.
    Stated,
    /// By a learned half-life, which begins at the stated one.
    Learned,
}

/// One attribute of the events of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAttribute {
    /// Number of the sequence: the fields of the same number are the attributes of the same events.
    pub sequence: u32,
    /// Pooling of the events; the same for all attributes of a sequence.
    pub pooling: SequencePooling,
    /// Position of the most recent event; the same for all attributes of a sequence.
    pub newest: Newest,
    /// The field of the candidate with which the attribute is compared, by its position in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    /// Whether the weights of events decay with their age, which then comes with the ids; the same for all attributes of a
    /// sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<EventDecay>,
}

impl EventAttribute {
    /// Returns true if the network weighs the events: by attention, or by their age.
    pub fn is_attention(&self) -> bool {
        self.pooling.is_attention() || self.decay.is_some()
    }
}

/// Pooling of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequencePooling {
    /// Mean over the events; no event is the zero vector.
    Mean,
    /// The most recent event.
    Last,
    /// A sum over the events, with weights by a network over event and target (deep interest network, Zhou et al.
    /// 2018, arXiv 1706.06978): see [`Attention`].
    Din(Attention),
    /// Multi-head attention of the candidate (Vaswani et al. 2017, arXiv 1706.03762), with learned vectors of the events'
    /// positions: see [`MultiHead`].
    Mha(MultiHead),
}

impl SequencePooling {
    /// Returns true if a network weighs the events.
    pub fn is_attention(self) -> bool {
        match self {
            SequencePooling::Mean | SequencePooling::Last => false,
            SequencePooling::Din(_) | SequencePooling::Mha(_) => true,
        }
    }

    /// Checks the sizes of the attention, for sequences of at most `n_events`.
    pub(crate) fn fits(self, n_events: Option<usize>) -> bool {
        match self {
            SequencePooling::Mean | SequencePooling::Last => true,
            SequencePooling::Din(about) => {
                let mut units = about.hidden.iter();
                units.all(|units| (1..=MOST_UNITS).contains(units))
            }
            SequencePooling::Mha(about) => {
                (1..=MOST_HEADS).contains(&about.heads)
                    && n_events.is_some_and(|n| (1..=about.positions as usize).contains(&n))
            }
        }
    }
}

/// Attention by several heads, each of which weighs the events by a softmax of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiHead {
    /// Number of heads.
    pub heads: u32,
    /// Number of positions that have vectors, at least the longest sequence.
    pub positions: u32,
}

/// The network that weighs events: for each attribute with a target the inputs are
/// `[event, target, event - target, event * target]`, for the others `[event]`; two hidden layers with ReLU, then one
/// number `s_j` for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Widths of the two hidden layers.
    pub hidden: [u32; 2],
    /// True: the weights are the softmax of the numbers over the events. False: they are the numbers themselves, so that
    /// their sum tells how much of the history is about the candidate, as in the paper.
    pub softmax: bool,
}

/// Position of the most recent event in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newest {
    /// Events are in the order of time.
    #[default]
    Last,
    /// The most recent event comes first.
    First,
}

/// The fields of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Pooling of the events.
    pub pooling: SequencePooling,
    /// Position of the most recent event.
    pub newest: Newest,
    /// The fields of the attributes, ascending.
    pub fields: Vec<usize>,
    /// The target of each attribute, by its position in the schema.
    pub targets: Vec<Option<usize>>,
    /// Whether the weights of events decay with their age.
    pub decay: Option<EventDecay>,
}

impl Sequence {
    /// Returns true if the network weighs the events: by attention, or by their age.
    pub fn is_attention(&self) -> bool {
        self.pooling.is_attention() || self.decay.is_some()
    }

    /// Returns the number of attributes that have a target.
    pub fn n_targets(&self) -> usize {
        self.targets.iter().flatten().count()
    }
}
