//! The sizes of a model.

use crate::attention::AttentionLayout;
use crate::interaction::Interaction;
use crate::numbers;
use crate::plan::NetworkPlan;
use ncs_features::{IdSpace, Link, Piecewise, Pooling, Schema, Sequence, sequences};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// The specification of a model: fields, tables, tasks, and the network's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The fields, in the order of the field vectors.
    pub fields: Vec<FieldSpec>,
    /// The embedding tables of the fields.
    pub tables: Vec<TableSpec>,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// From outputs to predictions, task by task; empty: all predictions are probabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The network.
    pub plan: NetworkPlan,
}

/// A field of the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// Index into the tables.
    pub table: usize,
    /// The pooling of lists; `None`: one vector for each row (or the weighted sum of vectors of a scaled number).
    pub pooling: Option<Pooling>,
    /// Number of pieces of a numeric feature that is a direct input of the first layer ([`ncs_features::Piecewise`])
    /// and has no vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<usize>,
    /// Length of vectors that come with the rows and are direct inputs of the first layer ([`ncs_features::Vector`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<usize>,
}

impl FieldSpec {
    /// Returns the number of direct inputs of the first layer; 0 for a field that has a vector.
    pub fn n_numbers(&self) -> usize {
        let of_vector = self.vector.map_or(0, |length| length + 1);
        self.pieces
            .map_or(of_vector, |pieces| pieces + numbers::BESIDE_PIECES)
    }
}

/// A table's name and number of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Unique name.
    pub name: String,
    /// Number of rows, including reserved ones.
    pub rows: usize,
    /// The row for ids not seen in training, if the id space has no reserved id for them (hashed ids).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u32>,
}

/// A layer, and the tasks that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// Its name, with a prefix for its task or expert: `fc_0`, `ctr.fc_0`, `expert_0.fc_0`,
    /// `ctr.gate`.
    pub name: String,
    /// Number of (logical) inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// The tasks whose predictions depend on it, ascending.
    pub tasks: Vec<usize>,
}

/// Returns the links of all tasks; none where all predictions are probabilities.
fn links(schema: &Schema) -> Vec<Link> {
    let links = schema.tasks.iter().map(|task| task.objective.link());
    let links: Vec<Link> = links.collect();
    if links.iter().all(|link| *link == Link::Sigmoid) {
        return Vec::new();
    }
    links
}

impl Spec {
    /// Builds the specification of a network over a schema's fields.
    pub fn of(schema: &Schema, plan: &NetworkPlan) -> Spec {
        let fields = schema.fields.iter().map(|field| {
            let ids = schema.tables.get(field.table).map(|table| &table.ids);
            let vector = ids.and_then(IdSpace::vector);
            FieldSpec {
                table: field.table,
                pooling: field.pooling,
                pieces: ids.and_then(IdSpace::piecewise).map(Piecewise::pieces),
                vector: vector
                    .filter(|vector| !vector.projected)
                    .map(|vector| vector.length as usize),
            }
        });
        let tables = schema.tables.iter().map(|table| TableSpec {
            name: table.name.clone(),
            rows: table.ids.n_rows(),
            unknown: match table.ids {
                IdSpace::Hash { .. } | IdSpace::Cross(_) => table.ids.unknown(),
                _ => None,
            },
        });
        Spec {
            fields: fields.collect(),
            tables: tables.collect(),
            tasks: schema.tasks.iter().map(|task| task.name.clone()).collect(),
            links: links(schema),
            plan: plan.clone(),
        }
    }

    /// Returns how the predictions of a task follow from the network's output.
    pub fn link(&self, task: usize) -> Link {
        self.links.get(task).copied().unwrap_or_default()
    }

    /// Returns the shape of the first layer's input.
    pub fn interaction(&self) -> Interaction {
        Interaction {
            fields: self.vector_fields().count(),
            dim: self.plan.dim,
            shared_dim: self
                .plan
                .dim
                .saturating_sub(self.tasks.len() * self.plan.heads.task_vectors),
            gram: self.plan.gram,
            numbers: self.fields.iter().map(FieldSpec::n_numbers).sum(),
        }
    }

    /// Iterates over the fields that have a vector, in the order of the vectors.
    pub fn vector_fields(&self) -> impl Iterator<Item = usize> + Clone {
        let fields = self.fields.iter().enumerate();
        fields
            .filter(|(_, field)| field.n_numbers() == 0)
            .map(|(f, _)| f)
    }

    /// Iterates over the numeric fields and vectors that are direct inputs of the first layer, with the positions of
    /// their inputs among all direct inputs.
    pub fn number_fields(&self) -> impl Iterator<Item = (usize, Range<usize>)> + Clone {
        let fields = self.fields.iter().enumerate();
        let places = fields.scan(0, |end, (f, field)| {
            let first = *end;
            *end += field.n_numbers();
            Some((f, first..*end))
        });
        places.filter(|(_, places)| !places.is_empty())
    }

    /// Returns the behaviour sequences, in the order of their first attributes.
    pub fn sequences(&self) -> Vec<Sequence> {
        sequences(self.fields.iter().map(|field| field.pooling))
    }

    /// Returns the fields that attention pools, sequence by sequence.
    pub(crate) fn attended_fields(&self) -> Vec<usize> {
        let sequences = self.sequences().into_iter();
        let attended = sequences.filter(Sequence::is_attention);
        attended.flat_map(|sequence| sequence.fields).collect()
    }

    /// Returns the number of parameters of the attention of all sequences, in one network.
    pub fn n_attention_parameters(&self) -> f64 {
        let sequences = self.sequences();
        let of_sequence = |sequence| AttentionLayout::n_parameters(sequence, self.plan.dim);
        sequences.iter().map(of_sequence).sum()
    }

    /// Returns the group of each logical input of the first layer: the number of its field, or, from the number of
    /// fields on, the pair of fields whose product it is.
    pub fn input_groups(&self) -> Vec<usize> {
        let interaction = self.interaction();
        let fields: Vec<usize> = self.vector_fields().collect();
        let of_vectors = interaction.groups().into_iter().map(|group| {
            let pair = || group - fields.len() + self.fields.len();
            fields.get(group).copied().unwrap_or_else(pair)
        });
        let numbers = self.number_fields();
        let of_numbers = numbers.flat_map(|(f, places)| std::iter::repeat_n(f, places.len()));
        of_vectors.chain(of_numbers).collect()
    }

    /// Returns the task that each logical input of the first layer is for, if vectors have parts of single tasks
    /// ([`crate::Heads::task_vectors`]); `None`: all tasks may read it.
    pub fn input_readers(&self) -> Vec<Option<usize>> {
        let interaction = self.interaction();
        let (length, shared) = (self.plan.heads.task_vectors, interaction.shared_dim);
        let n_gram = interaction.inputs() - interaction.vectors() - interaction.numbers;
        let of_vector = |d: usize| d.checked_sub(shared).map(|d| d / length.max(1));
        let of_vectors = (0..interaction.fields).flat_map(|_| (0..interaction.dim).map(of_vector));
        let of_gram = std::iter::repeat_n(None, n_gram);
        let of_numbers = std::iter::repeat_n(None, interaction.numbers);
        of_gram.chain(of_vectors).chain(of_numbers).collect()
    }

    /// Returns the group of each logical input of the first layer whose connections into a unit a mask keeps together: that
    /// of [`Spec::input_groups`], and for the part of a vector that is for one task a group of its own behind them.
    pub fn mask_groups(&self) -> Vec<usize> {
        let groups = self.input_groups();
        let n_groups = groups.iter().max().map_or(0, |last| last + 1);
        let readers = self.input_readers().into_iter();
        let own = |(group, reader): (usize, Option<usize>)| match reader {
            Some(task) => n_groups + group * self.tasks.len() + task,
            None => group,
        };
        groups.into_iter().zip(readers).map(own).collect()
    }

    /// Returns `(inputs, outputs)` of each hidden layer: the maskable layers.
    pub fn layer_shapes(&self) -> Vec<(usize, usize)> {
        let inputs = [self.interaction().inputs()].into_iter();
        let inputs = inputs.chain(self.plan.hidden.iter().copied());
        inputs.zip(self.plan.hidden.iter().copied()).collect()
    }

    /// Returns the tasks of each network; auxiliary heads come after them, as if they were
    /// tasks.
    pub fn networks(&self) -> Vec<Vec<usize>> {
        let all = 0..self.tasks.len();
        if self.plan.kind.shares_tables() {
            vec![all.chain(self.auxiliary_heads()).collect()]
        } else {
            all.map(|task| vec![task]).collect()
        }
    }

    /// Returns the numbers of the auxiliary heads ([`crate::plan::Heads::auxiliary`]), which follow the tasks.
    pub fn auxiliary_heads(&self) -> Range<usize> {
        let n_tasks = self.tasks.len();
        let n_heads = match self.plan.kind.shares_tables() {
            true => self.plan.heads.auxiliary().count(),
            false => 0,
        };
        n_tasks..n_tasks + n_heads
    }

    /// Returns the numbers of the heads that the loss of one task reads beside its own: those of late labels
    /// ([`crate::plan::Heads::late`]), or further outputs.
    pub fn heads_beside(&self, task: usize) -> impl Iterator<Item = usize> {
        let n_joined = usize::from(self.plan.heads.auxiliary_head_of.is_some());
        self.heads_of(task, n_joined)
    }

    /// Returns the numbers of the further outputs from which the prediction of a task follows
    /// ([`crate::plan::Heads::outputs`]).
    pub fn further_outputs(&self, task: usize) -> impl Iterator<Item = usize> {
        let heads = &self.plan.heads;
        self.heads_of(task, heads.auxiliary().count() - heads.outputs.len())
    }

    /// Returns the heads of a task among the auxiliary heads from the given one on.
    fn heads_of(&self, task: usize, first: usize) -> impl Iterator<Item = usize> {
        let heads = self.plan.heads.auxiliary().zip(self.auxiliary_heads());
        let later = heads.skip(first);
        later.filter_map(move |(of, head)| (of == task).then_some(head))
    }

    /// Returns the heads that run to predict these tasks: their own, and further outputs.
    pub fn heads_to_predict(&self, tasks: &[usize]) -> Vec<usize> {
        let further = tasks.iter().flat_map(|&task| self.further_outputs(task));
        tasks.iter().copied().chain(further).collect()
    }

    /// Returns the tasks `[from, to]` of a logit transfer ([`crate::plan::Heads::takes`]), which needs one network
    /// for both.
    pub fn takes(&self) -> Option<[usize; 2]> {
        let is_shared = self.plan.kind.shares_tables();
        self.plan.heads.takes.filter(|_| is_shared)
    }

    /// Returns the name of a task, or of an auxiliary head: `helper`, `helper_2` and so on.
    pub fn head_name(&self, head: usize) -> Cow<'_, str> {
        match self.tasks.get(head) {
            Some(task) => task.into(),
            None if head == self.tasks.len() => "helper".into(),
            None => format!("helper_{}", head - self.tasks.len() + 1).into(),
        }
    }

    /// Returns the task whose mask a head uses: its own, or for an auxiliary head that of
    /// [`crate::plan::Heads::auxiliary`].
    pub fn mask_of(&self, head: usize) -> usize {
        let place = head.checked_sub(self.tasks.len());
        let task = place.and_then(|place| self.plan.heads.auxiliary().nth(place));
        task.unwrap_or(head)
    }

    /// Converts the probabilities of the heads, `[task][row]`, to those of the tasks. A quotient needs
    /// both heads; without one of them nothing changes.
    pub fn answers(&self, probabilities: &mut [Vec<f32>]) {
        let Some([first, second]) = self.plan.heads.joint else {
            return;
        };
        if probabilities[second].len() != probabilities[first].len() {
            return;
        }
        let of_first = std::mem::take(&mut probabilities[first]);
        for (joint, &first) in probabilities[second].iter_mut().zip(&of_first) {
            *joint = (*joint / first.max(f32::MIN_POSITIVE)).min(1.0);
        }
        probabilities[first] = of_first;
    }
}
