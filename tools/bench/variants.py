"""Other ways to write the same step in PyTorch, to give it its best."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import network

# From the vectors of a batch to the sum of both losses.
Loss = Callable[[Tensor], Tensor]


def loss(name: str, layers: network.Layers, batches: network.Batches) -> Loss:
    """The dense part of a joint step; `name` is one of `VARIANTS`."""
    return VARIANTS[name](layers, batches)


def eager(layers: network.Layers, batches: network.Batches) -> Loss:
    """As one would write it."""
    return lambda vectors: joint_loss(layers, batches, vectors)


def half(layers: network.Layers, batches: network.Batches) -> Loss:
    """Products in bfloat16 where autocast chooses them; the losses in single precision."""

    def work(vectors: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return joint_loss(layers, batches, vectors)

    return work


def compiled(layers: network.Layers, batches: network.Batches) -> Loss:
    """`torch.compile`, shapes fixed; needs a C++ compiler."""
    return torch.compile(eager(layers, batches), dynamic=False)


def compiled_half(layers: network.Layers, batches: network.Batches) -> Loss:
    """Both."""
    return torch.compile(half(layers, batches), dynamic=False)


def sparse(layers: network.Layers, batches: network.Batches) -> Loss:
    """The kept weights as `torch.sparse` matrices in CSR."""
    kept = [[Pattern(mask) for mask in masks] for masks in layers.masks]

    def logits(x: Tensor, task: int) -> Tensor:
        for layer, pattern in zip(layers.hidden, kept[task]):
            x = F.relu(SparseProduct.apply(x, layer.weight, pattern) + layer.bias)
        return layers.heads[task](x)

    return lambda vectors: joint_loss(logits, batches, vectors)


VARIANTS: dict[str, Callable[[network.Layers, network.Batches], Loss]] = {
    "eager": eager,
    "bf16": half,
    "compile": compiled,
    "compile, bf16": compiled_half,
    "torch.sparse": sparse,
}


def joint_loss(
    logits: Callable[[Tensor, int], Tensor], batches: network.Batches, vectors: Tensor
) -> Tensor:
    """Clicks over all rows and conversions over the clicked ones."""
    x = network.interaction(vectors)
    ctr = network.focal(logits(x, 0).float(), batches.click_labels)
    of_clicked = logits(x[batches.clicked_rows], 1).float()
    return ctr + F.binary_cross_entropy_with_logits(of_clicked, batches.conversion_labels)


class Pattern:
    """The connections that a mask keeps, and their transpose, in CSR."""

    def __init__(self, mask: Tensor) -> None:
        self.shape = mask.shape
        kept = mask.to_sparse_csr()
        self.rows, self.columns = mask.nonzero(as_tuple=True)
        self.starts, self.indices = kept.crow_indices(), kept.col_indices()
        numbered = torch.zeros_like(mask, dtype=torch.long)
        numbered[self.rows, self.columns] = torch.arange(len(self.rows)) + 1
        turned = numbered.t().contiguous().to_sparse_csr()
        self.turned_starts, self.turned_indices = turned.crow_indices(), turned.col_indices()
        self.turned_order = turned.values() - 1

    def matrix(self, values: Tensor) -> Tensor:
        """[outputs, inputs] with these values."""
        return torch.sparse_csr_tensor(self.starts, self.indices, values, self.shape)

    def transpose(self, values: Tensor) -> Tensor:
        """[inputs, outputs] with these values."""
        size = (self.shape[1], self.shape[0])
        values = values[self.turned_order]
        return torch.sparse_csr_tensor(self.turned_starts, self.turned_indices, values, size)


class SparseProduct(torch.autograd.Function):
    """`x @ weight.T` over the kept connections, with the gradients of these alone."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, pattern: Pattern) -> Tensor:
        values = weight[pattern.rows, pattern.columns]
        ctx.save_for_backward(x, values)
        ctx.pattern = pattern
        return (pattern.matrix(values) @ x.t()).t()

    @staticmethod
    def backward(ctx, of_output: Tensor):
        x, values = ctx.saved_tensors
        pattern = ctx.pattern
        turned = of_output.t().contiguous()
        of_x = (pattern.transpose(values) @ turned).t()
        kept = pattern.matrix(torch.zeros_like(values))
        of_values = torch.sparse.sampled_addmm(kept, turned, x.contiguous()).values()
        of_weight = torch.zeros(pattern.shape)
        of_weight[pattern.rows, pattern.columns] = of_values
        return of_x, of_weight, None
