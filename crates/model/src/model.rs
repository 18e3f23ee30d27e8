//! The towers of a model and the masks of its tasks.

use crate::connections::Connections;
use crate::draw::Draw;
use crate::masks::Masks;
use crate::networks::Wirings;
use crate::number::Real;
use crate::spec::Spec;
use crate::subnet::Subnet;
use crate::tables::SparseRows;
use crate::tower::Tower;
use std::sync::Arc;

/// Tables, networks and masks. Passes borrow it; only an optimizer may change its weights.
#[derive(Clone, Debug)]
pub struct Model<R = f32> {
    spec: Arc<Spec>,
    towers: Vec<Tower<R>>,
    masks: Option<Arc<Masks>>,
    /// One for each tower.
    wirings: Vec<Arc<Wirings>>,
}

/// The weights of a tower, as they are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<R = f32> {
    /// Of layers and heads.
    pub dense: Vec<R>,
    /// The drawn rows of each table.
    pub tables: Vec<SparseRows<R>>,
}

impl<R: Real> Model<R> {
    /// A model with initial weights, and without masks.
    pub fn new(spec: Spec, draw: Draw) -> Model<R> {
        let spec = Arc::new(spec);
        let tower = |tasks| Tower::new(spec.clone(), tasks, draw);
        let towers: Vec<Tower<R>> = spec.towers().into_iter().map(tower).collect();
        Model {
            wirings: wirings(&towers, None),
            towers,
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
                let towers = self.towers.iter_mut();
                towers.for_each(|tower| tower.forget_units_of_others(owners));
            }
        }
        self.wirings = wirings(&self.towers, masks.as_ref());
        self.masks = masks;
    }

    /// The connections of a tower: what a gradient has a slope for.
    pub fn connections(&self, tower: usize) -> &Arc<Connections> {
        self.wirings[tower].connections()
    }

    /// The towers.
    pub fn towers(&self) -> &[Tower<R>] {
        &self.towers
    }

    /// One tower.
    pub fn tower(&self, tower: usize) -> &Tower<R> {
        &self.towers[tower]
    }

    /// One tower, to be changed.
    pub fn tower_mut(&mut self, tower: usize) -> &mut Tower<R> {
        &mut self.towers[tower]
    }

    /// The tower of a task.
    pub fn tower_of(&self, task: usize) -> usize {
        let place = self
            .towers
            .iter()
            .position(|tower| tower.tasks.contains(&task));
        place.expect("every task has a tower")
    }

    /// What a tower runs for some of its tasks, with the weights that it has now; the heads, in order,
    /// are those of `tasks`.
    pub fn subnets(&self, tower: usize, tasks: &[usize]) -> Vec<Subnet<R>> {
        self.wirings[tower].subnets(&self.towers[tower], tasks)
    }
}

fn wirings<R: Real>(towers: &[Tower<R>], masks: Option<&Arc<Masks>>) -> Vec<Arc<Wirings>> {
    let wirings = |tower| Arc::new(Wirings::new(tower, masks));
    towers.iter().map(wirings).collect()
}
