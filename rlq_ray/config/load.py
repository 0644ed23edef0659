"""From a TOML recipe and dotted overrides to a checked `ExperimentConfig`, and back to plain values.

Every mistake becomes one `UsageError` line that names the key, the value and the mend.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate

Settings = TypeVar("Settings", bound=BaseModel)


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read a TOML recipe and apply `section.key=value` overrides, the last one winning.

    A recipe that says `extends = "other.toml"` changes what that one, in the same folder, sets.

    Raises:
        UsageError: no such file, no TOML, an unknown key, or a value that is wrong or contradicts another.
    """
    return build_config(read_settings(path), overrides)


def read_settings(path: Path, kind: str = "recipe", extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read nested settings from a TOML file, with those that it extends; unchecked.

    Args:
        path: the file.
        kind: what errors call it.
        extended_by: files that have led to this one.

    Raises:
        UsageError: no such file, no TOML, or files that extend each other in a circle.
    """
    if path.resolve() in extended_by:
        raise UsageError(f"the {kind} {path} extends itself: take its 'extends' away")
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the {kind} {path}: {error.strerror}; check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the {kind} {path} is not TOML: {error}; mend that line") from error
    extended = settings.pop("extends", None)
    if extended is None:
        return settings
    return merge(read_settings(path.parent / str(extended), kind, (*extended_by, path.resolve())), settings)


def build_config(settings: Mapping[str, Any], overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Check nested settings, after overriding some.

    Raises:
        UsageError: see `load_recipe`.
    """
    settings = {"data": {}} | dict(settings)  # so that a missing data.target is named in full
    return _with_whole_addresses(check_settings(ExperimentConfig, settings, overrides))


def check_settings(
    model: type[Settings], settings: Mapping[str, Any], overrides: Iterable[str] = (), kind: str = "recipe"
) -> Settings:
    """Check nested settings against what they must be, after overriding some.

    Args:
        model: what they must be.
        settings: nested by section.
        overrides: `section.key=value`, the last one winning.
        kind: what errors call the file that holds settings.

    Raises:
        UsageError: an unknown key, or a value that is wrong or contradicts another.
    """
    merged = json.loads(json.dumps(settings))
    for override in overrides:
        key, value = _parse_override(override)
        _assign(merged, key, value)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise UsageError(_first_problem(error, model, kind)) from None


def to_dict(config: BaseModel) -> dict[str, Any]:
    """Plain values (JSON types only) that `build_config` turns back into an equal configuration."""
    return config.model_dump(mode="json")


def without_empty(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what has no value, which TOML cannot write; the rest builds the same configuration."""
    return {
        key: without_empty(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if value is not None
    }


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `{"section.key": value}`; those in a list carry their number from 0, `stages.0.from_epoch`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key as nested ones; a value may be a table of settings below its key.

    Raises:
        UsageError: a key goes below another's single value.
    """
    settings: dict[str, Any] = {}
    for key, value in flat.items():
        _assign(settings, key, value)
    return settings


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def merge(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change nested settings, section by section; the second wins."""
    merged = dict(settings)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _with_whole_addresses(config: ExperimentConfig) -> ExperimentConfig:
    """Make relative paths whole, since workers and later commands run in other folders."""
    data = config.data.model_copy(
        update={
            "target": locate(config.data.target).uri,
            "external": _whole(config.data.external),
        }
    )
    weights = config.model.weights
    if weights not in ("imagenet", "random"):
        weights = str(Path(weights).expanduser().absolute())
    return config.model_copy(
        update={
            "data": data,
            "teacher": _whole(config.teacher),
            "start_from": _whole(config.start_from) if config.start_from != "teacher" else "teacher",
            "model": config.model.model_copy(update={"weights": weights}),
        }
    )


def _whole(uri: str | None) -> str | None:
    return locate(uri).uri if uri else None


def _parse_override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"cannot read the override '{text}': write section.key=value, such as train.epochs=20")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()  # a bare word is a string


def _assign(settings: dict[str, Any], dotted_key: str, value: Any) -> None:
    *sections, key = dotted_key.split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise UsageError(f"'{dotted_key}' goes below '{section}', which is a single value: check the key")
    settings[key] = value


def _first_problem(error: ValidationError, model: type[BaseModel], kind: str) -> str:
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    if location and isinstance(problem["loc"][-1], int):
        location.pop()  # a plain value in a list is named by the list
    key, given = ".".join(location), problem["input"]
    if problem["type"] == "extra_forbidden":
        known = _fields_of(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        where = ".".join(location[:-1]) or "the top level"
        hint = f"did you mean '{close[0]}'?" if close else f"{where} knows {', '.join(known)}"
        return f"unknown setting '{key}': {hint}"
    if problem["type"] == "missing":
        is_listed = any(isinstance(part, int) for part in problem["loc"])
        where = f"in the {kind}" if is_listed else f"on the command line or in the {kind}"
        return f"the setting '{key}' is missing: give {key}=… {where}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    return f"{key} = {given!r} is not possible: {message[0].lower()}{message[1:]}"


def _fields_of(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        if part.isdecimal():
            continue
        annotation = model.model_fields[part].annotation
        section = next(iter(get_args(annotation)), annotation)  # of a list of sections, one of them
        assert isinstance(section, type)
        model = section
    return list(model.model_fields)
