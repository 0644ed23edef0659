"""Networks: backbone, branches, heads and the frozen teacher, built from the model's section of the configuration."""

from rlq_ray.models.heads import CosineClassifier, build_clothes_classifier
from rlq_ray.models.networks import Outputs, ReIDNetwork
from rlq_ray.models.state import load_layers, load_network
from rlq_ray.models.teacher import FrozenTeacher

__all__ = [
    "CosineClassifier",
    "FrozenTeacher",
    "Outputs",
    "ReIDNetwork",
    "build_clothes_classifier",
    "load_layers",
    "load_network",
]
