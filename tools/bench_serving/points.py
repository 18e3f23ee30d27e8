"""What is measured: the calls of one repetition, in their order."""

from __future__ import annotations

from dataclasses import dataclass

WIRES = ("rank-json", "infer-http", "rank-grpc", "infer-grpc")
FORMS = ("strings", "integers")
THREADS = (1, 2)

# The load that the open loop is a half of.
OPEN_WIRES = ("rank-json", "infer-grpc")
OPEN_FORM = "strings"
OPEN_CONNECTIONS = 64


@dataclass(frozen=True)
class Scoring:
    """Our scorer, or ONNX Runtime, without a server."""

    engine: str
    threads: int
    values: str = "ids"
    # Requests at a time; ONNX Runtime can share one between the threads.
    together: int = 1


@dataclass(frozen=True)
class Serving:
    """A server, and where it and its callers run."""

    threads: int
    # On a core of their own each, or wherever the system has them.
    pinned: bool


@dataclass(frozen=True)
class Load:
    """Callers of a server, each as fast as it is answered."""

    wire: str
    values: str
    connections: int


def scorings() -> list[Scoring]:
    """Ours and the peer by turns."""
    return [
        Scoring("ours", 1),
        Scoring("onnxruntime", 1),
        Scoring("ours", 2, together=2),
        Scoring("onnxruntime", 2),
        Scoring("ours", 1, "strings"),
        Scoring("onnxruntime", 2, together=2),
        Scoring("ours", 1, "integers"),
        Scoring("ours", 2, "strings", together=2),
        Scoring("ours", 2, "integers", together=2),
    ]


def servings(can_pin: bool) -> list[Serving]:
    """All servers."""
    one = [Serving(1, pinned=True)] if can_pin else []
    return [*one, *(Serving(threads, pinned=False) for threads in THREADS)]


def throughput_connections(threads: int) -> int:
    """Enough that no thread of the server waits for the callers."""
    return threads + 2


def loads(serving: Serving) -> list[Load]:
    """One caller for latency, then enough for throughput."""
    many = throughput_connections(serving.threads)
    return [
        Load(wire, values, connections)
        for wire in WIRES
        for values in FORMS
        for connections in (1, many)
    ]
