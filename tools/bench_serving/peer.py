"""What a request of 500 candidates costs in ONNX Runtime, in process: one JSON object.

    python3 peer.py score --folder target/bench_serving/peer --threads 2 --together 1
    python3 peer.py versions

The network is the masked one with its zeros in dense weights, as in `tools/bench/network.py`, and the
weights are those of our model: the scores must be ours, or there is no figure.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import latencies
from workload import DIM, HIDDEN, LIST_LENGTH, N_FIELDS, N_INPUTS, N_LISTS, N_SINGLE

ROWS = 500
N_TASKS = 2
WARM_UP_S = 0.5


def main() -> None:
    """Measures what the arguments ask for."""
    args = arguments().parse_args()
    print(json.dumps(args.work(args)), flush=True)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    sub = kinds.add_parser("score")
    sub.set_defaults(work=score)
    sub.add_argument("--folder", type=Path, required=True, help="written by `serving_cost model`")
    sub.add_argument("--threads", type=int, default=1, help="that share one request")
    sub.add_argument("--together", type=int, default=1, help="requests at a time")
    sub.add_argument("--seconds", type=float, default=5.0)
    kinds.add_parser("versions").set_defaults(work=versions)
    return parser


def versions(args: argparse.Namespace) -> dict:
    """What runs here."""
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__}


def score(args: argparse.Namespace) -> dict:
    """All requests in turn, as fast as they go."""
    feeds, expected = requests(args.folder)
    call = session(args.folder, args.threads)
    for feed, scores in zip(feeds, expected):
        assert np.allclose(call(feed).T, scores, atol=1e-5), "the scores are others than ours"
    found, wall, cpu = repeated(lambda turn: call(feeds[turn % len(feeds)]), args)
    return {
        "what": "score",
        "engine": "onnxruntime",
        "values": "ids",
        "threads": args.threads * args.together,
        "together": args.together,
        "cpu_ms": cpu * 1e3 / len(found),
        **latencies.summary(found, wall),
    }


def requests(folder: Path) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """The ids of each request, whole rows, and our scores `[request, task, row]`."""
    single = np.fromfile(folder / "single.i64", "<i8").reshape(-1, ROWS, N_SINGLE)
    lists = np.fromfile(folder / "lists.i64", "<i8").reshape(-1, ROWS, N_LISTS, LIST_LENGTH)
    scores = np.fromfile(folder / "scores.f32", "<f4").reshape(-1, N_TASKS, ROWS)
    return [{"single": s, "lists": l} for s, l in zip(single, lists)], scores


def repeated(
    work: Callable[[int], object], args: argparse.Namespace
) -> tuple[list[float], float, float]:
    """The seconds of each call, of all, and of CPU; `args.together` threads call at a time."""
    found: list[float] = []
    barrier = threading.Barrier(args.together + 1)

    def one(first: int) -> None:
        timed(work, first, WARM_UP_S)
        barrier.wait()
        found.extend(timed(work, first, args.seconds))

    threads = [threading.Thread(target=one, args=(7 * i,)) for i in range(args.together)]
    for thread in threads:
        thread.start()
    barrier.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def timed(work: Callable[[int], object], first: int, seconds: float) -> list[float]:
    """The seconds of each call, until the time is over."""
    found = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        work(first + len(found))
        found.append(time.perf_counter() - began)
    return found


def session(folder: Path, threads: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """ONNX Runtime on the network, ready to be called: `[rows, tasks]`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    runs = onnxruntime.InferenceSession(network(folder), options, providers=["CPUExecutionProvider"])
    return lambda feed: runs.run(None, feed)[0]


def network(folder: Path) -> bytes:
    """Ids to both tasks' probabilities, of exactly 500 rows, as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    stored, nodes = [], []

    def constant(name: str, values: np.ndarray) -> str:
        stored.append(numpy_helper.from_array(values, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def numbers(name: str, *shape: int) -> str:
        return constant(name, np.fromfile(folder / f"{name}.f32", "<f4").reshape(shape))

    def layer(x: str, name: str, inputs: int, outputs: int) -> str:
        weights = numbers(f"{name}.weights", inputs, outputs)
        return node("Gemm", [x, weights, numbers(f"{name}.bias", outputs)], f"{name}.z")

    def subnetwork(x: str, task: int) -> str:
        units = [N_INPUTS, *HIDDEN]
        for number, (inputs, outputs) in enumerate(zip(units, units[1:])):
            x = node("Relu", [layer(x, f"{task}.{number}", inputs, outputs)], f"{task}.{number}.a")
        return layer(x, f"{task}.head", HIDDEN[-1], 1)

    table = numbers("table", -1, DIM)
    items = node("Gather", [table, "lists"], "items")
    pooled = node("ReduceMean", [items, constant("of_list", np.array([2]))], "pooled", keepdims=0)
    vectors = node("Concat", [node("Gather", [table, "single"], "rows"), pooled], "vectors", axis=1)
    turned = node("Transpose", [vectors], "turned", perm=[0, 2, 1])
    gram = node("MatMul", [vectors, turned], "gram")
    wide = [constant(f"to_{n}", np.array([ROWS, n])) for n in (N_FIELDS**2, N_FIELDS * DIM)]
    parts = [node("Reshape", [gram, wide[0]], "flat_gram")]
    parts.append(node("Reshape", [vectors, wide[1]], "flat_vectors"))
    x = node("Concat", parts, "x", axis=1)
    logits = node("Concat", [subnetwork(x, task) for task in range(N_TASKS)], "logits", axis=1)
    node("Sigmoid", [logits], "scores")

    def value(name: str, kind: int, *shape: int):
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "masked network, dense",
        [
            value("single", TensorProto.INT64, ROWS, N_SINGLE),
            value("lists", TensorProto.INT64, ROWS, N_LISTS, LIST_LENGTH),
        ],
        [value("scores", TensorProto.FLOAT, ROWS, N_TASKS)],
        stored,
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return model.SerializeToString()


if __name__ == "__main__":
    main()
