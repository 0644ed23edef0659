"""Who takes part, in which variants, and in whose Python."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import Literal

Side = Literal["limit", "product", "documented", "our decoder", "scale"]


@dataclass(frozen=True)
class Contender:
    """One row of the table."""

    name: str
    module: str
    """Beside this file."""
    variant: str
    side: Side
    data: str
    """Name of the data set it reads; those of one name and module are written once."""
    python: Literal["product", "peers"] = "product"
    times: int = 1
    """How often every photo is in its data set, each time as another identity."""
    readers: int = 1
    """Processes that share the pass, as ranks."""


def _peer(
    name: str, module: str, own_decoder: str, *, python: Literal["product", "peers"] = "peers", times: int = 1
) -> tuple[Contender, ...]:
    return tuple(
        Contender(f"{name}, {label}", module, variant, side, f"{variant}-{times}", python, times)
        for label, variant, side in (
            (own_decoder, own_decoder, "documented"),
            ("our decoder", "simplejpeg", "our decoder"),
        )
    )


LIMIT = Contender("decoding alone", "decode_limit", "simplejpeg", "limit", "photos-1")
PRODUCT = Contender("rlq, window 32 MiB", "product", "window", "product", "photos-1")
SCALES = tuple(
    Contender(
        f"rlq, 10 × the images, {readers} reader{'s' * (readers > 1)}",
        "product",
        "window",
        "scale",
        "photos-10",
        times=10,
        readers=readers,
    )
    for readers in (1, 2, 3, 4)
)
LARGE = SCALES[0]
CONTENDERS = (
    LIMIT,
    PRODUCT,
    Contender("rlq, window all", "product", "all", "product", "photos-1"),
    Contender("rlq, unlabelled", "product", "unlabelled", "product", "photos-1"),
    *_peer("MosaicML Streaming", "mosaic_streaming", "pil"),
    *_peer("WebDataset", "web_dataset", "pil"),
    *_peer("LitData", "lit_data", "torchvision"),
    # It reads thousands of images before it gives the first batch, and would be measured mostly without its reading.
    *_peer("Ray Data", "ray_data", "pil", python="product", times=10),
    *_peer("DataLoader, local files", "torch_files", "pil", python="product"),
    *SCALES,
)


def chosen(patterns: list[str]) -> list[Contender]:
    """Pick by name or module, with `*` as a wildcard; everybody if there is no pattern.

    Raises:
        SystemExit: a pattern that fits nobody.
    """
    for pattern in patterns:
        if not any(_fits(contender, pattern) for contender in CONTENDERS):
            names = "\n  ".join(contender.name for contender in CONTENDERS)
            raise SystemExit(f"--only '{pattern}' fits nobody; there are\n  {names}")
    return [one for one in CONTENDERS if not patterns or any(_fits(one, pattern) for pattern in patterns)]


def for_check(contenders: list[Contender]) -> list[Contender]:
    """Let everybody read each photo once, and leave out who would then read what another does."""
    return [replace(one, times=1, data=one.data.replace("-10", "-1")) for one in contenders if one.side != "scale"]


def _fits(contender: Contender, pattern: str) -> bool:
    return fnmatch.fnmatch(contender.name, pattern) or fnmatch.fnmatch(contender.module, pattern)
