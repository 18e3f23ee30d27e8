"""The rank call, by plain `requests`."""

import unittest

import numpy as np
import requests

from server import MODEL, OUTPUTS, WAIT, Server, world


def setUpModule():
    global served
    served = Server(MODEL, "--max-candidates", "100", folder=world().folder)


def tearDownModule():
    status = served.stop()
    assert status == 0, f"ncs serve ended with {status}"


class Rank(unittest.TestCase):
    def setUp(self):
        self.question = world().question()
        self.session = requests.Session()
        self.addCleanup(self.session.close)

    def ask(self, body, path=f"/v2/models/{MODEL}/rank", **arguments):
        return self.session.post(f"http://{served.http}{path}", json=body, timeout=WAIT, **arguments)

    def check(self, answer, version="2", question=None):
        self.assertEqual(answer.status_code, 200, answer.text)
        reply = answer.json()
        self.assertEqual(reply["model"]["name"], MODEL)
        self.assertEqual(reply["model"]["version"], int(version))
        expected = (question or self.question).expected[version]
        for place, name in enumerate(OUTPUTS):
            np.testing.assert_allclose(reply["scores"][name], expected[:, place], rtol=0, atol=1e-6)

    def refused(self, body, status, *parts, **arguments):
        answer = self.ask(body, **arguments)
        self.assertEqual(answer.status_code, status, answer.text)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        for part in parts:
            self.assertIn(part, answer.json()["error"])

    def test_scores_are_those_of_ncs_score(self):
        for number in range(40):
            question = world().question(number)
            self.check(self.ask(question.body()), question=question)

    def test_paths(self):
        body = self.question.body()
        for path in ["/v2/rank", f"/v2/models/{MODEL}/versions/2/rank"]:
            self.check(self.ask(body, path))
        self.check(self.ask(body | {"model": MODEL, "version": 2}, "/v2/rank"))

    def test_candidates_as_objects(self):
        body = self.question.body()
        columns = body["candidates"]
        rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        self.check(self.ask(body | {"candidates": rows}))

    def test_gzip(self):
        import gzip
        import json

        packed = gzip.compress(json.dumps(self.question.body()).encode())
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        path = f"http://{served.http}/v2/models/{MODEL}/rank"
        self.check(self.session.post(path, data=packed, headers=headers, timeout=WAIT))

    def test_the_best(self):
        expected = self.question.expected["2"]
        for by, place in [(None, 2), ("ctr", 0)]:
            top = {"top_k": 3} | ({"top_by": by} if by else {})
            reply = self.ask(self.question.body() | top).json()
            best = np.argsort(-expected[:, place], kind="stable")[:3]
            self.assertEqual(reply["best"], best.tolist())
            np.testing.assert_allclose(reply["scores"]["ctr"], expected[best, 0], atol=1e-6)

    def test_the_id_comes_back(self):
        self.assertEqual(self.ask(self.question.body() | {"id": "a"}).json()["id"], "a")
        headers = {"X-Request-Id": "b"}
        self.assertEqual(self.ask(self.question.body(), headers=headers).json()["id"], "b")

    def test_the_group_column_may_come(self):
        body = self.question.body()
        body["context"]["session"] = self.question.rows[0]["session"]
        self.check(self.ask(body))

    def test_an_id_that_no_training_row_had(self):
        body = self.question.body()
        body["context"]["user"] = "never seen"
        scores = self.ask(body).json()["scores"]["ctr"]
        self.assertTrue(all(0 < score < 1 for score in scores))

    def test_refusals(self):
        body = self.question.body()
        self.refused(body | {"top_k": 0}, 400, "top_k")
        self.refused(body | {"candidate": []}, 400, 'unknown key "candidate"', "did you mean")
        self.refused({"context": body["context"]}, 400, 'no "candidates"')
        self.refused(body | {"label": "canary"}, 404, "canary")
        self.refused(body | {"version": 9}, 404, "version 9 is not loaded")
        self.refused(body, 404, 'no model "fead"', "feed", path="/v2/models/fead/rank")
        many = {"candidates": {name: values[:1] * 101 for name, values in body["candidates"].items()}}
        self.refused(body | many, 413, "more than 100 candidates")
        short = {"candidates": body["candidates"] | {"price": [1.0]}}
        self.refused(body | short, 400, 'column "price" has 1 values')
        twice = {"context": body["context"] | {"item": 1}}
        self.refused(body | twice, 400, 'column "item" comes twice')
        wrong = {"candidates": body["candidates"] | {"price": ["cheap"] * self.question.n}}
        self.refused(body | wrong, 400, "price", "cheap")

    def test_broken_json(self):
        path = f"http://{served.http}/v2/models/{MODEL}/rank"
        for text in ["", "{", "[]", '{"candidates": {"price": [NaN]}}', "\xff"]:
            answer = self.session.post(path, data=text.encode("latin-1"), timeout=WAIT)
            self.assertEqual(answer.status_code, 400, text)
            self.assertIn("the request's body", answer.json()["error"])

    def test_methods(self):
        answer = self.session.get(f"http://{served.http}/v2/models/{MODEL}/rank", timeout=WAIT)
        self.assertEqual(answer.status_code, 405)
        self.assertIn("use POST", answer.json()["error"])

    def test_metrics_are_on_the_admin_port(self):
        answer = self.session.get(f"http://{served.http}/metrics", timeout=WAIT)
        self.assertEqual(answer.status_code, 404)
        answer = self.session.get(f"http://{served.admin}/metrics", timeout=WAIT)
        self.assertEqual(answer.status_code, 200)
