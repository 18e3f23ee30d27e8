"""The stubs say what the module holds, the types are strict, and settings are those of the schema."""

from __future__ import annotations

import ast
import inspect
import pathlib
import subprocess
import sys

import ncs4cvr
from ncs4cvr import _core

PACKAGE = pathlib.Path(ncs4cvr.__file__).parent
PROJECT = pathlib.Path(__file__).resolve().parents[1]


def parameters(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args if argument.arg != "self"]


def test_the_stubs_are_those_of_the_module() -> None:
    stub = ast.parse((PACKAGE / "_core.pyi").read_text())
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    held = {name for name in dir(_core) if not name.startswith("__")}
    assert held == set(functions) | set(classes)
    for name, node in functions.items():
        assert list(inspect.signature(getattr(_core, name)).parameters) == parameters(node), name
    for name, node in classes.items():
        methods = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
        found = getattr(_core, name)
        own = {key for key in vars(found) if not (key.startswith("__") and key not in methods)}
        assert own - {"__new__", "__doc__", "__module__"} == set(methods), name
        for key, inner in methods.items():
            if callable(vars(found)[key]) and not key.startswith("__"):
                known = [p for p in inspect.signature(getattr(found, key)).parameters if p != "self"]
                assert known == parameters(inner), f"{name}.{key}"


def test_mypy_finds_nothing_wrong() -> None:
    # Of the sources, which are those of the package: an installed one stands among others, which mypy would check too.
    sources = PROJECT / "python" / "ncs4cvr"
    assert (sources / "_core.pyi").read_text() == (PACKAGE / "_core.pyi").read_text()
    words = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(PROJECT / "pyproject.toml"), str(sources)]
    found = subprocess.run(words, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_settings_are_those_of_the_schema() -> None:
    words = [sys.executable, str(PROJECT / "tools" / "config.py"), "--check"]
    assert subprocess.run(words).returncode == 0, "run tools/config.py"


def test_versions_are_one() -> None:
    text = (PROJECT.parents[1] / "Cargo.toml").read_text()
    assert f'version = "{ncs4cvr.__version__}"' in text
