"""Random data with ties; and the scores of re-identification as a textbook writes them, in two loops."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlq_ray.evaluate import Labels


def make_labels(rng, size, identities=6):
    return Labels(
        identity_N=rng.integers(identities, size=size),
        camera_N=rng.integers(3, size=size),
        clothes_N=rng.integers(3, size=size),
    )


@pytest.fixture
def sample():
    """Features with repeated rows, and labels, of 40 queries and 157 gallery images."""
    rng = np.random.default_rng(3)
    query, gallery = make_labels(rng, 40), make_labels(rng, 157, identities=5)
    distinct = rng.normal(size=(60, 16)).astype(np.float32)
    return distinct[rng.integers(60, size=40)], distinct[rng.integers(60, size=157)], query, gallery


def keeps(protocol, same_camera, same_clothes):
    if protocol == "general":
        return not same_camera
    if protocol == "cc":
        return not same_camera and not same_clothes
    assert protocol == "sc"
    return same_clothes and not same_camera


def ranked_gallery(query_feat, gallery_feat, query, gallery, protocol):
    """Yield for every query the gallery images that count, nearest first, and whether each is a match."""
    q = query_feat.astype(np.float64)
    g = gallery_feat.astype(np.float64)
    for i in range(len(q)):
        distances = [-(q[i] @ g[j]) / np.linalg.norm(q[i]) / np.linalg.norm(g[j]) for j in range(len(g))]
        entries = []
        for j in sorted(range(len(g)), key=lambda j: (round(distances[j], 9), j)):
            same_identity = query.identity_N[i] == gallery.identity_N[j]
            same_camera = query.camera_N[i] == gallery.camera_N[j]
            same_clothes = query.clothes_N[i] == gallery.clothes_N[j]
            if same_identity and not keeps(protocol, same_camera, same_clothes):
                continue
            entries.append((j, bool(same_identity)))
        yield entries


def score(query_feat, gallery_feat, query, gallery, protocol):
    """Give (valid, AP, INP, first rank) of every query; the last three None without a match."""
    result = []
    for entries in ranked_gallery(query_feat, gallery_feat, query, gallery, protocol):
        hits = precision_sum = 0
        first = last = None
        for place, (_, match) in enumerate(entries):
            if match:
                hits += 1
                precision_sum += hits / (place + 1)
                first = place if first is None else first
                last = place
        result.append((True, precision_sum / hits, hits / (last + 1), first) if hits else (False, None, None, None))
    return result


@pytest.fixture
def textbook():
    return SimpleNamespace(ranked_gallery=ranked_gallery, score=score)
