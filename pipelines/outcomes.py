"""What became of one row with one seed: kept in the store beside the runs, whole or not at all."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlq_ray.evaluate import Evaluation, from_arrays
from rlq_ray.storage import Location, exists, read_bytes, read_json, write_bytes, write_json

Curves = dict[str, list[tuple[int, float]]]
SCORES_FILE, CARD_FILE = "scores.npz", "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """A row's training with one seed, measured on the test identities.

    `key` names all that the outcome depends on. `epoch` is that of the checkpoint, which the validation identities
    chose. `hardware` and `commit` say where it was made, and by which code. `curves` hold (epoch, value) of every
    evaluation during the training, by metric.
    """

    row: str
    seed: int
    key: str
    epoch: int
    hardware: str
    commit: str
    curves: Curves
    evaluation: Evaluation


def outcome_folder(store: Location, row: str, seed: int, key: str) -> Location:
    """Say where an outcome lies; those of other settings lie beside it, and none is ever replaced by another's.

    Experiments that share a row, by its name and all that shapes it, share its outcomes.
    """
    return store / "outcomes" / row.replace(" ", "-") / f"seed-{seed}" / key


def keep_outcome(folder: Location, outcome: Outcome) -> None:
    """Write an outcome; its card comes last, so that a half-written one is none."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **outcome.evaluation.to_arrays())
    write_bytes(folder / SCORES_FILE, buffer.getvalue())
    card = {
        "row": outcome.row,
        "seed": outcome.seed,
        "key": outcome.key,
        "epoch": outcome.epoch,
        "hardware": outcome.hardware,
        "commit": outcome.commit,
        "curves": outcome.curves,
    }
    write_json(folder / CARD_FILE, card)


def find_outcome(folder: Location) -> Outcome | None:
    """Read an outcome; None if there is none yet, or half of one."""
    if not exists(folder / CARD_FILE):
        return None
    card: dict[str, Any] = read_json(folder / CARD_FILE)
    with np.load(io.BytesIO(read_bytes(folder / SCORES_FILE)), allow_pickle=False) as arrays:
        evaluation = from_arrays(dict(arrays), bootstrap_samples=0, seed=0)
    curves = {name: [(int(epoch), float(value)) for epoch, value in curve] for name, curve in card["curves"].items()}
    return Outcome(**{**card, "curves": curves, "evaluation": evaluation})
