//! The table rows of a checkpoint: of the weights in training with their moments, and of the weights that are kept.

use crate::error::TrainError;
use crate::optim::{NetworkState, Optimizers};
use crate::tensors::Tensors;
use ncs_model::{
    FirstRows, Model, Network, RowWriter, SlotRows, SparseRows, StorageError, Table, TableShare,
    TableStorage, TensorFile, TensorFileError, Values, Weights,
};
use std::sync::Arc;

/// Adds the initialised rows of a network's tables with their moments, in the order in which they lie.
pub(super) fn add_rows<'a>(
    tensors: &mut Tensors<'a>,
    number: usize,
    (network, state): (&'a Network, &'a NetworkState),
) {
    for (k, (table, moments)) in network.tables.iter().zip(&state.tables).enumerate() {
        let name = |what: &str| format!("tower.{number}.table.{k}.{what}");
        let n_rows = table.n_initialised();
        tensors.add(name("ids"), n_rows, Values::U32(&table.ids()[1..]));
        for (name, rows) in [
            (name("values"), table.rows()),
            (name("moments"), moments.rows()),
        ] {
            let rows = FirstRows { rows, n_rows };
            let n_values = n_rows * rows.rows.width();
            tensors.add(name, n_values, Values::F32Rows(rows));
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
pub(super) struct KeptRows<'s> {
    parts: Vec<Vec<Vec<SparseRows<f32>>>>,
    dim: usize,
    storage: &'s TableStorage,
}

impl<'s> KeptRows<'s> {
    pub(super) fn new(
        [n_weights, n_tables, dim]: [usize; 3],
        storage: &'s TableStorage,
    ) -> KeptRows<'s> {
        KeptRows {
            parts: vec![vec![Vec::new(); n_tables]; n_weights],
            dim,
            storage,
        }
    }

    /// Adds those rows of a file that belong to a share. `Ok(None)`: they are of another network.
    pub(super) fn add(
        &mut self,
        file: &TensorFile,
        share: Option<TableShare>,
    ) -> Result<Option<()>, TrainError> {
        for (i, tables) in self.parts.iter_mut().enumerate() {
            for (t, parts) in tables.iter_mut().enumerate() {
                let name = |what: &str| format!("best.{i}.table.{t}.{what}");
                let mut rows = SparseRows {
                    ids: file.u32(&name("ids"))?,
                    values: file.f32_rows(&name("values"))?,
                };
                if rows.values.len() != rows.ids.len() * self.dim {
                    return Ok(None);
                }
                if let Some(share) = share {
                    rows = of_share(&rows, share, self.dim, self.storage)?;
                }
                parts.push(rows);
            }
        }
        Ok(Some(()))
    }

    /// Joins the rows with the dense part of each.
    pub(super) fn weights(self, dense: Vec<Vec<f32>>) -> Result<Vec<Arc<Weights>>, StorageError> {
        let (storage, dim) = (self.storage, self.dim);
        let joined = |mut parts: Vec<SparseRows<f32>>| match parts.len() {
            1 => Ok(parts.swap_remove(0)),
            _ => SparseRows::joined_in(storage, &parts, dim),
        };
        let weights = dense.into_iter().zip(self.parts);
        let weights = weights.map(|(dense, tables)| {
            let tables = tables.into_iter().map(joined).collect::<Result<_, _>>()?;
            Ok(Arc::new(Weights { dense, tables }))
        });
        weights.collect()
    }
}

fn of_share(
    rows: &SparseRows<f32>,
    share: TableShare,
    dim: usize,
    storage: &TableStorage,
) -> Result<SparseRows<f32>, StorageError> {
    let (mut ids, mut own) = (Vec::new(), RowWriter::new(storage)?);
    for (&id, values) in rows.ids.iter().zip(rows.values.chunks_exact(dim.max(1))) {
        if share.owns(id) {
            ids.push(id);
            own.push(values)?;
        }
    }
    let values = own.finish()?;
    Ok(SparseRows { ids, values })
}
