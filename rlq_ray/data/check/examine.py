"""From what was read to the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.check import remarks
from rlq_ray.data.check.catalogue import Catalogue
from rlq_ray.data.check.duplicates import find_exact_copies, without_exact
from rlq_ray.data.check.hashing import Copies
from rlq_ray.data.check.inspection import Inspected
from rlq_ray.data.check.overlap import matches_per_query
from rlq_ray.data.check.published import PUBLISHED, PublishedSize, passes_for
from rlq_ray.data.check.report import (
    DuplicatesReport,
    Finding,
    Note,
    ProtocolReport,
    PublishedReport,
    Report,
)
from rlq_ray.data.check.side_files import Joined
from rlq_ray.data.check.statistics import gender_counts, images_report, part_reports, pose_counts

AUTOMATIC, NONE = "auto", "none"
"""Compare with the set that the layout is named after if the data set passes for it; compare with nothing."""


@dataclass(frozen=True)
class Subject:
    """What is examined.

    `published` is `auto`, `none` or a name in `PUBLISHED`, from which every deviation then counts.
    """

    data: str
    name: str
    layout: str
    content_hash: str | None
    catalogue: Catalogue
    joined: Joined
    published: str = AUTOMATIC


def examine(subject: Subject, inspected: Inspected, near: Mapping[tuple[str, str], Copies]) -> Report:
    """Put together the report; `near` has the closest copy of each image in another part, if it has one."""
    catalogue = _with_side_files(subject.catalogue, subject.joined)
    compared = _compared(subject)
    exact = find_exact_copies(catalogue, inspected)
    near = {pair: without_exact(copies, inspected) for pair, copies in near.items()}
    made: list[Finding | Note] = [
        *remarks.broken(inspected),
        *remarks.sizes(catalogue, subject.layout, compared, subject.published == AUTOMATIC),
        *remarks.identities(catalogue),
        *remarks.exact_copies(catalogue, exact),
        *remarks.near_copies(catalogue, near),
        *subject.joined.findings,
        *remarks.splits(catalogue),
        *remarks.queries(catalogue),
        *remarks.rarities(catalogue, inspected),
    ]
    findings = tuple(remark for remark in made if isinstance(remark, Finding))
    return Report(
        data=subject.data,
        name=subject.name,
        layout=subject.layout,
        content_hash=subject.content_hash,
        sound=not findings,
        findings=findings,
        notes=tuple(remark for remark in made if isinstance(remark, Note)),
        published=_published_report(subject, compared),
        splits=catalogue.counts(),
        parts=part_reports(catalogue),
        queries={
            protocol: ProtocolReport(with_match=int((matches > 0).sum()), without_match=int((matches == 0).sum()))
            for protocol, matches in matches_per_query(catalogue).items()
        },
        side_files=subject.joined.reports,
        duplicates=DuplicatesReport(
            within_parts=_more_than_one(exact.of_one_person) + _more_than_one(exact.of_several_people),
            across_parts=_more_than_one(exact.across_parts),
            near_across_parts=len({row for copies in near.values() for row in copies.row.tolist()}),
        ),
        images=images_report(inspected),
        gender=gender_counts(catalogue.gender),
        poses=pose_counts(catalogue.pose),
    )


def _with_side_files(catalogue: Catalogue, joined: Joined) -> Catalogue:
    if joined.gender is not None:
        catalogue = replace(catalogue, gender=joined.gender)
    return catalogue if joined.pose is None else replace(catalogue, pose=joined.pose)


def _compared(subject: Subject) -> PublishedSize | None:
    if subject.published == NONE:
        return None
    if subject.published != AUTOMATIC:
        return PUBLISHED[subject.published]
    published = PUBLISHED.get(subject.layout)
    return published if published and passes_for(subject.catalogue.counts(), published) else None


def _published_report(subject: Subject, compared: PublishedSize | None) -> PublishedReport | None:
    if compared is None:
        return None
    name = subject.layout if subject.published == AUTOMATIC else subject.published
    images = {split: published.images for split, published in compared.splits.items()}
    return PublishedReport(name=name, title=compared.title, source=compared.source, images=images)


def _more_than_one(groups: Sequence[NDArray[np.int64]]) -> int:
    return sum(len(rows) - 1 for rows in groups)
