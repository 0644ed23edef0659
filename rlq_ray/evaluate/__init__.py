"""How good a model is: protocols, exact ranking, metrics with intervals, reports. Knows arrays only, not networks."""

from rlq_ray.evaluate.diagnostics import Share, diagnose, lq_neighbour_share, silhouette, wrong_match_gender
from rlq_ray.evaluate.feature_file import FeatureFile, read_features
from rlq_ray.evaluate.intervals import BOOTSTRAP_SEED, Difference, Interval, differences, score_intervals
from rlq_ray.evaluate.nearest import top_k
from rlq_ray.evaluate.protocols import (
    PROTOCOLS,
    GalleryProtocol,
    Labels,
    protocol_named,
    shared_codes,
    shared_labels,
)
from rlq_ray.evaluate.ranking import Ranking, rank, rank_protocols
from rlq_ray.evaluate.report import (
    ROW_HEADER,
    Evaluation,
    Scores,
    compare,
    evaluate_features,
    from_arrays,
    from_rankings,
)
from rlq_ray.evaluate.scores import CMC_RANKS, Metrics, chance_ap, chance_map, match_counts, metrics
from rlq_ray.evaluate.seeds import SeedScores, differences_of_seeds, score_seeds

__all__ = [
    "BOOTSTRAP_SEED",
    "CMC_RANKS",
    "PROTOCOLS",
    "ROW_HEADER",
    "Difference",
    "Evaluation",
    "FeatureFile",
    "GalleryProtocol",
    "Interval",
    "Labels",
    "Metrics",
    "Ranking",
    "Scores",
    "SeedScores",
    "Share",
    "chance_ap",
    "chance_map",
    "compare",
    "diagnose",
    "differences",
    "differences_of_seeds",
    "evaluate_features",
    "from_arrays",
    "from_rankings",
    "lq_neighbour_share",
    "match_counts",
    "metrics",
    "protocol_named",
    "rank",
    "rank_protocols",
    "read_features",
    "score_intervals",
    "score_seeds",
    "shared_codes",
    "shared_labels",
    "silhouette",
    "top_k",
    "wrong_match_gender",
]
