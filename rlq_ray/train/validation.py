"""How good the network is on the identities that were set aside; shared out among the workers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rlq_ray.collectives import World, gather_rows
from rlq_ray.config.schema import EvaluateConfig, Quality
from rlq_ray.errors import UsageError
from rlq_ray.evaluate import evaluate_features, match_counts
from rlq_ray.models import ReIDNetwork
from rlq_ray.train.build import Parts
from rlq_ray.train.features import Embedding, labels_of


class Validation:
    """Measures a network on the validation identities, every image in turn against all others, alike everywhere.

    Without validation identities there is nothing to choose by, and the latest state counts as the best.
    `select_on` names the metric that chooses the checkpoint.
    """

    def __init__(self, parts: Parts, embedding: Embedding, evaluate: EvaluateConfig, world: World) -> None:
        self._state = parts.state
        self._target = parts.target
        self._rows = parts.split.validation_rows
        self._embedding = embedding
        self._evaluate = evaluate
        self._protocols = self._measurable(evaluate)
        self._world = world
        self.select_on = f"validation/hq/{evaluate.select_on}/mAP" if len(self._rows) else "latest/step"

    def _measurable(self, evaluate: EvaluateConfig) -> list[str]:
        """List the protocols under which some validation image has a match.

        Raises:
            UsageError: the one that chooses the checkpoint is not among them.
        """
        if not len(self._rows):
            return []
        query, gallery = labels_of(self._target.index, self._rows, self._rows)
        found: list[str] = [name for name in evaluate.protocols if match_counts(query, gallery, name)[0].any()]
        if evaluate.select_on not in found:
            raise UsageError(
                f"no validation image has a match under protocol '{evaluate.select_on}': set evaluate.select_on to one "
                f"of {', '.join(found) or 'none'}, or data.validation_fraction=0"
            )
        return found

    def __call__(self) -> Mapping[str, float]:
        """Return flat metrics, such as `validation/hq/cc/mAP` in 0…1."""
        if not len(self._rows):
            return {self.select_on: float(self._state.step)}
        network = self._state.network
        assert isinstance(network, ReIDNetwork)
        query, gallery = labels_of(self._target.index, self._rows, self._rows)
        qualities: tuple[Quality, ...] = tuple(dict.fromkeys(("hq", *self._evaluate.qualities)))
        features: dict[str, npt.NDArray[np.generic]] = {
            quality: self._features(network, quality) for quality in qualities
        }
        evaluation = evaluate_features(
            features,
            features["hq"],
            query,
            gallery,
            protocols=self._protocols,
            bootstrap_samples=0,
        )
        return evaluation.flat("validation")

    def _features(self, network: ReIDNetwork, quality: Quality) -> npt.NDArray[np.float32]:
        own_rows = self._rows[self._world.rank :: self._world.size]
        own_ND = self._embedding.rows(network, self._target, own_rows, quality).to(self._embedding.device)
        features: npt.NDArray[np.float32] = gather_rows(own_ND, total=len(self._rows)).cpu().numpy()
        return features
