"""Starts `ncs serve`, and ends it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

READY = re.compile(r"^ready http=(\S+) grpc=(\S+) admin=(\S+)$")


class Server:
    """A server on ports of its own, from `with` to its end."""

    def __init__(self, program: Path, model: Path, threads: int, core: int | None) -> None:
        words = [str(program), "serve", f"paper={model}", "--threads", str(threads)]
        words += ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0", "--log-level", "warn"]
        self.command = on_core(words, core)

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.http, self.grpc = addresses(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def address(self, wire: str) -> str:
        """The port that speaks it."""
        return self.grpc if wire.endswith("grpc") else self.http


def addresses(line: str) -> tuple[str, str]:
    """Of HTTP and of gRPC, from what the server says once it answers.

    Raises ValueError where it says something else.
    """
    found = READY.match(line.strip())
    if not found:
        raise ValueError(f"the server did not get ready; it printed {line!r}")
    return found[1], found[2]


def on_core(command: list[str], core: int | None) -> list[str]:
    """The command, kept on one core."""
    return command if core is None else ["taskset", "-c", str(core), *command]
