"""The examples of docs/python.md run, in their order."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import sys
import types
from typing import Any

import pytest

GUIDE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "python.md"


def test_the_examples_of_the_guide_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 8
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert (tmp_path / "out" / "report.html").exists()
    study = names["study"]
    assert len(study.trials) == 4 and 0.5 < study.best_value < 1
    assert "test" in names["best"].metrics.to_polars()["part"]

    (tracked,) = (block for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if "wandb" in block)
    wandb = Tracker()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    exec(compile(tracked, str(GUIDE), "exec"), names)
    assert {"train/ctr/AUC", "train/step"} <= wandb.logged[0].keys() | wandb.logged[-2].keys()
    assert "test/cvr/auc" in wandb.logged[-1]


class Tracker(types.ModuleType):
    """Stands in for the part of ``wandb`` that the guide calls; it accepts what the tracker accepts, numbers by name."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.logged: list[dict[str, float]] = []

    def init(self, project: str, config: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
        json.dumps(config)
        return contextlib.nullcontext()

    def log(self, values: dict[str, float]) -> None:
        assert all(isinstance(name, str) and isinstance(value, (int, float)) for name, value in values.items())
        self.logged.append(values)
