"""Networks of two tasks, their logits and slopes by autograd, from the papers.

    python3 tools/oracle/networks.py     writes crates/model/tests/networks/oracle/networks.json

The numbers of a network stand in one list, `dense`: its layers in the order in which the functions
below ask for them, then a head for each task, then the stitches; of a layer or head first the weights,
[inputs, outputs] row by row, then the biases. Every network has ReLU layers of the widths HIDDEN from
the input to the heads; the papers differ in what they mix on the way, and in which layers are a task's
own. Gates and attention are given biases, as all layers are; in the papers' formulas they have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import fixture

PATH = "crates/model/tests/networks/oracle/networks.json"
DIM = 2
TABLE_OF_FIELD = (0, 1, 0)
TABLE_ROWS = (5, 4)
N_FIELDS = len(TABLE_OF_FIELD)
INPUTS = N_FIELDS * N_FIELDS + N_FIELDS * DIM
HIDDEN = (4, 3)
N_ROWS = 7
TASK_WEIGHTS = (1.0, 0.5)
# With this seed few ReLUs are shut for all rows, so that most slopes are not 0.
SEED = 11
DENSITY = 0.6

Layer = Callable[[Tensor], Tensor]


class Numbers:
    """The numbers of a network, drawn as it asks for them."""

    def __init__(self, draw: torch.Generator) -> None:
        self.draw = draw
        self.layers: list[Tensor] = []
        self.heads: list[Tensor] = []
        self.stitches: list[Tensor] = []
        # For sparse sharing: of each task, for each layer, [inputs, outputs].
        self.masks: tuple[list[Tensor], list[Tensor]] = ([], [])

    def normal(self, *shape: int, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
        drawn = mean + deviation * torch.randn(*shape, generator=self.draw)
        return drawn.requires_grad_()

    def affine(self, kept_in: list[Tensor], inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
        """Weights, and biases mostly above 0, so that few ReLUs are shut."""
        weights = self.normal(inputs, outputs, deviation=(2 / inputs) ** 0.5)
        bias = self.normal(outputs, mean=0.3, deviation=0.2)
        kept_in += [weights, bias]
        return weights, bias

    def linear(self, inputs: int, outputs: int) -> Layer:
        weights, bias = self.affine(self.layers, inputs, outputs)
        return lambda x: x @ weights + bias

    def hidden(self, inputs: int, outputs: int) -> Layer:
        linear = self.linear(inputs, outputs)
        return lambda x: F.relu(linear(x))

    def masked(self, inputs: int, outputs: int) -> tuple[Layer, Layer]:
        """One hidden layer, as each of the two tasks runs it."""
        weights, bias = self.affine(self.layers, inputs, outputs)

        def under_new_mask(task: int) -> Layer:
            mask = (torch.rand(inputs, outputs, generator=self.draw) < DENSITY).double()
            self.masks[task].append(mask)
            return lambda x: F.relu(x @ (weights * mask) + bias)

        return under_new_mask(0), under_new_mask(1)

    def head(self, inputs: int) -> Layer:
        """To one logit a row."""
        weights, bias = self.affine(self.heads, inputs, 1)
        return lambda h: (h @ weights + bias).squeeze(1)

    def stitch(self) -> Tensor:
        """What a task takes of each tower."""
        self.stitches.append(self.normal(2))
        return self.stitches[-1]

    def all(self) -> list[Tensor]:
        return self.layers + self.heads + self.stitches


# ---- the networks: x, [rows, INPUTS], to what the heads of the two tasks read


def shared_bottom(numbers: Numbers, x: Tensor) -> list[Tensor]:
    """Caruana 1997: all layers are shared."""
    for inputs, outputs in widths():
        x = numbers.hidden(inputs, outputs)(x)
    return [x, x]


def sparse_sharing(numbers: Numbers, x: Tensor) -> list[Tensor]:
    """Sun et al. 2020, NCS4CVR: each task runs the weights times its own mask."""
    a = b = x
    for inputs, outputs in widths():
        layer_of_a, layer_of_b = numbers.masked(inputs, outputs)
        a, b = layer_of_a(a), layer_of_b(b)
    return [a, b]


def cross_stitch(numbers: Numbers, x: Tensor) -> list[Tensor]:
    """Misra et al. 2016, equation 1, behind each layer of two towers."""
    a = b = x
    for inputs, outputs in widths():
        own_a, own_b = numbers.hidden(inputs, outputs)(a), numbers.hidden(inputs, outputs)(b)
        (aa, ab), (ba, bb) = numbers.stitch(), numbers.stitch()
        a, b = aa * own_a + ab * own_b, ba * own_a + bb * own_b
    return [a, b]


def mmoe(numbers: Numbers, x: Tensor, experts: int) -> list[Tensor]:
    """Ma et al. 2018, section 4.2: experts of all layers but the last, which is each task's own."""
    first, last = HIDDEN
    outputs = torch.stack([numbers.hidden(INPUTS, first)(x) for _ in range(experts)])

    def of_task() -> Tensor:
        gate = numbers.linear(INPUTS, experts)(x).softmax(dim=1)
        return numbers.hidden(first, last)(mixed(gate, outputs))

    return [of_task(), of_task()]


def ple(numbers: Numbers, x: Tensor, levels: int, experts: int, shared: int) -> list[Tensor]:
    """Tang et al. 2020, section 4: a level has experts of the first task, of the second, shared ones.

    A gate reads what the experts of its task read, and selects among these and then the shared ones.
    The gate of the shared experts selects among all; the last level has none. Layers above the levels
    are each task's own.
    """
    a = b = s = x
    for level, (inputs, outputs) in enumerate(widths()[:levels]):

        def extracted(n: int, h: Tensor) -> list[Tensor]:
            return [numbers.hidden(inputs, outputs)(h) for _ in range(n)]

        def selected(h: Tensor, among: list[Tensor]) -> Tensor:
            gate = numbers.linear(inputs, len(among))(h).softmax(dim=1)
            return mixed(gate, torch.stack(among))

        of_a, of_b, of_all = extracted(experts, a), extracted(experts, b), extracted(shared, s)
        a, b = selected(a, of_a + of_all), selected(b, of_b + of_all)
        if level + 1 < levels:
            s = selected(s, of_a + of_b + of_all)
    return [tower(numbers, h, widths()[levels:]) for h in (a, b)]


def aitm(numbers: Numbers, x: Tensor) -> list[Tensor]:
    """Xi et al. 2021: z = sum over u of w_u h1(u), u being what the click tower transfers, and the own.

    What transfers, the paper's g, is a ReLU layer in the authors' code.
    """
    click, conversion = tower(numbers, x, widths()), tower(numbers, x, widths())
    k = HIDDEN[-1]
    transferred = numbers.hidden(k, k)(click)
    h1, h2, h3 = (numbers.linear(k, k) for _ in range(3))
    u = torch.stack([transferred, conversion])
    w = ((h2(u) * h3(u)).sum(dim=2) / k**0.5).softmax(dim=0)
    return [click, (w.unsqueeze(2) * h1(u)).sum(dim=0)]


def widths() -> list[tuple[int, int]]:
    """(inputs, outputs) of each hidden layer."""
    units = (INPUTS, *HIDDEN)
    return list(zip(units, units[1:]))


def tower(numbers: Numbers, h: Tensor, layers: list[tuple[int, int]]) -> Tensor:
    for inputs, outputs in layers:
        h = numbers.hidden(inputs, outputs)(h)
    return h


def mixed(gate: Tensor, experts: Tensor) -> Tensor:
    """Gate [rows, experts] and outputs [experts, rows, width] to [rows, width]."""
    return torch.einsum("re,erw->rw", gate, experts)


# ---- input, loss, cases


class Input(NamedTuple):
    """Tables [rows, DIM], ids [fields, rows] and labels [tasks, rows]."""

    tables: list[Tensor]
    ids: Tensor
    labels: Tensor


def drawn_input(draw: torch.Generator) -> Input:
    tables = [torch.randn(rows, DIM, generator=draw).requires_grad_() for rows in TABLE_ROWS]
    ids = [torch.randint(TABLE_ROWS[t], (N_ROWS,), generator=draw) for t in TABLE_OF_FIELD]
    labels = torch.randint(2, (2, N_ROWS), generator=draw).double()
    return Input(tables, torch.stack(ids), labels)


def interaction(given: Input) -> Tensor:
    """The inner products of all pairs of field vectors, row by row, and the vectors: [rows, INPUTS]."""
    vectors = [given.tables[t][ids] for t, ids in zip(TABLE_OF_FIELD, given.ids)]
    v = torch.stack(vectors, dim=1)
    return torch.cat([(v @ v.mT).flatten(1), v.flatten(1)], dim=1)


def case(name: str, **sizes: int) -> dict[str, Any]:
    """A network: its logits, and the slopes of the weighted sum of the tasks' mean losses."""
    draw = torch.Generator().manual_seed(SEED)
    given, numbers = drawn_input(draw), Numbers(draw)
    states = globals()[name](numbers, interaction(given), **sizes)
    logits = [numbers.head(HIDDEN[-1])(h) for h in states]
    losses = map(F.binary_cross_entropy_with_logits, logits, given.labels)
    sum(w * loss for w, loss in zip(TASK_WEIGHTS, losses)).backward()
    return {
        "kind": {name: sizes} if sizes else name,
        "masks": [[mask.flatten().int().tolist() for mask in masks] for masks in numbers.masks],
        "dense": flat(numbers.all()),
        "logits": [z.tolist() for z in logits],
        "d_dense": flat([number.grad for number in numbers.all()]),
        "d_tables": [flat([table.grad]) for table in given.tables],
    }


def input_case() -> dict[str, Any]:
    """What every network is given."""
    given = drawn_input(torch.Generator().manual_seed(SEED))
    return {
        "dim": DIM,
        "hidden": HIDDEN,
        "table_of_field": TABLE_OF_FIELD,
        "tables": [flat([table]) for table in given.tables],
        "ids": given.ids.tolist(),
        "labels": given.labels.int().tolist(),
        "task_weights": TASK_WEIGHTS,
    }


def flat(numbers: list[Tensor]) -> list[float]:
    return torch.cat([number.flatten() for number in numbers]).tolist()


def main() -> None:
    networks = [
        case("shared_bottom"),
        case("sparse_sharing"),
        case("cross_stitch"),
        case("mmoe", experts=3),
        case("ple", levels=1, experts=2, shared=2),
        case("ple", levels=2, experts=2, shared=1),
        case("aitm"),
    ]
    fixture.write(PATH, {"input": input_case(), "networks": networks})


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    main()
