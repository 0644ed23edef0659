"""The pictures that a person looks at: arrays in, a PIL image or a matplotlib figure out.

Knows neither files nor data sets nor trackers. Sheets of photographs are PIL images, charts are figures.
"""

from rlq_ray.pictures.ablation import AblationRow, ablation_chart
from rlq_ray.pictures.results import Result, cmc_curves, results_chart
from rlq_ray.pictures.retrieval import Retrieval, retrieval_gallery
from rlq_ray.pictures.sheets import annotated, contact_sheet, degradation_pairs, severity_grid
from rlq_ray.pictures.training import evaluation_curves, loss_curves

__all__ = [
    "AblationRow",
    "Result",
    "Retrieval",
    "ablation_chart",
    "annotated",
    "cmc_curves",
    "contact_sheet",
    "degradation_pairs",
    "evaluation_curves",
    "loss_curves",
    "results_chart",
    "retrieval_gallery",
    "severity_grid",
]
