"""Settings of what is done to images: random changes for training, and synthetic low quality. Loads without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlq_ray.config.section import Count, NonNegative, Positive, Probability, Section, require_ordered

Quality = Literal[
    "hq",
    "lq",
    "pixelation",
    "defocus",
    "motion",
    "pixelation-mild",
    "pixelation-medium",
    "pixelation-severe",
    "defocus-mild",
    "defocus-medium",
    "defocus-severe",
    "motion-mild",
    "motion-medium",
    "motion-severe",
]
"""Of query images: as they are, degraded by the mix of a training, by one artefact, or by a third of its range."""


class AugmentConfig(Section):
    """Random changes to the training images."""

    enlarge_probability: Probability = 0.5
    """Chance that an image is enlarged and cropped back."""
    enlarge_factor: Annotated[float, Field(ge=1)] = 1.125
    """How much it is enlarged."""
    flip_probability: Probability = 0.5
    """Chance of a mirror image."""
    erase_probability: Probability = 0.5
    """Chance that a rectangle is erased."""
    erase_area: tuple[Positive, Positive] = (0.02, 0.4)
    """Smallest and largest share of the image's area that is erased."""
    erase_aspect: tuple[Positive, Positive] = (0.3, 3.3)
    """Smallest and largest height/width of the erased rectangle."""
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Half width of the range around 1 of a brightness factor; the published method uses none."""
    recolour: bool = True
    """Give every target image a copy in other clothes (needs masks)."""
    recolour_originals: Probability = 0.0
    """Chance that the image beside its copy is put into other clothes too; the published method leaves it as it is."""
    recolour_alpha: Probability = 0.7
    """Weight of the new colour in that copy."""
    recolour_shading: bool = False
    """Give the new colour the light and dark of the old clothes, their folds and patterns; the published method lays an
    even colour over them."""

    @model_validator(mode="after")
    def _ordered(self) -> AugmentConfig:
        require_ordered("augment.erase_area", self.erase_area)
        require_ordered("augment.erase_aspect", self.erase_aspect)
        if self.erase_area[1] > 1:
            raise ValueError(f"augment.erase_area ends at {self.erase_area[1]}: an area cannot exceed 1")
        return self


class DegradeConfig(Section):
    """Synthetic low quality: one artefact per image, drawn on the worker's device."""

    pixelation: NonNegative = 0.33
    """Share of images that are pixelated."""
    gaussian: NonNegative = 0.37
    """Share of images out of focus."""
    motion: NonNegative = 0.30
    """Share of images blurred by motion."""
    pixelation_px: tuple[Count, Count] = (16, 63)
    """Pixels: smallest and largest short side to which an image is shrunk."""
    gaussian_kernel_px: tuple[Count, Count] = (5, 21)
    """Pixels: smallest and largest width of the Gaussian kernel, both odd."""
    gaussian_sigma_px: tuple[Positive, Positive] = (0.1, 2.0)
    """Pixels: smallest and largest standard deviation of the Gaussian."""
    motion_px: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (8, 19)
    """Pixels: shortest and longest line of the motion blur."""
    pixels: Literal["original", "canvas"] = "original"
    """Whose pixels the sizes above count: those of the stored image, or those of the canvas it was brought to."""
    target_probability: Probability = 0.0
    """Chance that a target image is degraded in a CAP step: plain augmentation, which TAD has to beat; the published
    method degrades none."""
    distil_degraded: bool = True
    """Whether TAD's second view is degraded; without, it distils on clean images alone, a control."""

    @model_validator(mode="after")
    def _consistent(self) -> DegradeConfig:
        total = self.pixelation + self.gaussian + self.motion
        if abs(total - 1) > 1e-6:
            raise ValueError(f"degrade.pixelation + gaussian + motion is {total:g}: let the three shares sum to 1")
        for name in ("pixelation_px", "gaussian_kernel_px", "gaussian_sigma_px", "motion_px"):
            require_ordered(f"degrade.{name}", getattr(self, name))
        even = [size for size in self.gaussian_kernel_px if size % 2 == 0]
        if even:
            raise ValueError(f"degrade.gaussian_kernel_px has the even size {even[0]}: a centred kernel is odd")
        return self
