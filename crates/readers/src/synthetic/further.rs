//! Further labels of a synthetic log: two tasks in the place of conversions, or after them.
//!
//! Each has a true model of its own, as conversions have: the units of clicks with other weights in the head, those beyond
//! the common share in conflict, and units over the fields of conversions. Clicks, conversions and all features of a log
//! stay as they are without these labels.

/// Labels beside clicks and conversions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FurtherLabels {
    /// None.
    #[default]
    None,
    /// After a click: [`ENGAGEMENT`], each by itself.
    Engagement,
    /// After a click: [`CHAIN`], the second after the first.
    Chain,
}

/// A further label: its column, that of its true probability, and how often it is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FurtherLabel {
    /// Column of the label, null where the label before it is not 1.
    pub label: &'static str,
    /// Column of the true probability, given the label before it; on every row.
    pub truth: &'static str,
    /// Share of label 1 among the rows where the label before it is 1.
    pub rate: f64,
    /// True if the label before it is the other further label; false: the click.
    pub follows: bool,
}

/// A like, and a long view.
pub const ENGAGEMENT: [FurtherLabel; 2] = [
    FurtherLabel {
        label: "like",
        truth: "p_like",
        rate: 0.08,
        follows: false,
    },
    FurtherLabel {
        label: "long_view",
        truth: "p_long_view",
        rate: 0.35,
        follows: false,
    },
];

/// A cart, and a purchase of what is in it.
pub const CHAIN: [FurtherLabel; 2] = [
    FurtherLabel {
        label: "cart",
        truth: "p_cart",
        rate: 0.25,
        follows: false,
    },
    FurtherLabel {
        label: "purchase",
        truth: "p_purchase",
        rate: 0.3,
        follows: true,
    },
];

impl FurtherLabels {
    /// Returns the labels, in the order of their columns.
    pub fn labels(self) -> &'static [FurtherLabel] {
        match self {
            FurtherLabels::None => &[],
            FurtherLabels::Engagement => &ENGAGEMENT,
            FurtherLabels::Chain => &CHAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Synthetic, SyntheticPlan};
    use super::*;
    use ncs_features::{Block, Values};

    const ROWS: u64 = 8192;

    fn block(further: FurtherLabels) -> Block {
        let plan = SyntheticPlan {
            rows: ROWS,
            click_rate: 0.5,
            further,
            ..SyntheticPlan::default()
        };
        Synthetic::new(plan).unwrap().next_block().unwrap()
    }

    /// Labels of a column, `None` where null.
    fn labels(block: &Block, name: &str) -> Vec<Option<i64>> {
        let column = block.column(name).unwrap();
        let Values::Int(values) = &column.values else {
            panic!("{name} holds numbers");
        };
        let label = |(row, &value): (usize, &i64)| (!column.is_null(row)).then_some(value);
        values.iter().enumerate().map(label).collect()
    }

    fn truths(block: &Block, name: &str) -> Vec<f64> {
        match &block.column(name).unwrap().values {
            Values::Float(values) => values.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn labels_are_known_where_the_one_before_is_1_and_as_frequent_as_planned() {
        for further in [FurtherLabels::Engagement, FurtherLabels::Chain] {
            let block = block(further);
            let mut before = labels(&block, "click");
            for label in further.labels() {
                let of = if label.follows {
                    before.clone()
                } else {
                    labels(&block, "click")
                };
                let own = labels(&block, label.label);
                let pairs = own.iter().zip(&of);
                assert!(
                    pairs
                        .clone()
                        .all(|(own, of)| own.is_some() == (*of == Some(1)))
                );
                let known: Vec<i64> = own.iter().flatten().copied().collect();
                let rate = known.iter().sum::<i64>() as f64 / known.len() as f64;
                // Four standard deviations.
                let room = 4.0 * (label.rate * (1.0 - label.rate) / known.len() as f64).sqrt();
                assert!((rate - label.rate).abs() < room + 0.02, "{label:?}: {rate}");
                // The labels are those of the true probabilities.
                let expected: f64 = truths(&block, label.truth)
                    .iter()
                    .zip(&own)
                    .filter_map(|(p, own)| own.map(|_| p))
                    .sum();
                let found = known.iter().sum::<i64>() as f64;
                assert!(
                    (found - expected).abs() < 4.0 * expected.sqrt(),
                    "{label:?}"
                );
                before = own;
            }
        }
    }

    #[test]
    fn the_rest_of_a_log_stays_as_it_is() {
        let plain = block(FurtherLabels::None);
        for further in [FurtherLabels::Engagement, FurtherLabels::Chain] {
            let block = block(further);
            assert_eq!(block.columns[..plain.columns.len()], plain.columns[..]);
            let names = block.columns[plain.columns.len()..].iter();
            let names: Vec<&str> = names.map(|column| &column.name[..]).collect();
            let labels = further.labels();
            let [first, second] = labels else {
                panic!("{labels:?}");
            };
            assert_eq!(
                names,
                [first.label, second.label, first.truth, second.truth]
            );
        }
    }
}
