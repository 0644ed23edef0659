"""The alternating objectives: CAP on the labelled target, TAD on the external set."""

from rlq_ray.phases.attributes import CoarseAttributePhase
from rlq_ray.phases.base import Moment, Phase
from rlq_ray.phases.clothes import ClothesClassifierTraining
from rlq_ray.phases.distillation import DistillationPhase
from rlq_ray.phases.views import Views

__all__ = ["ClothesClassifierTraining", "CoarseAttributePhase", "DistillationPhase", "Moment", "Phase", "Views"]
