//! A network as a graph of operations over the features of a tile.

/// Operations in topological order: each reads earlier nodes only. Node 0 is the folded input
/// ([`crate::Interaction`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The operations.
    pub nodes: Vec<Node>,
    /// `(inputs, outputs)` of each layer; logical inputs for layers that read the input.
    pub shapes: Vec<(usize, usize)>,
    /// The name of each layer, such as `ctr.fc_0`.
    pub names: Vec<String>,
    /// Initial values of the numbers that each [`Op::Stitch`] and [`Op::NormalizedSwish`] learns.
    pub stitches: Vec<Vec<f64>>,
    /// The node that each of the network's heads reads.
    pub heads: Vec<usize>,
}

/// An operation and the number of features that it computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Number of features.
    pub width: usize,
}

/// The operation of a node. It refers to other nodes by their numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The input.
    Input,
    /// `from W + b`, and with `rectify` ReLU and dropout after it. Several nodes may run one layer.
    Layer {
        /// The node that it reads.
        from: usize,
        /// The layer, by its number in the network.
        layer: usize,
        /// Whether ReLU follows.
        rectify: bool,
    },
    /// Softmax over the features.
    Softmax {
        /// The node that it reads.
        from: usize,
    },
    /// `sum_k gate_k part_k`, one feature of the gate for each part.
    Mix {
        /// The node of the gate.
        gate: usize,
        /// The nodes that are mixed.
        parts: Vec<usize>,
    },
    /// `sum_k a_k part_k` with learned numbers `a`.
    Stitch {
        /// The nodes that are added.
        parts: Vec<usize>,
        /// The numbers, by their place in [`crate::DenseLayout::stitches`].
        stitch: usize,
    },
    /// Sums of features: feature `i` is the sum of the features `sums[i]` of `from`.
    Gather {
        /// The node that it reads.
        from: usize,
        /// For each feature, those that are added.
        sums: Vec<Vec<u32>>,
    },
    /// The same features, through which no gradient flows.
    Detach {
        /// The node that it reads.
        from: usize,
    },
    /// A feature for each pair: `scale (a . b)`.
    Scores {
        /// Pairs of nodes.
        pairs: Vec<(usize, usize)>,
        /// The factor of each product.
        scale: f64,
    },
    /// `scale / (1 + e^-from)`
    Sigmoid {
        /// The node that it reads.
        from: usize,
        /// The factor.
        scale: f64,
    },
    /// The products of the features of two nodes.
    Product {
        /// The nodes.
        of: [usize; 2],
    },
    /// The sums of the features of nodes.
    Sum {
        /// The nodes that are added.
        parts: Vec<usize>,
    },
    /// `u / (1 + e^-u)` (Swish) of `u = g x + b`, where `x` are the features of a row, less their mean, over their deviation
    /// (layer normalisation, Ba et al. 2016), with learned numbers `g` and `b` for each feature.
    NormalizedSwish {
        /// The node that it reads.
        from: usize,
        /// All `g`, then all `b`, by their place in [`crate::DenseLayout::stitches`].
        stitch: usize,
    },
}

impl Op {
    /// Returns the nodes that it reads.
    pub(crate) fn reads(&self) -> Vec<usize> {
        match self {
            Op::Input => vec![],
            Op::Layer { from, .. }
            | Op::Softmax { from }
            | Op::Gather { from, .. }
            | Op::Sigmoid { from, .. }
            | Op::NormalizedSwish { from, .. }
            | Op::Detach { from } => vec![*from],
            Op::Product { of } => of.to_vec(),
            Op::Mix { gate, parts } => [&[*gate], &parts[..]].concat(),
            Op::Stitch { parts, .. } | Op::Sum { parts } => parts.clone(),
            Op::Scores { pairs, .. } => pairs.iter().flat_map(|&(a, b)| [a, b]).collect(),
        }
    }
}

impl Op {
    /// Returns the nodes that gradients flow to.
    fn learns_from(&self) -> Vec<usize> {
        match self {
            Op::Detach { .. } => vec![],
            _ => self.reads(),
        }
    }
}

impl Graph {
    /// Creates a graph with the input only, of `folded` features.
    pub(crate) fn of_input(folded: usize) -> Graph {
        let input = Node {
            op: Op::Input,
            width: folded,
        };
        Graph {
            nodes: vec![input],
            ..Graph::default()
        }
    }

    fn push(&mut self, op: Op, width: usize) -> usize {
        self.nodes.push(Node { op, width });
        self.nodes.len() - 1
    }

    /// Adds a hidden layer with ReLU. `shape` is `(inputs, outputs)`, with the logical width of `from`.
    pub(crate) fn hidden(&mut self, name: String, from: usize, shape: (usize, usize)) -> usize {
        self.layer(name, from, shape, true)
    }

    /// Adds a layer without ReLU.
    pub(crate) fn linear(&mut self, name: String, from: usize, shape: (usize, usize)) -> usize {
        self.layer(name, from, shape, false)
    }

    fn layer(&mut self, name: String, from: usize, shape: (usize, usize), rectify: bool) -> usize {
        self.names.push(name);
        self.shapes.push(shape);
        let layer = self.shapes.len() - 1;
        let op = Op::Layer {
            from,
            layer,
            rectify,
        };
        self.push(op, shape.1)
    }

    /// Adds a node that runs the layer of another node on `from`.
    pub(crate) fn again(&mut self, node: usize, from: usize) -> usize {
        let Node { op, width } = self.nodes[node].clone();
        let Op::Layer { layer, rectify, .. } = op else {
            unreachable!("only layers run again");
        };
        let op = Op::Layer {
            from,
            layer,
            rectify,
        };
        self.push(op, width)
    }

    /// Adds a softmax over the features of a node.
    pub(crate) fn softmax(&mut self, from: usize) -> usize {
        let width = self.nodes[from].width;
        self.push(Op::Softmax { from }, width)
    }

    /// Adds a mixture of parts, weighted by the features of `gate`.
    pub(crate) fn mix(&mut self, gate: usize, parts: Vec<usize>) -> usize {
        let width = self.nodes[parts[0]].width;
        self.push(Op::Mix { gate, parts }, width)
    }

    /// Adds a sum of parts with learned weights, which start from `initial`.
    pub(crate) fn stitch(&mut self, parts: Vec<usize>, initial: Vec<f64>) -> usize {
        let width = self.nodes[parts[0]].width;
        self.stitches.push(initial);
        let stitch = self.stitches.len() - 1;
        self.push(Op::Stitch { parts, stitch }, width)
    }

    /// Adds sums of the features of a node.
    pub(crate) fn gather(&mut self, from: usize, sums: Vec<Vec<u32>>) -> usize {
        let width = sums.len();
        self.push(Op::Gather { from, sums }, width)
    }

    /// Adds a copy of a node through which no gradient flows.
    pub(crate) fn detach(&mut self, from: usize) -> usize {
        let width = self.nodes[from].width;
        self.push(Op::Detach { from }, width)
    }

    /// Adds scaled dot products of pairs of nodes.
    pub(crate) fn scores(&mut self, pairs: Vec<(usize, usize)>, scale: f64) -> usize {
        let width = pairs.len();
        self.push(Op::Scores { pairs, scale }, width)
    }

    /// Adds the sigmoid of a node's features, times `scale`.
    pub(crate) fn sigmoid(&mut self, from: usize, scale: f64) -> usize {
        let width = self.nodes[from].width;
        self.push(Op::Sigmoid { from, scale }, width)
    }

    /// Adds the products of the features of two nodes.
    pub(crate) fn product(&mut self, of: [usize; 2]) -> usize {
        let width = self.nodes[of[0]].width;
        self.push(Op::Product { of }, width)
    }

    /// Adds the sums of the features of nodes; a single one is returned as it is.
    pub(crate) fn sum(&mut self, parts: Vec<usize>) -> usize {
        if let [part] = parts[..] {
            return part;
        }
        let width = self.nodes[parts[0]].width;
        self.push(Op::Sum { parts }, width)
    }

    /// Adds a layer normalisation with Swish behind it.
    pub(crate) fn normalized_swish(&mut self, from: usize) -> usize {
        let width = self.nodes[from].width;
        self.stitches
            .push([vec![1.0; width], vec![0.0; width]].concat());
        let stitch = self.stitches.len() - 1;
        self.push(Op::NormalizedSwish { from, stitch }, width)
    }

    /// Returns the width of a node.
    pub(crate) fn width(&self, node: usize) -> usize {
        self.nodes[node].width
    }

    /// Returns for each node: true if these heads depend on it.
    pub fn live(&self, heads: &[usize]) -> Vec<bool> {
        self.reached(heads, Op::reads)
    }

    fn reached(&self, heads: &[usize], reads: fn(&Op) -> Vec<usize>) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for &head in heads {
            live[self.heads[head]] = true;
        }
        for node in (0..self.nodes.len()).rev().filter(|&n| n > 0) {
            if live[node] {
                let below = reads(&self.nodes[node].op);
                below.iter().for_each(|&n| live[n] = true);
            }
        }
        live
    }

    /// Returns for each layer: true if one of these nodes runs it.
    pub(crate) fn layers_run_by(&self, live: &[bool]) -> Vec<bool> {
        let mut run = vec![false; self.shapes.len()];
        for (node, _) in self.nodes.iter().zip(live).filter(|(_, live)| **live) {
            if let Op::Layer { layer, .. } = node.op {
                run[layer] = true;
            }
        }
        run
    }

    /// Returns for each layer: true if it reads the input.
    pub fn layers_on_input(&self) -> Vec<bool> {
        let mut on_input = vec![false; self.shapes.len()];
        for node in &self.nodes {
            if let Op::Layer { from: 0, layer, .. } = node.op {
                on_input[layer] = true;
            }
        }
        on_input
    }

    /// Returns for each layer, and for each stitch, the heads whose gradients reach it, one bit each.
    pub(crate) fn users(&self) -> (Vec<u64>, Vec<u64>) {
        let mut layers = vec![0; self.shapes.len()];
        let mut stitches = vec![0; self.stitches.len()];
        for head in 0..self.heads.len() {
            let live = self.reached(&[head], Op::learns_from);
            for (node, _) in self.nodes.iter().zip(live).filter(|(_, live)| *live) {
                match node.op {
                    Op::Layer { layer, .. } => layers[layer] |= 1 << head,
                    Op::Stitch { stitch, .. } | Op::NormalizedSwish { stitch, .. } => {
                        stitches[stitch] |= 1 << head;
                    }
                    _ => {}
                }
            }
        }
        (layers, stitches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_uses_what_it_depends_on() {
        let mut graph = Graph::of_input(4);
        let shared = graph.hidden("shared".into(), 0, (4, 3));
        let own = graph.hidden("own".into(), shared, (3, 2));
        let mixed = graph.stitch(vec![own, own], vec![0.5, 0.5]);
        graph.heads = vec![shared, mixed];
        let live = graph.live(&[0]);
        assert_eq!(live, [true, true, false, false]);
        assert_eq!(graph.layers_run_by(&live), [true, false]);
        assert_eq!(graph.users(), (vec![0b11, 0b10], vec![0b10]));
    }

    #[test]
    fn a_head_reads_what_it_does_not_learn() {
        let mut graph = Graph::of_input(4);
        let part = graph.gather(0, vec![vec![0, 2], vec![1, 3]]);
        let of_first = graph.hidden("first".into(), part, (2, 3));
        let of_second = graph.hidden("second".into(), part, (2, 3));
        let detached = graph.detach(of_first);
        let mixed = graph.stitch(vec![detached, of_second], vec![1.0, 1.0]);
        graph.heads = vec![of_first, mixed];
        assert_eq!(graph.live(&[1]), [true; 6]);
        assert_eq!(graph.users(), (vec![0b01, 0b10], vec![0b10]));
    }
}
