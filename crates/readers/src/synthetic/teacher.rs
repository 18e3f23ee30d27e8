//! The truth: a small network of rectified units over hidden vectors, for each task.
//!
//! A task's score is `sum_j a_j relu(b_j + sum_f w_jf . h_f)`. The common units read the fields that both
//! tasks use, three fields each; a task's own units read its own fields and one common field. What
//! is in conflict lies below the heads: first-layer weights, hidden vectors or both.

use super::draws::{Draws, Purpose};
use super::fields::{FIELDS, LOG_PRICE, Row, UsedBy};
use super::{Conflict, SyntheticPlan};

/// Length of a hidden vector.
pub(super) const WIDTH: usize = 16;
/// Number of units that both tasks have, in conflict or not.
pub(super) const COMMON_UNITS: usize = 32;
/// Number of units that each task has for itself.
const OWN_UNITS: usize = 8;
/// Fields that a common unit reads.
const FIELDS_PER_UNIT: usize = 3;

const PRICE: usize = 4;
const TAGS: usize = 3;
const N_COMMON: usize = 8;
/// position, banner, shop, delivery: the contexts that a truth reads, fields 8 to 11.
const N_OWN: usize = 4;
const N_READ: usize = N_COMMON + N_OWN;

type Vector = [f64; WIDTH];
/// Hidden vectors of a row, `[field]`, of the fields that some true model reads.
type Vectors = [Vector; N_READ];

/// True model of both tasks, up to scale and intercept.
#[derive(Clone, Debug)]
pub(super) struct Teacher {
    seed: u64,
    clicks: Vec<Unit>,
    conversions: Vec<Unit>,
    /// Units of each further label.
    further: Vec<Vec<Unit>>,
    /// Conversions have the hidden vectors of clicks in these leading dimensions, others behind.
    shared_dimensions: usize,
}

/// A row's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scores {
    pub(super) click: f64,
    pub(super) conversion: f64,
    /// Those of the further labels; 0 where the log has none.
    pub(super) further: [f64; 2],
}

impl Teacher {
    pub(super) fn new(plan: &SyntheticPlan) -> Teacher {
        let in_network = plan.conflict != Conflict::Vectors;
        let in_vectors = plan.conflict != Conflict::Network;
        let shared = |n: usize, in_conflict: bool| {
            if in_conflict {
                (plan.share * n as f64).round() as usize
            } else {
                n
            }
        };
        let mut draws = Draws::new(plan.seed, Purpose::Teacher, 0);
        let mut clicks = common_units(&mut draws);
        let mut conversions = clicks.clone();
        for unit in &mut conversions {
            unit.head *= 0.25 + 1.5 * draws.uniform();
        }
        clicks.extend(own_units(UsedBy::Clicks, &mut draws));
        let own = own_units(UsedBy::Conversions, &mut draws);
        let n_shared = shared(COMMON_UNITS, in_network);
        for (j, unit) in conversions.iter_mut().enumerate().skip(n_shared) {
            unit.contradict(j, &mut Draws::new(plan.seed, Purpose::Conflict, j as u64));
        }
        conversions.extend(own);
        let further = 0..plan.further.labels().len() as u64;
        let further = further.map(|number| further_units(number, &clicks, n_shared, plan.seed));
        Teacher {
            further: further.collect(),
            seed: plan.seed,
            clicks,
            conversions,
            shared_dimensions: shared(WIDTH, in_vectors),
        }
    }

    pub(super) fn scores(&self, row: &Row) -> Scores {
        let vectors = self.vectors(row, WIDTH);
        let click = score(&self.clicks, &vectors);
        let others;
        let of_conversions = match self.shared_dimensions {
            WIDTH => &vectors,
            shared => {
                others = self.vectors(row, shared);
                &others
            }
        };
        let mut further = [0.0; 2];
        for (score_of, units) in further.iter_mut().zip(&self.further) {
            *score_of = score(units, of_conversions);
        }
        Scores {
            click,
            conversion: score(&self.conversions, of_conversions),
            further,
        }
    }

    /// Returns the hidden vectors of a row, clicks' in the first `shared` dimensions and others behind.
    fn vectors(&self, row: &Row, shared: usize) -> Vectors {
        let vector = |field, id| self.vector(field, id, shared);
        let mut vectors = [[0.0; WIDTH]; N_READ];
        let singles = [
            (0, Some(row.user)),
            (1, Some(row.item)),
            (2, Some(row.category)),
            (5, Some(row.hour)),
            (6, Some(row.device)),
            (7, row.city),
        ];
        for (field, id) in singles {
            vectors[field] = id.map_or([0.0; WIDTH], |id| vector(field, id));
        }
        for &tag in &row.tags {
            // A mean has 1 / n of the variance of one vector; lists hold two or three on average.
            let factor = 1.5 / row.tags.len() as f64;
            add_scaled(&mut vectors[TAGS], factor, &vector(TAGS, tag));
        }
        let z = (row.price.ln() - LOG_PRICE.0) / LOG_PRICE.1;
        add_scaled(&mut vectors[PRICE], z, &vector(PRICE, 0));
        for (i, &id) in row.contexts[..N_OWN].iter().enumerate() {
            vectors[N_COMMON + i] = vector(N_COMMON + i, id);
        }
        vectors
    }

    fn vector(&self, field: usize, id: u32, shared: usize) -> Vector {
        let index = (field as u64) << 32 | u64::from(id);
        let mut ours = Draws::new(self.seed, Purpose::Vector, index);
        let mut vector: Vector = std::array::from_fn(|_| ours.normal());
        if shared < WIDTH {
            let mut other = Draws::new(self.seed, Purpose::OtherVector, index);
            vector[shared..].fill_with(|| other.normal());
        }
        vector
    }
}

/// Returns the units of a further label: those of clicks with other weights in the head, of which all beyond `n_shared` are
/// contradicted, and own units over the fields of conversions.
fn further_units(number: u64, clicks: &[Unit], n_shared: usize, seed: u64) -> Vec<Unit> {
    let mut draws = Draws::new(seed, Purpose::Further, number);
    let mut units = clicks[..COMMON_UNITS].to_vec();
    for unit in &mut units {
        unit.head *= 0.25 + 1.5 * draws.uniform();
    }
    for (j, unit) in units.iter_mut().enumerate().skip(n_shared) {
        let index = number << 32 | j as u64;
        unit.contradict(j, &mut Draws::new(seed, Purpose::FurtherConflict, index));
    }
    units.extend(own_units(UsedBy::Conversions, &mut draws));
    units
}

fn add_scaled(sum: &mut Vector, factor: f64, vector: &Vector) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += factor * x;
    }
}

fn score(units: &[Unit], vectors: &Vectors) -> f64 {
    units.iter().map(|unit| unit.output(vectors)).sum()
}

/// One rectified unit and its weight in the head.
#[derive(Clone, Debug)]
struct Unit {
    inputs: Vec<Input>,
    bias: f64,
    head: f64,
}

/// The weights of one field's vector.
#[derive(Clone, Debug)]
struct Input {
    field: usize,
    weights: Vector,
}

impl Unit {
    /// Returns a unit over `fields` whose sum has variance 1, whatever they are.
    fn draw(fields: &[usize], draws: &mut Draws) -> Unit {
        let scale = weight_scale(fields.len());
        let input = |&field: &usize| Input {
            field,
            weights: std::array::from_fn(|_| scale * draws.normal()),
        };
        let inputs = fields.iter().map(input).collect();
        let sign = if draws.uniform() < 0.5 { -1.0 } else { 1.0 };
        Unit {
            inputs,
            bias: 0.5 * draws.normal(),
            head: sign * (0.5 + draws.uniform()),
        }
    }

    fn output(&self, vectors: &Vectors) -> f64 {
        let dot = |input: &Input| {
            let products = input.weights.iter().zip(&vectors[input.field]);
            products.map(|(w, x)| w * x).sum::<f64>()
        };
        let sum = self.bias + self.inputs.iter().map(dot).sum::<f64>();
        self.head * sum.max(0.0)
    }

    /// New weights over the same fields, of correlation -0.6 with the old ones for some fields and 0.6
    /// for the others: never the same sign for all, which one in the head could undo. `j` picks the
    /// fields, so that over six units each input is turned three times.
    fn contradict(&mut self, j: usize, draws: &mut Draws) {
        let turned = 1 + j % 6; // the bits of 1 to 6
        let scale = weight_scale(self.inputs.len());
        for (i, input) in self.inputs.iter_mut().enumerate() {
            let sign = if turned >> i & 1 == 1 { -1.0 } else { 1.0 };
            for w in &mut input.weights {
                *w = 0.6 * sign * *w + 0.8 * scale * draws.normal();
            }
        }
    }
}

/// Deviation of first-layer weights that gives a unit's sum variance 1.
fn weight_scale(n_fields: usize) -> f64 {
    1.0 / ((WIDTH * n_fields) as f64).sqrt()
}

/// Units over the common fields: among every eight, each field is read by three.
fn common_units(draws: &mut Draws) -> Vec<Unit> {
    let mut units = Vec::with_capacity(COMMON_UNITS);
    while units.len() < COMMON_UNITS {
        let mut fields: [usize; N_COMMON] = std::array::from_fn(|field| field);
        draws.shuffle(&mut fields);
        let step = 1 + draws.below(2); // the three stay distinct: steps 0, s and 3 s of 8
        for i in 0..N_COMMON {
            let reads: [usize; FIELDS_PER_UNIT] = [0, step, 3 * step].map(|k| fields[(i + k) % 8]);
            units.push(Unit::draw(&reads, draws));
        }
    }
    units
}

/// Returns a task's own units: its own fields and one common field each, a fifth of its units.
fn own_units(task: UsedBy, draws: &mut Draws) -> Vec<Unit> {
    let own = (0..N_READ).filter(|&field| FIELDS[field].1 == task);
    let own: Vec<usize> = own.collect();
    let unit = |i: usize| {
        let mut fields = own.clone();
        fields.push(i % N_COMMON);
        Unit::draw(&fields, draws)
    };
    (0..OWN_UNITS).map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fields::Population;
    use super::*;

    fn plan(share: f64, conflict: Conflict) -> SyntheticPlan {
        SyntheticPlan {
            share,
            conflict,
            ..SyntheticPlan::default()
        }
    }

    fn scores(plan: &SyntheticPlan) -> Vec<Scores> {
        let (teacher, population) = (Teacher::new(plan), Population::new(plan).unwrap());
        let rows = (0..2_000).map(|i| population.row(8 * i));
        rows.map(|row| teacher.scores(&row)).collect()
    }

    /// Pearson's correlation of the two tasks' scores.
    fn correlation(scores: &[Scores]) -> f64 {
        let n = scores.len() as f64;
        let mean = |x: &dyn Fn(&Scores) -> f64| scores.iter().map(x).sum::<f64>() / n;
        let (a, b) = (mean(&|s| s.click), mean(&|s| s.conversion));
        let covariance = mean(&|s| (s.click - a) * (s.conversion - b));
        let variances = mean(&|s| (s.click - a).powi(2)) * mean(&|s| (s.conversion - b).powi(2));
        covariance / variances.sqrt()
    }

    #[test]
    fn the_tasks_agree_more_with_a_larger_share() {
        for conflict in [Conflict::Network, Conflict::Vectors, Conflict::Both] {
            for seed in 1..=3 {
                let at = |share| {
                    let plan = plan(share, conflict);
                    correlation(&scores(&SyntheticPlan { seed, ..plan }))
                };
                let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(at);
                // Two conflicts multiply, so a small share of both is nearly none.
                let fall = if conflict == Conflict::Both {
                    0.05
                } else {
                    0.0
                };
                let rises = found.windows(2).all(|pair| pair[0] < pair[1] + fall);
                assert!(rises, "{conflict:?}, seed {seed}: {found:?}");
                assert!(
                    found[0].abs() < 0.35 && found[4] > 0.5,
                    "{conflict:?} {found:?}"
                );
            }
        }
    }

    #[test]
    fn clicks_do_not_depend_on_the_share() {
        let clicks = |share, conflict| -> Vec<f64> {
            let scores = scores(&plan(share, conflict));
            scores.iter().map(|scores| scores.click).collect()
        };
        let expected = clicks(1.0, Conflict::Network);
        assert_eq!(clicks(0.0, Conflict::Network), expected);
        assert_eq!(clicks(0.5, Conflict::Both), expected);
    }

    #[test]
    fn conflict_lies_where_it_is_put() {
        let check = |share, conflict, shared_units: usize, shared_dimensions: usize| {
            let teacher = Teacher::new(&plan(share, conflict));
            let pairs = teacher.clicks.iter().zip(&teacher.conversions);
            let is_same = |(a, b): &(&Unit, &Unit)| {
                let mut inputs = a.inputs.iter().zip(&b.inputs);
                inputs.all(|(a, b)| a.weights == b.weights)
            };
            let same = pairs.take(COMMON_UNITS).filter(is_same).count();
            assert_eq!(same, shared_units, "{conflict:?}");
            assert_eq!(teacher.shared_dimensions, shared_dimensions, "{conflict:?}");
        };
        check(0.0, Conflict::Network, 0, WIDTH);
        check(0.25, Conflict::Network, 8, WIDTH);
        check(0.25, Conflict::Vectors, COMMON_UNITS, 4);
        check(0.5, Conflict::Both, 16, 8);
        check(1.0, Conflict::Both, COMMON_UNITS, WIDTH);
    }

    #[test]
    fn no_sign_in_the_head_undoes_a_conflict() {
        let fields = [0, 1, 2];
        for j in 0..6 {
            let mut draws = Draws::new(1, Purpose::Conflict, j);
            let before = Unit::draw(&fields, &mut draws);
            let mut after = before.clone();
            after.contradict(j as usize, &mut draws);
            let agrees = |i: usize| {
                let pairs = before.inputs[i]
                    .weights
                    .iter()
                    .zip(&after.inputs[i].weights);
                pairs.map(|(a, b)| a * b).sum::<f64>() > 0.0
            };
            let n_agreeing = (0..3).filter(|&i| agrees(i)).count();
            assert!(
                (1..=2).contains(&n_agreeing),
                "unit {j}: {n_agreeing} of 3 inputs agree"
            );
        }
    }

    #[test]
    fn a_task_reads_its_own_fields_and_no_noise() {
        let plan = plan(0.5, Conflict::Both);
        let (teacher, row) = (Teacher::new(&plan), Population::new(&plan).unwrap().row(5));
        let before = teacher.scores(&row);
        for (i, &(name, used_by)) in FIELDS[N_COMMON..].iter().enumerate() {
            let mut changed = row.clone();
            changed.contexts[i] += 1;
            let after = teacher.scores(&changed);
            assert_eq!(
                before.click != after.click,
                used_by == UsedBy::Clicks,
                "{name}"
            );
            let converts = used_by == UsedBy::Conversions;
            assert_eq!(before.conversion != after.conversion, converts, "{name}");
        }
    }

    #[test]
    fn every_common_field_is_read_by_as_many_units() {
        let mut read = [0; N_COMMON];
        for unit in common_units(&mut Draws::new(3, Purpose::Teacher, 0)) {
            unit.inputs.iter().for_each(|input| read[input.field] += 1);
        }
        assert_eq!(read, [COMMON_UNITS * FIELDS_PER_UNIT / N_COMMON; N_COMMON]);
    }
}
