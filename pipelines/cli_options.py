"""What commands share: options that mean the same everywhere, and how they print and name files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rlq_ray.errors import StorageError, UsageError

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
    return _checked(out, ".png", "PNG")


def html_path(out: Path) -> Path:
    """Check the name of a page to write, and make its folder.

    Raises:
        UsageError: it is no HTML file.
    """
    return _checked(out, ".html", "HTML file")


def _checked(out: Path, suffix: str, kind: str) -> Path:
    if out.suffix.lower() != suffix:
        raise UsageError(f"--out {out} is no {kind}: give a name that ends with {suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder of --out {out} ({error.strerror}): give another name") from error
    return out
