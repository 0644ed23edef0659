"""Who is in which split, and which queries can be answered. Pure.

The matches of the protocols are counted here by their published rules, since evaluation is another room: `general`
takes gallery images of the person by another camera, `cc` only those in other clothes, `sc` only those in the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.check.catalogue import PARTS, Catalogue

PROTOCOLS = ("general", "cc", "sc")

Label = NDArray[np.int32] | NDArray[np.int64]


def shared_identities(catalogue: Catalogue) -> Iterator[tuple[str, str, list[str]]]:
    """Name the identities of every two parts that share some."""
    codes = {part: np.unique(catalogue.identity.codes[catalogue.rows_of_part(part)]) for part in PARTS}
    for place, part in enumerate(PARTS):
        for other in PARTS[place + 1 :]:
            shared = np.intersect1d(codes[part], codes[other])
            if len(shared):
                yield part, other, [str(name) for name in catalogue.identity.names[shared]]


def one_sided_identities(catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """Name the query identities that the gallery lacks, and the gallery identities that no query has."""
    query, gallery = (np.unique(catalogue.identity.codes[catalogue.rows_of_split(s)]) for s in ("query", "gallery"))
    return (
        [str(name) for name in catalogue.identity.names[np.setdiff1d(query, gallery)]],
        [str(name) for name in catalogue.identity.names[np.setdiff1d(gallery, query)]],
    )


def matches_per_query(catalogue: Catalogue) -> dict[str, NDArray[np.int64]]:
    """Count the gallery images that match each query, in the queries' order, under each protocol."""
    query, gallery = catalogue.rows_of_split("query"), catalogue.rows_of_split("gallery")
    identity, clothes = catalogue.identity.codes, catalogue.clothes.codes
    _, camera = np.unique(catalogue.camera, return_inverse=True)

    def same(*labels: Label) -> NDArray[np.int64]:
        return _count_equal([label[query] for label in labels], [label[gallery] for label in labels])

    person, seen = same(identity), same(identity, camera)
    worn, worn_and_seen = same(identity, clothes), same(identity, clothes, camera)
    return {"general": person - seen, "cc": person - seen - worn + worn_and_seen, "sc": worn - worn_and_seen}


def _count_equal(labels_Q: Sequence[Label], labels_G: Sequence[Label]) -> NDArray[np.int64]:
    """Count for each query the gallery rows that agree with it in all labels."""
    both = np.stack([np.concatenate(pair) for pair in zip(labels_Q, labels_G, strict=True)], axis=1)
    _, keys = np.unique(both, axis=0, return_inverse=True)
    keys = keys.reshape(-1)
    num_queries = len(labels_Q[0])
    per_key = np.bincount(keys[num_queries:], minlength=int(keys.max(initial=-1)) + 1)
    counts: NDArray[np.int64] = per_key[keys[:num_queries]]
    return counts
