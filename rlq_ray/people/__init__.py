"""Rendered people: a real clothes-changing data set made from a free body model. Knows nothing of learning.

Public names are imported from here; the modules below are the renderer.
"""

from rlq_ray.people.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset"]
