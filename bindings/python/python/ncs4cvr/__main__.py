"""Entry point of ``python -m ncs4cvr``, the command line ``ncs``."""

from __future__ import annotations

import sys

from . import _core
from ._verbs import PROGRAM


def main() -> int:
    """Runs the command line; returns its exit code."""
    return _core.main(sys.argv[1:], PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
