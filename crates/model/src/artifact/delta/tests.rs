use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn rows(of: &BTreeMap<u32, [u8; 2]>) -> SparseRows<f32> {
    let values = of.values().flatten();
    SparseRows {
        ids: of.keys().copied().collect(),
        values: values.map(|&value| f32::from(value)).collect(),
    }
}

fn lives(of: &BTreeMap<u32, [u8; 2]>) -> RowLives {
    let column = |part: usize| of.values().map(|values| u32::from(values[part])).collect();
    RowLives {
        ids: of.keys().copied().collect(),
        last_seen: column(0),
        sightings: column(1),
    }
}

fn few_rows() -> impl Strategy<Value = BTreeMap<u32, [u8; 2]>> {
    prop::collection::btree_map(0u32..12, [0u8..2, 0u8..2], 0..10)
}

proptest! {
    #[test]
    fn a_change_makes_the_rows_of_the_child(before in few_rows(), after in few_rows()) {
        let (old, new) = (rows(&before), rows(&after));
        let change = table_change(&old, &new);
        prop_assert_eq!(merged(Some(&old), &change), new);
        let is_changed = |id: &u32| before.get(id) != after.get(id);
        prop_assert!(change.ids.iter().all(is_changed));
        let (old, new) = (lives(&before), lives(&after));
        let [removed, ids, last_seen, sightings] = lives_change(&old, &new);
        let changed = RowLives { ids, last_seen, sightings };
        prop_assert_eq!(old.changed(&removed, &changed), new);
    }
}

#[test]
fn zeros_of_another_sign_are_a_change() {
    let row = |value| SparseRows {
        ids: vec![3],
        values: vec![value].into(),
    };
    assert_eq!(table_change(&row(0.0), &row(-0.0)).ids, [3]);
    assert_eq!(table_change(&row(f32::NAN), &row(f32::NAN)).ids.len(), 0);
}
