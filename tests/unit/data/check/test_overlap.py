"""Who is where, and which queries have matches, against a slow count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlq_ray.data.check import Catalogue
from rlq_ray.data.check.overlap import matches_per_query, one_sided_identities, shared_identities


def test_shared_identities_are_named(catalogue_of: Callable[..., Catalogue]) -> None:
    rows = [("train", "a", "a1", 0), ("train", "b", "b1", 0), ("val", "b", "b1", 1), ("query", "c", "c1", 0)]
    rows += [("gallery", "c", "c1", 1), ("gallery", "a", "a1", 1), ("query", "b", "b1", 2)]
    assert list(shared_identities(catalogue_of(rows))) == [
        ("train", "val", ["b"]),
        ("train", "test", ["a", "b"]),
        ("val", "test", ["b"]),
    ]
    assert list(shared_identities(catalogue_of(rows[:2]))) == []


def test_identities_of_one_side_are_named(catalogue_of: Callable[..., Catalogue]) -> None:
    rows = [("query", "a", "a1", 0), ("query", "b", "b1", 0), ("gallery", "b", "b1", 1), ("gallery", "0", "x", 1)]
    assert one_sided_identities(catalogue_of(rows)) == (["a"], ["0"])


def test_matches_are_those_of_a_slow_count(catalogue_of: Callable[..., Catalogue]) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(120):
        identity = f"{rng.integers(6)}"
        rows.append(
            (("query", "gallery", "train")[number % 3], identity, f"{identity}_{rng.integers(3)}", int(rng.integers(4)))
        )
    found = matches_per_query(catalogue_of(rows))
    slow: dict[str, list[int]] = {"general": [], "cc": [], "sc": []}
    for _, identity, clothes, camera in (row for row in rows if row[0] == "query"):
        seen = [row for row in rows if row[0] == "gallery" and row[1] == identity and row[3] != camera]
        slow["general"].append(len(seen))
        slow["cc"].append(sum(row[2] != clothes for row in seen))
        slow["sc"].append(sum(row[2] == clothes for row in seen))
    assert {name: counts.tolist() for name, counts in found.items()} == slow
    assert 0 in slow["sc"]


def test_without_queries_or_gallery_there_is_nothing_to_count(catalogue_of: Callable[..., Catalogue]) -> None:
    assert [len(counts) for counts in matches_per_query(catalogue_of([("train", "a", "a", 0)])).values()] == [0, 0, 0]
    found = matches_per_query(catalogue_of([("query", "a", "a", 0)]))
    assert [counts.tolist() for counts in found.values()] == [[0], [0], [0]]
