"""The network in PyTorch, as one would write it there: masks are multiplied into the weights."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import workload
from workload import DIM, LIST_LENGTH, N_FIELDS, N_LISTS, N_SINGLE, Size

TASKS = ("ctr", "cvr")
Mask = list[Tensor]


class Table(nn.Module):
    """One table for all fields; gradients of the batch's rows only."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(rows, DIM, mode="mean", sparse=True, _weight=table_weights(rows))

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Vectors [rows, fields, dim]: one bag a field and row, a bag of one where it is single."""
        return self.bag(ids, offsets).view(-1, N_FIELDS, DIM)


def table_weights(rows: int) -> Tensor:
    """Random rows, drawn for the first million and repeated: their values do not change the time."""
    weights = torch.empty(rows, DIM)
    block = torch.randn(min(rows, 1_000_000), DIM) * 0.01
    for start in range(0, rows, len(block)):
        part = weights[start : start + len(block)]
        part.copy_(block[: len(part)])
    return weights


class Layers(nn.Module):
    """The shared layers, a head for each task, and the tasks' masks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        shapes = size.layer_shapes()
        self.hidden = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in shapes)
        self.heads = nn.ModuleList(nn.Linear(shapes[-1][1], 1) for _ in TASKS)
        self.masks: list[Mask] = [random_mask(self.hidden, 1.0) for _ in TASKS]

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits [rows, 1] of one task's subnetwork."""
        for layer, mask in zip(self.hidden, self.masks[task]):
            x = F.relu(F.linear(x, layer.weight * mask, layer.bias))
        return self.heads[task](x)

    def parameters_of(self, task: int) -> list[nn.Parameter]:
        """What a search for one task trains."""
        return [*self.hidden.parameters(), *self.heads[task].parameters()]


def random_mask(layers: nn.ModuleList, density: float) -> Mask:
    """Each connection is kept with this probability."""
    return [(torch.rand_like(layer.weight) < density).float() for layer in layers]


@torch.no_grad()
def prune_smallest(layers: nn.ModuleList, mask: Mask, rate: float) -> Mask:
    """Prunes this share of the kept connections, the smallest of all layers together."""
    magnitudes = [layer.weight.abs() for layer in layers]
    kept = torch.cat([m[one > 0] for m, one in zip(magnitudes, mask)])
    cut = kept.kthvalue(min(round(rate * len(kept)) + 1, len(kept))).values
    return [one * (m >= cut) for m, one in zip(magnitudes, mask)]


def interaction(vectors: Tensor) -> Tensor:
    """Inputs of the first layer, [rows, 720]: the Gram matrix of the vectors, then the vectors."""
    gram = torch.bmm(vectors, vectors.transpose(1, 2))
    return torch.cat([gram.flatten(1), vectors.flatten(1)], dim=1)


def focal(logits: Tensor, labels: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al. 2017), mean over the rows."""
    entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    p = torch.sigmoid(logits)
    of_label = torch.where(labels > 0, p, 1 - p)
    weight = torch.where(labels > 0, alpha, 1 - alpha)
    return (weight * (1 - of_label) ** gamma * entropy).mean()


class Batches:
    """Ids, flat with offsets as `EmbeddingBag` wants them, and labels; batches follow in a circle."""

    def __init__(self, size: Size, only_clicked: bool = False) -> None:
        self.rows = size.batch
        click = workload.clicked(size.batch)
        self.clicked_rows = torch.from_numpy(np.flatnonzero(click))
        self.click_labels = column(click)
        self.conversion_labels = column(workload.converted(size.batch)[click])
        chosen = click if only_clicked else np.ones_like(click)
        self.n_chosen = int(chosen.sum())
        self.offsets = torch.from_numpy(bag_offsets(self.n_chosen))
        self.ids = [flat_ids(size, number, chosen) for number in range(workload.N_BATCHES)]
        self.turn = 0

    def next_ids(self) -> Tensor:
        """The ids of the next batch."""
        self.turn += 1
        return self.ids[self.turn % len(self.ids)]


def column(flags: np.ndarray) -> Tensor:
    """Labels [rows, 1]."""
    return torch.from_numpy(flags.astype(np.float32)).unsqueeze(1)


def bag_offsets(rows: int) -> np.ndarray:
    """Where each bag starts, row by row."""
    lengths = np.tile([1] * N_SINGLE + [LIST_LENGTH] * N_LISTS, rows)
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def flat_ids(size: Size, number: int, chosen: np.ndarray) -> Tensor:
    """The ids of the chosen rows of a batch, row by row."""
    single, lists = workload.batch_ids(size, number)
    flat = np.concatenate([single, lists.reshape(len(lists), -1)], axis=1)
    return torch.from_numpy(flat[chosen].ravel())


class ScoringNetwork(nn.Module):
    """Both tasks' probabilities; masks folded into dense weights once, ahead of all requests."""

    def __init__(self, densities: tuple[float, float], table_rows: int) -> None:
        super().__init__()
        self.table = nn.Parameter(table_weights(table_rows), requires_grad=False)
        layers = Layers(Size())
        for task, density in enumerate(densities):
            mask = random_mask(layers.hidden, density)
            self.add_module(TASKS[task], folded(layers, mask, task))

    def forward(self, single: Tensor, lists: Tensor) -> Tensor:
        """[rows, 15] and [rows, 5, 6] to [rows, tasks]."""
        pooled = F.embedding(lists, self.table).mean(dim=2)
        x = interaction(torch.cat([F.embedding(single, self.table), pooled], dim=1))
        return torch.sigmoid(torch.cat([self.ctr(x), self.cvr(x)], dim=1))


@torch.no_grad()
def folded(layers: Layers, mask: Mask, task: int) -> nn.Sequential:
    """One task's subnetwork as plain dense layers, zeros where pruned."""
    modules: list[nn.Module] = []
    for layer, kept in zip(layers.hidden, mask):
        dense = nn.Linear(layer.in_features, layer.out_features)
        dense.weight.copy_(layer.weight * kept)
        dense.bias.copy_(layer.bias)
        modules += [dense, nn.ReLU()]
    return nn.Sequential(*modules, layers.heads[task])
