"""How much of a data set its side files cover. Unlike an ingest, it goes on when one of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.attributes import MIN_JOIN_RATE, MaskFiles, find_masks, join_genders, join_rate, lookup, side_keys
from rlq_ray.data.check.report import Finding, SideFileReport, first_of
from rlq_ray.data.index import UNKNOWN
from rlq_ray.data.joining import SideFiles
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import JoinRates
from rlq_ray.data.poses import read_cluster_csv, read_keypoints
from rlq_ray.errors import DataError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Joined:
    """What side files say of N images; `gender`, `pose` and `masks` are None where there was no usable file."""

    reports: dict[str, SideFileReport] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    gender: NDArray[np.int8] | None = None
    pose: NDArray[np.int16] | None = None
    masks: list[MaskFiles | None] | None = None


def join_side_files(images: Sequence[SourceImage], side: SideFiles) -> Joined:
    """Join every side file that is given, and say how much of the images each covers."""
    joiner = _Joiner(images)
    genders = joiner.join("gender", side.gender, lambda file: join_genders(images, file, partial=True))
    poses = joiner.join(
        "poses",
        side.poses,
        lambda file: joiner.look_up(read_cluster_csv(file, variant=side.pose_variant, k=side.pose_k)),
    )
    joiner.join("keypoints", side.keypoints, lambda file: joiner.look_up(read_keypoints(file)))
    masks = joiner.join("masks", side.masks, lambda folder: find_masks(images, folder))
    return Joined(
        reports=joiner.reports,
        findings=tuple(joiner.findings),
        gender=None if genders is None else np.array([UNKNOWN if g is None else g for g in genders], dtype=np.int8),
        pose=None if poses is None else np.array([pose or 0 for pose in poses], dtype=np.int16),
        masks=masks,
    )


def with_rates_at_ingest(joined: Joined, rates: JoinRates) -> Joined:
    """Add the rates that a manifest tells of the side files that it was made with, where no other is given."""
    is_given = {name: name in joined.reports for name in ("gender", "masks")}
    is_given["pose"] = not joined.reports.keys().isdisjoint(("poses", "keypoints"))
    known = {name: rate for name, rate in rates.model_dump().items() if rate is not None and not is_given[name]}
    return replace(
        joined,
        reports={**joined.reports, **{name: SideFileReport(training=rate, all=None) for name, rate in known.items()}},
        findings=joined.findings
        + tuple(_too_low(name, rate, "what was ingested", ()) for name, rate in known.items() if rate < MIN_JOIN_RATE),
    )


class _Joiner:
    def __init__(self, images: Sequence[SourceImage]) -> None:
        self.reports: dict[str, SideFileReport] = {}
        self.findings: list[Finding] = []
        self._images = images

    def look_up(self, table: Mapping[str, Value]) -> list[Value | None]:
        """Look every image up by its names."""
        return [lookup(keys, table) for keys in side_keys(self._images)]

    def join(
        self, name: str, file: Path | None, read: Callable[[Path], list[Value | None]]
    ) -> list[Value | None] | None:
        """Join one side file and report its rate; None if there is no such file or it cannot be used."""
        if file is None:
            return None
        try:
            values = read(file)
        except (DataError, OSError, UnicodeDecodeError) as error:
            self.findings.append(Finding(code="side-file", message=f"{name}: {error}", count=1))
            return None
        found = [value is not None for value in values]
        rate = join_rate(self._images, found)
        self.reports[name] = SideFileReport(training=rate, all=sum(found) / len(found))
        if rate < MIN_JOIN_RATE:
            has_train = any(image.split == "train" for image in self._images)
            lacking = dict.fromkeys(
                image.identity if name == "gender" else image.source
                for image, ok in zip(self._images, found, strict=True)
                if not ok and (image.split == "train" or not has_train)
            )
            self.findings.append(_too_low(name, rate, str(file), first_of(lacking), len(lacking)))
        return values


def _too_low(name: str, rate: float, where: str, examples: tuple[str, ...], count: int = 1) -> Finding:
    return Finding(
        code="join-rate",
        message=f"{name}: {where} covers {rate:.1%} of the training images, less than {MIN_JOIN_RATE:.0%}: "
        "complete it, or accept the gaps with `rlq data ingest --partial`",
        count=count,
        examples=examples,
    )
