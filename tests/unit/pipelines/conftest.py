"""Outcomes of an experiment whose features are made up: the second row is better than the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from pipelines.experiment_file import ExperimentFile
from pipelines.outcomes import Outcome
from rlq_ray.config.load import build_config
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.evaluate import Labels, evaluate_features

QUALITIES = (
    "hq",
    "lq",
    *(f"{a}-{s}" for a in ("pixelation", "defocus", "motion") for s in ("mild", "medium", "severe")),
)
EPOCHS = (1, 2, 3)


@dataclass(frozen=True)
class MadeUp:
    """An experiment with three seeds a row."""

    file: ExperimentFile
    config: ExperimentConfig
    outcomes: dict[str, list[Outcome]]


def outcome(row: str, seed: int, noise: float, test_curve: tuple[float, ...] = (0.2, 0.5, 0.3)) -> Outcome:
    rng = np.random.default_rng([seed, int(1000 * noise)])
    identity = np.arange(120) % 10
    centre = np.random.default_rng(0).normal(size=(10, 16))

    def labels(camera: int) -> Labels:
        return Labels(identity, np.full(120, camera), np.arange(120) + 1000 * camera)

    def feats(scale: float) -> np.ndarray:
        return (centre[identity] + scale * rng.normal(size=(120, 16))).astype(np.float32)

    queries = {quality: feats(noise * (1 if quality == "hq" else 1.5)) for quality in QUALITIES}
    evaluation = evaluate_features(
        queries, feats(noise), labels(0), labels(1), protocols=("general", "cc"), bootstrap_samples=0
    )
    curves = {
        f"test_curve/{quality}/cc/{metric}": list(zip(EPOCHS, test_curve, strict=True))
        for quality in ("hq", "lq")
        for metric in ("mAP", "top1")
    }
    curves["diagnostics/silhouette_quality"] = [(epoch, epoch / 10) for epoch in EPOCHS]
    return Outcome(row, seed, f"key-{row}-{seed}", 3, "2 CPU cores", "c0ffee", curves, evaluation)


@pytest.fixture(scope="package")
def made_up() -> MadeUp:
    file = ExperimentFile.model_validate(
        {
            "name": "made-up",
            "title": "Made up",
            "rows": [{"recipe": "base", "label": "base model"}, {"recipe": "rlq", "label": "RLQ"}],
            "comparisons": [{"before": "base", "after": "rlq", "question": "What does RLQ bring?"}],
        }
    )
    config = build_config({"data": {"target": "t"}, "schedule": {"tad_steps": 0}}, ["evaluate.bootstrap_samples=200"])
    outcomes = {
        row: [outcome(row, seed, noise + 0.05 * seed) for seed in range(3)]
        for row, noise in (("base", 2.5), ("rlq", 1.2))
    }
    return MadeUp(file, config, outcomes)
