"""A made-up log, two models trained on it, and a real `ncs serve` of them, for the tests beside this file."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http

NCS = os.environ.get("NCS", str(Path(__file__).parents[2] / "target/debug/ncs"))
TOKEN = "secret-token"
MODEL = "feed"
OUTPUTS = ["ctr", "cvr", "ctcvr"]
WAIT = 30  # seconds for anything that takes a moment


def ncs(*arguments, folder):
    """Runs `ncs` to its end."""
    done = subprocess.run([NCS, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ncs {' '.join(arguments)}: {done.stderr}")


class Server:
    """`ncs serve` as a process of its own, from `ready` to SIGTERM."""

    def __init__(self, *arguments, folder):
        ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [NCS, "serve", *arguments, *ports],
            cwd=folder,
            env={**os.environ, "NCS_ADMIN_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        # Pipes are read once they have something: a server that hangs fails the tests, and not by hanging them.
        readable, _, _ = select.select([self.process.stdout], [], [], WAIT)
        line = self.process.stdout.readline() if readable else ""
        addresses = re.fullmatch(r"ready http=(\S+) grpc=(\S+) admin=(\S+)\n", line)
        if addresses is None:
            self.process.kill()
            raise RuntimeError(f"ncs serve printed {line!r}\n{self.text()}")
        self.http, self.grpc, self.admin = addresses.groups()

    def text(self):
        """What the server wrote to its log."""
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        """Asks it to end, and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.log.close()
        return status


class World:
    """Models and rows: `feed` with versions 1 and 2, and what `ncs score` says of the test rows."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ncs-clients-"))
        try:
            self.make()
        except BaseException:
            self.remove()
            raise

    def make(self):
        ncs("synth", "--rows", "4000", "--format", "json-lines", "--out", "log", folder=self.folder)
        for version in ["1", "2"]:
            settings = ["--set", "training.epochs=1", "--set", f"seed={version}"]
            out = ["--out", f"{MODEL}/{version}", "--quiet"]
            ncs("train", "log/run.toml", *out, *settings, folder=self.folder)
        lines = (self.folder / "log/test.jsonl").read_text().splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.scores = {version: self.score(version) for version in ["1", "2"]}
        self.sessions = {}
        for place, row in enumerate(self.rows):
            self.sessions.setdefault(row["session"], []).append(place)

    def score(self, version):
        """What `ncs score` says, as `[rows, outputs]`."""
        data = ["--data", "log/test.jsonl", "--out", "scores.csv", "--quiet"]
        ncs("score", f"{MODEL}/{version}", *data, folder=self.folder)
        header, *lines = (self.folder / "scores.csv").read_text().splitlines()
        assert header == ",".join(f"p_{output}" for output in OUTPUTS), header
        return np.array([[float(x) for x in line.split(",")] for line in lines])

    def question(self, number=0):
        """The rows of a session: what all of them have in common, and the rest."""
        return Question(self, list(self.sessions.values())[number])

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


CONTEXT = ["user", "hour", "device", "city"]
NUMBERS = ["user", "item", "hour"]  # ids that are whole numbers
TEXTS = ["category", "device", "city", "position", "banner", "shop", "delivery", "campaign", "browser", "bucket"]


class Question:
    """Candidates of one user, in the forms that the calls want them."""

    def __init__(self, world, places):
        self.rows = [world.rows[place] for place in places]
        self.expected = {version: scores[places] for version, scores in world.scores.items()}
        self.n = len(places)

    def column(self, name):
        """The values of a column, once if all candidates share them."""
        values = [row[name] for row in self.rows]
        return values[:1] if name in CONTEXT else values

    def body(self):
        """As the rank call's JSON."""
        columns = [*NUMBERS, *TEXTS, "tags", "price"]
        items = {name: self.column(name) for name in columns if name not in CONTEXT}
        return {
            "context": {name: self.column(name)[0] for name in CONTEXT},
            "candidates": items,
        }

    def arrays(self):
        """As numpy arrays by the names of their columns; lists as a matrix and their lengths."""
        arrays = {name: np.array(self.column(name), dtype=np.int64) for name in NUMBERS}
        arrays |= {name: texts(self.column(name)) for name in TEXTS}
        arrays["price"] = np.array(self.column("price"), dtype=np.float64)
        tags = self.column("tags")
        width = max(2, max(map(len, tags)))
        arrays["tags"] = texts([row + [""] * (width - len(row)) for row in tags])
        arrays["tags:lengths"] = np.array([len(row) for row in tags], dtype=np.int32)
        return arrays


def texts(values):
    """Strings as the client takes them."""
    return np.array(values, dtype=np.object_)


class Http:
    """The HTTP client."""

    module = tritonclient.http

    @staticmethod
    def client(address, **arguments):
        return tritonclient.http.InferenceServerClient(address, **arguments)

    @staticmethod
    def input(name, array, datatype=None, binary=True):
        tensor = tritonclient.http.InferInput(name, array.shape, datatype or datatype_of(array))
        tensor.set_data_from_numpy(array, binary_data=binary)
        return tensor

    @staticmethod
    def output(name, binary=True):
        return tritonclient.http.InferRequestedOutput(name, binary_data=binary)


class Grpc:
    """The gRPC client, which knows binary tensors only."""

    module = tritonclient.grpc

    @staticmethod
    def client(address, **arguments):
        return tritonclient.grpc.InferenceServerClient(address, **arguments)

    @staticmethod
    def input(name, array, datatype=None, binary=True):
        tensor = tritonclient.grpc.InferInput(name, array.shape, datatype or datatype_of(array))
        tensor.set_data_from_numpy(array)
        return tensor

    @staticmethod
    def output(name, binary=True):
        return tritonclient.grpc.InferRequestedOutput(name)


def datatype_of(array):
    """The protocol's name for the type of an array."""
    from tritonclient.utils import np_to_triton_dtype

    return np_to_triton_dtype(array.dtype)


_world = None


def world():
    """The one world of a run of the tests; made when first asked for, removed at the end."""
    global _world
    if _world is None:
        import atexit

        _world = World()
        atexit.register(_world.remove)
    return _world
