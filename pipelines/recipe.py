"""Recipes by name: those that are shipped, or a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlq_ray.config.load import load_recipe, read_settings
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import UsageError

RECIPES = Path(__file__).parent / "recipes"


def recipe_path(name: str) -> Path:
    """Find a recipe by its name among those that are shipped, or by its path.

    Raises:
        UsageError: there is none.
    """
    return shipped_or_own(name, RECIPES, "recipe")


def shipped_or_own(name: str, folder: Path, kind: str) -> Path:
    """Find a TOML file by its name in a folder of the package, or by its path.

    Raises:
        UsageError: there is none.
    """
    shipped = folder / f"{name}.toml"
    if shipped.exists():
        return shipped
    if Path(name).suffix == ".toml" and Path(name).exists():
        return Path(name)
    known = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    raise UsageError(f"there is no {kind} '{name}': give the path of a .toml file, or one of {known}")


def read_experiment(recipe: str, overrides: list[str]) -> ExperimentConfig:
    """Read a recipe with its overrides."""
    return load_recipe(recipe_path(recipe), overrides)


def recipe_named(name: str) -> dict[str, Any] | None:
    """Read the settings of a shipped recipe by its file's name, or by the name that it gives its runs.

    Returns:
        None if no recipe that is shipped, and no file, has the name.
    """
    if (RECIPES / f"{name}.toml").exists() or (name.endswith(".toml") and Path(name).exists()):
        return read_settings(recipe_path(name))
    shipped = (read_settings(path) for path in sorted(RECIPES.glob("*.toml")))
    return next((settings for settings in shipped if settings.get("name") == name), None)
