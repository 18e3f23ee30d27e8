//! Loss of one step: tasks, labels and weights.

use crate::entire_space::{FunnelBatch, FunnelLoss, FunnelWeights};
use crate::label_smoothing::LabelSmoothing;
use crate::late::MOST_HEADS;
use crate::loss::{self, BatchLoss};
use crate::product_loss::{ProductBatch, ProductLoss};
use ncs_features::{Batch, Task};
use ncs_model::{Dropout, Gradient, HeadRows, Network, Spec, Subnet, Workspace};

/// The loss of the heads of a step.
pub(crate) struct StepLoss<'a> {
    heads: Vec<Head<'a>>,
    funnel: Option<Funnel<'a>>,
    product: Option<ProductBatch<'a>>,
    joined: Vec<JoinedHeads<'a>>,
}

/// Losses over the logits of several heads, of which a step has one at most.
#[derive(Clone, Copy, Default)]
pub(crate) struct Coupling<'p> {
    pub(crate) funnel: Option<FunnelLoss>,
    pub(crate) product: Option<&'p ProductLoss>,
}

/// A loss of one task over the logits of its head and of others: auxiliary heads of late labels, or further outputs.
struct JoinedHeads<'a> {
    loss: BatchLoss<'a>,
    /// The place of the task's head, and those of the others.
    heads: [Option<usize>; 1 + MOST_HEADS],
}

/// A head of the step.
struct Head<'a> {
    /// The task; `None` for an auxiliary head.
    task: Option<usize>,
    loss: Option<BatchLoss<'a>>,
    /// Term that is added to its logit, for each row of the batch.
    taken: Option<&'a [f64]>,
}

/// A loss over the logits of several heads.
struct Funnel<'a> {
    loss: FunnelBatch<'a>,
    /// The heads of click, conversion and the auxiliary head.
    heads: [Option<usize>; 3],
}

/// Inputs from which a step's gradients are computed.
#[derive(Clone, Copy)]
pub(crate) struct StepInputs<'a> {
    pub(crate) network: &'a Network,
    pub(crate) batch: &'a Batch,
    pub(crate) subnets: &'a [Subnet],
    pub(crate) dropout: Option<Dropout>,
}

/// The mean loss of a task over the rows that count, by their weights.
pub(crate) struct TaskLoss {
    pub(crate) task: usize,
    pub(crate) mean: f64,
    /// Sum of the weights of these rows; 0 where none counts.
    pub(crate) mass: f64,
}

impl<'a> StepLoss<'a> {
    /// Returns the loss of `heads` (tasks, and the auxiliary heads of `spec` after them), each task's times its weight.
    pub(crate) fn new(
        (tasks, spec): (&'a [Task], &Spec),
        batch: &'a Batch,
        heads: &[usize],
        weight: impl Fn(usize) -> f64,
        coupling: Coupling<'_>,
    ) -> StepLoss<'a> {
        let place = |task: usize| heads.iter().position(|&head| head == task);
        let product = coupling.product;
        let product = product.map(|loss| ProductBatch::new(loss, batch, heads, &weight));
        let funnel = coupling.funnel.map(|loss| Funnel {
            loss: FunnelBatch::new(
                loss,
                &batch.labels[loss.click],
                &batch.labels[loss.conversion],
                batch.terms(loss.click),
                FunnelWeights {
                    click: weight(loss.click),
                    conversion: weight(loss.conversion),
                    product: 1.0 / tasks[loss.conversion].weight,
                },
            ),
            heads: [loss.click, loss.conversion, tasks.len()].map(place),
        });
        let coupled = |place: usize| {
            let in_product = product.as_ref().and_then(|product| product.mass(place));
            let funnel = funnel.as_ref();
            in_product.is_some() || funnel.is_some_and(|f| f.heads.contains(&Some(place)))
        };
        let of_task = |task: usize| {
            let (labels, terms) = (&batch.labels[task], batch.terms(task));
            let loss = BatchLoss::new(tasks[task].objective, labels, terms, weight(task));
            loss.known_by(tasks[task].row_rules.late.as_ref())
        };
        let head = |(head_place, &task): (usize, &usize)| Head {
            task: (task < tasks.len()).then_some(task),
            loss: (task < tasks.len() && !coupled(head_place)).then(|| of_task(task)),
            taken: None,
        };
        let joined = heads.iter().filter_map(|&task| {
            let mut auxiliary = spec.heads_beside(task).filter_map(place);
            let first = auxiliary.next()?;
            Some(JoinedHeads {
                loss: of_task(task),
                heads: [place(task), Some(first), auxiliary.next()],
            })
        });
        StepLoss {
            heads: heads.iter().enumerate().map(head).collect(),
            joined: joined.collect(),
            funnel,
            product,
        }
    }

    /// Returns the same loss with the smoothed labels of tasks.
    pub(crate) fn smoothed(mut self, smoothings: &[Option<LabelSmoothing>]) -> StepLoss<'a> {
        for head in &mut self.heads {
            let smoothing = head.task.and_then(|task| *smoothings.get(task)?);
            head.loss = head.loss.map(|loss| loss.smoothed(smoothing));
        }
        self
    }

    /// Returns the places of the heads, those of a task together with those that its loss reads beside.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        let joined = |place: usize| {
            let mut joined = self.joined.iter();
            joined.find(|joined| joined.heads[0] == Some(place))
        };
        let tasks = (0..self.heads.len()).filter(|&place| self.heads[place].task.is_some());
        let group = |place| match joined(place) {
            Some(joined) => joined.heads.into_iter().flatten().collect(),
            None => vec![place],
        };
        tasks.map(group).collect()
    }

    /// Adds these numbers, one for each row of the batch, to the logit of a task.
    pub(crate) fn take(&mut self, task: usize, taken: &'a [f64]) {
        let heads = self.heads.iter_mut();
        let own = heads.filter(|head| head.task == Some(task));
        own.for_each(|head| head.taken = Some(taken));
    }

    /// Runs forward and backward with this loss; if `only` is set, with the loss of these heads alone.
    pub(crate) fn learn(
        &self,
        inputs: StepInputs<'_>,
        only: Option<&[usize]>,
        pass: &mut Workspace,
        gradient: &mut Gradient,
    ) {
        let StepInputs {
            network,
            batch,
            subnets,
            dropout,
        } = inputs;
        let leaves_out = |head: usize| only.is_some_and(|only| !only.contains(&head));
        if self.is_coupled() {
            let gradients =
                |rows: &[HeadRows<'_, f32>], gradients: &mut [&mut [f32]], losses: &mut [f64]| {
                    self.coupled(rows, gradients, losses);
                    let heads = gradients.iter_mut().enumerate();
                    heads
                        .filter(|(head, _)| leaves_out(*head))
                        .for_each(|(_, gradients)| gradients.fill(0.0));
                };
            network.learn_coupled(batch, subnets, dropout, &gradients, pass, gradient);
            return;
        }
        let gradients = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
            let sum = self.apart(rows, gradients);
            if leaves_out(rows.head) {
                gradients.fill(0.0);
            }
            sum
        };
        network.learn(batch, subnets, dropout, &gradients, pass, gradient);
    }

    /// Returns true if some head's loss reads the logits of others.
    fn is_coupled(&self) -> bool {
        self.funnel.is_some() || self.product.is_some() || !self.joined.is_empty()
    }

    fn apart(&self, rows: &HeadRows<'_, f32>, gradients: &mut [f32]) -> f64 {
        let head = &self.heads[rows.head];
        let Some(loss) = &head.loss else { return 0.0 };
        match head.taken {
            None => loss.gradients(rows.rows, rows.logits, gradients),
            Some(taken) => {
                let pairs = rows.rows.iter().zip(rows.logits);
                let sum = |(&row, &own): (&u32, &f32)| f64::from(own) + taken[row as usize];
                let logits: Vec<f32> = pairs.map(|pair| sum(pair) as f32).collect();
                loss.gradients(rows.rows, &logits, gradients)
            }
        }
    }

    fn coupled(
        &self,
        heads: &[HeadRows<'_, f32>],
        gradients: &mut [&mut [f32]],
        losses: &mut [f64],
    ) {
        let is_joined = |place: usize| {
            self.joined
                .iter()
                .any(|joined| joined.heads.contains(&Some(place)))
        };
        let each = heads.iter().zip(gradients.iter_mut().zip(&mut *losses));
        for (place, (rows, (gradients, loss))) in each.enumerate() {
            if !is_joined(place) {
                *loss += self.apart(rows, gradients);
            }
        }
        for joined in &self.joined {
            joined.learn(heads, gradients, losses);
        }
        if let Some(funnel) = &self.funnel {
            funnel.rows(heads, gradients, losses);
        }
        if let Some(product) = &self.product {
            let (mut of_row, mut of_chain) = (vec![0.0; heads.len()], Vec::new());
            let first = heads.first().map_or(&[][..], |first| first.rows);
            for (i, &row) in first.iter().enumerate() {
                of_row.fill(0.0);
                let logit = |head: usize| f64::from(heads[head].logits[i]);
                product.row(row as usize, &logit, &mut of_chain, &mut of_row, losses);
                for (head, &gradient) in of_row.iter().enumerate() {
                    if product.mass(head).is_some() {
                        gradients[head][i] = gradient as f32;
                    }
                }
            }
        }
    }

    /// Returns the unweighted mean loss of each task, from the sum of the rows' losses for each head.
    pub(crate) fn means(&self, sums: &[f64]) -> Vec<TaskLoss> {
        let mean = |(place, head): (usize, &Head<'_>)| {
            let mass = match &head.loss {
                Some(loss) => loss.mass(),
                None => self.coupled_mass(place),
            };
            Some(TaskLoss {
                task: head.task?,
                mean: sums[place] / loss::divisor(mass),
                mass,
            })
        };
        self.heads.iter().enumerate().filter_map(mean).collect()
    }

    /// The weights of the rows that count for a head whose loss joins it with others, or for an auxiliary head: 0.
    fn coupled_mass(&self, place: usize) -> f64 {
        if let Some(product) = &self.product {
            return product.mass(place).unwrap_or(0.0);
        }
        let Some(funnel) = &self.funnel else {
            return 0.0;
        };
        let part = funnel.heads.iter().position(|&head| head == Some(place));
        part.map_or(0.0, |part| funnel.loss.masses()[part.min(1)])
    }
}

impl Funnel<'_> {
    /// Writes the gradients of the heads of the funnel for these rows, and adds their losses.
    fn rows(&self, heads: &[HeadRows<'_, f32>], gradients: &mut [&mut [f32]], losses: &mut [f64]) {
        let funnel = self;
        let Some(first) = heads.first() else { return };
        for (i, &row) in first.rows.iter().enumerate() {
            let logit =
                |head: Option<usize>| head.map_or(0.0, |head| f64::from(heads[head].logits[i]));
            let (found, sums) = funnel.loss.row(row, funnel.heads.map(logit));
            for (head, gradient) in funnel.heads.iter().zip(found) {
                if let Some(head) = *head {
                    gradients[head][i] = gradient as f32;
                }
            }
            for (head, sum) in funnel.heads.iter().zip(sums) {
                if let Some(head) = *head {
                    losses[head] += sum;
                }
            }
        }
    }
}

impl JoinedHeads<'_> {
    /// Writes the gradients of the rows with respect to the logits of these heads, and adds the losses to that of the
    /// task.
    fn learn(&self, rows: &[HeadRows<'_, f32>], gradients: &mut [&mut [f32]], losses: &mut [f64]) {
        let [Some(task), ..] = self.heads else { return };
        let scale = self.loss.scale();
        for (i, &row) in rows[task].rows.iter().enumerate() {
            let logit = |head: Option<usize>| head.map_or(0.0, |head| rows[head].logits[i].into());
            let found = self.loss.row_of_heads(row as usize, self.heads.map(logit));
            losses[task] += found.loss;
            for (head, gradient) in self.heads.iter().zip(found.gradients) {
                if let Some(head) = *head {
                    gradients[head][i] = (gradient * scale) as f32;
                }
            }
        }
    }
}
