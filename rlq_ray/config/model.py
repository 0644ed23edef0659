"""The network's settings. Loads without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlq_ray.config.section import Section

PATCH_PX = {"eva02_tiny": 14, "eva02_base": 16, "eva02_large": 14}
"""Pixels: side of the patches that the vision transformers cut an image into."""


class ModelConfig(Section):
    """The network of three branches over one backbone."""

    backbone: Literal["resnet50", "resnet18", "narrow", "eva02_tiny", "eva02_base", "eva02_large"] = "resnet50"
    """`narrow` is a residual network of 1–2 million parameters for CPUs; `eva02_…` are vision transformers of 5, 86 and
    303 million parameters for one branch, with patches of 14, 16 and 14 pixels."""
    narrow_width: Annotated[int, Field(ge=4)] = 16
    """Channels after the stem of the `narrow` backbone; ignored by the others."""
    input_height: Annotated[int, Field(ge=32)] = 384
    """Pixels: height of the network's input."""
    input_width: Annotated[int, Field(ge=16)] = 192
    """Pixels: width of the network's input."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's cache or download; ResNets only), `random`, or the path of a local state dict, of
    torchvision's network for the ResNets and of timm's for `eva02_…`."""
    pose_branch: bool = True
    """The third branch with the pose-cluster head."""
    gender_head: bool = True
    """The gender head on the identity branch."""
    single_branch: bool = False
    """One branch for identity and clothes together, as in CAL (Gu et al., CVPR 2022): features of half the length."""
    synchronised_batchnorm: bool = False
    """BatchNorm statistics over all workers, so that their number changes no result beyond rounding."""

    @model_validator(mode="after")
    def _single_branch_stands_alone(self) -> ModelConfig:
        if self.single_branch and (self.pose_branch or self.gender_head):
            beside = "model.pose_branch" if self.pose_branch else "model.gender_head"
            raise ValueError(
                f"model.single_branch is true, and so is {beside}: set {beside}=false, or model.single_branch=false"
            )
        return self

    @model_validator(mode="after")
    def _transformer_can_be_built(self) -> ModelConfig:
        patch_px = PATCH_PX.get(self.backbone)
        if patch_px is None:
            return self
        for side in ("input_height", "input_width"):
            size_px = getattr(self, side)
            if size_px % patch_px:
                raise ValueError(
                    f"model.{side} is {size_px}, which {self.backbone} cannot cut into patches of {patch_px} pixels: "
                    f"take a multiple, such as {(size_px // patch_px + 1) * patch_px}"
                )
        if self.weights == "imagenet":
            raise ValueError(
                f"model.weights is 'imagenet', but {self.backbone} is never downloaded: give the path of timm's state "
                "dict, or set model.weights=random"
            )
        return self

    @property
    def cap_terms(self) -> tuple[str, ...]:
        """Terms of a CAP step from the beginning on; the clothes-adversarial one joins them later."""
        return (
            "identity",
            "triplet",
            *(() if self.single_branch else ("identity_clothes", "agreement")),
            *(("pose", "disentangle") if self.pose_branch else ()),
            *(("gender",) if self.gender_head else ()),
        )
