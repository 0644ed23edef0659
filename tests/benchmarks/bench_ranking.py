"""Time the ranking against the simple way, one argsort per query; print a Markdown table of ratios.

    python tests/benchmarks/bench_ranking.py [--queries 400] [--gallery 20000] [--width 1024] [--rounds 5]

Both ways run in turn within each round, so that a busy machine slows both; the ratio is taken per round. Near-random
features are the hard case: a match has half the gallery before it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rlq_ray.evaluate import PROTOCOLS, Labels, protocol_named, rank_protocols

Features = npt.NDArray[np.float32]
Data = tuple[Features, Features, Labels, Labels]


def make_data(queries: int, gallery: int, width: int, identities: int, signal: float) -> Data:
    """Draw features that are noise around one point per identity, `signal` as strong as the noise."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(identities, width)).astype(np.float32)

    def draw(size: int) -> tuple[Features, Labels]:
        identity = rng.integers(identities, size=size)
        feat = signal * centre[identity] + rng.normal(size=(size, width)).astype(np.float32)
        feat /= np.linalg.norm(feat, axis=1, keepdims=True)
        return feat, Labels(identity, rng.integers(12, size=size), rng.integers(3, size=size))

    (q, query), (g, gallery_labels) = draw(queries), draw(gallery)
    return q, g, query, gallery_labels


def by_sorting(q: Features, g: Features, query: Labels, gallery: Labels) -> dict[str, float]:
    """Score as most published evaluations do, from the whole distance matrix, with one argsort per query."""
    distance_QG = -(q @ g.T)
    aps: dict[str, list[float]] = {name: [] for name in PROTOCOLS}
    for row in range(len(q)):
        order = np.argsort(distance_QG[row], kind="stable")
        same = gallery.identity_N[order] == query.identity_N[row]
        same_camera = gallery.camera_N[order] == query.camera_N[row]
        same_clothes = gallery.clothes_N[order] == query.clothes_N[row]
        for name in PROTOCOLS:
            match = same[~same | protocol_named(name).keeps(same_camera, same_clothes)]
            if match.any():
                precision = match.cumsum() / np.arange(1, match.size + 1)
                aps[name].append(float(precision[match].mean()))
    return {name: float(np.mean(values)) for name, values in aps.items()}


def by_counting(q: Features, g: Features, query: Labels, gallery: Labels) -> dict[str, float]:
    """Score with the library."""
    return {name: float(np.nanmean(r.ap_Q)) for name, r in rank_protocols(q, g, query, gallery, PROTOCOLS).items()}


def product_alone(q: Features, g: Features, *_: Labels) -> Features:
    """Do what neither way can save."""
    return q @ g.T


def cpu_seconds(way: Callable[..., object], data: Data) -> float:
    """CPU seconds of this process, all its threads together."""
    start = time.process_time()
    way(*data)
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for option, default in (("queries", 400), ("gallery", 20_000), ("width", 1024), ("identities", 300), ("rounds", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    print(f"{options.queries} queries, {options.gallery} gallery images, {options.width} numbers, three protocols\n")
    print("| features | sorting, CPU s | counting, CPU s | product alone, CPU s | counting is faster by |")
    print("|---|---|---|---|---|")
    for label, signal in (("separated", 1.0), ("middling", 0.15), ("near-random", 0.0)):
        data = make_data(options.queries, options.gallery, options.width, options.identities, signal)
        expected, got = by_sorting(*data), by_counting(*data)
        if not np.allclose(list(expected.values()), list(got.values()), atol=1e-4):
            raise SystemExit(f"the two ways disagree on {label} features: {expected} and {got}")
        rounds = [
            tuple(cpu_seconds(way, data) for way in (by_sorting, by_counting, product_alone))
            for _ in range(options.rounds)
        ]
        ratio = sorted(sorting / counting for sorting, counting, _ in rounds)
        columns = [f"{statistics.median(column):.2f}" for column in zip(*rounds, strict=True)]
        print(
            f"| {label} | {' | '.join(columns)} | {statistics.median(ratio):.1f} × ({ratio[0]:.1f}–{ratio[-1]:.1f}) |"
        )


if __name__ == "__main__":
    main()
