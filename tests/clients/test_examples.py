"""The clients that the documents name, run as they say."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

from server import MODEL, NCS, WAIT, Server, world

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "examples/clients"
RUST = os.environ.get("RANK", str(Path(NCS).parent / "examples/rank"))


def setUpModule():
    global served
    served = Server(MODEL, folder=world().folder)


def tearDownModule():
    status = served.stop()
    assert status == 0, f"ncs serve ended with {status}"


class Examples(unittest.TestCase):
    def run_example(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_they_say_the_same(self):
        rank = self.run_example(sys.executable, CLIENTS / "rank.py", f"http://{served.http}")
        triton = self.run_example(sys.executable, CLIENTS / "triton.py", served.http, served.grpc)
        rust = self.run_example(RUST, served.http, served.grpc, CLIENTS / "request.json")
        self.assertEqual(rank.splitlines()[0], f"{MODEL} version 2")
        best = rank.splitlines()[1].split()[-1]
        by_triton = {tuple(line.split()[:2]): line.split()[2:] for line in triton.splitlines()}
        scores = by_triton["tritonclient.http", "ctcvr"]
        self.assertEqual(scores, by_triton["tritonclient.grpc", "ctcvr"])
        self.assertEqual(max(scores), best)
        lists = [line.split("[")[1].rstrip("]") for line in rust.splitlines() if "ctcvr" in line]
        self.assertEqual(len(lists), 2)
        for numbers in lists:
            self.assertEqual([f"{float(x):.4f}" for x in numbers.split(",")], scores)
