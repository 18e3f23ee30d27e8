//! Losses, as a pass calls them: from the logits of some rows to their gradients.

/// The logits of one head on some rows, for which the loss fills in the gradients.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows<'a, R> {
    /// The head, numbered over the subnets of the pass in their order.
    pub head: usize,
    /// The rows of the batch.
    pub rows: &'a [u32],
    /// The position of the first of them among all rows that the head's subnet runs on.
    pub first: usize,
    /// The logit of each row.
    pub logits: &'a [R],
}

/// A loss of one head: fills in the gradient of each logit and returns the sum of the rows' losses. It is called from
/// several threads, each row once for each head.
pub type LogitGradient<'a, R> = dyn Fn(&HeadRows<'_, R>, &mut [R]) -> f64 + Sync + 'a;

/// A loss that couples heads: it gets the logits of all heads for the same rows, fills in the gradients
/// of each, and adds each head's part of the loss. It is called from several threads, each row once.
pub type CoupledLogitGradients<'a, R> =
    dyn Fn(&[HeadRows<'_, R>], &mut [&mut [R]], &mut [f64]) + Sync + 'a;

/// The loss of a pass.
#[derive(Clone, Copy)]
pub(super) enum Loss<'a, R> {
    PerHead(&'a LogitGradient<'a, R>),
    Coupled(&'a CoupledLogitGradients<'a, R>),
}
