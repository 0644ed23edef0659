"""Reads what is known of a run: its entry in the store, and the curves that its tracking store has.

The tracker is the one place that holds every training's losses and scores step by step, those of a sweep too; Ray
Train's checkpoints have the last evaluations alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.page.words import duration
from pipelines.recipe import recipe_named
from pipelines.run_report.values import Change, RunReport, Series, read_scores
from rlq_ray.config.load import build_config, flatten, merge, to_dict
from rlq_ray.distributed.runs import RunEntry
from rlq_ray.errors import TrackingError, UsageError
from rlq_ray.tracking.address import shown_uri, sqlite_file
from rlq_ray.tracking.base import RunRecord
from rlq_ray.tracking.mlflow_tracker import MlflowStore

RATE, SPEED, STALL = "learning_rate", "images_per_second", "stall_share"
"""Metrics of how a training goes; the last is one for each phase."""
IS_BEST = "validation/is_best"
LEFT_OUT = ("top5", "top10", "top20", "queries_left_out")
"""Scores that no part of the page shows."""
OWN_SOURCES = ("data.target", "data.external", "teacher", "start_from", "name")
"""Settings that every run has of its own: they are facts of it, and no change of a recipe."""


def read_run(entry: RunEntry, tracking_uri: str) -> RunReport:
    """Read all that is known of a run, finished or not.

    Raises:
        TrackingError: the tracking store cannot be reached, or is not the one that the run was tracked in.
    """
    store, record = _tracked(entry, tracking_uri)
    curves = _Curves(store, record)
    tags = record.tags if record else {}
    recipe, changes = _changes(entry, tags.get("rlq.recipe"))
    best_epoch = _best_epoch(entry, curves)
    histories = {
        name: curves.of(name) for name in curves.names("validation") if name.rpartition("/")[2] not in LEFT_OUT
    }
    at_best = {name: dict(series)[best_epoch] for name, series in histories.items() if best_epoch in dict(series)}
    scores = {tuple(name.split("/")[1:]): series for name, series in histories.items() if name.count("/") == 3}
    return RunReport(
        name=entry.name,
        state=entry.state,
        reason=entry.reason,
        facts=[(name, text) for name, text in _facts(entry, record, curves, recipe) if text],
        config=entry.config,
        recipe=recipe,
        changes=changes,
        is_tracked=record is not None,
        best_epoch=best_epoch,
        losses=_losses(curves),
        learning_rate=curves.of(RATE),
        course=_course(curves),
        scores={key: series for key, series in scores.items() if len(key) == 3 and key[2] in ("mAP", "top1")},
        diagnostics={name.partition("/")[2]: curves.of(name) for name in curves.names("diagnostics")},
        validation=read_scores(at_best or entry.metrics, "validation"),
        test=read_scores(record.metrics if record else {}, "test"),
    )


class _Curves:
    """The metrics of a tracked run, each read when it is asked for; none of a run that is not tracked."""

    def __init__(self, store: MlflowStore | None, record: RunRecord | None) -> None:
        self._store = store
        self._record = record

    def names(self, first: str) -> list[str]:
        """List the metrics whose names begin with a part, `first/…`."""
        return sorted(name for name in (self._record.metrics if self._record else {}) if name.startswith(f"{first}/"))

    def of(self, name: str) -> Series:
        """Give a metric's curve, empty if it was never logged."""
        if self._store is None or self._record is None or name not in self._record.metrics:
            return ()
        history = self._store.metric_history(self._record.run_id, name)
        return sorted({point.step: point.value for point in history}.items())  # a resumed run repeats steps


def _tracked(entry: RunEntry, uri: str) -> tuple[MlflowStore | None, RunRecord | None]:
    if entry.mlflow_run_id is None:
        return None, None
    mend = f"name the tracking store of '{entry.name}' by --tracking-uri or RLQ_TRACKING_URI"
    file = sqlite_file(uri)
    if file is not None and not file.exists():  # MLflow would make an empty one
        raise TrackingError(f"the curves of '{entry.name}' are in MLflow, but {file} does not exist: {mend}")
    store = MlflowStore(uri)
    try:
        return store, store.run(entry.mlflow_run_id)
    except TrackingError as error:
        raise TrackingError(
            f"the tracking store {shown_uri(uri)} gives nothing of '{entry.name}' ({error}): {mend}"
        ) from error


def _best_epoch(entry: RunEntry, curves: _Curves) -> int | None:
    if entry.epoch is not None:
        return entry.epoch
    return max((epoch for epoch, is_best in curves.of(IS_BEST) if is_best), default=None)


def _losses(curves: _Curves) -> dict[str, dict[str, Series]]:
    """Sort the losses by phase, each phase's whole first."""
    losses: dict[str, dict[str, Series]] = {}
    for phase in ("cap", "tad", "joint"):
        terms = {name.partition("/")[2]: curves.of(name) for name in curves.names(phase)}
        if terms:
            losses[phase] = {"loss": terms.pop("loss"), **terms} if "loss" in terms else terms
    return losses


def _course(curves: _Curves) -> dict[str, Series]:
    course = {"images per second": curves.of(SPEED)} if curves.of(SPEED) else {}
    for name in curves.names("loading"):
        _, phase, metric = name.split("/")
        if metric == STALL:
            course[f"waiting for {phase.upper()} images, share"] = curves.of(name)
    return course


def _facts(entry: RunEntry, record: RunRecord | None, curves: _Curves, recipe: str) -> Iterator[tuple[str, str]]:
    config, tags = entry.config, record.tags if record else {}
    evaluated = curves.of(IS_BEST)
    workers = config["workers"]
    yield "recipe", recipe
    yield "CAP epochs", f"{evaluated[-1][0] if evaluated else entry.epoch or 0} of {config['train']['epochs']}"
    yield "seed", str(config["seed"])
    yield "workers", f"{workers['count']} with {workers['cpus']:g} CPU{'' if workers['cpus'] == 1 else 's'} each"
    yield from _places(config, tags)
    yield "checkpoint", entry.checkpoint or ""
    if record is not None:
        yield "begun", datetime.fromtimestamp(record.started_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield "took", duration(record.ended_s - record.started_s if record.ended_s else None)
        yield "hardware", ", ".join(filter(None, [tags.get("gpus"), tags.get("cpu"), _count(tags.get("cpus"), "CPU")]))
        yield "commit", tags.get("git.commit", "")[:12] + (" and changes" if tags.get("git.dirty") == "True" else "")
        yield (
            "versions",
            ", ".join(
                f"{package} {tags[key]}"
                for package in ("rlq-ray", "torch", "ray")
                if (key := f"packages.{package}") in tags
            ),
        )
        yield "MLflow run", record.run_id
    yield "page made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _places(config: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for role in ("target", "external"):
        if config["data"][role] and (role == "target" or config["schedule"]["tad_steps"]):
            hashed = tags.get(f"data.{role}.hash", "")[:12]
            yield f"{role} data", config["data"][role] + (f" ({hashed})" if hashed else "")
    yield "teacher", config["teacher"] or ""
    yield "begins with", config["start_from"] or ""


def _count(number: str | None, what: str) -> str:
    return f"{number} {what}{'' if number == '1' else 's'}" if number else ""


def _changes(entry: RunEntry, tag: str | None) -> tuple[str, list[Change]]:
    """Name what a run's settings are held against, and list what differs from it.

    That is the shipped recipe of this name as it stands now, else the defaults.
    """
    name = tag or str(entry.config["name"])
    settings = recipe_named(name)
    against = name if settings is not None else f"{name}, which is not shipped: held against the defaults"
    own = flatten(entry.config)
    given = {key: own.get(key) for key in OWN_SOURCES}
    base = merge(
        settings or {}, {"name": given["name"], "teacher": given["teacher"], "start_from": given["start_from"]}
    )
    base = merge(base, {"data": {"target": given["data.target"], "external": given["data.external"]}})
    try:
        theirs = flatten(to_dict(build_config(base)))
    except UsageError:  # a recipe that has changed since, and does not go with what the run has
        return f"{name}, which cannot be read any more", []
    keys = [key for key in {**theirs, **own} if theirs.get(key) != own.get(key) and key not in OWN_SOURCES]
    return against, [Change(key, _text(theirs, key), _text(own, key)) for key in keys]


def _text(flat: Mapping[str, Any], key: str) -> str | None:
    if flat.get(key) is None:
        return None
    value = flat[key]
    return str(value).lower() if isinstance(value, bool) else str(value)
