//! The towers of a model and the masks of its tasks.

use crate::connections::Connections;
use crate::draw::Draw;
use crate::masks::Masks;
use crate::networks;
use crate::number::Real;
use crate::spec::Spec;
use crate::tables::SparseRows;
use crate::tower::{Subnet, Tower};
use std::sync::Arc;

/// Tables, networks and masks. Passes borrow it; only an optimizer may change its weights.
#[derive(Clone, Debug)]
pub struct Model<R = f32> {
    spec: Arc<Spec>,
    towers: Vec<Tower<R>>,
    masks: Option<Arc<Masks>>,
    /// One for each tower.
    connections: Vec<Arc<Connections>>,
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
            connections: connections(&towers, None),
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

    /// Runs and moves each task's kept connections only, from now on.
    ///
    /// # Panics
    /// If the masks are of another shape or number of tasks.
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
        }
        self.connections = connections(&self.towers, masks.as_deref());
        self.masks = masks;
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

    /// What a tower's tasks keep, under the masks that are set: the numbering of its gradient.
    pub fn connections(&self, tower: usize) -> &Arc<Connections> {
        &self.connections[tower]
    }

    /// The tower of a task.
    pub fn tower_of(&self, task: usize) -> usize {
        let place = self
            .towers
            .iter()
            .position(|tower| tower.tasks.contains(&task));
        place.expect("every task has a tower")
    }

    /// What a tower runs for some of its tasks; the heads, in order, are those of `tasks`.
    pub fn subnets(&self, tower: usize, tasks: &[usize]) -> Vec<Subnet<R>> {
        let tower = &self.towers[tower];
        networks::subnets(self.spec.plan.kind, tower, tasks, self.masks.as_ref())
    }
}

fn connections<R: Real>(towers: &[Tower<R>], masks: Option<&Masks>) -> Vec<Arc<Connections>> {
    let of = |tower: &Tower<R>| Arc::new(Connections::new(&tower.layout, &tower.tasks, masks));
    towers.iter().map(of).collect()
}
