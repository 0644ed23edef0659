"""What all sections of the settings have in common: their base, and types of numbers. Loads without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def require_ordered(name: str, bounds: tuple[float, float]) -> None:
    """Refuse bounds of which the first is the larger.

    Raises:
        ValueError: they are.
    """
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name} is {bounds}: write the smaller bound first")
