"""Networks: backbone, branches, heads and the frozen teacher, built from the model's section of the configuration."""

from rlq_ray.models.heads import CosineClassifier, build_clothes_classifier
from rlq_ray.models.networks import Outputs, ReIDNetwork
from rlq_ray.models.released import ReleasedModel, convert_released
from rlq_ray.models.released_classes import name_classes, number_classes, recolourings_of
from rlq_ray.models.released_file import read_released
from rlq_ray.models.state import load_layers, load_network
from rlq_ray.models.teacher import FrozenTeacher

__all__ = [
    "CosineClassifier",
    "FrozenTeacher",
    "Outputs",
    "ReIDNetwork",
    "ReleasedModel",
    "build_clothes_classifier",
    "convert_released",
    "load_layers",
    "load_network",
    "name_classes",
    "number_classes",
    "read_released",
    "recolourings_of",
]
