"""What is run: the data sets of a comparison file, and the columns, tasks and parts of their run files.

The comparison and its run files are the only place where data sets are described, so that `ncs` and the
baselines have the same columns by kind, the same labels and the same rows.
"""

from __future__ import annotations

import json
import subprocess
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPARISON = ROOT / "examples" / "compare" / "baselines.toml"
NCS = ROOT / "target" / "release" / "ncs"

# Columns that name the item itself, which the methods `*_no_item` do without. Real logs show new items every
# day, and a tree that learned the old ones by name may rank the new ones worse.
ITEM_COLUMNS = {"article_id", "video_id", "item"}

KINDS = ("categorical", "list", "numeric")


@dataclass(frozen=True)
class Column:
    """A feature: its name, its kind, and the column of the files that it is read from."""

    name: str
    kind: str
    source: str
    separator: str | None = None


@dataclass(frozen=True)
class Task:
    """A label, and the task whose label must be 1 for a row to count."""

    name: str
    label: str
    where: str | None


@dataclass(frozen=True)
class RunFile:
    """What a run file says of data, columns and tasks; everything else in it is for `ncs` alone."""

    path: Path
    data: dict
    columns: tuple[Column, ...]
    tasks: tuple[Task, ...]

    def files(self, part: str) -> list[Path]:
        """The files of `train`, `valid` or `test`, in order."""
        found = self.data.get(part, [])
        paths = [found] if isinstance(found, str) else found
        return [self.path.parent / path for path in paths]


@dataclass(frozen=True)
class DataSet:
    """A data set of the comparison: a run file, a synthetic log for each seed, or such a log with a run file
    of its own."""

    name: str
    run: Path | None
    synth: dict | None


@dataclass(frozen=True)
class Comparison:
    """The seeds and data sets of a comparison file."""

    seeds: tuple[int, ...]
    data: dict[str, DataSet]


def read_comparison(path: Path) -> Comparison:
    """Reads the file that `ncs compare` gets."""
    found = tomllib.loads(path.read_text())
    data = {}
    for name, of_set in found["data"].items():
        run = of_set.get("run")
        data[name] = DataSet(name, path.parent / run if run else None, of_set.get("synth"))
    return Comparison(tuple(found.get("seeds", range(1, 6))), data)


def read_run_file(path: Path) -> RunFile:
    """Reads columns by kind, tasks and data of a run file."""
    found = tomllib.loads(path.read_text())
    columns = [column(name, of) for name, of in found["columns"].items()]
    numbers = {one.source for one in columns if one.kind == "numeric"}
    # A number that ncs reads as a category too is one column here: a tree cuts out single values by itself.
    columns = tuple(one for one in columns if one.kind == "numeric" or one.source not in numbers)
    tasks = [Task(name, of["label"], of.get("where")) for name, of in found["tasks"].items()]
    return RunFile(path, found["data"], columns, tuple(tasks))


def column(name: str, found: str | dict) -> Column:
    """A column, by its kind alone or with settings."""
    of = {"kind": found} if isinstance(found, str) else found
    if of["kind"] not in KINDS:
        raise ValueError(f"column {name}: the baselines know no kind {of['kind']!r}, only {KINDS}")
    return Column(name, of["kind"], of.get("column", name), of.get("separator"))


def run_file(data: DataSet, seed: int, logs: Path, ncs: Path) -> RunFile:
    """The run file of a data set, its files those of the seed's log if it is synthetic."""
    if not data.synth:
        return read_run_file(data.run)
    folder = synthetic_log(data, seed, logs, ncs)
    if not data.run:
        return read_run_file(folder / "run.toml")
    run = read_run_file(data.run)
    files = {part: str(folder / f"{part}.parquet") for part in ("train", "valid", "test")}
    return replace(run, data=files)


def synthetic_log(data: DataSet, seed: int, logs: Path, ncs: Path) -> Path:
    """The folder of a log, made if it is not there: the one that `ncs compare` makes from these settings."""
    folder = (logs / data.name / f"seed-{seed}").absolute()
    record = folder.with_suffix(".json")
    wanted = json.dumps(data.synth, sort_keys=True)
    if not record.exists() or record.read_text() != wanted:
        command = [str(ncs), "--quiet", "synth", "--seed", str(seed), "--out", str(folder)]
        subprocess.run(command + synth_arguments(data.synth), check=True, stdout=subprocess.DEVNULL)
        record.write_text(wanted)
    return folder


def synth_arguments(synth: dict) -> list[str]:
    """`{"click_rate": 0.1}` as `--click-rate 0.1`; a flag without a value as `true`."""
    arguments = []
    for key, value in synth.items():
        flag = "--" + key.replace("_", "-")
        if value is not False:
            arguments += [flag] if value is True else [flag, str(value)]
    return arguments
