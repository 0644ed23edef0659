"""A checkpoint: a folder with `state.pt` (all that a training changes) and `checkpoint.json` (what it belongs to).

`checkpoint.json` holds the hash of `state.pt`, so that neither a missing nor a half-written one passes for whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rlq_ray.config.load import build_config, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.models import ReIDNetwork, load_network
from rlq_ray.storage import Location, exists, list_files, read_bytes, read_json, write_bytes
from rlq_ray.types import ClassSpace

FORMAT = 1
STATE_FILE, CARD_FILE = "state.pt", "checkpoint.json"


@dataclass(frozen=True)
class CheckpointCard:
    """What a checkpoint belongs to: configuration, classes, data, and how far and how well it was trained."""

    config: ExperimentConfig
    classes: ClassSpace
    data_hash: str
    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)


def write_checkpoint(folder: Path, card: CheckpointCard, state: Mapping[str, Any]) -> None:
    """Write both files into a folder."""
    torch.save(state, folder / STATE_FILE)
    sha256 = hashlib.sha256((folder / STATE_FILE).read_bytes()).hexdigest()
    content = {**asdict(card), "config": to_dict(card.config), "format": FORMAT, "state_sha256": sha256}
    (folder / CARD_FILE).write_text(json.dumps(content, indent=1))


def put_checkpoint(place: Location, card: CheckpointCard, state: Mapping[str, Any]) -> None:
    """Write a checkpoint to where there is nothing yet, its card last, so that one cut off is none.

    Raises:
        UsageError: there is something else than the rest of one that was cut off.
        StorageError: the place cannot be written.
    """
    others = [file for file in list_files(place) if file != place / STATE_FILE]
    if others:
        raise UsageError(f"{place} is taken ({others[0]}): name a new folder for the checkpoint")
    with tempfile.TemporaryDirectory(prefix="rlq-checkpoint-") as folder:
        write_checkpoint(Path(folder), card, state)
        for name in (STATE_FILE, CARD_FILE):
            write_bytes(place / name, (Path(folder) / name).read_bytes())


def read_card(place: Location) -> CheckpointCard:
    """Read what a checkpoint belongs to.

    Raises:
        CheckpointError: there is no whole checkpoint of this format.
    """
    content = _read_card_file(place)
    del content["format"], content["state_sha256"]
    classes = content["classes"]
    space = ClassSpace(
        identities=tuple(classes["identities"]),
        clothes=tuple(classes["clothes"]),
        identity_of_clothes=tuple(classes["identity_of_clothes"]),
        pose_clusters=classes["pose_clusters"],
    )
    return CheckpointCard(**{**content, "config": build_config(content["config"]), "classes": space})


def _read_card_file(place: Location) -> dict[str, Any]:
    if not exists(place / CARD_FILE):
        raise CheckpointError(f"no checkpoint at {place} (no {CARD_FILE}): give the folder that `rlq train` printed")
    content: dict[str, Any] = read_json(place / CARD_FILE)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{place} is a checkpoint of another format than {FORMAT}: train it again")
    return content


def state_hash(place: Location) -> str:
    """Give the SHA-256 of all that a checkpoint holds, as its card says.

    Raises:
        CheckpointError: there is no whole checkpoint of this format.
    """
    return str(_read_card_file(place)["state_sha256"])


def read_state(place: Location) -> dict[str, Any]:
    """Read all that a training changes.

    Raises:
        CheckpointError: the file is damaged.
        StorageError: it is missing.
    """
    content = read_bytes(place / STATE_FILE)
    if hashlib.sha256(content).hexdigest() != state_hash(place):
        raise CheckpointError(f"{place / STATE_FILE} is damaged: use another checkpoint of the run")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        raise CheckpointError(f"{place / STATE_FILE} cannot be loaded: use another checkpoint of the run") from error
    return state


def read_network(place: Location) -> tuple[ReIDNetwork, CheckpointCard]:
    """Rebuild a checkpoint's network, in eval mode.

    Raises:
        CheckpointError: no whole checkpoint, or the tensors are those of another model.
    """
    card = read_card(place)
    network = load_network(card.config.model, card.classes, read_state(place)["network"])
    return network.eval(), card
