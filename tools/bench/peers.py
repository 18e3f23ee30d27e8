"""What training and scoring cost in PyTorch and ONNX Runtime: one JSON object a line.

    python3 peers.py step --batch 4096 --table-rows 10000000
    python3 peers.py search --rounds 5 --density 0.2 0.2
    python3 peers.py score --candidates 1 64 500 --engines onnxruntime pytorch
    python3 peers.py versions

Times are medians after a warm-up; `cpu_ms` counts all threads of the process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator


def main() -> None:
    """Measures what the arguments ask for."""
    args = arguments().parse_args()
    # Before the import: its thread pools are made then.
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    quiet()
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    for record in args.measure(args):
        print(json.dumps(record), flush=True)


def quiet() -> None:
    """Keeps the exporter's remarks out of the output."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)

    def kind(name: str, measure: Callable[[argparse.Namespace], Iterator[dict]]):
        sub = kinds.add_parser(name)
        sub.set_defaults(measure=measure)
        sub.add_argument("--threads", type=int, default=1)
        sub.add_argument("--density", type=float, nargs=2, default=[0.2, 0.2], metavar="D")
        sub.add_argument("--table-rows", type=int, default=10_000_000)
        sub.add_argument("--samples", type=int, default=9)
        return sub

    for name, measure in [("step", step), ("search", search)]:
        sub = kind(name, measure)
        sub.add_argument("--batch", type=int, default=4096)
        sub.add_argument("--width", type=int, default=1)
        sub.add_argument("--variants", nargs="+", default=["eager"], help="of a step: see variants.py")
    sub.add_argument("--rounds", type=int, default=5)
    sub.add_argument("--steps-per-level", type=int, default=250)
    sub = kind("score", score)
    sub.add_argument("--candidates", type=int, nargs="+", default=[1, 64, 500])
    sub.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), default=["onnxruntime", "pytorch"]
    )
    kind("versions", versions)
    return parser


def step(args: argparse.Namespace) -> Iterator[dict]:
    """A joint step: CTR on all rows, CVR on the clicked ones, embeddings and optimizers included.

    PyTorch multiplies by the zeros, so its time is the same for every density, but with `torch.sparse`.
    """
    import network
    from measure import median_cost
    from workload import N_BATCHES

    trained = Training(args)
    densities = list(args.density)
    trained.layers.masks = [network.random_mask(trained.layers.hidden, d) for d in densities]
    batches = network.Batches(trained.size)
    for variant in args.variants:
        work = trained.joint_step(batches, variant)
        cost = median_cost(work, args.samples, warm_up=N_BATCHES)
        yield {
            **base(args, "step", "pytorch"),
            "variant": variant,
            "density_matters": variant == "torch.sparse",
            "batch": args.batch,
            "width": args.width,
            "table_rows": args.table_rows,
            **costs(cost, args.batch),
        }


def search(args: argparse.Namespace) -> Iterator[dict]:
    """A mask search of both tasks, one after the other, scaled up from a few steps a level.

    Every level is trained from the whole network (level 0) to the last mask, CVR on clicked rows
    only; between levels the smallest connections go. What is printed is the cost of
    `--steps-per-level` steps at each level's median, plus the prunings.
    """
    import network

    levels: list[dict] = []
    total = {"cpu_ms": 0.0, "wall_ms": 0.0}
    for task, name in enumerate(network.TASKS):
        for level in levels_of(args, task):
            levels.append({"task": name, **level})
            for key in total:
                steps = args.steps_per_level * level[key]
                total[key] += steps + level[f"prune_{key}"]
    n_steps = args.steps_per_level * (args.rounds + 1)
    yield {
        **base(args, "search", "pytorch"),
        "batch": args.batch,
        "width": args.width,
        "table_rows": args.table_rows,
        "rounds": args.rounds,
        "steps_per_level": args.steps_per_level,
        **total,
        # Of the log, each row of which passes once a level.
        "rows_per_s": n_steps * args.batch / total["wall_ms"] * 1e3,
        "peak_rss_mb": peak(),
        "n": args.samples,
        "levels": levels,
    }


def levels_of(args: argparse.Namespace, task: int) -> Iterator[dict]:
    """The median step of each level of one task's search, and the pruning after it."""
    import network
    from measure import Cost, median_cost, once
    from workload import level_densities

    trained = Training(args, task)
    batches = network.Batches(trained.size, only_clicked=task == 1)
    rate = 1 - args.density[task] ** (1 / args.rounds)
    for level, density in enumerate(level_densities(args.density[task], args.rounds)):
        # The first level meets fresh memory.
        warm_up = len(batches.ids) if level == 0 else 2
        trained.renew_optimizer(task)
        cost = median_cost(trained.task_step(batches, task), args.samples, warm_up)
        pruning = Cost(0.0, 0.0, 0)
        if level < args.rounds:
            pruning = once(lambda: trained.prune(task, rate))
        yield {
            "density": round(density, 4),
            "cpu_ms": cost.cpu_ms,
            "wall_ms": cost.wall_ms,
            "prune_cpu_ms": pruning.cpu_ms,
            "prune_wall_ms": pruning.wall_ms,
        }


class Training:
    """A network in training: fused Adam for the layers, sparse Adam for the table."""

    def __init__(self, args: argparse.Namespace, task: int | None = None) -> None:
        import network
        import torch
        from workload import Size

        self.size = Size(args.batch, args.width, args.table_rows)
        self.table = network.Table(args.table_rows)
        self.layers = network.Layers(self.size)
        self.of_table = torch.optim.SparseAdam(self.table.parameters(), lr=1e-3)
        self.renew_optimizer(task)

    def renew_optimizer(self, task: int | None) -> None:
        """Forgets the moments of the layers: every level of a search starts without any."""
        import torch

        layers = self.layers
        moved = layers.parameters() if task is None else layers.parameters_of(task)
        self.of_layers = torch.optim.Adam(moved, lr=1e-3, fused=True)

    def joint_step(self, batches, variant: str) -> Callable[[], None]:
        """A step for the sum of both losses."""
        import variants

        loss = variants.loss(variant, self.layers, batches)

        def work() -> None:
            self.forget_gradients()
            loss(self.table(batches.next_ids(), batches.offsets)).backward()
            self.move()

        return work

    def task_step(self, batches, task: int) -> Callable[[], None]:
        """A step for one task; the batches hold its rows only."""
        import network
        import torch.nn.functional as F

        def work() -> None:
            self.forget_gradients()
            x = network.interaction(self.table(batches.next_ids(), batches.offsets))
            logits = self.layers(x, task)
            if task == 0:
                loss = network.focal(logits, batches.click_labels)
            else:
                loss = F.binary_cross_entropy_with_logits(logits, batches.conversion_labels)
            loss.backward()
            self.move()

        return work

    def forget_gradients(self) -> None:
        """No gradient is left from the step before."""
        self.of_layers.zero_grad(set_to_none=True)
        self.of_table.zero_grad(set_to_none=True)

    def move(self) -> None:
        """Both optimizers take their step."""
        self.of_layers.step()
        self.of_table.step()

    def prune(self, task: int, rate: float) -> None:
        """The smallest of the task's kept connections go."""
        import network

        mask = self.layers.masks[task]
        self.layers.masks[task] = network.prune_smallest(self.layers.hidden, mask, rate)


def score(args: argparse.Namespace) -> Iterator[dict]:
    """Probabilities of both tasks for one user and some candidates."""
    import network
    import torch
    import workload
    from measure import median_cost

    model = network.ScoringNetwork(tuple(args.density), args.table_rows).eval()
    for candidates in args.candidates:
        single, lists = workload.request_ids(candidates, args.table_rows)
        inputs = (torch.from_numpy(single), torch.from_numpy(lists))
        for engine in args.engines:
            with torch.no_grad():
                work = ENGINES[engine](model, inputs, args.threads)
                calls = max(1, 2000 // (candidates + 40))
                cost = median_cost(work, args.samples, 3, calls)
            yield {
                **base(args, "score", engine),
                "density_matters": False,
                "table_rows": args.table_rows,
                "candidates": candidates,
                **costs(cost, candidates),
            }


def eager(model, inputs, threads: int) -> Callable[[], object]:
    """PyTorch as it is."""
    return lambda: model(*inputs)


def compiled(model, inputs, threads: int) -> Callable[[], object]:
    """torch.compile, weights frozen; needs a C++ compiler."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    program = torch.compile(model, dynamic=False)
    return lambda: program(*inputs)


def onnx_session(model, inputs, threads: int) -> Callable[[], object]:
    """ONNX Runtime on the exported network, of exactly this number of candidates."""
    import numpy as np
    import onnxruntime
    import torch

    program = torch.onnx.export(model, inputs, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    proto = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    feed = {i.name: ids.numpy() for i, ids in zip(session.get_inputs(), inputs)}
    expected = model(*inputs).numpy()
    assert np.allclose(session.run(None, feed)[0], expected, atol=1e-4), "the export differs"
    return lambda: session.run(None, feed)


ENGINES = {"onnxruntime": onnx_session, "pytorch": eager, "torch.compile": compiled}


def versions(args: argparse.Namespace) -> Iterator[dict]:
    """What runs here."""
    import numpy
    import onnxruntime
    import torch

    yield {
        "what": "versions",
        "torch": torch.__version__,
        "torch_blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "torch_simd": torch.backends.cpu.get_cpu_capability(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
    }


def base(args: argparse.Namespace, what: str, engine: str) -> dict:
    """What every record says first."""
    return {
        "what": what,
        "engine": engine,
        "density": list(args.density),
        "threads": args.threads,
    }


def costs(cost, rows: int) -> dict:
    """What every record says last."""
    return {
        "cpu_ms": cost.cpu_ms,
        "wall_ms": cost.wall_ms,
        "rows_per_s": rows / cost.wall_ms * 1e3,
        "peak_rss_mb": peak(),
        "n": cost.n,
    }


def peak() -> float:
    """The most memory held so far, MB."""
    from measure import peak_rss_mb

    return peak_rss_mb()


if __name__ == "__main__":
    main()
