"""The area under the ROC curve, for choosing and for a first look; `ncs compare` judges."""

from __future__ import annotations

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Ties count one half; NaN where a class is missing. Unknown labels (NaN) do not count."""
    known = ~np.isnan(labels)
    labels, scores = labels[known], scores[known]
    positive = labels > 0.5
    n_positive, n_negative = positive.sum(), (~positive).sum()
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))
