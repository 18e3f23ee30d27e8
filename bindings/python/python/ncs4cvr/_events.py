"""What happens in a training, for callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Protocol, Union


@dataclass(frozen=True)
class PhaseStarted:
    """A training begins or goes on: ``train``, or a round of a search such as ``search/ctr/round-1``."""

    phase: str
    #: Steps that it takes at most, and those that were done before.
    total_steps: int
    done: int
    #: Whether nothing is left to do.
    finished: bool


@dataclass(frozen=True)
class Validated:
    """A task was validated."""

    phase: str
    step: int
    epoch: float
    task: str
    #: Mean training loss since the last validation.
    train_loss: float | None
    validation_loss: float
    #: ``AUC`` or ``squared error``, and its value on the validation rows.
    metric: str
    value: float
    #: Whether it is the best so far.
    best: bool


@dataclass(frozen=True)
class PhaseEnded:
    """A training ended, and why."""

    phase: str
    steps: int
    reason: str


@dataclass(frozen=True)
class Noted:
    """Something worth a line in the log."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The run is finished: its figures by name, such as ``test/ctr/auc``, and its folder."""

    metrics: dict[str, float]
    path: str


Event = Union[PhaseStarted, Validated, PhaseEnded, Noted, Ended]


class Callback(Protocol):
    """Hears what happens in a training, on the thread that called it. What it raises stops the run, which can be resumed, and is raised by train."""

    def __call__(self, event: Event, /) -> None: ...


_KINDS: dict[str, Callable[..., Event]] = {
    "began": PhaseStarted,
    "validated": Validated,
    "ended": PhaseEnded,
    "noted": Noted,
}


def event_of(said: dict[str, Any]) -> Event:
    """The event that the core tells as a dictionary."""
    values = dict(said)
    return _KINDS[values.pop("kind")](**values)
