"""A model's evaluation: every protocol at every query quality, as data, as table rows and as flat metrics.

Data hold fractions in 0…1; only the table rows are in percent. Knows neither networks nor files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.intervals import Difference, Interval, differences, score_intervals
from rlq_ray.evaluate.protocols import GalleryProtocol, Labels
from rlq_ray.evaluate.ranking import Ranking, rank_protocols
from rlq_ray.evaluate.scores import CMC_RANKS, Metrics, metrics

ROW_HEADER = ("quality", "protocol", "queries", "left out", "top-1", "top-5", "top-10", "mAP", "mINP", "chance mAP")


@dataclass(frozen=True)
class Scores:
    """What one query quality scores under one protocol; `intervals` by metric name, empty if none were asked for."""

    quality: str
    ranking: Ranking = field(repr=False)
    metrics: Metrics
    intervals: dict[str, Interval]

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.metrics.protocol

    def values(self) -> dict[str, float]:
        """Give mAP, mINP and top1…top20 by name, as fractions."""
        tops = {f"top{k}": self.metrics.top(k) for k in CMC_RANKS}
        return {"mAP": self.metrics.mean_ap, "mINP": self.metrics.mean_inp, **tops}

    def percent(self, name: str) -> str:
        """Write a metric in percent, with its interval where there is one: `41.3 (36.9–46.0)`."""
        text = f"{100 * self.values()[name]:.1f}"
        if name not in self.intervals:
            return text
        ends = self.intervals[name]
        return f"{text} ({100 * ends.low:.1f}–{100 * ends.high:.1f})"


@dataclass(frozen=True)
class Evaluation:
    """Scores of every quality and protocol, in the order they were asked for."""

    scores: tuple[Scores, ...]

    def __getitem__(self, key: tuple[str, str]) -> Scores:
        """Find the scores of (quality, protocol).

        Raises:
            KeyError: it was not evaluated.
        """
        for score in self.scores:
            if (score.quality, score.protocol) == key:
                return score
        known = ", ".join(f"{s.quality}/{s.protocol}" for s in self.scores)
        raise KeyError(f"{'/'.join(key)} was not evaluated; there are {known}")

    def to_dict(self) -> dict[str, dict[str, dict[str, object]]]:
        """Give quality → protocol → scores as plain JSON values, fractions in 0…1."""
        tree: dict[str, dict[str, dict[str, object]]] = {}
        for score in self.scores:
            tree.setdefault(score.quality, {})[score.protocol] = {
                **score.values(),
                "chance_mAP": score.metrics.chance_map,
                "chance_top1": score.metrics.chance_top1,
                "queries": score.metrics.queries,
                "queries_left_out": score.metrics.queries_left_out,
                "intervals_95": {name: asdict(ends) for name, ends in score.intervals.items()},
                "cmc": score.metrics.cmc_K.tolist(),
            }
        return tree

    def flat(self, prefix: str) -> dict[str, float]:
        """Give one number per name for a tracker: `{prefix}/hq/cc/mAP`, `…/mAP_low`, `…/mAP_high`, `…/queries`."""
        numbers: dict[str, float] = {}
        for score in self.scores:
            stem = f"{prefix}/{score.quality}/{score.protocol}"
            for name, value in score.values().items():
                numbers[f"{stem}/{name}"] = value
                if name in score.intervals:
                    numbers[f"{stem}/{name}_low"] = score.intervals[name].low
                    numbers[f"{stem}/{name}_high"] = score.intervals[name].high
            numbers[f"{stem}/chance_mAP"] = score.metrics.chance_map
            numbers[f"{stem}/queries"] = float(score.metrics.queries)
            numbers[f"{stem}/queries_left_out"] = float(score.metrics.queries_left_out)
        return numbers

    def as_rows(self) -> list[tuple[str, ...]]:
        """Give table rows under `ROW_HEADER`, scores in percent."""
        return [
            (
                s.quality,
                s.protocol,
                str(s.metrics.queries),
                str(s.metrics.queries_left_out),
                *(s.percent(name) for name in ("top1", "top5", "top10", "mAP", "mINP")),
                f"{100 * s.metrics.chance_map:.1f}",
            )
            for s in self.scores
        ]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give what became of every query, for `np.savez`: `hq/cc/ap_Q`, …; `from_arrays` is its inverse."""
        return {
            f"{s.quality}/{s.protocol}/{f.name}": getattr(s.ranking, f.name)
            for s in self.scores
            for f in fields(Ranking)
            if f.name != "protocol"
        }


def from_rankings(rankings: Mapping[tuple[str, str], Ranking], *, bootstrap_samples: int, seed: int) -> Evaluation:
    """Score rankings by (quality, protocol); every interval is drawn from the same seed.

    Raises:
        DataError: under one of them no query has a match.
    """
    return Evaluation(
        tuple(
            Scores(quality, ranking, metrics(ranking), score_intervals(ranking, samples=bootstrap_samples, seed=seed))
            for (quality, _), ranking in rankings.items()
        )
    )


def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]], *, bootstrap_samples: int, seed: int) -> Evaluation:
    """Rebuild an evaluation from `Evaluation.to_arrays`.

    Raises:
        DataError: an array is missing.
    """
    pairs = dict.fromkeys(tuple(name.split("/")[:2]) for name in arrays)
    names = [f.name for f in fields(Ranking) if f.name != "protocol"]
    missing = [f"{q}/{p}/{name}" for q, p in pairs for name in names if f"{q}/{p}/{name}" not in arrays]
    if missing or not pairs:
        raise DataError(f"array '{missing[0] if missing else '…/ap_Q'}' is missing: evaluate the model again")
    rankings = {(q, p): Ranking(protocol=p, **{n: np.asarray(arrays[f"{q}/{p}/{n}"]) for n in names}) for q, p in pairs}
    return from_rankings(rankings, bootstrap_samples=bootstrap_samples, seed=seed)


def evaluate_features(
    query_feats: Mapping[str, npt.NDArray[np.generic]],
    gallery_feat_GD: npt.NDArray[np.generic],
    query: Labels,
    gallery: Labels,
    *,
    protocols: Sequence[str | GalleryProtocol],
    bootstrap_samples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate the queries at every quality (`hq`, `lq`, …: features `(Q, D)`) against one gallery `(G, D)`.

    Raises:
        DataError: features and labels do not fit, a feature is not finite, or a protocol leaves no query a match.
    """
    rankings = {}
    for quality, feat_QD in query_feats.items():
        for name, ranking in rank_protocols(feat_QD, gallery_feat_GD, query, gallery, protocols).items():
            rankings[quality, name] = ranking
    return from_rankings(rankings, bootstrap_samples=bootstrap_samples, seed=seed)


def compare(
    before: Evaluation, after: Evaluation, *, bootstrap_samples: int = 1000, seed: int = 0
) -> dict[tuple[str, str], dict[str, Difference]]:
    """Give what `after` gains on `before`, paired by query: (quality, protocol) → metric → difference.

    Raises:
        DataError: the two were not evaluated on the same queries and gallery.
    """
    common = {(s.quality, s.protocol) for s in before.scores}
    return {
        (s.quality, s.protocol): differences(
            before[s.quality, s.protocol].ranking, s.ranking, samples=bootstrap_samples, seed=seed
        )
        for s in after.scores
        if (s.quality, s.protocol) in common
    }
