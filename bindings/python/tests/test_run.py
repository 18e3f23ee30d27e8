"""Training from Python: settings, callbacks, Ctrl-C, forks, errors, and what a run leaves."""

from __future__ import annotations

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import polars
import pytest

import ncs4cvr
from conftest import QUICK, model_bytes


def test_a_run_tells_its_figures(run: ncs4cvr.Run) -> None:
    metrics = run.metrics
    assert metrics.column_names == ["part", "task", "figure", "value", "low", "high"]
    assert {"test", "valid"} == set(metrics["part"])
    assert "auc" in metrics["figure"]
    history = run.history
    assert set(history["task"]) == {"ctr", "cvr"} and len(history) >= 2
    assert run.scalars()["test/ctr/auc"] == run.figures["tasks"]["ctr"]["auc"]
    assert run.report["learning"] and run.html.exists()
    assert "<table>" in run._repr_html_()


def test_the_model_is_that_of_ncs_train(run: ncs4cvr.Run, log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    sets = [
        "threads=1", "network.hidden=[16]", "network.dim=4", "training.epochs=1", "evaluation.bootstrap=0",
    ]
    words = [sys.executable, "-m", "ncs4cvr", "--quiet", "train", log.run_file, "--out", str(tmp_path / "out")]
    for assignment in sets:
        words += ["--set", assignment]
    subprocess.run(words, check=True, capture_output=True)
    assert model_bytes(ncs4cvr.Run(tmp_path / "out")) == model_bytes(run)


def test_callbacks_hear_and_stop(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    events: list[ncs4cvr.Event] = []
    run = ncs4cvr.train(log.run_file, out=tmp_path / "out", settings=QUICK, callbacks=[events.append])
    validated = [event for event in events if isinstance(event, ncs4cvr.Validated)]
    assert {event.task for event in validated} == {"ctr", "cvr"}
    assert isinstance(events[-1], ncs4cvr.Ended) and events[-1].metrics == run.scalars()

    class Enough(Exception):
        pass

    def stop(event: ncs4cvr.Event) -> None:
        if isinstance(event, ncs4cvr.Validated):
            raise Enough

    with pytest.raises(Enough):
        ncs4cvr.train(log.run_file, out=tmp_path / "stopped", settings=QUICK, callbacks=[stop])
    resumed = ncs4cvr.train(log.run_file, out=tmp_path / "stopped", settings=QUICK)
    assert model_bytes(resumed) == model_bytes(run)


INTERRUPTED = """
    import pathlib, signal, sys, time
    import polars, ncs4cvr
    before = signal.getsignal(signal.SIGINT)
    rows = polars.read_parquet(sys.argv[1])
    valid = polars.read_parquet(sys.argv[2])
    def hear(event):
        if isinstance(event, ncs4cvr.Validated):
            print("going", flush=True)
    settings = {"threads": 1, "training.epochs": 3, "network.hidden": [16], "network.dim": 4,
                "evaluation.bootstrap": 0, "training.evaluations_per_epoch": 20, "training.patience": 1000,
                "training.batch": 16}
    try:
        ncs4cvr.train(sys.argv[3], rows, valid, out=sys.argv[4], settings=settings, callbacks=[hear])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(0 if signal.getsignal(signal.SIGINT) is before else 3)
    print("finished", flush=True)
"""


def start(log: ncs4cvr.Log, out: pathlib.Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), log.files[0], log.files[1], log.run_file, str(out)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_ctrl_c_stops_a_training_that_resumes(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    process = start(log, tmp_path / "out")
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    printed = process.stdout.read().split()
    assert printed[-1] == "interrupted" and process.wait() == 0
    # A second is promised on an idle machine; a busy one gets ten.
    assert time.monotonic() - asked < 10
    for out in ["out", "undisturbed"]:
        process = start(log, tmp_path / out)
        assert process.communicate()[0].split()[-1] == "finished"
    resumed, undisturbed = (ncs4cvr.Run(tmp_path / out) for out in ["out", "undisturbed"])
    assert model_bytes(resumed) == model_bytes(undisturbed)
    assert "resumed from the checkpoint" in (resumed.path / "log.txt").read_text()


def test_use_after_a_fork_is_refused(model: ncs4cvr.Model, log: ncs4cvr.Log) -> None:
    model.predict(log.files[2])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            model.predict(log.files[2])
            text = "scored"
        except ncs4cvr.ForkError as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    printed = os.read(read, 10_000).decode()
    assert f"forked from process {os.getpid()}" in printed and "spawn" in printed


def test_settings_that_are_wrong_are_told_with_the_nearest_name(
    log: ncs4cvr.Log, tmp_path: pathlib.Path
) -> None:
    rows = polars.read_parquet(log.files[0])
    run: ncs4cvr.RunConfig = {
        "columns": {"user": "categorical", "itm": "categorical"},
        "tasks": {"ctr": {"label": "click"}},
        "training": {"epoch": 3},  # type: ignore[typeddict-unknown-key]
    }
    with pytest.raises(ncs4cvr.ConfigError, match="did you mean epochs") as caught:
        ncs4cvr.train(run, rows, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    del run["training"]
    with pytest.raises(ncs4cvr.ConfigError, match='"itm"|itm') as caught:
        ncs4cvr.train(run, rows, out=tmp_path / "out")
    assert "item" in str(caught.value) and caught.value.problems
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is ncs4cvr.ConfigError and again.problems == caught.value.problems


def test_lines_of_a_run_file_are_told(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(pathlib.Path(log.run_file).read_text() + "\n[trainin]\n")
    with pytest.raises(ncs4cvr.ConfigError) as caught:
        ncs4cvr.train(file, out=tmp_path / "out")
    line, text = caught.value.problems[0]
    assert line is not None and "training" in text and caught.value.file == str(file)


def test_another_run_in_the_folder_is_refused(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    ncs4cvr.train(log.run_file, out=out, settings=QUICK)
    with pytest.raises(ncs4cvr.TrainingError, match="another run"):
        ncs4cvr.train(log.run_file, out=out, settings={**QUICK, "seed": 9})
    ncs4cvr.train(log.run_file, out=out, settings={**QUICK, "seed": 9}, fresh=True)


def test_check_tells_what_frames_hold(log: ncs4cvr.Log) -> None:
    frames = [polars.read_parquet(path) for path in log.files]
    found = ncs4cvr.check(log.run_file, *frames)
    assert found["rows"] == frames[0].height
    assert {task["name"] for task in found["tasks"]} == {"ctr", "cvr"}
    assert "click" in found["text"]


def test_init_writes_a_run_file_for_a_frame(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    rows = polars.read_parquet(log.files[0]).drop("p_click", "p_conversion")
    printed = ncs4cvr.init(rows, out=tmp_path / "run.toml", click="click", conversion="conversion")
    assert "features" in printed
    assert ncs4cvr.check(tmp_path / "run.toml")["tasks"]
    with pytest.raises(ncs4cvr.NcsError, match="exists already"):
        ncs4cvr.init(rows, out=tmp_path / "run.toml", click="click")
    with pytest.raises(ncs4cvr.ConfigError, match="--click"):
        ncs4cvr.init(rows, out=tmp_path / "other.toml")


def test_init_writes_paths_as_they_were_given(
    log: ncs4cvr.Log, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = polars.read_parquet(log.files[0]).drop("p_click", "p_conversion")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    rows.write_parquet("rows.parquet")
    ncs4cvr.init("rows.parquet", out="runs/run.toml", click="click", conversion="conversion")
    assert '"../rows.parquet"' in (tmp_path / "runs" / "run.toml").read_text()
    ncs4cvr.init(rows, out="runs/of_frame.toml", click="click", conversion="conversion")
    assert str(tmp_path) not in (tmp_path / "runs" / "of_frame.toml").read_text()
    assert ncs4cvr.check("runs/of_frame.toml")["tasks"]


def test_tune_writes_the_best_run_file(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    rows, valid = (polars.read_parquet(path) for path in log.files[:2])
    settings = {**QUICK, "search": None}
    found = ncs4cvr.tune(log.run_file, rows, valid, out=tmp_path / "tune", budget="1s", settings=settings)
    assert found["best"]["goodness"] is not None
    assert pathlib.Path(found["tuned"]).exists()


def test_compare_runs_trainings_as_processes(log: ncs4cvr.Log, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "compare.toml"
    file.write_text(textwrap.dedent(f"""
        seeds = [1, 2]
        threads = 1

        [data.log]
        run = {log.run_file!r}

        [methods.single]
        set = {{ "network.kind" = "single_task", "network.hidden" = [8], "training.epochs" = 1 }}

        [methods.shared]
        set = {{ "network.kind" = "shared_bottom", "network.hidden" = [8], "training.epochs" = 1 }}
    """))
    found = ncs4cvr.compare(file, out=tmp_path / "out", jobs=2)
    assert found.failed == [] and found.sentences["log"]
    assert (found.path / "report.html").exists() and "<table>" in found._repr_html_()


def test_serve_answers_from_a_thread(run: ncs4cvr.Run, log: ncs4cvr.Log) -> None:
    import json
    import urllib.request

    with ncs4cvr.serve(run.path, threads=1) as other:
        assert other.http
    server = ncs4cvr.serve(run.path, threads=1)
    with urllib.request.urlopen(f"http://{server.http}/v2/models/{run.path.name}") as answer:
        found = json.load(answer)
    assert found["name"] == run.path.name
    server.stop()
    server.stop()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://{server.http}/v2", timeout=5)
    with pytest.raises(ncs4cvr.ConfigError, match="http-prt"):
        ncs4cvr.serve(run.path, http_prt=0)
