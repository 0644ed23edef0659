"""Runs in MLflow: the store that a driver asks, and the tracker that a run writes to. The only import of mlflow.

Every call names its run: MLflow's global state (active run, current experiment, tracking URI) is left alone, because
two processes that set the same new experiment at once lose one another's runs.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import mlflow.pytorch
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from rlq_ray.errors import TrackingError
from rlq_ray.tracking.address import probe, shown_uri, sqlite_file
from rlq_ray.tracking.artifacts import checked_place, encode_figure, encode_image
from rlq_ray.tracking.background import BackgroundWriter, StampedPoint
from rlq_ray.tracking.base import MetricPoint, RunRecord, RunStatus, Scalar
from rlq_ray.tracking.metric_file import append_points, checked_name
from rlq_ray.tracking.passing import is_passing

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image
    from torch import nn

FLUSH_TIMEOUT_S = 60.0
"""How long the end of a run waits for outstanding writings."""
ENTRIES_PER_REQUEST = 100
"""Parameters or tags that MLflow takes in one request."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on runs and models instead of on its pages for language models."""
MODEL_REQUIREMENTS = ("torch", "torchvision", "numpy")

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # commands show their own
for _noisy in ("mlflow", "alembic"):  # tables that a first use creates are not news
    logging.getLogger(_noisy).setLevel(logging.WARNING)


class MlflowStore:
    """A tracking server or database, as drivers and reports see it."""

    def __init__(self, uri: str):
        """Make sure that somebody answers.

        Args:
            uri: `http(s)://…`, `sqlite:////absolute/file.db`, or any other that MLflow knows.

        Raises:
            TrackingError: the store cannot be reached.
        """
        self.uri = uri
        probe(uri)
        with _telling(self.uri, "open"), _alone(sqlite_file(uri)):
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            self._client.get_experiment("0")

    def ensure_experiment(self, name: str) -> str:
        """Return the id of the experiment with a name, made if there is none.

        Raises:
            TrackingError: it was deleted, or the store fails.
        """
        with _telling(self.uri, f"open experiment '{name}'"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(self._client.create_experiment(name, self._artifact_folder(), EXPERIMENT_TAGS))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                found = self._client.get_experiment_by_name(name)  # another process made it meanwhile
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment '{name}' was deleted in {shown_uri(self.uri)}: restore it or take another name"
            )
        return str(found.experiment_id)

    def create_run(
        self, experiment_id: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Begin a run and return its id.

        Raises:
            TrackingError: the store fails.
        """
        all_tags = {**(tags or {}), **({MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {})}
        with _telling(self.uri, f"create run '{name}'"):
            return str(self._client.create_run(experiment_id, tags=all_tags, run_name=name).info.run_id)

    def attach(
        self, run_id: str, metrics_path: Path | None = None, flush_timeout_s: float = FLUSH_TIMEOUT_S
    ) -> MlflowTracker:
        """Open a run for writing and mark it as running, be it new or resumed.

        Args:
            run_id: of an existing run.
            metrics_path: local JSON-lines file to which every metric is also appended.
            flush_timeout_s: how long `finish` may take.

        Raises:
            TrackingError: there is no such run, or the store fails.
        """
        with _telling(self.uri, f"open run {run_id}"):
            experiment_id = self._client.get_run(run_id).info.experiment_id
            self._client.update_run(run_id, status="RUNNING")
        return MlflowTracker(self.uri, self._client, experiment_id, run_id, metrics_path, flush_timeout_s)

    def end_run(self, run_id: str, status: RunStatus) -> None:
        """Set the final status of a run, for one whose own process no longer can."""
        with _telling(self.uri, f"end run {run_id}"):
            self._client.set_terminated(run_id, status)

    def delete_run(self, run_id: str) -> None:
        """Move a run to the store's bin."""
        with _telling(self.uri, f"delete run {run_id}"):
            self._client.delete_run(run_id)

    def run(self, run_id: str) -> RunRecord:
        """Return what is known of a run.

        Raises:
            TrackingError: there is no such run.
        """
        with _telling(self.uri, f"read run {run_id}"):
            return _record(self._client.get_run(run_id))

    def find_runs(
        self,
        experiment_id: str,
        name: str | None = None,
        status: str | None = None,
        parent_run_id: str | None = None,
    ) -> list[RunRecord]:
        """Return the runs that match every given value, newest first."""
        wanted = {
            "attributes.run_name": name,
            "attributes.status": status,
            f"tags.`{MLFLOW_PARENT_RUN_ID}`": parent_run_id,
        }
        if any("'" in value for value in wanted.values() if value):
            raise ValueError(f"name {name!r} holds an apostrophe, which the store cannot search for: rename the run")
        query = " and ".join(f"{key} = '{value}'" for key, value in wanted.items() if value)
        records: list[RunRecord] = []
        token = None
        with _telling(self.uri, f"list the runs of experiment {experiment_id}"):
            while True:
                page = self._client.search_runs(
                    [experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
                )
                records += map(_record, page)
                if not (token := page.token):
                    return records

    def metric_history(self, run_id: str, name: str) -> list[MetricPoint]:
        """Return all values of a metric by step, and by time within a step."""
        with _telling(self.uri, f"read metric '{name}' of run {run_id}"):
            points = self._client.get_metric_history(run_id, name)
        return [MetricPoint(p.key, p.value, p.step) for p in sorted(points, key=lambda p: (p.step, p.timestamp))]

    def list_artifacts(self, run_id: str, folder: str = "") -> list[str]:
        """Return the names of a run's artifacts below a folder, sorted."""
        with _telling(self.uri, f"list the artifacts of run {run_id}"):
            found = self._client.list_artifacts(run_id, folder or None)
        names = [[entry.path] if not entry.is_dir else self.list_artifacts(run_id, entry.path) for entry in found]
        return sorted(name for group in names for name in group)

    def download(self, run_id: str, name: str, folder: Path) -> Path:
        """Copy an artifact below a folder and return where it lies."""
        folder.mkdir(parents=True, exist_ok=True)
        with _telling(self.uri, f"download '{name}' of run {run_id}"):
            return Path(self._client.download_artifacts(run_id, name, str(folder)))

    def register_model(self, model_uri: str, name: str, alias: str | None = None) -> str:
        """Add a logged model to the registry, point an alias at it, and return its version.

        Args:
            model_uri: as `MlflowTracker.log_model` returned it.
            name: registered name, made if new.
            alias: such as `champion`; taken from the version that had it.
        """
        model_id = model_uri.removeprefix("models:/")
        with _telling(self.uri, f"register '{model_uri}' as '{name}'"):
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            logged = self._client.get_logged_model(model_id)
            # By its folder, since MLflow looks models:/ addresses up in its global store instead of this one.
            version = self._client.create_model_version(
                name, logged.artifact_location, run_id=logged.source_run_id, model_id=model_id
            ).version
            if alias:
                self._client.set_registered_model_alias(name, alias, version)
        return str(version)

    def _artifact_folder(self) -> str | None:
        """Return where a SQLite store's artifacts belong: beside it, not in MLflow's default, the working directory."""
        file = sqlite_file(self.uri)
        return (file.parent / "mlflow-artifacts").as_uri() if file else None


class MlflowTracker:
    """One run in an MLflow store; see `Tracker`. Made by `MlflowStore.attach`."""

    def __init__(
        self,
        uri: str,
        client: MlflowClient,
        experiment_id: str,
        run_id: str,
        metrics_path: Path | None,
        flush_timeout_s: float,
    ):
        self.run_id = run_id
        self._uri = uri
        self._client = client
        self._experiment_id = experiment_id
        self._metrics_path = metrics_path
        self._flush_timeout_s = flush_timeout_s
        self._writer = BackgroundWriter(self._write_points, is_passing)

    def log_params(self, params: Mapping[str, Scalar]) -> None:
        """Write parameters, waiting for the store.

        Raises:
            TrackingError: one has another value already, or is longer than 6000 characters.
        """
        mend = "a run keeps the parameters it was begun with: begin a new run for others"
        with _telling(self._uri, f"write the parameters of run {self.run_id}", mend):
            for part in _parts([Param(key, str(value)) for key, value in params.items()]):
                self._client.log_batch(self.run_id, params=part)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, waiting for the store."""
        with _telling(self._uri, f"tag run {self.run_id}"):
            for part in _parts([RunTag(key, str(value)) for key, value in tags.items()]):
                self._client.log_batch(self.run_id, tags=part)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the values of one step."""
        self.log_metric_history(MetricPoint(name, value, step) for name, value in metrics.items())

    def log_metric_history(self, points: Iterable[MetricPoint]) -> None:
        """Queue the values of many steps, and append them to the local file."""
        plain = [MetricPoint(checked_name(p.name), float(p.value), int(p.step)) for p in points]
        if self._metrics_path:
            append_points(self._metrics_path, plain)
        self._writer.put_points(plain)

    def log_text(self, name: str, text: str) -> None:
        """Queue a text file."""
        self._put_bytes(name, text.encode())

    def log_json(self, name: str, value: Any) -> None:
        """Queue a JSON file."""
        self._put_bytes(name, (json.dumps(value, indent=1) + "\n").encode())

    def log_image(self, name: str, image: Image.Image) -> None:
        """Encode a picture now and queue it."""
        self._put_bytes(name, encode_image(name, image))

    def log_figure(self, name: str, figure: Figure) -> None:
        """Draw a figure now and queue it."""
        self._put_bytes(name, encode_figure(name, figure))

    def log_file(self, path: Path, folder: str = "") -> None:
        """Copy a file now and queue the copy, so that the caller may delete or change it."""
        self._put_file(str(PurePosixPath(folder) / path.name), lambda copy: shutil.copyfile(path, copy))

    def log_model(self, name: str, module: nn.Module, input_example: np.ndarray, step: int = 0) -> str:
        """Store a network as a traced graph, waiting for the store; nothing is fetched.

        Raises:
            ValueError: the module is in training mode, or the example has fewer than two rows.
            TrackingError: the store fails.
        """
        if module.training:
            raise ValueError(f"model '{name}' is in training mode: call eval() first")
        if len(input_example) < 2:
            raise ValueError(f"input_example holds {len(input_example)} row: give at least 2")
        requirements = [f"{package}=={metadata.version(package)}" for package in MODEL_REQUIREMENTS]
        with tempfile.TemporaryDirectory() as folder, _telling(self._uri, f"store model '{name}'"):
            path, card = Path(folder) / "model", Model(run_id=self.run_id)
            mlflow.pytorch.save_model(
                module, path, mlflow_model=card, input_example=input_example, pip_requirements=requirements
            )
            logged = self._client.create_logged_model(self._experiment_id, name=name, source_run_id=self.run_id)
            try:
                card.model_id = logged.model_id
                card.save(path / "MLmodel")
                self._client.log_model_artifacts(logged.model_id, str(path))
                self._client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step)])
            except BaseException:
                self._client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            self._client.finalize_logged_model(logged.model_id, "READY")
        return f"models:/{logged.model_id}"

    def flush(self) -> bool:
        """Wait within the bound until everything so far is written, and say whether it is."""
        written = threading.Event()
        self._writer.put_job(written.set)
        return written.wait(self._flush_timeout_s)

    def finish(self, status: RunStatus) -> int:
        """Write what is outstanding within the bound, end the run, and return how many writings were lost."""
        self._writer.put_job(lambda: self._client.set_terminated(self.run_id, status))
        return self.detach()

    def detach(self) -> int:
        """Write what is outstanding within the bound, leave the run open, and return how many writings were lost."""
        return self._writer.close(self._flush_timeout_s)

    def _put_bytes(self, name: str, content: bytes) -> None:
        self._put_file(name, lambda copy: copy.write_bytes(content))

    def _put_file(self, name: str, fill: Callable[[Path], Any]) -> None:
        """Lay down a file in a temporary folder and queue its upload."""
        place = checked_place(name)
        folder = tempfile.TemporaryDirectory(prefix="rlq-artifact-")
        copy = Path(folder.name) / place.name
        fill(copy)

        def upload() -> None:
            self._client.log_artifact(self.run_id, str(copy), str(place.parent) if place.parent.name else None)
            folder.cleanup()

        self._writer.put_job(upload)

    def _write_points(self, points: list[StampedPoint]) -> None:
        metrics = [Metric(point.name, point.value, time_ms, point.step) for point, time_ms in points]
        self._client.log_batch(self.run_id, metrics=metrics)


@contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    """Keep other processes out, because two that make the tables of the same file at once break it."""
    if database is None:
        yield
        return
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _telling(uri: str, doing: str, mend: str = "check the name and the run there") -> Iterator[None]:
    """Turn a failure of MLflow into one line that names the store."""
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        mend = "check that it is up, and RLQ_TRACKING_URI" if is_passing(error) else mend
        raise TrackingError(
            f"cannot {doing} in tracking store {shown_uri(uri)}: {reason.rstrip('.')}; {mend}"
        ) from error


def _record(run: Run) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status=run.info.status,
        started_s=run.info.start_time / 1000,
        ended_s=run.info.end_time / 1000 if run.info.end_time else None,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        parent_run_id=run.data.tags.get(MLFLOW_PARENT_RUN_ID),
    )


def _parts(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), ENTRIES_PER_REQUEST):
        yield entries[start : start + ENTRIES_PER_REQUEST]
