"""tritonclient over HTTP and gRPC: metadata, tensors in and out, refusals."""

import queue
import unittest

import numpy as np
import requests
from tritonclient.utils import InferenceServerException

from server import MODEL, OUTPUTS, TOKEN, WAIT, Grpc, Http, Server, texts, world

CLOSE = 1e-6


def setUpModule():
    global served
    served = Server(MODEL, "--max-candidates", "100", folder=world().folder)


def tearDownModule():
    status = served.stop()
    assert status == 0, f"ncs serve ended with {status}"


class Protocol:
    """What holds over both protocols; each is a test case below."""

    def setUp(self):
        self.client = self.over.client(self.address())
        self.addCleanup(self.client.close)
        self.question = world().question()

    def inputs(self, arrays=None, binary=True):
        arrays = self.question.arrays() if arrays is None else arrays
        return [self.over.input(name, array, binary=binary) for name, array in arrays.items()]

    def infer(self, arrays=None, **arguments):
        return self.client.infer(MODEL, self.inputs(arrays), **arguments)

    def check(self, answer, version="2", question=None):
        expected = (question or self.question).expected[version]
        for place, name in enumerate(OUTPUTS):
            scores = answer.as_numpy(name)
            self.assertEqual(scores.dtype, np.float32)
            self.assertEqual(scores.shape, (len(expected),))
            np.testing.assert_allclose(scores, expected[:, place], rtol=0, atol=CLOSE)

    def refused(self, *parts, status=None, call=None, **arguments):
        with self.assertRaises(InferenceServerException) as caught:
            (call or self.infer)(**arguments)
        for part in parts:
            self.assertIn(part, caught.exception.message())
        self.assertEqual(caught.exception.status(), self.statuses[status or "invalid"])

    # Health and metadata

    def test_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready(MODEL))
        self.assertTrue(self.client.is_model_ready(MODEL, "2"))
        self.assertFalse(self.client.is_model_ready(MODEL, "7"))
        self.assertFalse(self.client.is_model_ready("other"))

    def test_server_metadata(self):
        metadata = self.json(self.client.get_server_metadata)
        self.assertEqual(metadata["name"], "ncs4cvr")
        self.assertIn("binary_tensor_data", metadata["extensions"])

    def test_model_metadata(self):
        metadata = self.json(self.client.get_model_metadata, MODEL)
        self.assertEqual(metadata["name"], MODEL)
        self.assertEqual(metadata["versions"], ["2"])
        inputs = {tensor["name"]: tensor for tensor in metadata["inputs"]}
        names = [name for name in self.question.arrays() if name != "tags:lengths"]
        self.assertEqual(sorted(inputs), sorted(names))
        self.assertEqual(inputs["user"]["datatype"], "BYTES")
        self.assertEqual(inputs["price"]["datatype"], "FP64")
        self.assertEqual([int(size) for size in inputs["tags"]["shape"]], [-1, -1])
        self.assertEqual([tensor["name"] for tensor in metadata["outputs"]], OUTPUTS)

    def test_config(self):
        config = self.json(self.client.get_model_config, MODEL)
        config = config.get("config", config)
        self.assertEqual(config["name"], MODEL)
        self.assertEqual(config["backend"], "ncs4cvr")
        types = {tensor["name"]: tensor["data_type"] for tensor in config["input"]}
        self.assertEqual(types["user"], "TYPE_STRING")
        self.assertEqual(types["price"], "TYPE_FP64")

    def test_statistics_count_candidates(self):
        count = lambda: int(self.statistics().get("inference_count", 0))
        before = count()
        self.infer()
        self.assertEqual(count() - before, self.question.n)
        success = self.statistics()["inference_stats"]["success"]
        self.assertGreater(int(success["ns"]), 0)

    def statistics(self):
        statistics = self.json(self.client.get_inference_statistics, MODEL)
        [of_model] = statistics["model_stats"]
        self.assertEqual((of_model["name"], of_model["version"]), (MODEL, "2"))
        return of_model

    # Tensors

    def test_scores_are_those_of_ncs_score(self):
        for number in range(40):
            question = world().question(number)
            self.check(self.infer(question.arrays()), question=question)

    def test_whole_rows(self):
        arrays = self.question.arrays()
        for name, array in arrays.items():
            if len(array) == 1:
                arrays[name] = np.repeat(array, self.question.n)
        self.check(self.infer(arrays))

    def test_a_value_has_many_types(self):
        def check(name, change):
            arrays = self.question.arrays()
            arrays[name] = change(arrays[name])
            self.check(self.infer(arrays))

        check("user", lambda users: texts([str(user) for user in users]))
        check("user", lambda users: texts([str(user).encode() for user in users]))
        check("user", lambda users: users.astype(np.uint64))
        check("item", lambda items: items.astype(np.int32))
        check("hour", lambda hours: hours.astype(np.uint8))
        check("price", lambda prices: prices.astype(np.float32))
        check("item", lambda items: items.reshape(-1, 1))
        check("category", lambda texts: texts.reshape(-1, 1))
        check("tags:lengths", lambda lengths: lengths.astype(np.int64))

    def test_lists_of_one_length_need_no_lengths(self):
        arrays = self.question.arrays()
        lists = texts([["tag_1", "tag_2"]] * self.question.n)
        with_lengths = {"tags": lists, "tags:lengths": np.full(self.question.n, 2)}
        one = self.infer(arrays | with_lengths)
        del arrays["tags:lengths"]
        other = self.infer(arrays | {"tags": lists})
        np.testing.assert_array_equal(one.as_numpy("ctr"), other.as_numpy("ctr"))

    def test_an_empty_text_and_a_list_of_none_are_null(self):
        arrays = self.question.arrays()
        arrays["category"][0] = ""
        arrays["tags:lengths"][0] = 0
        arrays["price"] = arrays["price"].reshape(-1, 1)
        arrays["price:lengths"] = np.ones(self.question.n, dtype=np.int32)
        arrays["price:lengths"][0] = 0
        body = self.question.body()
        for name, null in [("category", None), ("tags", None), ("price", None)]:
            body["candidates"][name][0] = null
        ranked = requests.post(f"http://{served.http}/v2/models/{MODEL}/rank", json=body, timeout=WAIT)
        np.testing.assert_allclose(self.infer(arrays).as_numpy("ctr"), ranked.json()["scores"]["ctr"], atol=CLOSE)

    def test_requested_outputs(self):
        answer = self.infer(outputs=[self.over.output("ctcvr"), self.over.output("ctr")])
        self.assertIsNone(answer.as_numpy("cvr"))
        self.assertEqual(answer.as_numpy("ctcvr").shape, (self.question.n,))
        self.assertEqual(answer.as_numpy("ctr").shape, (self.question.n,))

    def test_the_id_comes_back(self):
        self.assertEqual(self.id_of(self.infer(request_id="17")), "17")
        self.assertNotEqual(self.id_of(self.infer()), "")
        self.assertEqual(self.id_of(self.infer(headers={"x-request-id": "of-header"})), "of-header")

    def test_a_version_is_answered_by_itself(self):
        self.check(self.infer(model_version="2"))
        self.refused("version 1 is not loaded; loaded are 2", status="absent", model_version="1")
        self.refused("is not a version number", model_version="newest")

    # Refusals

    def test_unknown_names(self):
        call = lambda **_: self.client.infer("fead", self.inputs())
        self.refused('no model "fead"', 'did you mean "feed"', status="absent", call=call)
        self.refused('no output "ctvr"', "did you mean", outputs=[self.over.output("ctvr")])
        extra = {"colour": texts(["red"])}
        self.refused('column "colour" is not a feature', arrays=self.question.arrays() | extra)
        label = {"click": np.zeros(self.question.n, dtype=np.int64)}
        self.refused("it is a label", arrays=self.question.arrays() | label)

    def test_a_missing_column(self):
        arrays = self.question.arrays()
        del arrays["price"]
        self.refused('column missing: "price"', "null where a value is unknown", arrays=arrays)

    def test_wrong_shapes(self):
        def check(change, *parts):
            self.refused(*parts, arrays=self.question.arrays() | change)

        n = self.question.n
        check({"price": np.ones(n - 1)}, 'input "price"', f"has {n - 1} rows", f"others have {n}")
        check({"price": np.ones((n, 1, 1))}, 'input "price"', "a column is [rows] or [rows, list]")
        check({"price": np.ones((n, 2))}, "price", "list")
        check({"tags:lengths": np.full(n, 99)}, 'input "tags"', "outside 0 to")
        check({"tags:lengths": np.full(n, -1)}, 'input "tags"', "outside 0 to")
        check({"tags:lengths": np.ones(n)}, 'input "tags"', "whole numbers")
        check({"tagz:lengths": np.ones(n, dtype=np.int64)}, "no input with lists of that name")

    def test_wrong_datatypes(self):
        arrays = self.question.arrays()
        arrays["price"] = texts(["cheap"] * self.question.n)
        self.refused("price", "cheap", arrays=arrays)
        # The client checks what it is given; a wrong name is put past it.
        for datatype, what in [
            ("COMPLEX64", 'no datatype "COMPLEX64"'),
            ("INT32", "8 bytes where the shape says 1 values of 4"),
        ]:
            inputs = self.inputs()
            self.set_datatype(inputs[0], datatype)
            call = lambda **_: self.client.infer(MODEL, inputs)
            self.refused('input "user"', what, call=call)

    def test_numbers_that_are_none(self):
        for number in [np.inf, -np.inf]:
            arrays = self.question.arrays()
            arrays["price"][1] = number
            self.refused("price", arrays=arrays)

    def test_too_many_candidates(self):
        arrays = self.question.arrays()
        arrays["item"] = np.zeros(101, dtype=np.int64)
        self.refused("more than 100 candidates", status="large", arrays=arrays)

    def test_no_candidates(self):
        arrays = self.question.arrays()
        answer = self.infer({name: array[:0] for name, array in arrays.items()})
        self.assertEqual(answer.as_numpy("ctr").shape, (0,))

    def test_shared_memory_traces_and_log_settings_are_not_had(self):
        def check(call, *arguments):
            self.refused("not supported", call=lambda: call(*arguments), status="unsupported")

        check(self.client.register_system_shared_memory, "region", "/region", 64)
        check(self.client.get_system_shared_memory_status)
        check(self.client.unregister_system_shared_memory)
        check(self.client.get_cuda_shared_memory_status)
        check(self.client.get_trace_settings)
        check(self.client.get_log_settings)

    def test_tensors_in_shared_memory_are_refused(self):
        inputs = self.inputs()
        inputs[0].set_shared_memory("region", 64)
        call = lambda **_: self.client.infer(MODEL, inputs)
        self.refused("shared memory", call=call)

    def test_the_port_for_questions_loads_nothing(self):
        headers = {"authorization": f"Bearer {TOKEN}"}
        for call in [self.client.load_model, self.client.unload_model]:
            self.refused("admin port", status="forbidden", call=lambda: call(MODEL, headers=headers))

    def test_a_time_limit(self):
        self.refused("no answer within 0 ms", status="late", timeout=1)
        self.check(self.infer(timeout=5_000_000))


class InferOverHttp(Protocol, unittest.TestCase):
    over = Http
    address = staticmethod(lambda: served.http)
    statuses = {
        "invalid": "400",
        "absent": "404",
        "forbidden": "403",
        "large": "413",
        "late": "504",
        "unsupported": "501",
    }
    json = staticmethod(lambda call, *arguments: call(*arguments))

    @staticmethod
    def id_of(answer):
        return answer.get_response()["id"]

    @staticmethod
    def set_datatype(tensor, datatype):
        tensor._datatype = datatype

    def test_tensors_in_the_json(self):
        outputs = [self.over.output(name, binary=False) for name in OUTPUTS]
        self.check(self.client.infer(MODEL, self.inputs(binary=False), outputs=outputs))
        mixed = [self.over.output("ctr"), *outputs[1:]]
        self.check(self.client.infer(MODEL, self.inputs(binary=False), outputs=mixed))
        self.check(self.client.infer(MODEL, self.inputs(), outputs=outputs))

    def test_compressed_requests_and_answers(self):
        for request in ["gzip", "deflate", None]:
            for response in ["gzip", "deflate", None]:
                arguments = {
                    "request_compression_algorithm": request,
                    "response_compression_algorithm": response,
                }
                self.check(self.infer(**arguments))
                # Large enough to be worth it, also where small answers are sent as they are.
                outputs = [self.over.output(name, binary=False) for name in OUTPUTS]
                self.check(self.infer(outputs=outputs, **arguments))

    def test_a_body_that_is_not_what_its_encoding_says(self):
        answer = requests.post(
            f"http://{served.http}/v2/models/{MODEL}/infer",
            data=b"no gzip",
            headers={"Content-Encoding": "gzip"},
            timeout=WAIT,
        )
        self.assertEqual(answer.status_code, 400)
        self.assertIn("gzip", answer.json()["error"])

    def test_many_at_once(self):
        client = self.over.client(served.http, concurrency=4)
        self.addCleanup(client.close)
        questions = [world().question(number) for number in range(20)]
        asked = [client.async_infer(MODEL, self.inputs(question.arrays())) for question in questions]
        for question, answer in zip(questions, asked):
            self.check(answer.get_result(timeout=WAIT), question=question)

    def test_the_header_for_a_time_limit(self):
        headers = {"X-Request-Timeout-Ms": "0"}
        self.refused("no answer within 0 ms", status="late", headers=headers)
        self.check(self.infer(headers={"X-Request-Timeout-Ms": "5000"}))

    def test_unknown_paths_answer_json(self):
        answer = requests.get(f"http://{served.http}/v1/models", timeout=WAIT)
        self.assertEqual(answer.status_code, 404)
        self.assertIn("nothing at /v1/models", answer.json()["error"])


class InferOverGrpc(Protocol, unittest.TestCase):
    over = Grpc
    address = staticmethod(lambda: served.grpc)
    statuses = {
        "invalid": "StatusCode.INVALID_ARGUMENT",
        "absent": "StatusCode.NOT_FOUND",
        "forbidden": "StatusCode.PERMISSION_DENIED",
        "large": "StatusCode.RESOURCE_EXHAUSTED",
        "late": "StatusCode.DEADLINE_EXCEEDED",
        "unsupported": "StatusCode.UNIMPLEMENTED",
    }

    @staticmethod
    def json(call, *arguments):
        return call(*arguments, as_json=True)

    @staticmethod
    def id_of(answer):
        return answer.get_response().id

    @staticmethod
    def set_datatype(tensor, datatype):
        tensor._input.datatype = datatype

    def test_compressed_messages(self):
        for algorithm in ["gzip", "deflate", None]:
            self.check(self.infer(compression_algorithm=algorithm))

    def test_many_at_once(self):
        answers = queue.Queue()
        questions = [world().question(number) for number in range(20)]
        for number, question in enumerate(questions):
            inputs = self.inputs(question.arrays())
            hear = lambda result, error: answers.put((result, error))
            self.client.async_infer(MODEL, inputs, hear, request_id=str(number))
        for _ in questions:
            answer, error = answers.get(timeout=WAIT)
            self.assertIsNone(error)
            self.check(answer, question=questions[int(self.id_of(answer))])

    def test_a_stream_answers_in_turn_and_survives_a_refusal(self):
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        self.addCleanup(self.client.stop_stream)
        wrong = self.question.arrays()
        del wrong["price"]
        for number in range(10):
            arrays = wrong if number == 4 else world().question(number).arrays()
            self.client.async_stream_infer(MODEL, self.inputs(arrays), request_id=str(number))
        for number in range(10):
            answer, error = answers.get(timeout=WAIT)
            if number == 4:
                self.assertIn('column missing: "price"', error.message())
                continue
            self.assertIsNone(error)
            self.assertEqual(self.id_of(answer), str(number))
            self.check(answer, question=world().question(number))

    def test_a_compressed_stream(self):
        answers = queue.Queue()
        hear = lambda result, error: answers.put((result, error))
        self.client.start_stream(hear, compression_algorithm="gzip")
        self.addCleanup(self.client.stop_stream)
        self.client.async_stream_infer(MODEL, self.inputs())
        answer, error = answers.get(timeout=WAIT)
        self.assertIsNone(error)
        self.check(answer)
