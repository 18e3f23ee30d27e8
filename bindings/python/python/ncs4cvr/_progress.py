"""Progress of long calls: a tqdm bar if tqdm is installed and progress is on, otherwise lines."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class Watcher(Protocol):
    """Receiver of progress from the core."""

    def began(self, title: str, total: int | None, units: str, done: int) -> None: ...
    def reached(self, done: int) -> None: ...
    def ended(self) -> None: ...
    def message(self, text: str) -> None: ...


class Bars:
    """One tqdm bar per job; messages are printed above it."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def began(self, title: str, total: int | None, units: str, done: int) -> None:
        self.ended()
        self._bar = self._tqdm(total=total, initial=done, desc=title, unit=f" {units}", leave=False)

    def reached(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def ended(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def message(self, text: str) -> None:
        self._tqdm.write(text, file=sys.stderr)


class Lines:
    """Messages only, for use without tqdm."""

    def began(self, title: str, total: int | None, units: str, done: int) -> None: ...
    def reached(self, done: int) -> None: ...
    def ended(self) -> None: ...

    def message(self, text: str) -> None:
        print(text, file=sys.stderr)


def watcher(progress: bool | None) -> Watcher | None:
    """Returns a watcher, or None for no progress. ``progress=None``: only in notebooks and on terminals."""
    if progress is None:
        progress = _is_watched()
    if not progress:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return Lines()
    return Bars(tqdm)


def _is_watched() -> bool:
    shell = sys.modules.get("IPython")
    if shell is not None and shell.get_ipython() is not None:
        return True
    return sys.stderr is not None and sys.stderr.isatty()
