//! The mask search as TOML holds it.

use indexmap::IndexMap;
use ncs_train::{CommonUnits, Control, Pick, Rewind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mask search.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Search {
    /// The learner of the masks.
    pub(crate) kind: SearchKind,
    /// `magnitude`: rounds of training and pruning.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) rounds: u32,
    /// Final share of connections that a task keeps, for all tasks or for each. Without it, 0.4; for `gradient`
    /// "evidence": those with a gradient signal-to-noise ratio above 2. Or "auto": it tries 0.4, 0.2 and 0.1.
    pub(crate) density: Option<Density>,
    /// Share of the hidden units that a task may use which is common to all tasks; the others are each task's own,
    /// and no other reads or moves them (default: 1, all units are common). Of n units a task may use
    /// n / (T - (T - 1) share), T being the number of tasks: half of them at 0 where there are two. "auto": 0, 0.5 or
    /// 1, by the size of the data, unless short trainings of each differ significantly on validation rows.
    pub(crate) common_units: Option<CommonUnits>,
    /// Whether to measure how much the tasks agree on what they read (rho), for the report and ncs inspect: one more
    /// pass over the rows, with a copy of the network for each task. It changes nothing in the model.
    pub(crate) measure_rho: bool,
    /// `magnitude`: passes over the task's rows in each round; `gradient`: over all rows in the warm-up, and
    /// for each density that is tried. May be a fraction.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1_000_000.0))]
    pub(crate) epochs_per_round: f64,
    /// Values that kept weights are reset to after a round.
    pub(crate) rewind: Rewind,
    /// Round whose mask a task gets.
    pub(crate) pick: Pick,
    /// Folder of a trained model whose masks are taken, for search.kind = "model". A relative path starts
    /// at the run file.
    #[schemars(length(min = 1))]
    pub(crate) model: Option<String>,
    /// Seed of the initial weights that the search trains; without it, those of joint training, as it
    /// should be.
    pub(crate) seed: Option<u64>,
    /// Control masks in place of the searched ones, to measure what their choice is worth.
    pub(crate) control: Control,
}

impl Default for Search {
    fn default() -> Search {
        Search {
            kind: SearchKind::Gradient,
            rounds: 4,
            density: None,
            common_units: None,
            measure_rho: false,
            epochs_per_round: 1.0,
            rewind: Rewind::Initial,
            pick: Pick::Best,
            model: None,
            seed: None,
            control: Control::None,
        }
    }
}

/// The learner of the masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SearchKind {
    /// Blocks of first-layer connections by the gradients of a joint warm-up; deeper layers at random.
    Gradient,
    /// Iterative magnitude pruning: the paper's.
    Magnitude,
    /// Drawn at random with the final densities: the control that any search must beat.
    Random,
    /// Not at all: those of the model in search.model.
    Model,
}

/// A share of connections, for all tasks or for each.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Density {
    /// Connections with a gradient signal-to-noise ratio above 2.
    Evidence,
    /// For each task the one that validates best.
    Auto,
    /// The same for every task.
    #[serde(untagged)]
    OfAll(#[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))] f64),
    /// A density for each task, by name.
    #[serde(untagged)]
    OfEach(IndexMap<String, Share>),
}

/// A share above 0 and up to 1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Share(
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 1.0))] pub(crate) f64,
);
