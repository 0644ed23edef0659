"""How good the network is on the identities that were set aside; shared out among the workers.

The test identities may be measured beside, for the record: tables of this field print the best epoch on test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlq_ray.collectives import World, gather_rows
from rlq_ray.config.schema import EvaluateConfig, Protocol, Quality
from rlq_ray.data import Manifest, evaluation_rows
from rlq_ray.data.partition import Rows
from rlq_ray.errors import DivergedError, UsageError
from rlq_ray.evaluate import Evaluation, diagnose, evaluate_features, match_counts
from rlq_ray.models import ReIDNetwork
from rlq_ray.train.build import Parts
from rlq_ray.train.features import Embedding, labels_of


class Validation:
    """Measures a network on the validation identities, every image in turn against all others, alike everywhere.

    Without validation identities there is nothing to choose by, and the latest state counts as the best.
    `select_on` names the metric that chooses the checkpoint; the test curve cannot.

    Raises:
        UsageError: no image has a match under the protocol that chooses, or there are no test images for the curve.
    """

    def __init__(self, parts: Parts, embedding: Embedding, evaluate: EvaluateConfig, world: World) -> None:
        self._state = parts.state
        self._target = parts.target
        self._embedding = embedding
        self._evaluate = evaluate
        self._world = world
        self._validation = self._set_aside(parts.split.validation_rows)
        self._test = self._test_set() if evaluate.test_curve else None
        self.select_on = f"validation/hq/{evaluate.select_on}/mAP" if self._validation else "latest/step"

    def __call__(self) -> Mapping[str, float]:
        """Return flat metrics: `validation/hq/cc/mAP` in 0…1, `diagnostics/…`, and `test_curve/…` if it is asked for.

        The diagnostics, of the validation identities, need degraded queries; `rlq_ray.evaluate.diagnose` names them.

        Raises:
            DivergedError: a feature is not finite, on every worker.
        """
        network = self._state.network
        assert isinstance(network, ReIDNetwork)
        metrics = {} if self._validation else {self.select_on: float(self._state.step)}
        if self._validation:
            features = self._embed(network, self._validation)
            metrics |= self._score(self._validation, features).flat("validation") | self._diagnose(features)
        if self._test:
            metrics |= self._score(self._test, self._embed(network, self._test)).flat("test_curve")
        return metrics

    def _set_aside(self, rows: Rows) -> _Measured | None:
        """Take the validation images, if there are.

        Raises:
            UsageError: no image has a match under the protocol that chooses the checkpoint.
        """
        if not len(rows):
            return None
        found = self._measurable(rows, rows)
        if self._evaluate.select_on not in found:
            raise UsageError(
                f"no validation image has a match under protocol '{self._evaluate.select_on}': set evaluate.select_on "
                f"to one of {', '.join(found) or 'none'}, or data.validation_fraction=0"
            )
        return _Measured(rows, rows, found)

    def _test_set(self) -> _Measured:
        check_test_curve(self._target.manifest)
        query_rows, gallery_rows = evaluation_rows(self._target.index, "test")
        return _Measured(query_rows, gallery_rows, self._measurable(query_rows, gallery_rows))

    def _measurable(self, query_rows: Rows, gallery_rows: Rows) -> list[Protocol]:
        """List the protocols under which some query has a match."""
        query, gallery = labels_of(self._target.index, query_rows, gallery_rows)
        return [name for name in self._evaluate.protocols if match_counts(query, gallery, name)[0].any()]

    def _embed(self, network: ReIDNetwork, measured: _Measured) -> _Features:
        qualities: tuple[Quality, ...] = tuple(dict.fromkeys(("hq", *self._evaluate.qualities)))
        queries: dict[str, npt.NDArray[np.generic]] = {
            quality: self._features(network, measured.query_rows, quality) for quality in qualities
        }
        is_one_set = measured.query_rows is measured.gallery_rows
        return _Features(queries, queries["hq"] if is_one_set else self._features(network, measured.gallery_rows, "hq"))

    def _score(self, measured: _Measured, features: _Features) -> Evaluation:
        return evaluate_features(
            features.queries,
            features.gallery_GD,
            *labels_of(self._target.index, measured.query_rows, measured.gallery_rows),
            protocols=measured.protocols,
            bootstrap_samples=0,
        )

    def _diagnose(self, features: _Features) -> dict[str, float]:
        if "lq" not in features.queries:
            return {}
        assert self._validation is not None
        index, rows = self._target.index, self._validation.query_rows
        labels, _ = labels_of(index, rows, rows)
        found = diagnose(
            features.queries["hq"], features.queries["lq"], labels, index.gender[rows], self._evaluate.select_on
        )
        return {f"diagnostics/{name}": value for name, value in found.items()}

    def _features(self, network: ReIDNetwork, rows: Rows, quality: Quality) -> npt.NDArray[np.float32]:
        own_rows = rows[self._world.rank :: self._world.size]
        own_ND = self._embedding.rows(network, self._target, own_rows, quality).to(self._embedding.device)
        features: npt.NDArray[np.float32] = gather_rows(own_ND, total=len(rows)).cpu().numpy()
        if not np.isfinite(features).all():
            raise DivergedError(
                f"the {quality} features of step {self._state.step} are not finite: lower optimizer.learning_rate, "
                "or add optimizer.warmup_epochs"
            )
        return features


def check_test_curve(manifest: Manifest) -> None:
    """Refuse a data set without the images that `evaluate.test_curve` measures.

    Raises:
        UsageError: it has no query or no gallery.
    """
    if missing := [split for split in ("query", "gallery") if split not in manifest.splits]:
        raise UsageError(
            f"evaluate.test_curve is on, but the data set '{manifest.name}' has no split '{missing[0]}': "
            "set evaluate.test_curve=false, or ingest its test images"
        )


@dataclass(frozen=True)
class _Measured:
    """What is ranked: rows of the data set, and the protocols under which some query has a match."""

    query_rows: Rows
    gallery_rows: Rows
    protocols: list[Protocol]


@dataclass(frozen=True)
class _Features:
    """Features of the queries by quality, and of the gallery as it is."""

    queries: dict[str, npt.NDArray[np.generic]]
    gallery_GD: npt.NDArray[np.generic]
