"""What a run can write down, and the twin that writes nothing. Knows no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image
    from torch import nn

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | int | float | bool | None


class MetricPoint(NamedTuple):
    """One value of one metric at one optimiser step."""

    name: str
    value: float
    step: int


@dataclass(frozen=True)
class RunRecord:
    """What a store holds of one run; `metrics` are the last values, times are seconds since 1970.

    `status` is one of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED. `ended_s` is None while it runs.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    started_s: float
    ended_s: float | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    parent_run_id: str | None


class Tracker(Protocol):
    """The record of one run.

    Metrics and artifacts are taken down at once and written behind the caller's back, in order; parameters, tags and
    models are written before the call returns. Artifact names are relative and may have folders: `pictures/a.png`.
    """

    def log_params(self, params: Mapping[str, Scalar]) -> None:
        """Write what the run was started with; a parameter cannot change its value later."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write the values of one step."""

    def log_metric_history(self, points: Iterable[MetricPoint]) -> None:
        """Write the values of many steps together."""

    def log_text(self, name: str, text: str) -> None:
        """Write a text file."""

    def log_json(self, name: str, value: Any) -> None:
        """Write a JSON file."""

    def log_image(self, name: str, image: Image.Image) -> None:
        """Write a picture in the format that the name ends with."""

    def log_figure(self, name: str, figure: Figure) -> None:
        """Write a figure in the format that the name ends with; the caller closes it."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Copy a file into a folder of the run."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def log_model(self, name: str, module: nn.Module, input_example: np.ndarray, step: int = 0) -> str:
        """Store a network for use elsewhere and return its URI, empty if nothing was stored.

        Args:
            name: of the model within its experiment.
            module: in eval mode, on the CPU.
            input_example: `(B, …)` with B ≥ 2, or the stored graph would hold for one batch size only.
            step: optimiser step after which the network is stored.
        """
        ...

    def flush(self) -> bool:
        """Wait within a bound until everything so far is written, and say whether it is."""
        ...

    def finish(self, status: RunStatus) -> int:
        """Write what is outstanding within a bound, end the run, and return how many writings were lost."""
        ...

    def detach(self) -> int:
        """Do the same, but leave the run open for another process that goes on with it."""
        ...


class NullTracker:
    """A tracker that writes nothing."""

    def log_params(self, params: Mapping[str, Scalar]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def log_metric_history(self, points: Iterable[MetricPoint]) -> None:
        """Do nothing."""

    def log_text(self, name: str, text: str) -> None:
        """Do nothing."""

    def log_json(self, name: str, value: Any) -> None:
        """Do nothing."""

    def log_image(self, name: str, image: Image.Image) -> None:
        """Do nothing."""

    def log_figure(self, name: str, figure: Figure) -> None:
        """Do nothing."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Do nothing."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def log_model(self, name: str, module: nn.Module, input_example: np.ndarray, step: int = 0) -> str:  # noqa: ARG002
        """Store nothing; there is no URI."""
        return ""

    def flush(self) -> bool:
        """Have nothing to wait for."""
        return True

    def finish(self, status: RunStatus) -> int:  # noqa: ARG002
        """Lose nothing."""
        return 0

    def detach(self) -> int:
        """Lose nothing."""
        return 0
