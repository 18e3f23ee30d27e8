//! The table rows of a checkpoint: of the weights in training with their moments, and of the weights that are kept.

use crate::optim::{NetworkState, Optimizers};
use crate::tensors::Tensors;
use ncs_model::{
    Model, Network, PickedRows, SlotRows, SparseRows, Table, TableShare, TensorFile,
    TensorFileError, Values, Weights,
};
use std::sync::Arc;

/// Initialised rows of an embedding table, by number, and the position of each.
pub(super) struct SeenRows {
    ids: Vec<u32>,
    slots: Vec<u32>,
}

impl SeenRows {
    fn of(table: &Table<f32>) -> SeenRows {
        let ids: Vec<u32> = table.initialised_ids().collect();
        SeenRows {
            slots: ids.iter().map(|&id| table.slot(id)).collect(),
            ids,
        }
    }

    /// Returns the rows of each table of each network.
    pub(super) fn of_model(model: &Model) -> Vec<Vec<SeenRows>> {
        let of_network = |network: &Network| network.tables.iter().map(SeenRows::of).collect();
        model.networks().iter().map(of_network).collect()
    }
}

/// Adds the initialised rows of a network's tables with their moments.
pub(super) fn add_rows<'a>(
    tensors: &mut Tensors<'a>,
    number: usize,
    (network, state): (&'a Network, &'a NetworkState),
    seen: &'a [SeenRows],
) {
    let tables = network.tables.iter().zip(&state.tables).zip(seen);
    for (k, ((table, moments), seen)) in tables.enumerate() {
        let name = |what: &str| format!("tower.{number}.table.{k}.{what}");
        tensors.add(name("ids"), seen.ids.len(), Values::U32(&seen.ids));
        for (name, rows) in [
            (name("values"), table.rows()),
            (name("moments"), moments.rows()),
        ] {
            let picked = &seen.slots;
            let n_values = picked.len() * rows.width();
            tensors.add(name, n_values, Values::F32Rows(PickedRows { rows, picked }));
        }
    }
}

/// Adds the rows of a file to the tables of a model and their moments. `Ok(None)`: they are of another network.
pub(super) fn restore_rows(
    model: &mut Model,
    optimizers: &mut Optimizers,
    file: &TensorFile,
) -> Result<Option<()>, TensorFileError> {
    for t in 0..model.networks().len() {
        let network = model.network_mut(t);
        let state = &mut optimizers.networks[t];
        for (k, (table, moments)) in network.tables.iter_mut().zip(&mut state.tables).enumerate() {
            let name = |what: &str| format!("tower.{t}.table.{k}.{what}");
            let ids = file.u32(&name("ids"))?;
            let values = file.f32_values(&name("values"))?;
            if table.add_initialised(&ids, values).is_none() {
                return Ok(None);
            }
            moments.follow(table);
            let values = file.f32_values(&name("moments"))?;
            if fill_rows(moments.rows_mut(), table, &ids, values).is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(()))
}

/// Fills the rows that belong to these rows of a table; those that the table does not hold are left out.
fn fill_rows(
    rows: &mut SlotRows<f32>,
    table: &Table<f32>,
    ids: &[u32],
    mut values: impl ExactSizeIterator<Item = f32>,
) -> Option<()> {
    let width = rows.width();
    (values.len() == ids.len() * width).then_some(())?;
    for &id in ids {
        match table.slot(id) {
            0 => values.by_ref().take(width).for_each(drop),
            slot => {
                let row = rows.row_mut(slot).iter_mut();
                row.zip(&mut values).for_each(|(to, from)| *to = from);
            }
        }
    }
    Some(())
}

/// The rows of kept weights, out of one file after the other: `[weights][table][file]`.
pub(super) struct KeptRows {
    parts: Vec<Vec<Vec<SparseRows<f32>>>>,
    dim: usize,
}

impl KeptRows {
    pub(super) fn new(n_weights: usize, n_tables: usize, dim: usize) -> KeptRows {
        KeptRows {
            parts: vec![vec![Vec::new(); n_tables]; n_weights],
            dim,
        }
    }

    /// Adds those rows of a file that belong to a share. `Ok(None)`: they are of another network.
    pub(super) fn add(
        &mut self,
        file: &TensorFile,
        share: Option<TableShare>,
    ) -> Result<Option<()>, TensorFileError> {
        for (i, tables) in self.parts.iter_mut().enumerate() {
            for (t, parts) in tables.iter_mut().enumerate() {
                let name = |what: &str| format!("best.{i}.table.{t}.{what}");
                let mut rows = SparseRows {
                    ids: file.u32(&name("ids"))?,
                    values: file.f32(&name("values"))?,
                };
                if rows.values.len() != rows.ids.len() * self.dim {
                    return Ok(None);
                }
                if let Some(share) = share {
                    rows = of_share(&rows, share, self.dim);
                }
                parts.push(rows);
            }
        }
        Ok(Some(()))
    }

    /// Joins the rows with the dense part of each.
    pub(super) fn weights(self, dense: Vec<Vec<f32>>) -> Vec<Arc<Weights>> {
        let joined = |mut parts: Vec<SparseRows<f32>>| match parts.len() {
            1 => parts.swap_remove(0),
            _ => SparseRows::joined(&parts, self.dim),
        };
        let weights = dense.into_iter().zip(self.parts);
        let weights = weights.map(|(dense, tables)| Weights {
            dense,
            tables: tables.into_iter().map(joined).collect(),
        });
        weights.map(Arc::new).collect()
    }
}

fn of_share(rows: &SparseRows<f32>, share: TableShare, dim: usize) -> SparseRows<f32> {
    let mut own = SparseRows::default();
    for (&id, values) in rows.ids.iter().zip(rows.values.chunks_exact(dim.max(1))) {
        if share.owns(id) {
            own.ids.push(id);
            own.values.extend_from_slice(values);
        }
    }
    own
}
