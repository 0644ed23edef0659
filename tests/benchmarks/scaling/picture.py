"""The load of each part over the number of GPUs, as a picture."""

from __future__ import annotations

from pathlib import Path

from rlq_ray.pictures import style

from .model import Assumptions, Case, Units, loads


def save_loads(units: Units, path: Path) -> None:
    """Draw one training on all GPUs, on 100 M images."""
    gpus = [2**power for power in range(10)]
    found = [loads(Case(count, 1e8), units, Assumptions()) for count in gpus]
    figure = style.new_figure(
        8, 4.4, "What saturates first", "one training on all GPUs, 100 M images, settings as shipped"
    )
    axes = figure.add_subplot()
    style.quiet(axes)
    for part, colour in zip(found[0], style.SERIES[::-1], strict=True):
        axes.plot(gpus, [max(100 * one[part], 0.01) for one in found], color=colour, label=part, linewidth=2)
    axes.axhline(100, color=style.INK, linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(gpus, [str(count) for count in gpus])
    axes.set_yticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %", "1000 %"])
    axes.set_xlabel("GPUs")
    axes.set_ylabel("load; at 100 % it holds the training up")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path)
