"""Executes the notebooks and stores their outputs.

    python bindings/python/tools/notebooks.py [NAME ...]

Needs the installed package and ``requirements.txt``. Each notebook runs in an empty folder. Stored are outputs without times,
counts and progress, so that a change of a notebook shows what changed. The tests execute the notebooks again and check
what is stored (``tests/test_notebooks.py``).
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"

#: Seconds that a cell may take.
TIMEOUT = 600


def execute(path: pathlib.Path, folder: pathlib.Path) -> nbformat.NotebookNode:
    """Runs a notebook in ``folder``; returns it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an exception.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def clean(notebook: nbformat.NotebookNode) -> None:
    """Removes what differs between two executions: times, counts, messages on standard error."""
    kept = {"kernelspec", "language_info"}
    notebook.metadata = {name: notebook.metadata[name] for name in kept}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.metadata = {name: cell.metadata[name] for name in ["alt"] if name in cell.metadata}
        cell.outputs = [found for found in cell.outputs if found.get("name") != "stderr"]
        for found in cell.outputs:
            if "execution_count" in found:
                found["execution_count"] = None
            found.pop("metadata", None)
            if found.output_type in ("execute_result", "display_data"):
                found["metadata"] = {}


def main(names: list[str]) -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, pathlib.Path(folder))
        clean(notebook)
        nbformat.validate(notebook)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        print(f"{path.name}: {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
