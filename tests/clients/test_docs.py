"""`docs/serving.md` names the metrics and options that there are."""

import re
import subprocess
import unittest
from pathlib import Path

import requests

from server import MODEL, NCS, WAIT, Server, world

TEXT = (Path(__file__).parents[2] / "docs/serving.md").read_text()


class Document(unittest.TestCase):
    def test_it_names_all_metrics(self):
        served = Server(MODEL, folder=world().folder)
        try:
            path = f"http://{served.http}/v2/rank"
            answer = requests.post(path, json=world().question().body(), timeout=WAIT)
            self.assertEqual(answer.status_code, 200)
            metrics = requests.get(f"http://{served.admin}/metrics", timeout=WAIT).text
        finally:
            served.stop()
        ending = {"counter": "_total", "info": "_info"}
        kinds = re.findall(r"# TYPE (ncs_\w+) (\w+)", metrics)
        told = {name + ending.get(kind, "") for name, kind in kinds}
        table = TEXT.split("\n## Metrics\n")[1].split("\n## ")[0]
        self.assertEqual(set(re.findall(r"`(ncs_\w+)`", table)), told)

    def test_it_names_options_that_there_are(self):
        done = subprocess.run([NCS, "serve", "--help"], capture_output=True, text=True, timeout=WAIT)
        known = set(re.findall(r"--[a-z][a-z-]+", done.stdout))
        of_serve = re.sub(r"(?m)^    (?!.*ncs serve).*$", "", TEXT)
        self.assertEqual(set(re.findall(r"`(--[a-z][a-z-]+)", of_serve)) - known, set())
