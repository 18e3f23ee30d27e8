//! The networks of a model and the masks of its tasks.

use crate::counter_rng::CounterRng;
use crate::masks::Masks;
use crate::network::Network;
use crate::networks::Wirings;
use crate::number::Real;
use crate::parameter_index::ParameterIndex;
use crate::spec::Spec;
use crate::subnet::Subnet;
use crate::tables::SparseRows;
use std::sync::Arc;

/// Tables, networks and masks. Passes borrow it; only an optimizer may change its weights.
#[derive(Clone, Debug)]
pub struct Model<R = f32> {
    spec: Arc<Spec>,
    networks: Vec<Network<R>>,
    masks: Option<Arc<Masks>>,
    /// One for each network.
    layouts: Vec<Arc<Wirings>>,
}

/// The weights of a network, as they are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<R = f32> {
    /// Of layers and heads.
    pub dense: Vec<R>,
    /// The drawn rows of each table.
    pub tables: Vec<SparseRows<R>>,
}

impl<R: Real> Model<R> {
    /// A model with initial weights, and without masks.
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

    /// Its sizes.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// The masks, if there are any.
    pub fn masks(&self) -> Option<&Arc<Masks>> {
        self.masks.as_ref()
    }

    /// Runs and moves each task's kept connections only, from now on. Where units have owners, the weights with
    /// which heads read the units of others become 0 and stay so: whoever scores needs the masks alone.
    ///
    /// # Panics
    /// If the masks are of another shape or number of tasks, or keep what their owners do not allow.
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
                networks.for_each(|network| network.forget_units_of_others(owners));
            }
        }
        self.layouts = layouts(&self.networks, masks.as_ref());
        self.masks = masks;
    }

    /// The connections of a network: what a gradient has a gradient for.
    pub fn connections(&self, network: usize) -> &Arc<ParameterIndex> {
        self.layouts[network].connections()
    }

    /// The networks.
    pub fn networks(&self) -> &[Network<R>] {
        &self.networks
    }

    /// One network.
    pub fn network(&self, network: usize) -> &Network<R> {
        &self.networks[network]
    }

    /// One network, to be changed.
    pub fn network_mut(&mut self, network: usize) -> &mut Network<R> {
        &mut self.networks[network]
    }

    /// The network of a task.
    pub fn tower_of(&self, task: usize) -> usize {
        let place = self
            .networks
            .iter()
            .position(|network| network.tasks.contains(&task));
        place.expect("every task has a tower")
    }

    /// What a network runs for some of its tasks, with the weights that it has now; the heads, in order,
    /// are those of `tasks`.
    pub fn subnets(&self, network: usize, tasks: &[usize]) -> Vec<Subnet<R>> {
        self.layouts[network].subnets(&self.networks[network], tasks)
    }
}

fn layouts<R: Real>(networks: &[Network<R>], masks: Option<&Arc<Masks>>) -> Vec<Arc<Wirings>> {
    let layouts = |network| Arc::new(Wirings::new(network, masks));
    networks.iter().map(layouts).collect()
}
