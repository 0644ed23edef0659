"""The teacher's features of the external set: computed once, and kept in the store for all who can use them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pipelines.console import counting, stage, stderr
from pipelines.places import Places
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import missing_draws
from rlq_ray.distributed.embedding import teach_on_cluster
from rlq_ray.storage import Location
from rlq_ray.train.build import open_data
from rlq_ray.train.teaching import TaughtSet


def make_teacher_features(config: ExperimentConfig, places: Places, *, workers: int | None = None) -> None:
    """Compute on the connected cluster what a training would look up and the store lacks, if anything.

    Calls that need the same draws wait for each other where the store is a disk; in S3 they may compute them at the
    same time, to the same end.

    Args:
        config: of the training.
        places: of the store.
        workers: share the images; by default as many as the training has.

    Raises:
        UsageError, CheckpointError, DataError, StorageError, TrainingError: see `teach_on_cluster`.
    """
    if not config.caches_teacher:
        return
    assert config.data.external is not None
    external = open_data(config.data.external, config.data)
    taught = TaughtSet(config, external.manifest.content_hash, places.store)
    row_N = external.index.rows_of_split("train")
    with _in_turn(taught.folder):
        missing = missing_draws(taught.folder, config.teacher_draws)
        if not missing:
            stderr.print(f"  teacher's features taken from the store: {taught.folder}")
            return
        if workers is not None:
            config = config.model_copy(update={"workers": config.workers.model_copy(update={"count": workers})})
        title = f"teacher's features of {len(row_N):,} external images, computed once for each of {len(missing)} draws"
        with stage(title), counting("draws", len(missing)) as advance:
            for number, feat_2ND in zip(missing, teach_on_cluster(config, row_N, missing), strict=True):
                taught.write(number, row_N, feat_2ND)
                advance()
            stderr.print(f"  {len(missing) * feat_2ND.nbytes / 1e6:.0f} MB in {taught.folder}")


@contextlib.contextmanager
def _in_turn(folder: Location) -> Iterator[None]:
    """Wait until no other process of this machine fills a folder on a disk; the lock ends with the process."""
    if not folder.is_local:
        yield
        return
    Path(folder.path).mkdir(parents=True, exist_ok=True)
    with (Path(folder.path) / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stderr.print(f"  waiting for another call that computes the teacher's features in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
