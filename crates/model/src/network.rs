//! Tables, layers and heads that are trained together.

use crate::attention::AttentionLayout;
use crate::counter_rng::CounterRng;
use crate::graph::Graph;
use crate::layer_layout::LayerLayout;
use crate::logit_transfer::TakenLogit;
use crate::masks::TaskMask;
use crate::networks;
use crate::number::Real;
use crate::spec::{FieldSpec, Spec};
use crate::storage::StorageError;
use crate::tables::Table;
use crate::units::UnitOwners;
use crate::weights::Weights;
use ncs_features::{Batch, Pooling};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Positions of the parameters of layers and heads in a network's dense weights, and in anything of the same
/// length: gradients and moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseLayout {
    /// The hidden layers, input side first: the maskable weights.
    pub layers: Vec<LayerLayout>,
    /// One for each of the network's tasks: a layer of one output. Never masked.
    pub heads: Vec<LayerLayout>,
    /// The numbers of each learned mixture of networks (cross-stitch) and of each normalisation. Never masked.
    pub stitches: Vec<Range<usize>>,
    /// The transfer of one task's logit to another: [`TakenLogit`], or empty. Not a weight: it has its own optimizer.
    pub taken: Range<usize>,
    /// The attention of each sequence that has one. Never masked.
    pub attentions: Vec<AttentionLayout>,
    /// Number of parameters.
    pub len: usize,
}

impl DenseLayout {
    /// Returns the layout of one of the networks of a specification.
    pub fn of(spec: &Spec, tasks: &[usize]) -> DenseLayout {
        DenseLayout::new(&networks::graph(spec, tasks), spec)
    }

    fn new(graph: &Graph, spec: &Spec) -> DenseLayout {
        let mut len = 0;
        let mut layer = |(inputs, outputs): (usize, usize)| {
            let weights = len..len + inputs * outputs;
            let bias = weights.end..weights.end + outputs;
            len = bias.end;
            LayerLayout {
                inputs,
                outputs,
                weights,
                bias,
            }
        };
        let layers = graph.shapes.iter().map(|&shape| layer(shape)).collect();
        let heads = graph.heads.iter();
        let heads = heads
            .map(|&node| layer((graph.nodes[node].width, 1)))
            .collect();
        let stitch = |initial: &Vec<f64>| {
            let range = len..len + initial.len();
            len = range.end;
            range
        };
        let stitches = graph.stitches.iter().map(stitch).collect();
        let mut layer = |[inputs, outputs, n_biases]: [usize; 3]| {
            let weights = len..len + inputs * outputs;
            let bias = weights.end..weights.end + n_biases;
            len = bias.end;
            LayerLayout {
                inputs,
                outputs,
                weights,
                bias,
            }
        };
        let sequences = spec.sequences().into_iter();
        let attentions = sequences
            .filter_map(|sequence| AttentionLayout::new(sequence, spec.plan.dim, &mut layer));
        let attentions = attentions.collect();
        // The last numbers: an artifact reads them there.
        let taken = len..len + spec.takes().map_or(0, |_| TakenLogit::NUMBERS);
        len = taken.end;
        DenseLayout {
            layers,
            heads,
            stitches,
            taken,
            attentions,
            len,
        }
    }
}

/// Tables, layers and heads that are trained together, for some of the tasks.
#[derive(Clone, Debug)]
pub struct Network<R: Real = f32> {
    pub(crate) spec: Arc<Spec>,
    pub(crate) graph: Arc<Graph>,
    /// The tasks, by their number in the spec.
    pub tasks: Vec<usize>,
    /// Positions of layers and heads in `dense`.
    pub layout: DenseLayout,
    /// Weights and biases of layers and heads.
    pub dense: Vec<R>,
    /// One for each table of the spec.
    pub tables: Vec<Table<R>>,
}

impl<R: Real> Network<R> {
    /// Initialises Xavier-normal weights and zero biases. Every number depends on `rng` and its position only, so that
    /// a search, the training after it and networks of other kinds start from the same weights.
    pub(crate) fn new(spec: Arc<Spec>, tasks: Vec<usize>, rng: CounterRng) -> Network<R> {
        let graph = networks::graph(&spec, &tasks);
        let layout = DenseLayout::new(&graph, &spec);
        let mut dense = vec![R::ZERO; layout.len];
        let layers = layout
            .layers
            .iter()
            .zip(0..)
            .map(|(layer, i)| (layer, rng.at(i)));
        let heads = layout.heads.iter().zip(&tasks);
        let heads = heads.map(|(head, &task)| (head, rng.at(1000 + task as u64)));
        let attentions = layout.attentions.iter().zip(0..);
        let attentions = attentions.flat_map(|(attention, number)| {
            let layers = attention.layers.iter().zip(0..);
            layers.map(move |(layer, i)| (layer, rng.at(3000 + 10 * number + i)))
        });
        for (layer, rng) in layers.chain(heads).chain(attentions) {
            let deviation = xavier(layer.inputs, layer.outputs);
            for (weight, i) in dense[layer.weights.clone()].iter_mut().zip(0..) {
                *weight = R::of(rng.normal(i) * deviation);
            }
        }
        for (range, initial) in layout.stitches.iter().zip(&graph.stitches) {
            let weights = dense[range.clone()].iter_mut().zip(initial);
            weights.for_each(|(weight, &initial)| *weight = R::of(initial));
        }
        let tables = tables(&spec, rng);
        Network {
            spec,
            graph: Arc::new(graph),
            tasks,
            layout,
            dense,
            tables,
        }
    }

    /// Returns the number of parameters that the layers and heads of such a network have.
    pub(crate) fn n_dense(spec: &Spec, tasks: &[usize]) -> usize {
        DenseLayout::of(spec, tasks).len
    }

    /// Initialises the table rows that a batch points to; needed before training on it. The threads of the current pool
    /// look for new ids field by field and initialise table by table: their number does not change the rows or their
    /// order.
    pub fn init_rows_of(&mut self, batch: &Batch) {
        let (fields, tables) = (&self.spec.fields, &mut self.tables);
        if rayon::current_num_threads() == 1 {
            for (field, ids) in fields.iter().zip(&batch.fields) {
                init_rows_of_field(&mut tables[field.table], field, &ids.ids);
            }
            return;
        }
        let of_batch = fields.par_iter().zip(&batch.fields);
        let new = of_batch.map(|(field, ids)| tables[field.table].not_initialised(&ids.ids));
        let new: Vec<Vec<u32>> = new.collect();
        let tables = tables.par_iter_mut().enumerate();
        tables.for_each(|(t, table)| {
            let of_table = fields.iter().zip(&new);
            for (field, new) in of_table.filter(|(field, _)| field.table == t) {
                init_rows_of_field(table, field, new);
            }
        });
    }

    /// Initialises all rows of all tables, for parity with code that trains whole tables.
    pub fn init_all_rows(&mut self) {
        for table in &mut self.tables {
            (0..table.n_rows() as u32).for_each(|id| table.init_row(id));
        }
    }

    /// Sets the weights of heads on units that their tasks may not use to 0.
    pub(crate) fn clear_units_of_others(&mut self, owners: UnitOwners) {
        for (&head, layout) in self.tasks.iter().zip(&self.layout.heads) {
            let task = self.spec.mask_of(head);
            for (unit, at) in layout.weights.clone().enumerate() {
                if !owners.may_use(layout.inputs, unit, task) {
                    self.dense[at] = R::ZERO;
                }
            }
        }
    }

    /// Returns its operations.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the weights of a layer under a task's mask (`None`: all connections), `[inputs, outputs]`, with 0 for
    /// pruned connections. Of a layer that reads the input they are folded ([`crate::Interaction`]).
    pub fn masked_weights(&self, layer: usize, mask: Option<&TaskMask>) -> Vec<R> {
        let layout = &self.layout.layers[layer];
        let weights = &self.dense[layout.weights.clone()];
        let kept = |at: usize| mask.is_none_or(|mask| mask[layer].keeps(at));
        if self.graph.layers_on_input()[layer] {
            let interaction = self.spec.interaction();
            return interaction.fold(weights, layout.outputs, kept);
        }
        let masked = |(at, &weight)| if kept(at) { weight } else { R::ZERO };
        weights.iter().enumerate().map(masked).collect()
    }

    /// Returns a copy of the weights.
    pub fn weights(&self) -> Weights<R> {
        Weights {
            dense: self.dense.clone(),
            tables: self.tables.iter().map(Table::sparse_rows).collect(),
        }
    }

    /// Restores the weights. Returns `None` if they are of another network; then some tables may have changed, and
    /// nothing else.
    #[must_use]
    pub fn restore(&mut self, weights: &Weights<R>) -> Option<()> {
        let fits =
            weights.dense.len() == self.dense.len() && weights.tables.len() == self.tables.len();
        fits.then_some(())?;
        self.dense.copy_from_slice(&weights.dense);
        let mut tables = self.tables.iter_mut().zip(&weights.tables);
        tables.try_for_each(|(table, rows)| table.restore(rows))
    }

    /// Sets the weights of layers and heads.
    ///
    /// # Panics
    /// If there are not as many.
    pub(crate) fn set_dense(&mut self, dense: &[R]) {
        self.dense.copy_from_slice(dense);
    }

    /// Returns the tasks `[from, to]` of the logit transfer, and its parameters; `None` without a transfer.
    pub fn taken(&self) -> Option<([usize; 2], TakenLogit)> {
        let tasks = self.spec.takes()?;
        let taken = TakenLogit::of(&self.dense[self.layout.taken.clone()])?;
        Some((tasks, taken))
    }

    /// Sets the parameters of the logit transfer; without a transfer it does nothing.
    pub fn set_taken(&mut self, taken: TakenLogit) {
        let numbers = [taken.kappa, taken.mean, taken.information];
        let places = &mut self.dense[self.layout.taken.clone()];
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = R::of(number);
        }
    }

    /// Returns the number of trainable parameters: layers, heads and all table rows.
    pub fn n_parameters(&self) -> usize {
        let tables = self.tables.iter().map(|table| table.n_rows() * table.dim());
        self.dense.len() + tables.sum::<usize>()
    }
}

impl Network {
    /// Returns a copy of the weights, of which the table rows lie where those of the tables do.
    ///
    /// # Errors
    /// There, no more can be kept.
    pub fn stored_weights(&self) -> Result<Weights, StorageError> {
        let tables = self.tables.iter().map(Table::stored_rows);
        Ok(Weights {
            dense: self.dense.clone(),
            tables: tables.collect::<Result<_, _>>()?,
        })
    }

    /// Restores weights for scoring: table rows that lie in a file are read there, and cannot be changed. Returns
    /// `None` as [`Network::restore`] does.
    #[must_use]
    pub(crate) fn read_from(&mut self, weights: &Weights) -> Option<()> {
        let fits =
            weights.dense.len() == self.dense.len() && weights.tables.len() == self.tables.len();
        fits.then_some(())?;
        self.dense.copy_from_slice(&weights.dense);
        let mut tables = self.tables.iter_mut().zip(&weights.tables);
        tables.try_for_each(|(table, rows)| table.read_from(rows))
    }
}

/// Initialises the rows that a field needs: those of `ids`, and that of the padding of its lists.
fn init_rows_of_field<R: Real>(table: &mut Table<R>, field: &FieldSpec, ids: &[u32]) {
    table.init_rows(ids);
    if field.pooling == Some(Pooling::PaddedMean) {
        table.init_row(0);
    }
}

/// Returns the standard deviation of Xavier-normal weights (Glorot and Bengio 2010).
fn xavier(inputs: usize, outputs: usize) -> f64 {
    (2.0 / (inputs + outputs) as f64).sqrt()
}

fn tables<R: Real>(spec: &Spec, rng: CounterRng) -> Vec<Table<R>> {
    let dim = spec.plan.dim;
    let table = |(number, table): (usize, &crate::spec::TableSpec)| {
        let deviation = spec
            .plan
            .table_deviation
            .map_or(xavier(table.rows, dim), f64::from);
        Table::new(table.rows, dim, rng.at(2000 + number as u64), deviation)
    };
    spec.tables.iter().enumerate().map(table).collect()
}
