"""Losses of labels that come late, and the samples of a stream that a snapshot of it holds.

    python3 tools/oracle/late.py       writes crates/train/tests/oracle/late.json (numpy and scipy, in float64)

Times are in attribution windows: of a row the age at the moment of training, of a conversion the delay after its click. z is
the logit of the conversion, p = sigmoid(z); v, d and r are logits of auxiliary heads.

    fnc      Ktena et al. 2019: samples as negatives at the click and as positives at the conversion; of a row's samples a share
             b = p / (1 + p) is positive, so that p = b / (1 - b)
    fnw      the same with the importance weights of its equation 9
    dfm      Chapelle 2014: the delay is exponential with the rate exp(v), here given that it is at most 1
    es_dfm   Yang et al. 2021: samples at the time `elapsed`, later conversions once more
    defer    Gu et al. 2021: the same, and every row once more

Gradients are complex-step derivatives; importance weights are constants in them. The delays' law is that of scipy.stats.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
from scipy import special, stats

PATH = pathlib.Path(__file__).resolve().parents[2] / "crates/train/tests/oracle/late.json"
ELAPSED = 0.25
BORROWED = 0.7
STEP = 1e-30


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gradient(loss, at: float) -> float:
    """The derivative of an analytic function, exact to rounding."""
    return float(np.imag(loss(complex(at, STEP))) / STEP)


# ---- samples: events of a stream, one by one


def events(method: str, converted: bool, delay: float) -> list[tuple[float, bool]]:
    """All samples of a row: the time after its click, and the label."""
    if method in ("fnc", "fnw"):
        return [(0.0, False)] + ([(delay, True)] if converted else [])
    early = converted and delay <= ELAPSED
    first = [(ELAPSED, early)]
    if method == "es_dfm":
        return first + ([(delay, True)] if converted and not early else [])
    return first + [(max(delay, ELAPSED) if converted else 1.0, converted)]


def samples(method: str, converted: bool, delay: float, age: float) -> tuple[float, float]:
    """Samples as a negative and as a positive up to now; and, for rows that are as old as young rows were a window ago
    (less the time to their first sample), those that had not come by then once more, by their weight."""
    start = 0.0 if method in ("fnc", "fnw") else ELAPSED
    counts = [0.0, 0.0]
    ago = 1.0 - start
    for time, label in events(method, converted, delay):
        if time <= age:
            counts[label] += 1
        if start <= age - ago < 1.0 and time > age - ago and age >= 1.0:
            counts[label] += BORROWED
    return counts[0], counts[1]


# ---- losses


def row(method: str, case: dict) -> tuple[float, list[float]]:
    """The loss and its gradients with respect to z and the two auxiliary logits."""
    z, a, b, age = case["z"], case["a"], case["b"], case["age"]
    known = case["converted"] and case["delay"] <= age
    delay = case["delay"] if known else float("nan")
    if method == "dfm":
        return dfm(z, a, known, delay, age)
    negatives, positives = samples(method, known, delay, age)
    p, later, stays = sigmoid(z), sigmoid(a), sigmoid(b)
    weights = {
        "fnc": (1.0, 1.0),
        "fnw": ((1 - p) * (1 + p), 1 + p),
        "es_dfm": ((1 + later) * stays, 1 + later),
    }
    if method == "defer":
        later = min(later, p)
        weights["defer"] = (0.5 * (1 - p) / (1 - p + later / 2), 0.5 * p / (p - later / 2))
    of_negative, of_positive = weights[method]

    def loss(z):
        p = sigmoid(z)
        share = p / (1 + p) if method == "fnc" else p
        return -negatives * of_negative * np.log(1 - share) - positives * of_positive * np.log(share)

    total, gradients = float(np.real(loss(complex(z)))), [gradient(loss, z), 0.0, 0.0]
    early = known and delay <= ELAPSED
    questions = []
    if age >= 1.0 and method in ("es_dfm", "defer"):
        questions.append((1, a, known and not early))
    if age >= 1.0 and method == "es_dfm" and not early:
        questions.append((2, b, not known))
    for head, logit, label in questions:
        own = lambda x, label=label: -np.log(sigmoid(x) if label else 1 - sigmoid(x))  # noqa: E731
        total += float(np.real(own(complex(logit))))
        gradients[head] = gradient(own, logit)
    return total, gradients


def dfm(z: float, v: float, known: bool, delay: float, age: float) -> tuple[float, list[float]]:
    law = stats.truncexpon(b=np.exp(v), scale=np.exp(-v))
    if known:
        total = -np.log(special.expit(z)) - law.logpdf(delay)
    else:
        total = -np.log1p(-special.expit(z) * law.cdf(min(age, 1.0)))

    def loss(z, v):
        rate, p = np.exp(v), sigmoid(z)
        if known:
            return -np.log(p) - np.log(rate * np.exp(-rate * delay) / (1 - np.exp(-rate)))
        share = 1.0 if age >= 1.0 else (1 - np.exp(-rate * age)) / (1 - np.exp(-rate))
        return -np.log(1 - p * share)

    return float(total), [gradient(lambda x: loss(x, v), z), gradient(lambda x: loss(z, x), v), 0.0]


def cases() -> list[dict]:
    rng = np.random.default_rng(5)
    found = []
    for method in ("fnw", "fnc", "dfm", "es_dfm", "defer"):
        for converted in (True, False):
            for age in (0.40625, 0.8125, 1.0, 1.125, 1.625, 2.5):
                for delay in (0.09375, 0.3125, 0.6875, 0.984375) if converted else (0.0,):
                    z, a, b = rng.normal(0, 1.5, 3)
                    case = {"converted": converted, "delay": delay, "age": age, "z": z, "a": a, "b": b}
                    loss, gradients = row(method, case)
                    found.append({"method": method, **case, "loss": loss, "gradients": gradients})
    return found


if __name__ == "__main__":
    text = json.dumps({"elapsed": ELAPSED, "borrowed": BORROWED, "cases": cases()}, indent=1)
    PATH.write_text(text + "\n")
