//! Hidden units of each task's own, and what they go with.

use ncs_model::UnitOwners;
use ncs_train::CommonUnits;

use super::checks::Checks;
use super::toml_types::{self, Density, SearchKind};

const KEY: [&str; 2] = ["search", "common_units"];

/// The share of common units; all are, unless it is stated.
pub(crate) fn plan(search: &toml_types::Search) -> CommonUnits {
    search.common_units.unwrap_or(CommonUnits::Share(1.0))
}

/// Settings that units of each task's own do not go with.
pub(crate) fn check(
    config: &toml_types::RunFile,
    search: &toml_types::Search,
    checks: &mut Checks<'_>,
) {
    let Some(stated) = search.common_units else {
        return;
    };
    let common = plan(search);
    match search.kind {
        SearchKind::Model => {
            let text = "search.common_units is of a search; the model of search.model says whose its units are";
            checks.say(&KEY, text);
        }
        SearchKind::Magnitude if common != CommonUnits::Share(1.0) => {
            let text = "search.common_units needs search.kind = \"gradient\" or \"random\"; \"magnitude\" prunes units \
                        that are common";
            checks.say(&KEY, text);
        }
        SearchKind::Random if common == CommonUnits::Auto => {
            let text =
                "search.common_units = \"auto\" is of search.kind = \"gradient\"; state a share";
            checks.say(&KEY, text);
        }
        _ => {}
    }
    let tries_densities = matches!(search.density, Some(Density::Auto));
    if common == CommonUnits::Auto && tries_densities {
        let text = "search.common_units = \"auto\" and search.density = \"auto\" each need trainings of their own; \
                    state one of them";
        checks.say(&KEY, text);
    }
    if common != CommonUnits::Share(1.0) && config.training.parity.stale_momentum {
        let text = "training.parity.stale_momentum is of units that are common; set search.common_units = 1";
        checks.say(&["training", "parity", "stale_momentum"], text);
    }
    if let CommonUnits::Share(share) = stated
        && let Some(owners) = UnitOwners::new(share.clamp(0.0, 1.0), config.tasks.len())
        && let Err(what) = owners.check(&config.network.hidden)
    {
        let text =
            format!("{what}; state wider layers in network.hidden, or search.common_units = 1");
        checks.say(&KEY, text);
    }
}
