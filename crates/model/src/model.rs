//! The networks of a model and the masks of its tasks.

use crate::counter_rng::CounterRng;
use crate::masks::Masks;
use crate::network::Network;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use crate::sparse_layouts::SparseLayouts;
use crate::spec::Spec;
use crate::subnet::Subnet;
use std::sync::Arc;

/// Tables, networks and masks. Forward and backward passes borrow the model; only an optimizer changes its weights.
#[derive(Clone, Debug)]
pub struct Model<R: Real = f32> {
    spec: Arc<Spec>,
    networks: Vec<Network<R>>,
    masks: Option<Arc<Masks>>,
    /// One for each network.
    layouts: Vec<Arc<SparseLayouts>>,
}

impl<R: Real> Model<R> {
    /// Creates a model with initial weights and without masks.
    pub fn new(spec: Spec, rng: CounterRng) -> Model<R> {
        let spec = Arc::new(spec);
        let network = |tasks| Network::new(spec.clone(), tasks, rng);
        let networks: Vec<Network<R>> = spec.networks().into_iter().map(network).collect();
        Model {
            layouts: layouts(&networks, None),
            networks,
            spec,
            masks: None,
        }
    }

    /// Returns its sizes.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Returns the masks, if there are any.
    pub fn masks(&self) -> Option<&Arc<Masks>> {
        self.masks.as_ref()
    }

    /// Sets the masks: from now on, each task runs and trains its kept connections only. Where units have owners, the
    /// weights of heads on the units of other tasks become 0 and stay so; scoring then needs the masks alone.
    ///
    /// # Panics
    /// If the shapes or the number of tasks differ from the network's, or the masks keep connections that their
    /// owners do not allow.
    pub fn set_masks(&mut self, masks: Option<Arc<Masks>>) {
        if let Some(masks) = &masks {
            assert_eq!(
                masks.shapes(),
                self.spec.layer_shapes(),
                "masks of another network"
            );
            assert_eq!(
                masks.tasks.len(),
                self.spec.tasks.len(),
                "one mask for each task"
            );
            if let Some(owners) = masks.owners {
                assert!(owners.fit(masks), "masks within the units of their tasks");
                let networks = self.networks.iter_mut();
                networks.for_each(|network| network.clear_units_of_others(owners));
            }
        }
        self.layouts = layouts(&self.networks, masks.as_ref());
        self.masks = masks;
    }

    /// Returns the numbering of a network's trained parameters, in which a [`crate::Gradient`] is stored.
    pub fn connections(&self, network: usize) -> &Arc<ParameterIndex> {
        self.layouts[network].index()
    }

    /// Returns all networks.
    pub fn networks(&self) -> &[Network<R>] {
        &self.networks
    }

    /// Returns one network.
    pub fn network(&self, network: usize) -> &Network<R> {
        &self.networks[network]
    }

    /// Returns one network, mutably.
    pub fn network_mut(&mut self, network: usize) -> &mut Network<R> {
        &mut self.networks[network]
    }

    /// Returns the number of the network that runs a task.
    pub fn network_of(&self, task: usize) -> usize {
        let network = self
            .networks
            .iter()
            .position(|network| network.tasks.contains(&task));
        network.expect("every task has a network")
    }

    /// Returns the subnets that a network runs for some of its tasks, with its current weights; the heads, in order,
    /// are those of `tasks`.
    pub fn subnets(&self, network: usize, tasks: &[usize]) -> Vec<Subnet<R>> {
        self.layouts[network].subnets(&self.networks[network], tasks)
    }
}

fn layouts<R: Real>(
    networks: &[Network<R>],
    masks: Option<&Arc<Masks>>,
) -> Vec<Arc<SparseLayouts>> {
    let layouts = |network| Arc::new(SparseLayouts::new(network, masks));
    networks.iter().map(layouts).collect()
}
