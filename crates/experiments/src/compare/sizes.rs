//! Hidden layers that fit a budget, so that networks of different structure are compared at equal size.

use ncs_config::RunPlan;
use ncs_features::rates::PIECES;
use ncs_features::{Field, IdSpacePlan, NumericPlan};
use ncs_model::{
    FieldSpec, Kept, NetworkKind, NetworkPlan, NetworkSize, Spec, TableSpec, UnitOwners,
};
use ncs_train::CommonUnits;

use super::toml_types::Match;

/// Minimum and maximum factor of the hidden widths.
const FACTORS: [f64; 2] = [0.02, 50.0];

/// Returns the size of a run's network, as far as it is known before the masks are.
pub(crate) fn expected(plan: &RunPlan, network: &NetworkPlan, by: Match) -> f64 {
    let field = |field: &Field| {
        let (mut pieces, mut vector) = (None, None);
        match plan.schema.tables[field.table].ids {
            IdSpacePlan::Numeric(NumericPlan::Piecewise { pieces: n }) => pieces = Some(n as usize),
            IdSpacePlan::Numeric(NumericPlan::Vector(about)) if !about.projected => {
                vector = Some(about.length as usize);
            }
            _ => {}
        }
        FieldSpec {
            table: 0,
            pooling: None,
            pieces,
            vector,
        }
    };
    let table = TableSpec {
        name: String::new(),
        rows: 1,
        unknown: None,
    };
    let fields = plan.schema.fields.iter().map(field);
    let past = FieldSpec {
        table: 0,
        pooling: None,
        pieces: Some(PIECES as usize),
        vector: None,
    };
    let past = std::iter::repeat_n(past, plan.schema.rates.n_fields());
    let spec = Spec {
        fields: fields.chain(past).collect(),
        tables: vec![table],
        tasks: plan
            .schema
            .tasks
            .iter()
            .map(|task| task.name.clone())
            .collect(),
        links: Vec::new(),
        plan: network.clone(),
    };
    let search = &plan.train.search;
    // If the share of common units is chosen later, widths are matched as if all units were common.
    let owners = match search.common_units {
        CommonUnits::Share(share) => UnitOwners::new(share, spec.tasks.len()),
        CommonUnits::Auto => None,
    };
    let kept = match owners {
        Some(owners) => Kept::Owned(owners, &search.density),
        None => Kept::AtRandom(&search.density),
    };
    let size = NetworkSize::of(&spec, kept);
    match by {
        Match::Flops => size.multiply_adds,
        Match::None | Match::Parameters => size.weights,
    }
}

/// Returns the budget: the size of the shared bottom with the widths of the run file.
pub(crate) fn budget(plan: &RunPlan, by: Match) -> f64 {
    let network = NetworkPlan {
        kind: NetworkKind::SharedBottom,
        heads: ncs_model::Heads::default(),
        ..plan.network.clone()
    };
    expected(plan, &network, by)
}

/// Returns the hidden widths, scaled by one factor, with which the network comes nearest to a budget.
pub(crate) fn hidden(plan: &RunPlan, budget: f64, by: Match) -> Vec<usize> {
    let scaled = |factor: f64| scaled(&plan.network.hidden, factor);
    let size = |hidden: &[usize]| {
        let network = NetworkPlan {
            hidden: hidden.to_vec(),
            ..plan.network.clone()
        };
        expected(plan, &network, by)
    };
    let [mut low, mut high] = FACTORS;
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if size(&scaled(middle)) < budget {
            low = middle
        } else {
            high = middle
        }
    }
    let [below, above] = [scaled(low), scaled(high)];
    if (budget - size(&below)).abs() <= (size(&above) - budget).abs() {
        below
    } else {
        above
    }
}

/// Returns the widths times a factor, at least 1.
pub(crate) fn scaled(hidden: &[usize], factor: f64) -> Vec<usize> {
    let width = |&width: &usize| ((width as f64 * factor).round() as usize).max(1);
    hidden.iter().map(width).collect()
}
