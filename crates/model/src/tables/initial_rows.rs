//! Vectors at which rows of a table begin, in the place of random ones.

use std::collections::HashMap;

/// Vectors for some rows of a table, such as embeddings by another model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InitialRows {
    /// For each row that has one, the place of its vector.
    places: HashMap<u32, u32>,
    /// `[places, dim]`
    values: Vec<f32>,
    dim: usize,
    is_frozen: bool,
}

impl InitialRows {
    /// Creates a set of no vectors, each of which will have `dim` numbers; `is_frozen` keeps their rows as they are in
    /// training.
    pub fn new(dim: usize, is_frozen: bool) -> InitialRows {
        InitialRows {
            dim,
            is_frozen,
            ..InitialRows::default()
        }
    }

    /// Sets the vector of a row. Returns false, with nothing changed, if the row has one already.
    ///
    /// # Panics
    /// If the vector has another length than all of them.
    pub fn insert(&mut self, id: u32, vector: &[f32]) -> bool {
        assert_eq!(vector.len(), self.dim, "a vector of another length");
        if self.places.contains_key(&id) {
            return false;
        }
        self.places.insert(id, self.places.len() as u32);
        self.values.extend_from_slice(vector);
        true
    }

    /// Returns the vector of a row, if it has one.
    pub fn get(&self, id: u32) -> Option<&[f32]> {
        let first = *self.places.get(&id)? as usize * self.dim;
        self.values.get(first..first + self.dim)
    }

    /// Returns true if training leaves the row as it is.
    pub fn keeps(&self, id: u32) -> bool {
        self.is_frozen && self.places.contains_key(&id)
    }

    /// Returns true if training leaves some rows as they are.
    pub fn keeps_any(&self) -> bool {
        self.is_frozen && !self.places.is_empty()
    }

    /// Returns the length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the number of rows with a vector.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns true if no row has a vector.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the bytes that identify the vectors: two sets of the same bytes train the same model.
    pub fn bytes(&self) -> Vec<u8> {
        let mut ids: Vec<(&u32, &u32)> = self.places.iter().collect();
        ids.sort_unstable();
        let mut bytes = vec![u8::from(self.is_frozen)];
        for (id, _) in ids {
            bytes.extend(id.to_le_bytes());
            let vector = self.get(*id).unwrap_or_default().iter();
            bytes.extend(vector.flat_map(|x| x.to_le_bytes()));
        }
        bytes
    }
}
