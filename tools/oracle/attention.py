"""Attention over the events of a sequence, its field vectors and gradients by autograd: the deep interest network of
Zhou et al. 2018 (arXiv 1706.06978), figure 2 and equation 3, and its variant with a softmax over the events; and attention
by several heads with the candidate as the query (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2).

    python3 tools/oracle/attention.py     writes crates/model/tests/networks/oracle/attention.json

The network over [event, target, event - target, event * target] of every attribute ([event] alone without a target) has
two ReLU layers, where the paper has PReLU or Dice. The loss is half the sum of the squared logits of a linear head on
the field vectors: those of the candidate, then the pooled ones.

With `decay`, an event's weight is multiplied by e^(r x), where x <= 0 says how old it is and the logarithm of r is learned: the
weights before a softmax over the events get r x added. A `mean` weighs the events by their age alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import fixture

PATH = "crates/model/tests/networks/oracle/attention.json"
N_ROWS = 6
TABLE_ROWS = (7, 5, 4)
Attribute = tuple[int, int | None]


def pooled(
    events: list[Tensor],
    targets: list[Tensor | None],
    layers: list[tuple[Tensor, Tensor]],
    softmax: bool,
    decays: Tensor,
) -> list[Tensor]:
    """The field vector of each attribute: `events` are [n, dim], `targets` [dim]."""
    parts = []
    for event, target in zip(events, targets, strict=True):
        parts.append(event)
        if target is not None:
            target = target.expand_as(event)
            parts += [target, event - target, event * target]
    x = torch.cat(parts, dim=1)
    for weights, bias in layers[:2]:
        x = F.relu(x @ weights + bias)
    weights, bias = layers[2]
    scores = (x @ weights + bias)[:, 0]
    scores = torch.softmax(scores + decays, dim=0) if softmax else scores * torch.exp(decays)
    return [(scores[:, None] * event).sum(dim=0) for event in events]


def by_heads(
    events: list[Tensor],
    targets: list[Tensor | None],
    matrices: dict[str, Tensor],
    newest_first: bool,
    decays: Tensor,
) -> list[Tensor]:
    """The field vector of each attribute. Keys and values are computed for every event."""
    n, dim = events[0].shape
    ages = torch.arange(n)
    if not newest_first:
        ages = ages.flip(0)
    x = torch.cat(events, dim=1) + matrices["positions"][ages]
    t = torch.cat([target for target in targets if target is not None])
    heads, _, depth = matrices["key"].shape
    query = (t @ matrices["query"]).view(heads, depth)
    values = []
    for head in range(heads):
        key, value = x @ matrices["key"][head], x @ matrices["value"][head]
        weights = torch.softmax(key @ query[head] / depth**0.5 + decays, dim=0)
        values.append(weights @ value)
    output = torch.cat(values) @ matrices["output"]
    return list(output.view(len(events), dim))


def case(
    seed: int,
    dim: int,
    attributes: list[Attribute],
    most: int,
    hidden: tuple[int, int] = (1, 1),
    softmax: bool = False,
    heads: int = 0,
    newest_first: bool = False,
    mean: bool = False,
    decay: bool = False,
) -> dict:
    """Numbers by this seed, and what follows from them; with `heads`, the attention is by heads."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int, deviation: float = 1.0, mean: float = 0.0) -> Tensor:
        numbers = mean + deviation * torch.randn(*shape, generator=rng, dtype=torch.float64)
        return numbers.requires_grad_()

    def ids(table: int, n: int) -> list[int]:
        return torch.randint(TABLE_ROWS[table], (n,), generator=rng).tolist()

    candidate = [0, 1]
    tables = [normal(rows, dim) for rows in TABLE_ROWS]
    of_candidate = [ids(table, N_ROWS) for table in candidate]
    lengths = torch.randint(1, most + 1, (N_ROWS,), generator=rng).tolist()
    lengths[2] = 0
    lengths[4] = most
    offsets = [sum(lengths[:row]) for row in range(N_ROWS + 1)]
    events = [ids(table, offsets[-1]) for table, _ in attributes]
    layers, matrices = [], {}
    if heads:
        width, of_targets = len(attributes) * dim, sum(target is not None for _, target in attributes) * dim
        depth = -(-width // heads)
        matrices = {
            "query": normal(of_targets, heads * depth, deviation=of_targets**-0.5),
            "key": normal(heads, width, depth, deviation=width**-0.5),
            "value": normal(heads, width, depth, deviation=width**-0.5),
            "output": normal(heads * depth, width, deviation=width**-0.5),
            "positions": normal(most, width, deviation=0.5),
        }
    elif not mean:
        inputs = sum(dim * (1 if target is None else 4) for _, target in attributes)
        for n_in, n_out in ((inputs, hidden[0]), (hidden[0], hidden[1]), (hidden[1], 1)):
            layers.append((normal(n_in, n_out, deviation=(2 / n_in) ** 0.5), normal(n_out, mean=0.3, deviation=0.2)))
    n_fields = len(candidate) + len(attributes)
    head, bias = normal(n_fields * dim), normal(1)
    ages = normal(offsets[-1]).detach().abs().float().double() if decay else torch.zeros(offsets[-1], dtype=torch.float64)
    log_rate = [normal(1, deviation=0.5)] if decay else []
    logits = []
    for row in range(N_ROWS):
        vectors = [tables[table][of_candidate[f][row]] for f, table in enumerate(candidate)]
        span = slice(offsets[row], offsets[row + 1])
        of_row = [tables[table][events[k][span]] for k, (table, _) in enumerate(attributes)]
        targets = [None if target is None else vectors[target] for _, target in attributes]
        decays = -ages[span] * torch.exp(log_rate[0]) if decay else ages[span]
        if span.start == span.stop:
            vectors += [torch.zeros(dim, dtype=torch.float64) for _ in attributes]
        elif heads:
            vectors += by_heads(of_row, targets, matrices, newest_first, decays)
        elif mean:
            vectors += [torch.softmax(decays, dim=0) @ event for event in of_row]
        else:
            vectors += pooled(of_row, targets, layers, softmax, decays)
        logits.append(torch.cat(vectors) @ head + bias[0])
    z = torch.stack(logits)
    (z.square().sum() / 2).backward()
    flat = [tensor for layer in layers for tensor in layer] + list(matrices.values()) + log_rate
    return {
        "dim": dim,
        "hidden": hidden,
        "softmax": softmax,
        "heads": heads,
        "positions": most,
        "newest_first": newest_first,
        "mean": mean,
        "decays": (-ages).tolist() if decay else [],
        "attributes": attributes,
        "candidate": candidate,
        "tables": [table.flatten().tolist() for table in tables],
        "ids": of_candidate,
        "offsets": offsets,
        "events": events,
        "attention": torch.cat([tensor.flatten() for tensor in flat]).tolist(),
        "head": torch.cat([head, bias]).tolist(),
        "logits": z.tolist(),
        "d_attention": torch.cat([tensor.grad.flatten() for tensor in flat]).tolist(),
        "d_tables": [
            (torch.zeros_like(table) if table.grad is None else table.grad).flatten().tolist() for table in tables
        ],
    }


def main() -> None:
    """Writes the fixture."""
    cases = [
        case(1, 2, [(0, 0), (2, None), (1, 1)], 4, hidden=(5, 3)),
        case(2, 3, [(0, 0)], 5, hidden=(4, 4), softmax=True),
        case(3, 4, [(0, 0), (1, 1)], 11, hidden=(17, 9), softmax=True),
        case(4, 3, [(0, 0), (2, None)], 5, heads=4),
        case(5, 4, [(0, 0), (1, 1), (2, None)], 12, heads=3, newest_first=True),
        case(6, 3, [(0, 0), (2, None)], 6, hidden=(5, 4), decay=True),
        case(7, 2, [(0, 0)], 6, hidden=(4, 3), softmax=True, decay=True),
        case(8, 3, [(1, 1), (2, None)], 6, heads=2, decay=True),
        case(9, 3, [(0, None), (2, None)], 6, mean=True, decay=True),
    ]
    fixture.write(PATH, {"cases": cases})


if __name__ == "__main__":
    main()
