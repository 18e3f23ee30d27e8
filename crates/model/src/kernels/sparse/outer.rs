//! Inputs times slopes of outputs, summed over rows, for kept connections: the slopes of weights.

use super::Grid;
use super::buckets::{GROUP, block_length};
#[cfg(target_arch = "x86_64")]
use crate::kernels::level::Set;
#[cfg(target_arch = "x86_64")]
use crate::kernels::tiles::{same, same_mut};
use crate::kernels::versions::{self, Work, add_products};
use crate::kernels::{LANES, Lanes, Level};
use crate::number::Real;

/// Share of kept connections from which all of them are summed: a dense layer needs no lists, and loads
/// each vector for four connections instead of one.
const DENSE: f64 = 0.65;

/// A layer's kept connections in the order in which the slopes of their weights are summed. Made once
/// for a mask.
#[derive(Clone, Debug)]
pub struct Outer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    numbers: Vec<u32>,
    pub(super) order: Order,
}

#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Blocks of four inputs and four outputs: `numbers` is `[blocks, blocks, 4, 4]`.
    Dense,
    /// Lists for four outputs at a time that advance together, those of like length side by side:
    /// `numbers` is `[steps, 4]`.
    Lists {
        /// Steps of each list, `[blocks, groups]`.
        steps: Vec<u8>,
        /// The outputs of each group, `[blocks, groups, 4]`.
        outputs: Vec<u32>,
        /// Inputs, counted in their block, `[steps, 4]`.
        places: Vec<u8>,
    },
}

/// The arguments; lengths are checked.
pub(super) struct Add<'a, R> {
    pub(super) outer: &'a Outer,
    pub(super) n_tiles: usize,
    pub(super) x: &'a [Lanes<R>],
    pub(super) dy: &'a [Lanes<R>],
    pub(super) sums: &'a mut [R],
}

impl Outer {
    /// The number of a sum that belongs to no kept connection.
    pub const NONE: u32 = u32::MAX;

    /// The sums of a layer.
    pub fn new(grid: &Grid) -> Outer {
        let (inputs, outputs) = (grid.inputs(), grid.outputs());
        let dense = grid.density() >= DENSE;
        let (numbers, order) = if dense {
            dense_order(grid)
        } else {
            lists(grid)
        };
        Outer {
            inputs,
            outputs,
            numbers,
            order,
        }
    }

    /// The number of the connection that each sum belongs to, or [`Outer::NONE`]: padding.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// `sums += x dy`, over all lanes of all tiles. What lies in padding is of no meaning.
    ///
    /// `x` is `[n_tiles, inputs]`, `dy` is `[n_tiles, outputs]`, `sums` as long as
    /// [`Outer::numbers`].
    ///
    /// # Panics
    /// If a slice is of another length.
    pub fn add<R: Real>(
        &self,
        level: Level,
        n_tiles: usize,
        x: &[Lanes<R>],
        dy: &[Lanes<R>],
        sums: &mut [R],
    ) {
        assert_eq!(x.len(), n_tiles * self.inputs, "inputs of other tiles");
        assert_eq!(dy.len(), n_tiles * self.outputs, "slopes of other tiles");
        assert_eq!(sums.len(), self.numbers.len(), "sums of another layer");
        #[cfg(target_arch = "x86_64")]
        if level.set() == Set::Avx512
            && let (Some(x), Some(dy), Some(sums)) = (same(x), same(dy), same_mut(&mut *sums))
        {
            let add = Add {
                outer: self,
                n_tiles,
                x,
                dy,
                sums,
            };
            // SAFETY: this level is made only where the processor has AVX-512, and the lengths were
            // checked above.
            return unsafe { super::avx512::outer(add) };
        }
        let add = Add {
            outer: self,
            n_tiles,
            x,
            dy,
            sums,
        };
        versions::run(level, add);
    }
}

fn dense_order(grid: &Grid) -> (Vec<u32>, Order) {
    let mut numbers = Vec::with_capacity(grid.inputs() * grid.outputs());
    for first_input in (0..grid.inputs()).step_by(GROUP) {
        for first_output in (0..grid.outputs()).step_by(GROUP) {
            for (i, o) in
                (0..GROUP * GROUP).map(|k| (first_input + k / GROUP, first_output + k % GROUP))
            {
                let inside = i < grid.inputs() && o < grid.outputs();
                let number = inside.then(|| grid.number(i, o)).flatten();
                numbers.push(number.unwrap_or(Outer::NONE));
            }
        }
    }
    (numbers, Order::Dense)
}

fn lists(grid: &Grid) -> (Vec<u32>, Order) {
    let (mut numbers, mut steps, mut outputs, mut places) = (vec![], vec![], vec![], vec![]);
    let length = block_length(grid.inputs());
    for first in (0..grid.inputs()).step_by(length) {
        let block = first..grid.inputs().min(first + length);
        let mut of_output: Vec<(u32, Vec<(u8, u32)>)> = (0..grid.outputs() as u32)
            .map(|output| (output, Vec::new()))
            .collect();
        for input in block {
            for output in grid.outputs_of(input) {
                let number = grid.number(input, output).unwrap_or(Outer::NONE);
                of_output[output].1.push(((input - first) as u8, number));
            }
        }
        of_output.sort_by_key(|(_, list)| list.len());
        for group in of_output.chunks(GROUP) {
            let n_steps = group.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
            steps.push(n_steps as u8);
            // A group that is not full has its last output several times, with nothing to sum.
            let member = |q: usize| group.get(q).or(group.last());
            outputs.extend((0..GROUP).filter_map(member).map(|(output, _)| *output));
            for step in 0..n_steps {
                for q in 0..GROUP {
                    let entry = group.get(q).and_then(|(_, list)| list.get(step));
                    let (place, number) = entry.copied().unwrap_or((0, Outer::NONE));
                    places.push(place);
                    numbers.push(number);
                }
            }
        }
    }
    let order = Order::Lists {
        steps,
        outputs,
        places,
    };
    (numbers, order)
}

impl<R: Real> Work for Add<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const REGISTERS: usize>(self) {
        for tile in 0..self.n_tiles {
            let x = &self.x[tile * self.outer.inputs..][..self.outer.inputs];
            let dy = &self.dy[tile * self.outer.outputs..][..self.outer.outputs];
            match &self.outer.order {
                Order::Dense => add_dense::<FUSED, WIDTH, REGISTERS, R>(x, dy, self.sums),
                Order::Lists {
                    steps,
                    outputs,
                    places,
                } => {
                    let n_groups = dy.len().div_ceil(GROUP).max(1);
                    let length = block_length(x.len());
                    let mut entries = places.as_chunks::<GROUP>().0.iter();
                    let mut sums = self.sums.as_chunks_mut::<GROUP>().0.iter_mut();
                    let groups = outputs.as_chunks::<GROUP>().0;
                    for (g, (&steps, group)) in steps.iter().zip(groups).enumerate() {
                        let block = &x[g / n_groups * length..];
                        let entries = entries.by_ref().zip(sums.by_ref());
                        for (places, sums) in entries.take(usize::from(steps)) {
                            for ((&place, &output), sum) in places.iter().zip(group).zip(sums) {
                                let (x, dy) = (&block[usize::from(place)], &dy[output as usize]);
                                *sum += inner::<FUSED, WIDTH, R>(x, dy);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The sum over lanes of `a b`.
#[inline(always)]
fn inner<const FUSED: bool, const WIDTH: usize, R: Real>(a: &Lanes<R>, b: &Lanes<R>) -> R {
    let mut sums = [R::ZERO; WIDTH];
    let (a, b) = (a.0.as_chunks().0, b.0.as_chunks().0);
    for (a, b) in a.iter().zip(b) {
        add_products::<FUSED, WIDTH, R>(&mut sums, a, b);
    }
    sums.into_iter().sum()
}

/// Blocks of `HIGH` inputs and four outputs keep their sums in registers over all lanes of a tile.
#[inline(always)]
fn add_dense<const FUSED: bool, const WIDTH: usize, const HIGH: usize, R: Real>(
    x: &[Lanes<R>],
    dy: &[Lanes<R>],
    sums: &mut [R],
) {
    let mut blocks = sums.as_chunks_mut::<{ GROUP * GROUP }>().0.iter_mut();
    for first_input in (0..x.len()).step_by(GROUP) {
        for first_output in (0..dy.len()).step_by(GROUP) {
            let Some(block) = blocks.next() else { return };
            for high in (0..GROUP).step_by(HIGH) {
                // Features past the last are the last again: their sums have no meaning.
                let input = |i: usize| &x[(first_input + high + i).min(x.len() - 1)].0;
                let output = |o: usize| &dy[(first_output + o).min(dy.len() - 1)].0;
                let mut acc = [[[R::ZERO; WIDTH]; GROUP]; HIGH];
                let x: [_; HIGH] = std::array::from_fn(input);
                let dy: [_; GROUP] = std::array::from_fn(output);
                for part in 0..LANES / WIDTH {
                    for (acc, x) in acc.iter_mut().zip(&x) {
                        let x = &x.as_chunks().0[part];
                        for (acc, dy) in acc.iter_mut().zip(&dy) {
                            add_products::<FUSED, WIDTH, R>(acc, x, &dy.as_chunks().0[part]);
                        }
                    }
                }
                let sums = acc.into_iter().flatten();
                for (place, lanes) in (high * GROUP..).zip(sums) {
                    block[place] += lanes.into_iter().sum();
                }
            }
        }
    }
}
