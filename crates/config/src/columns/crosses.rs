//! Crosses of features.

use indexmap::IndexMap;
use ncs_features::{Cross, IdSpacePlan, NumericPlan};

use super::{Ids, Read};
use crate::checks::Checks;
use crate::problem::hint;

/// Returns a cross, its parts checked.
pub(super) fn cross(
    name: &str,
    of: &[String],
    buckets: u32,
    columns: &IndexMap<&str, Read>,
    checks: &mut Checks<'_>,
) -> IdSpacePlan {
    let mut parts = Vec::new();
    for part in of {
        let found = columns.get_full(part.as_str());
        let what = match found {
            None => {
                let near = hint(part, columns.keys().copied());
                Some(format!("is not a feature of [columns]{near}"))
            }
            Some(_) if part == name => Some("is the cross itself".to_owned()),
            Some((place, ..)) if parts.contains(&place) => Some("is named twice".to_owned()),
            Some((_, _, read)) if !can_be_crossed(read) => Some(
                "is not a category with one value a row; a number needs boundaries, or transform = \"quantiles\""
                    .to_owned(),
            ),
            Some(_) => None,
        };
        if let Some(what) = what {
            let text = format!("columns.{name}.of: {part:?} {what}");
            checks.say(&["columns", name, "of"], text);
        }
        parts.extend(found.map(|(place, ..)| place));
    }
    IdSpacePlan::Cross(Cross { of: parts, buckets })
}

fn can_be_crossed(read: &Read) -> bool {
    let has_ids = match &read.ids {
        Ids::Text { .. } | Ids::Time(_) => true,
        Ids::Number(plan) => matches!(
            plan,
            NumericPlan::Quantiles { .. } | NumericPlan::Boundaries(_)
        ),
        Ids::Cross { .. } => false,
    };
    has_ids && read.pooling.is_none()
}
