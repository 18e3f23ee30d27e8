"""The admin port: index, load, unload, labels and the canary, over both protocols."""

import shutil
import unittest

import requests
from tritonclient.utils import InferenceServerException

from server import MODEL, TOKEN, WAIT, Grpc, Http, Server, world

HEADERS = {"authorization": f"Bearer {TOKEN}"}


class Admin:
    """A server of its own for each test, of a copy of the versions that it may change."""

    def setUp(self):
        self.folder = world().folder / "changing"
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        for version in ["1", "2"]:
            shutil.copytree(world().folder / MODEL / version / "model", self.folder / MODEL / version)
        self.served = Server(MODEL, folder=self.folder)
        self.addCleanup(self.stop)
        self.client = self.over.client(getattr(self.served, self.port))
        self.addCleanup(self.client.close)
        self.admin = self.over.client(self.served.admin)
        self.addCleanup(self.admin.close)
        self.question = world().question()

    def stop(self):
        self.assertEqual(self.served.stop(), 0)

    def answered_by(self, **arguments):
        arrays = self.question.arrays()
        inputs = [self.over.input(name, array) for name, array in arrays.items()]
        response = self.client.infer(MODEL, inputs, **arguments).get_response()
        return response["model_version"] if isinstance(response, dict) else response.model_version

    def set_labels(self, labels, status=200, headers=HEADERS):
        path = f"http://{self.served.admin}/v2/models/{MODEL}/labels"
        answer = requests.put(path, json=labels, headers=headers, timeout=WAIT)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer.json()

    def refused(self, status, part, call, *arguments, **named):
        with self.assertRaises(InferenceServerException) as caught:
            call(*arguments, **named)
        self.assertIn(part, caught.exception.message())
        self.assertIn(caught.exception.status(), status)

    def index(self):
        found = self.json(self.admin.get_model_repository_index)
        found = found if isinstance(found, list) else found["models"]
        return {(entry["name"], entry["version"]): entry["state"] for entry in found}

    def test_unload_and_load(self):
        self.assertEqual(self.index(), {(MODEL, "1"): "UNAVAILABLE", (MODEL, "2"): "READY"})
        self.admin.unload_model(MODEL, headers=HEADERS)
        self.assertFalse(self.client.is_model_ready(MODEL))
        self.refused(["404", "StatusCode.NOT_FOUND"], 'no model', self.answered_by)
        self.admin.load_model(MODEL, headers=HEADERS)
        self.assertTrue(self.client.is_model_ready(MODEL))
        self.assertEqual(self.answered_by(), "2")

    def test_a_new_version_is_loaded_by_a_call(self):
        shutil.copytree(self.folder / MODEL / "1", self.folder / MODEL / "3")
        self.assertEqual(self.answered_by(), "2")
        self.admin.load_model(MODEL, headers=HEADERS)
        self.assertEqual(self.answered_by(), "3")

    def test_a_broken_version_leaves_the_old_one(self):
        broken = self.folder / MODEL / "3"
        shutil.copytree(self.folder / MODEL / "1", broken)
        weights = next(path for path in sorted(broken.iterdir()) if path.suffix == ".safetensors")
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        status = ["400", "StatusCode.INVALID_ARGUMENT"]
        self.refused(status, "version 3", self.admin.load_model, MODEL, headers=HEADERS)
        self.assertEqual(self.answered_by(), "2")
        self.assertEqual(self.index()[MODEL, "3"], "UNAVAILABLE")

    def test_the_token(self):
        status = ["401", "StatusCode.UNAUTHENTICATED"]
        for headers in [None, {"authorization": "Bearer other-token"}, {"authorization": TOKEN}]:
            for call in [self.admin.load_model, self.admin.unload_model]:
                self.refused(status, "needs the server's token", call, MODEL, headers=headers)
            self.set_labels({}, status=401, headers=headers)
        self.assertEqual(self.answered_by(), "2")

    def test_models_are_loaded_as_they_are(self):
        status = ["501", "StatusCode.UNIMPLEMENTED"]
        load = self.admin.load_model
        self.refused(status, "from their folders", load, MODEL, headers=HEADERS, config="{}")
        status = ["404", "StatusCode.NOT_FOUND"]
        self.refused(status, 'no model "fead"', load, "fead", headers=HEADERS)

    def test_labels_and_the_canary(self):
        self.set_labels({"stable": 1, "canary": {"version": 2, "share": 0.5}})
        by_label = lambda label: self.answered_by(parameters={"label": label})
        self.assertEqual(by_label("stable"), "1")
        self.assertEqual(by_label("canary"), "2")
        status = ["404", "StatusCode.NOT_FOUND"]
        self.refused(status, '"canari" is not a label', by_label, "canari")
        both = {"parameters": {"label": "stable"}, "model_version": "2"}
        self.refused(["400", "StatusCode.INVALID_ARGUMENT"], "say one", self.answered_by, **both)
        by_user = lambda: {
            user: self.answered_by(parameters={"user": str(user)}) for user in range(60)
        }
        versions = by_user()
        self.assertEqual(by_user(), versions)
        self.assertTrue(15 < list(versions.values()).count("2") < 45, versions)
        # A whole number names the same user.
        for user in range(5):
            self.assertEqual(self.answered_by(parameters={"user": user}), versions[user])
        self.set_labels({"stable": 1, "canary": {"version": 2, "share": 0.0}})
        self.assertEqual(set(by_user().values()), {"1"})

    def test_labels_that_cannot_be(self):
        self.assertIn("share", self.set_labels({"canary": {"version": 2, "share": 2}}, 400)["error"])
        self.assertIn("version 9", self.set_labels({"stable": 9}, 400)["error"])
        self.assertIn("stabel", self.set_labels({"stabel": 1}, 400)["error"])
        self.assertEqual(self.answered_by(), "2")


class AdminOverHttp(Admin, unittest.TestCase):
    over = Http
    port = "http"
    json = staticmethod(lambda call: call(headers=HEADERS))


class AdminOverGrpc(Admin, unittest.TestCase):
    over = Grpc
    port = "grpc"
    json = staticmethod(lambda call: call(headers=HEADERS, as_json=True))
