"""Scores candidates with NVIDIA's tritonclient, over HTTP and over gRPC.

    pip install 'tritonclient[grpc,http]'
    python triton.py [127.0.0.1:8000] [127.0.0.1:8001] [MODEL]

The server speaks the Open Inference Protocol, so that clients for Triton or KServe work as they are.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

ADDRESSES = {
    tritonclient.http: sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000",
    tritonclient.grpc: sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8001",
}
MODEL = sys.argv[3] if len(sys.argv) > 3 else "feed"


def tensors(context, candidates):
    """Columns as arrays: `[1, ...]` of the context, `[N, ...]` of the candidates."""
    arrays = {}
    for name, value in context.items():
        arrays |= tensor(name, [value])
    for name, values in candidates.items():
        arrays |= tensor(name, values)
    return arrays


def tensor(name, values):
    """A column as an array; lists and unknown values as `[N, L]` with a tensor that says how many of L count."""
    has_lists = any(isinstance(value, list) for value in values)
    if not has_lists and None not in values:
        return {name: array(values)}
    # An unknown value is a list of none.
    lists = [value if isinstance(value, list) else [value] * (value is not None) for value in values]
    width = max(1, max(map(len, lists)))
    filler = next((0 if isinstance(x, (int, float)) else "" for list in lists for x in list), "")
    rows = [row + [filler] * (width - len(row)) for row in lists]
    lengths = np.array([len(row) for row in lists], dtype=np.int32)
    return {name: array(rows), f"{name}:lengths": lengths}


def array(values):
    found = np.array(values)
    return found.astype(np.object_) if found.dtype.kind == "U" else found


def infer(over, arrays):
    """The scores of all candidates, by output."""
    client = over.InferenceServerClient(ADDRESSES[over])  # keep one for all requests
    inputs = []
    for name, values in arrays.items():
        tensor = over.InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    outputs = [over.InferRequestedOutput(name) for name in ["ctr", "cvr", "ctcvr"]]
    answer = client.infer(
        MODEL,
        inputs,
        outputs=outputs,
        request_id="example-2",
        timeout=500_000,  # microseconds, for the server; over gRPC also client_timeout=0.5, seconds
        parameters={"user": "582"},  # says who gets the canary; or {"label": "canary"}
    )
    scores = {output.name(): answer.as_numpy(output.name()) for output in outputs}
    client.close()
    return scores


REQUEST = json.loads((Path(__file__).parent / "request.json").read_text())
ARRAYS = tensors(**REQUEST)
for over in [tritonclient.http, tritonclient.grpc]:
    for name, scores in infer(over, ARRAYS).items():
        print(over.__name__, name, " ".join(f"{score:.4f}" for score in scores))
