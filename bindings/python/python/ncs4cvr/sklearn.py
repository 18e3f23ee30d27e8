"""Classifier with scikit-learn's interface: one task, column kinds from data types. Needs scikit-learn and pyarrow."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ._model import Model
from ._run import train

LABEL = "__label"


class NcsClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Binary classifier on a data frame or an array.

    Columns of floating-point numbers are numeric; all others (integers, strings, categories) are categorical. The
    model is held in memory, so that a fitted classifier can be pickled and copied.

    Args:
        epochs: maximum number of epochs; early stopping on validation rows may end training earlier.
        batch: batch size in rows.
        learning_rate: learning rate of the optimizer.
        hidden: widths of the hidden layers.
        dim: embedding dimension.
        valid: share of the rows used for validation, which selects the weights to keep.
        threads: worker threads.
        random_state: random seed.
        settings: further settings by dotted key of the run file.
    """

    def __init__(
        self,
        *,
        epochs: int = 20,
        batch: int = 256,
        learning_rate: float = 0.003,
        hidden: tuple[int, ...] = (64, 32),
        dim: int = 8,
        valid: float = 0.15,
        threads: int = 1,
        random_state: int = 1,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.hidden = hidden
        self.dim = dim
        self.valid = valid
        self.threads = threads
        self.random_state = random_state
        self.settings = settings

    def fit(self, X: Any, y: Any) -> NcsClassifier:
        """Trains on rows ``X`` with two classes ``y``."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        labels = column_or_1d(y, warn=True)
        _refuse_other_targets(labels)
        frame = _frame(self, X, reset=True)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("Classifier can't train when only one class is present.")
        if len(labels) != frame.num_rows:
            raise ValueError(f"{frame.num_rows} rows and {len(labels)} labels")
        kinds = {
            field.name: "numeric" if pa.types.is_floating(field.type) else "categorical" for field in frame.schema
        }
        positive = labels == self.classes_[1]
        frame = frame.append_column(LABEL, pa.array(positive.astype(np.int8)))
        held_out = self._held_out(positive)
        with tempfile.TemporaryDirectory() as folder:
            run = train(
                self._run(kinds, bool(held_out.any())),
                train=frame.filter(pa.array(~held_out)),
                valid=frame.filter(pa.array(held_out)) if held_out.any() else None,
                out=pathlib.Path(folder) / "out",
                settings=self.settings,
                progress=False,
            )
            model = run.path / "model"
            self.files_ = {path.name: path.read_bytes() for path in sorted(model.iterdir())}
            self._model: Model | None = Model.load(model)
        return self

    def _held_out(self, positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Selects the validation rows: the same share of both classes, or none if a class is too small."""
        chance = np.random.default_rng(self.random_state)
        held_out = np.zeros(len(positive), dtype=bool)
        for rows in (np.flatnonzero(positive), np.flatnonzero(~positive)):
            n = round(self.valid * len(rows))
            if n == 0 or n == len(rows):
                return np.zeros(len(positive), dtype=bool)
            held_out[chance.permutation(rows)[:n]] = True
        return held_out

    def _run(self, kinds: dict[str, str], has_judged: bool) -> dict[str, Any]:
        keep = "best_per_task" if has_judged else "last"
        return {
            "seed": int(self.random_state or 1),
            "threads": self.threads,
            "data": {"train": LABEL},
            "columns": kinds,
            "tasks": {"y": {"label": LABEL}},
            "network": {"kind": "single_task", "hidden": list(self.hidden), "dim": self.dim},
            "training": {"epochs": self.epochs, "batch": self.batch, "learning_rate": self.learning_rate, "keep": keep},
            "evaluation": {"bootstrap": 0},
        }

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns the probability of each class, ``[rows, 2]``."""
        check_is_fitted(self, "files_")
        frame = _frame(self, X, reset=False)
        positive = self.model().predict(frame, threads=self.threads)["y"].astype(np.float64)
        return np.column_stack([1 - positive, positive])

    def predict(self, X: Any) -> NDArray[Any]:
        """Returns the more probable class of each row."""
        check_is_fitted(self, "files_")
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]  # type: ignore[no-any-return]

    def model(self) -> Model:
        """Returns the trained model."""
        check_is_fitted(self, "files_")
        if getattr(self, "_model", None) is None:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in self.files_.items():
                    (pathlib.Path(folder) / name).write_bytes(content)
                self._model = Model.load(folder)
        found = self._model
        assert found is not None
        return found

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_model", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _refuse_other_targets(labels: NDArray[Any]) -> None:
    kind = type_of_target(labels, input_name="y", raise_unknown=True)
    if kind == "multiclass":
        raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
    if kind != "binary":
        raise ValueError(f"Unknown label type: {kind}. Only binary classification is supported.")


def _frame(estimator: NcsClassifier, X: Any, *, reset: bool) -> pa.Table:
    """Converts rows to an Arrow table; array columns are named x0, x1 ..."""
    if hasattr(X, "__arrow_c_stream__") and hasattr(X, "columns"):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return pa.table(X)
    values = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_2d=True)
    columns = {f"x{i}": _column(values[:, i]) for i in range(values.shape[1])}
    return pa.table(columns)


def _column(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind in "fiub":
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values])
