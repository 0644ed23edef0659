"""What is worth a remark, and whether it is a finding or a note: a function for each question. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.check.catalogue import Catalogue
from rlq_ray.data.check.duplicates import ExactCopies
from rlq_ray.data.check.hashing import NEAR_BITS, WORDS, Copies
from rlq_ray.data.check.inspection import Inspected
from rlq_ray.data.check.overlap import matches_per_query, one_sided_identities, shared_identities
from rlq_ray.data.check.published import PUBLISHED, PublishedSize, deviations
from rlq_ray.data.check.report import Finding, Note, first_of
from rlq_ray.data.check.statistics import part_reports
from rlq_ray.data.records import SPLITS

Remarks = Iterator[Finding | Note]


def broken(inspected: Inspected) -> Remarks:
    """Find files that cannot be read, and shards that are not what the manifest says."""
    faults, num_images = inspected.faults, len(inspected)
    if faults.shards:
        message = f"{_many(len(faults.shards), 'shard')} changed or gone: ingest the data set again"
        yield Finding(code="changed-shard", message=message, count=len(faults.shards), examples=first_of(faults.shards))
    if faults.images:
        message = f"{len(faults.images):,} of {num_images:,} images cannot be read: replace or remove them"
        yield Finding(
            code="unreadable-image", message=message, count=len(faults.images), examples=first_of(faults.images)
        )
    if faults.masks:
        message = f"{len(faults.masks):,} of {inspected.num_masks:,} masks cannot be used: replace or remove them"
        yield Finding(code="unreadable-mask", message=message, count=len(faults.masks), examples=first_of(faults.masks))


def sizes(catalogue: Catalogue, layout: str, compared: PublishedSize | None, is_automatic: bool) -> Remarks:
    """Find deviations from the published set; note that a set in the layout of another was not compared with it."""
    if compared is not None:
        found = list(deviations(catalogue.counts(), compared))
        if found:
            message = (
                f"the counts are not those of {compared.title} as published ({compared.source}): get it whole, "
                "or compare with nothing by --published none"
            )
            count, examples = max(size for _, size in found), tuple(line for line, _ in found)
            yield Finding(code="published-size", message=message, count=count, examples=examples)
    elif is_automatic and layout in PUBLISHED:
        published, size = PUBLISHED[layout], len(catalogue)
        message = (
            f"{size:,} images are not {published.title}, which has {published.images:,}: not compared with it; "
            f"--published {layout} compares all the same"
        )
        yield Note(code="published-size", message=message, count=size)


def identities(catalogue: Catalogue) -> Remarks:
    """Find people who are in several of train, val and test."""
    for part, other, names in shared_identities(catalogue):
        message = (
            f"{_many(len(names), 'identity')} both in {part} and in {other}: keep each in one of them, or rename those "
            "that are other people"
        )
        yield Finding(code="identity-overlap", message=message, count=len(names), examples=first_of(names))


def exact_copies(catalogue: Catalogue, exact: ExactCopies) -> Remarks:
    """Find pictures in several parts or under several identities; note others that are there twice."""

    def examples(groups: Sequence[NDArray[np.int64]]) -> tuple[str, ...]:
        return first_of(
            " = ".join(catalogue.source[row] for row in rows[:4]) + (" = …" if len(rows) > 4 else "") for rows in groups
        )

    if found := exact.across_parts:
        message = (
            f"{_many(len(found), 'picture')} in more than one of train, val and test, byte for byte: "
            "keep each in one of them"
        )
        yield Finding(code="duplicate-across-splits", message=message, count=len(found), examples=examples(found))
    if found := exact.of_several_people:
        message = f"{_many(len(found), 'picture')} under several identities: keep the right one of each"
        yield Finding(code="duplicate-of-another-identity", message=message, count=len(found), examples=examples(found))
    if found := exact.of_one_person:
        message = f"{_many(len(found), 'picture')} there several times, under one identity"
        yield Note(code="duplicate", message=message, count=len(found), examples=examples(found))


def near_copies(catalogue: Catalogue, near: Mapping[tuple[str, str], Copies]) -> Remarks:
    """Find images that look like one of another part."""
    for (part, other), copies in near.items():
        count, bits = len(copies.row), 64 * WORDS
        if count:
            message = (
                f"{count:,} {part} {'image looks' if count == 1 else 'images look'} like one of {other} (at most "
                f"{NEAR_BITS} of {bits} bits of the hashes differ): look at them, and remove copies"
            )
            examples = first_of(
                f"{catalogue.source[row]} ~ {catalogue.source[like]} ({differ} bits)"
                for row, like, differ in zip(copies.row, copies.other, copies.bits, strict=True)
            )
            yield Finding(code="near-duplicate-across-splits", message=message, count=count, examples=examples)


def splits(catalogue: Catalogue) -> Remarks:
    """Note splits without images, and identities that query and gallery do not share."""
    counts = catalogue.counts()
    missing = [split for split in SPLITS if split != "val" and split not in counts]
    if missing:
        use = "train on" if missing == ["train"] else "evaluate on" if "train" not in missing else "use it for"
        message = f"there is no split {' and no split '.join(missing)}: it is no set to {use}"
        yield Note(code="missing-split", message=message, count=len(missing), examples=tuple(missing))
    if "query" not in counts or "gallery" not in counts:
        return
    only_query, only_gallery = one_sided_identities(catalogue)
    if only_query:
        message = f"{_counted(len(only_query), 'query identity')} without any gallery image"
        yield Note(code="query-without-gallery", message=message, count=len(only_query), examples=first_of(only_query))
    if only_gallery:
        message = f"{_counted(len(only_gallery), 'gallery identity')} that no query asks for: distractors"
        yield Note(
            code="gallery-without-query", message=message, count=len(only_gallery), examples=first_of(only_gallery)
        )


def queries(catalogue: Catalogue) -> Remarks:
    """Find out whether queries can be answered: no query at all, or which do not count under a protocol."""
    queries = catalogue.rows_of_split("query")
    if not len(queries) or not len(catalogue.rows_of_split("gallery")):
        return
    for protocol, matches in matches_per_query(catalogue).items():
        lacking = queries[matches == 0]
        examples = first_of(catalogue.source[row] for row in lacking.tolist())
        if protocol == "general" and len(lacking) == len(queries):
            message = "no query has a gallery image of its identity by another camera: check identities and cameras"
            yield Finding(code="no-query-match", message=message, count=len(queries), examples=examples)
        elif len(lacking):
            message = f"{len(lacking):,} of {len(queries):,} queries have no match under '{protocol}': left out of it"
            yield Note(code="query-without-match", message=message, count=len(lacking), examples=examples)


def rarities(catalogue: Catalogue, inspected: Inspected) -> Remarks:
    """Note images that show nothing, and people who never change."""
    plain = np.flatnonzero((inspected.height > 0) & ~inspected.comparable)
    if len(plain):
        message = f"{_many(len(plain), 'image')} nearly of one colour, and not compared with others"
        examples = first_of(catalogue.source[row] for row in plain.tolist())
        yield Note(code="one-colour", message=message, count=len(plain), examples=examples)
    train = part_reports(catalogue).get("train")
    if train and train.single_outfit_identities:
        count = train.single_outfit_identities
        message = (
            f"{count:,} of {train.identities:,} training identities {'wears' if count == 1 else 'wear'} a single outfit"
        )
        yield Note(code="single-outfit", message=message, count=count)


def _many(count: int, thing: str) -> str:
    return f"{_counted(count, thing)} {'is' if count == 1 else 'are'}"


def _counted(count: int, thing: str) -> str:
    plural = thing.removesuffix("y") + "ies" if thing.endswith("y") else thing + "s"
    return f"{count:,} {thing if count == 1 else plural}"
