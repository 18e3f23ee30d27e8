"""The notebooks run from their first cell to their last; what is stored is small, and has pictures with descriptions."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import types

import nbformat
import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def tool() -> types.ModuleType:
    """``tools/notebooks.py``."""
    spec = importlib.util.spec_from_file_location("notebooks", PROJECT / "tools" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook: nbformat.NotebookNode) -> list[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    """Cells with each of their outputs."""
    return [(cell, output) for cell in notebook.cells for output in cell.get("outputs", [])]


def shapes(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The kinds of a notebook's outputs, by cell."""
    return [
        [kind for output in cell.get("outputs", []) for kind in sorted(output.get("data", {output.output_type: ""}))]
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    notebooks = tool()
    found = notebooks.execute(path, tmp_path)
    notebooks.clean(found)
    assert shapes(found) == shapes(nbformat.read(path, as_version=4)), "run tools/notebooks.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_small_and_described(path: pathlib.Path) -> None:
    assert path.stat().st_size < 200_000
    stored = outputs(nbformat.read(path, as_version=4))
    pictures = [cell for cell, output in stored if "image/png" in output.get("data", {})]
    assert pictures and all(cell.metadata.get("alt") for cell in pictures)
    texts = [str(output.get("text", output.get("data", {}).get("text/plain", ""))) for _, output in stored]
    assert not [text for text in texts if re.search(r"/(tmp|home|root|Users|work)/| object at 0x", text)]
    assert not [output for _, output in stored if output.output_type == "error" or output.get("name") == "stderr"]


def test_notebooks_are_numbered_without_a_gap() -> None:
    assert [int(path.name.split("_")[0]) for path in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))
    assert len(NOTEBOOKS) >= 6
