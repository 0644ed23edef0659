"""Who takes part, in which variants, and in whose Python."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
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


def _peer(name: str, module: str, own_decoder: str, python: Literal["product", "peers"]) -> tuple[Contender, ...]:
    return (
        Contender(f"{name}, {own_decoder}", module, own_decoder, "documented", own_decoder, python),
        Contender(f"{name}, our decoder", module, "simplejpeg", "our decoder", "simplejpeg", python),
    )


LIMIT = Contender("decoding alone", "decode_limit", "simplejpeg", "limit", "photos")
PRODUCT = Contender("rlq, window 32 MiB", "product", "window", "product", "photos")
CONTENDERS = (
    LIMIT,
    PRODUCT,
    Contender("rlq, window all", "product", "all", "product", "photos"),
    Contender("rlq, unlabelled", "product", "unlabelled", "product", "photos"),
    *_peer("MosaicML Streaming", "mosaic_streaming", "pil", "peers"),
    *_peer("WebDataset", "web_dataset", "pil", "peers"),
    *_peer("LitData", "lit_data", "torchvision", "peers"),
    *_peer("Ray Data", "ray_data", "pil", "product"),
    *_peer("DataLoader, local files", "torch_files", "pil", "product"),
    *(
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
    ),
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


def _fits(contender: Contender, pattern: str) -> bool:
    return fnmatch.fnmatch(contender.name, pattern) or fnmatch.fnmatch(contender.module, pattern)
