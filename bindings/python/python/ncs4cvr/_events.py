"""Training events for callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Protocol, Union


@dataclass(frozen=True)
class PhaseStarted:
    """A training phase starts or resumes: ``train``, or a round of a search such as ``search/ctr/round-1``."""

    phase: str
    #: Maximum number of steps; ``done`` is the number of steps completed earlier.
    total_steps: int
    done: int
    #: True if no steps are left.
    finished: bool


@dataclass(frozen=True)
class Validated:
    """A task was evaluated on the validation rows."""

    phase: str
    step: int
    epoch: float
    task: str
    #: Mean training loss since the last validation.
    train_loss: float | None
    validation_loss: float
    #: ``AUC`` or ``squared error``; ``value`` is the metric on the validation rows.
    metric: str
    value: float
    #: True if it is the best value so far.
    best: bool


@dataclass(frozen=True)
class PhaseEnded:
    """A training phase ended, with the reason."""

    phase: str
    steps: int
    reason: str


@dataclass(frozen=True)
class Noted:
    """A log message."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The run is finished: its metrics by name, such as ``test/ctr/auc``, and its folder."""

    metrics: dict[str, float]
    path: str


Event = Union[PhaseStarted, Validated, PhaseEnded, Noted, Ended]


class Callback(Protocol):
    """Receives training events on the thread that called ``train``.

    An exception in a callback stops the run, which can be resumed, and is raised by ``train``.
    """

    def __call__(self, event: Event, /) -> None: ...


_KINDS: dict[str, Callable[..., Event]] = {
    "began": PhaseStarted,
    "validated": Validated,
    "ended": PhaseEnded,
    "noted": Noted,
}


def event_of(fields: dict[str, Any]) -> Event:
    """Converts a dictionary from the core to an event."""
    values = dict(fields)
    return _KINDS[values.pop("kind")](**values)
