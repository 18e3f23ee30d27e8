//! Products of tasks over all rows, and the chains of tasks that they are of.

use crate::schema::{Population, Task};

/// Returns the products of tasks that are predicted with them: for each task about rows where another's label is 1, that
/// of all tasks of its chain, in the order of the tasks. A product whose name a task has is left out.
pub fn products(tasks: &[Task]) -> Vec<Product> {
    let chains = (0..tasks.len()).map(|task| chain(tasks, task));
    let product = |chain: Vec<usize>| Product {
        name: product_name(tasks, &chain),
        tasks: chain,
    };
    let products = chains.filter(|chain| chain.len() > 1).map(product);
    let is_free = |product: &Product| tasks.iter().all(|task| task.name != product.name);
    products.filter(is_free).collect()
}

fn product_name(tasks: &[Task], chain: &[usize]) -> String {
    let names: Vec<&str> = chain.iter().map(|&t| tasks[t].name.as_str()).collect();
    match names[..] {
        ["ctr", "cvr"] => "ctcvr".to_owned(),
        _ => names.join("_"),
    }
}

/// Returns the tasks whose labels have to be 1 for a row to count for a task, from one about all rows on, and the task
/// itself.
pub fn chain(tasks: &[Task], task: usize) -> Vec<usize> {
    let mut chain = vec![task];
    // A circle is refused before; here it ends.
    while let Population::Where(before) = tasks[chain[0]].population {
        if chain.contains(&before) {
            break;
        }
        chain.insert(0, before);
    }
    chain
}

/// Returns the click and the conversion task of [`crate::Schema::funnel`].
pub fn funnel(tasks: &[Task]) -> Option<[usize; 2]> {
    let pair = |t: usize| match chain(tasks, t)[..] {
        [click, conversion] => Some([click, conversion]),
        _ => None,
    };
    let pairs = || (0..tasks.len()).filter_map(pair);
    let mut binary = pairs().filter(|[_, t]| tasks[*t].objective.is_binary());
    binary.next().or_else(|| pairs().next())
}

/// The probability that a task's label is 1, and given that, another's, and so on: click and conversion over the entire
/// space of impressions. If the last is a task of values, their mean over all impressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The tasks, each about rows where the label of the one before is 1; two or more.
    pub tasks: Vec<usize>,
    /// `ctcvr` for `ctr` and `cvr`, otherwise all names.
    pub name: String,
}

impl Product {
    /// Returns the product of the tasks' scores, `[task][row]`, row by row.
    pub fn of(&self, scores: &[Vec<f32>]) -> Vec<f32> {
        let mut product = scores[self.tasks[0]].clone();
        for &task in &self.tasks[1..] {
            let factors = product.iter_mut().zip(&scores[task]);
            factors.for_each(|(product, &factor)| *product *= factor);
        }
        product
    }

    /// Returns the last task: the one whose labels the product predicts over all rows.
    pub fn last(&self) -> usize {
        self.tasks[self.tasks.len() - 1]
    }
}
