//! Comparison of later rows with earlier ones.

use super::kind::Kind;
use super::leak::Labels;
use super::profile::Profile;
use super::sample::Sample;
use super::time::Boundary;
use super::{Column, Split, blocks};
use crate::exact_values::{self, Folds};
use ncs_features::Block;
use ncs_readers::split::Part;

/// Marks the numbers whose exact values are more informative than a scale.
pub(super) fn find_exact_values(
    columns: &mut [Column],
    sample: &Sample,
    split: &Split,
    labels: &[Labels],
) {
    let later = match split {
        Split::Time { boundary, .. } => Some(is_late(boundary, sample)),
        _ => None,
    };
    let folds = later.as_deref().map_or(Folds::Halves, Folds::Later);
    let is_number = |column: &&mut Column| {
        column.left_out().is_none() && matches!(column.decision.kind, Kind::Numeric { .. })
    };
    for column in columns.iter_mut().filter(is_number) {
        let profile = Profile::of(&column.name, None, blocks(sample));
        let labels = labels.iter().map(|labels| labels.of_rows.as_slice());
        column.has_exact_values = exact_values::are_informative(&profile, labels, folds);
    }
}

/// Returns true if both parts have labels of both classes, as far as the sampled rows show.
pub(super) fn splits_labels(boundary: &Boundary, sample: &Sample, labels: &[Labels]) -> bool {
    let is_late = is_late(boundary, sample);
    let differ = |labels: &Labels, late: bool| {
        let own = labels
            .of_rows
            .iter()
            .zip(&is_late)
            .filter(|(label, is_late)| !label.is_nan() && **is_late == late);
        let own: Vec<f32> = own.map(|(label, _)| *label).collect();
        own.iter().any(|label| *label != own[0])
    };
    labels
        .iter()
        .all(|labels| differ(labels, true) && differ(labels, false))
}

/// Returns, for each row, true if it is after the boundary.
fn is_late(boundary: &Boundary, sample: &Sample) -> Vec<bool> {
    let of_block = |block: &Block| -> Vec<bool> {
        let parts = boundary.split.parts(block, 0).unwrap_or_default();
        parts.into_iter().map(|part| part == Part::Valid).collect()
    };
    blocks(sample).flat_map(of_block).collect()
}
