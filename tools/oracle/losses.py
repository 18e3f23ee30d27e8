"""Losses of two tasks, a click and the conversion after it, and their slopes by autograd.

    python3 tools/oracle/losses.py       writes crates/train/tests/oracle/losses.json

o is the click, r the conversion, z_c and z_v their logits, z_h the logit of a third head (imputed error
or counterfactual conversion), p = sigmoid(z), L(y; z) the cross-entropy. A label that is not known is
NaN here and null in the file. The rows:

    N    o is known
    N'   whether the row was clicked and converted is known: o = 0, or o = 1 and r is known

A mean over no rows is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import fixture

PATH = "crates/train/tests/oracle/losses.json"
W_C, W_V, W_G = 1.0, 0.7, 0.3  # of the click, the conversion, click and conversion together
FLOOR = 0.05  # of propensities
LAMBDA = 0.001  # of DCMT's regulariser
KAPPA = 0.6  # of AITM's constraint

NAN = float("nan")
CLICK = [NAN, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
CONVERSION = [NAN, NAN, 1, 1, 0, 0, NAN, NAN, NAN, NAN, NAN, NAN]
# Logits by row that are far out: beyond the floor of the propensity on both sides, and badly wrong.
# Never the same in two of them, where AITM's and DCMT's losses have a kink.
FAR_C = {2: -12.0, 4: 12.0, 6: 12.0, 7: -12.0}
FAR_V = {3: -11.0, 4: 11.0, 6: 11.0, 8: -11.0}
FAR_H = {5: 12.0, 7: -12.0, 9: 12.0}


class Batch(NamedTuple):
    """Labels and logits, [rows]."""

    o: Tensor
    r: Tensor
    z_c: Tensor
    z_v: Tensor
    z_h: Tensor

    @property
    def logits(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.z_c, self.z_v, self.z_h


# ---- the losses


def cross_entropy(y: Tensor, z: Tensor) -> Tensor:
    """L(y; z) of each row."""
    return -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z))


def mean(losses: Tensor) -> Tensor:
    return losses.mean() if len(losses) else losses.sum()


def click_loss(batch: Batch) -> Tensor:
    """Mean of L(o; z_c) over N."""
    known = ~batch.o.isnan()
    return mean(cross_entropy(batch.o[known], batch.z_c[known]))


def clicked_loss(batch: Batch) -> Tensor:
    """Mean of L(r; z_v) over the clicked rows whose r is known."""
    known = ~batch.r.isnan()
    return mean(cross_entropy(batch.r[known], batch.z_v[known]))


def entire_space(batch: Batch) -> Batch:
    """The rows of N', with r = 0 where o = 0, so that r is o r."""
    known = (batch.o == 0) | ((batch.o == 1) & ~batch.r.isnan())
    rows = Batch(*(column[known] for column in batch))
    return rows._replace(r=torch.where(rows.o == 1, rows.r, 0.0))


def both_loss(batch: Batch) -> Tensor:
    """Mean over N' of the cross-entropy of o r with the probability p_c p_v.

    log(1 - p_c p_v) = log((1 - p_c) + p_c (1 - p_v)), a sum of two that cannot cancel.
    """
    o, r, z_c, z_v, _ = entire_space(batch)
    log_both = F.logsigmoid(z_c) + F.logsigmoid(z_v)
    log_not = torch.logaddexp(F.logsigmoid(-z_c), F.logsigmoid(z_c) + F.logsigmoid(-z_v))
    return -mean(o * r * log_both + (1 - o * r) * log_not)


def clicked(batch: Batch) -> Tensor:
    """Each task on the rows that it knows."""
    return W_C * click_loss(batch) + W_V * clicked_loss(batch)


def esmm(batch: Batch) -> Tensor:
    """Ma et al. 2018, equation 3."""
    return W_C * click_loss(batch) + W_V * both_loss(batch)


def with_both(batch: Batch, conversion: Tensor) -> Tensor:
    """A loss of conversions between those of clicks and of clicks with conversions."""
    return W_C * click_loss(batch) + W_V * conversion + W_G * both_loss(batch)


def propensity(z_c: Tensor) -> Tensor:
    """sg p_c, not below the floor."""
    return torch.sigmoid(z_c).detach().clamp(min=FLOOR)


def escm2_ips(batch: Batch) -> Tensor:
    """Wang et al. 2022, inverse propensities."""
    o, r, z_c, z_v, _ = entire_space(batch)
    return with_both(batch, mean(o * cross_entropy(r, z_v) / propensity(z_c)))


def escm2_dr(batch: Batch) -> Tensor:
    """Wang et al. 2022, doubly robust: e = softplus(z_h) is the imputed loss."""
    o, r, z_c, z_v, z_h = entire_space(batch)
    e = F.softplus(z_h, threshold=100)
    delta = cross_entropy(r, z_v) - e
    weight = o / propensity(z_c)
    return with_both(batch, mean(e + weight * delta + weight * delta**2))


def dcmt(batch: Batch) -> Tensor:
    """Zhu et al. 2023: z_h says that a row which was not clicked would not have converted."""
    o, r, z_c, z_v, z_h = entire_space(batch)
    factual = o * cross_entropy(r, z_v) / propensity(z_c)
    counterfactual = (1 - o) * cross_entropy(torch.ones_like(z_h), z_h) / propensity(-z_c)
    apart = (1 - torch.sigmoid(z_v) - torch.sigmoid(z_h)).abs()
    return with_both(batch, mean(factual + counterfactual) + LAMBDA * mean(apart))


def aitm(batch: Batch) -> Tensor:
    """Xi et al. 2021: z_v is the logit of click and conversion, not to be likelier than the click."""
    o, r, z_c, z_v, _ = entire_space(batch)
    excess = F.relu(torch.sigmoid(z_v) - torch.sigmoid(z_c))
    conversion = mean(cross_entropy(o * r, z_v))
    return W_C * click_loss(batch) + W_V * conversion + KAPPA * mean(excess)


def by_uncertainty(batch: Batch, s_c: Tensor, s_v: Tensor) -> Tensor:
    """Kendall et al. 2018 for two classifications, s = log sigma^2: the two losses of `clicked`."""
    click = torch.exp(-s_c) * click_loss(batch) + s_c / 2
    return click + torch.exp(-s_v) * clicked_loss(batch) + s_v / 2


def without_conflict(g: Tensor, other: Tensor) -> Tensor:
    """Yu et al. 2020, algorithm 1: g on the plane across the other gradient, if they conflict."""
    inner = g @ other
    return g - inner / (other @ other) * other if inner < 0 else g


def pcgrad(g1: Tensor, g2: Tensor) -> Tensor:
    """Both projected on the other's original, added up."""
    return without_conflict(g1, g2) + without_conflict(g2, g1)


# ---- the cases


def main() -> None:
    draw = torch.Generator().manual_seed(1)
    batches = [drawn_batch(draw) for _ in range(4)]
    no_clicks = drawn_batch(draw)
    no_clicks = no_clicks._replace(o=no_clicks.o * 0, r=no_clicks.r * NAN)
    losses = (clicked, esmm, escm2_ips, escm2_dr, dcmt, aitm)
    fixture.write(
        PATH,
        {
            "cases": [case(loss, batch) for batch in [*batches, no_clicks] for loss in losses],
            "uncertainty": [uncertainty_case(batch, draw) for batch in batches],
            "pcgrad": [pcgrad_case(draw, sign) for sign in (1.0, -1.0, 1.0, -1.0)],
        },
    )


def normal(draw: torch.Generator, n: int) -> Tensor:
    return torch.randn(n, generator=draw)


def drawn_batch(draw: torch.Generator) -> Batch:
    """The rows above with logits drawn wide, in any order."""

    def logits(far: dict[int, float]) -> Tensor:
        z = 3 * normal(draw, len(CLICK))
        z[list(far)] = torch.tensor(list(far.values()))
        return z

    columns = (torch.tensor(CLICK), torch.tensor(CONVERSION), *map(logits, (FAR_C, FAR_V, FAR_H)))
    order = torch.randperm(len(CLICK), generator=draw)
    return Batch(*(column[order] for column in columns))


def case(loss: Any, batch: Batch) -> dict[str, Any]:
    """A loss at a batch."""
    return {
        "name": loss.__name__,
        "w_c": W_C,
        "w_v": W_V,
        "w_g": W_G,
        "floor": FLOOR,
        "lambda": LAMBDA,
        "kappa": KAPPA,
        **inputs(batch),
        **value_and_slopes(loss, batch, {}),
    }


def uncertainty_case(batch: Batch, draw: torch.Generator) -> dict[str, Any]:
    s_c, s_v = normal(draw, 2)
    weights = {"s_c": s_c, "s_v": s_v}
    found = value_and_slopes(by_uncertainty, batch, weights)
    return {"s_c": s_c.item(), "s_v": s_v.item(), **inputs(batch), **found}


def pcgrad_case(draw: torch.Generator, sign: float) -> dict[str, Any]:
    """Gradients whose inner product has this sign."""
    g1, g2 = normal(draw, 9), normal(draw, 9)
    g2 = g2 * sign * torch.sign(g1 @ g2)
    return {"g1": g1.tolist(), "g2": g2.tolist(), "combined": pcgrad(g1, g2).tolist()}


def inputs(batch: Batch) -> dict[str, Any]:
    def labels(values: Tensor) -> list[int | None]:
        return [None if y != y else int(y) for y in values.tolist()]

    names = ("z_c", "z_v", "z_h")
    logits = {name: z.tolist() for name, z in zip(names, batch.logits)}
    return {"click": labels(batch.o), "conversion": labels(batch.r), **logits}


def value_and_slopes(loss: Any, batch: Batch, weights: dict[str, Tensor]) -> dict[str, Any]:
    """The loss, and its slopes with respect to the logits and to `weights`."""
    logits = [z.clone().requires_grad_() for z in batch.logits]
    learned = {name: s.clone().requires_grad_() for name, s in weights.items()}
    value = loss(Batch(batch.o, batch.r, *logits), *learned.values())
    slopes = torch.autograd.grad(
        value, [*logits, *learned.values()], allow_unused=True, materialize_grads=True
    )
    names = ["d_z_c", "d_z_v", "d_z_h", *(f"d_{name}" for name in learned)]
    return {"value": value.item(), **{n: slope.tolist() for n, slope in zip(names, slopes)}}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    main()
