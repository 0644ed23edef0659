"""What people see while they wait: progress bars on a terminal, a line per stage elsewhere, all on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:  # it imports ray
    from rlq_ray.distributed.progress import Progress as TrainingProgress

WIDTH_OF_FILES = 120
"""Characters of a table's line where there is no terminal to say."""
LINE_EVERY_S = 15.0
"""Seconds between lines about one training where there is no terminal."""

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)


@contextlib.contextmanager
def stage(title: str) -> Iterator[None]:
    """Announce a stage, and say how long it took."""
    stderr.print(f"[bold]{title}[/bold]")
    began_s = time.monotonic()
    yield
    stderr.print(f"  done in {time.monotonic() - began_s:.0f} s", style="dim")


@contextlib.contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Count pieces of work; yields what is to be called after each."""
    with _bar() as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


@contextlib.contextmanager
def training(title: str) -> Iterator[Callable[[TrainingProgress], None]]:
    """Show a training's steps, losses, speed and validation scores; yields what takes its progress."""
    last_line_s = time.monotonic()
    with _bar() as bar:
        task = bar.add_task(f"{title}: starting workers", total=None)

        def show(progress: TrainingProgress) -> None:
            nonlocal last_line_s
            text = f"{title}: {_describe(progress)}"
            bar.update(task, total=progress.total_steps, completed=progress.step, description=text)
            if not stderr.is_terminal and time.monotonic() - last_line_s >= LINE_EVERY_S:
                last_line_s = time.monotonic()
                stderr.print(f"  step {progress.step}/{progress.total_steps} · {_describe(progress)}")

        yield show


def _describe(progress: TrainingProgress) -> str:
    losses = " ".join(f"{name.removesuffix('/loss')} {value:.2f}" for name, value in progress.losses.items())
    parts = [f"epoch {progress.epoch}", f"loss {losses}", f"{progress.images_per_second:.0f} images/s"]
    validation = progress.metrics.get("validation/hq/cc/mAP")
    return " · ".join(parts + ([f"validation mAP {100 * validation:.1f}"] if validation is not None else []))


def _bar() -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    )
