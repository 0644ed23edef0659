"""What commands share: options that mean the same everywhere, and how they print and name files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rlq_ray.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Store = Annotated[
    str | None, typer.Option(help="URI for runs and checkpoints. [env: RLQ_STORAGE; `rlq up`; ./rlq-data]")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(help="MLflow store. [env: RLQ_TRACKING_URI, MLFLOW_TRACKING_URI; `rlq up`; ./rlq-data/mlflow.db]"),
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Settings, such as train.epochs=9")]


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def png_path(out: Path) -> Path:
    """Check the name of a picture to write, and make its folder.

    Raises:
        UsageError: it is no PNG.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} is no PNG: give a name that ends with .png")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
