"""A server that has more to do than it can: deadlines, and requests that it turns away."""

import concurrent.futures
import queue
import unittest

import numpy as np
import requests
from tritonclient.utils import InferenceServerException

from server import MODEL, WAIT, Grpc, Http, Server, world

CANDIDATES = 20_000


def setUpModule():
    global served
    limits = ["--threads", "1", "--max-queue", "2", "--max-candidates", str(CANDIDATES)]
    served = Server(MODEL, *limits, "--timeout-ms", "20000", folder=world().folder)


def tearDownModule():
    status = served.stop()
    assert status == 0, f"ncs serve ended with {status}"


class Limits(unittest.TestCase):
    def setUp(self):
        question = world().question()
        self.few = question.arrays()
        repeated = lambda array: np.resize(array, (CANDIDATES, *array.shape[1:]))
        of_context = lambda array: len(array) == 1
        self.many = {
            name: array if of_context(array) else repeated(array) for name, array in self.few.items()
        }

    def client(self, over, address):
        client = over.client(address)
        self.addCleanup(client.close)
        return client

    def ask_grpc(self, n):
        """Large requests under way, and the queue that hears their ends."""
        client = self.client(Grpc, served.grpc)
        ends = queue.Queue()
        inputs = [Grpc.input(name, array) for name, array in self.many.items()]
        for _ in range(n):
            client.async_infer(MODEL, inputs, lambda result, error: ends.put(error))
        return ends

    def test_the_deadline_of_a_call(self):
        client = self.client(Grpc, served.grpc)
        inputs = [Grpc.input(name, array) for name, array in self.many.items()]
        # Longer than the client takes to send it, and shorter than it takes to answer.
        with self.assertRaises(InferenceServerException) as caught:
            client.infer(MODEL, inputs, client_timeout=0.004)
        self.assertEqual(caught.exception.status(), "StatusCode.DEADLINE_EXCEEDED")
        client.infer(MODEL, inputs, client_timeout=WAIT)

    def test_too_many_over_grpc(self):
        ends = self.ask_grpc(20)
        errors = [ends.get(timeout=WAIT) for _ in range(20)]
        refused = [error for error in errors if error is not None]
        self.assertTrue(0 < len(refused) < 20, len(refused))
        for error in refused:
            self.assertEqual(error.status(), "StatusCode.RESOURCE_EXHAUSTED")
            self.assertIn("wait", error.message())
        few = [Grpc.input(name, array) for name, array in self.few.items()]
        self.client(Grpc, served.grpc).infer(MODEL, few)

    def test_too_many_over_http(self):
        inputs = [Http.input(name, array) for name, array in self.many.items()]
        body, length = Http.module.InferenceServerClient.generate_request_body(inputs)
        headers = {"Inference-Header-Content-Length": str(length)}
        path = f"http://{served.http}/v2/models/{MODEL}/infer"
        ask = lambda _: requests.post(path, data=body, headers=headers, timeout=WAIT)
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(ask, range(16)))
        self.assertEqual({answer.status_code for answer in answers}, {200, 503})
        for answer in answers:
            if answer.status_code == 503:
                self.assertEqual(answer.headers["Retry-After"], "1")
                self.assertIn("wait", answer.json()["error"])
        live = requests.get(f"http://{served.http}/v2/health/live", timeout=WAIT)
        self.assertEqual(live.status_code, 200)
