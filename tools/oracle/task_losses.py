"""Losses of one row by autograd: values that are 0 or log-normal, products over chains of tasks, smoothed labels.

    python3 tools/oracle/task_losses.py       writes crates/train/tests/oracle/task_losses.json

    ziln      Wang et al. 2019, equation 4: outputs a (logit of the chance of a value above 0), mu and s (location and scale of
              its logarithm, sigma = softplus(s)); the loss is minus the log-likelihood of the label, and `mean` the expectation
    product   the cross-entropy of the product of the probabilities of a chain against "all labels are 1"; a label that is not
              known is null
    smoothed  Szegedy et al. 2016, section 7: the cross-entropy of (1 - e) y + e r, where r is the rate of the task, shifted on
              the logit scale by `offset` as the row's logit is
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import LogNormal

import fixture

PATH = "crates/train/tests/oracle/task_losses.json"


def with_gradients(value: Tensor, inputs: list[Tensor]) -> dict:
    gradients = torch.autograd.grad(value, inputs)
    return {"loss": value.item(), "gradients": [gradient.item() for gradient in gradients]}


def leaf(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def ziln(outputs: list[float], label: float) -> dict:
    a, mu, s = (leaf(value) for value in outputs)
    law = LogNormal(mu, F.softplus(s))
    loss = F.binary_cross_entropy_with_logits(a, torch.full_like(a, float(label > 0)))
    if label > 0:
        loss = loss - law.log_prob(torch.tensor(label, dtype=torch.float64))
    else:
        loss = loss + 0 * (mu + s)
    mean = torch.sigmoid(a) * law.mean
    return {"outputs": outputs, "label": label, "mean": mean.item(), **with_gradients(loss, [a, mu, s])}


def product(logits: list[float], labels: list[float | None], joint: float) -> dict:
    leaves = [leaf(value) for value in logits]
    p = torch.stack([torch.sigmoid(z) for z in leaves]).prod()
    loss = F.binary_cross_entropy(p, torch.tensor(joint, dtype=torch.float64))
    return {"logits": logits, "labels": labels, **with_gradients(loss, leaves)}


def smoothed(logit: float, label: float, share: float, rate: float, offset: float) -> dict:
    z = leaf(logit)
    shifted = torch.sigmoid(torch.logit(torch.tensor(rate, dtype=torch.float64)) + offset)
    target = (1 - share) * label + share * shifted
    loss = F.binary_cross_entropy_with_logits(z + offset, target)
    case = {"logit": logit, "label": label, "share": share, "rate": rate, "offset": offset}
    return {**case, **with_gradients(loss, [z])}


def main() -> None:
    rng = torch.Generator().manual_seed(3)
    draw = lambda n: (1.5 * torch.randn(n, generator=rng, dtype=torch.float64)).tolist()  # noqa: E731
    values = [ziln(draw(3), label) for label in (0.0, 0.0, 0.25, 1.0, 3.5, 400.0) for _ in range(3)]
    chains = []
    for labels, joint in [
        ([1.0], 1.0),
        ([0.0], 0.0),
        ([1.0, 1.0], 1.0),
        ([1.0, 0.0], 0.0),
        ([0.0, None], 0.0),
        ([1.0, 1.0, 1.0], 1.0),
        ([1.0, 1.0, 0.0], 0.0),
        ([1.0, 0.0, None], 0.0),
        ([1.0, 1.0, 1.0, 1.0], 1.0),
        ([0.0, None, None, None], 0.0),
    ]:
        chains += [product(draw(len(labels)), labels, joint) for _ in range(2)]
    smooth = [
        smoothed(draw(1)[0], label, share, rate, offset)
        for label in (0.0, 1.0)
        for share in (0.05, 0.3)
        for rate in (0.02, 0.4)
        for offset in (0.0, 1.2)
    ]
    fixture.write(PATH, {"ziln": values, "product": chains, "smoothed": smooth})


if __name__ == "__main__":
    main()
