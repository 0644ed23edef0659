"""A sweep in MLflow: its run holds a run for each configuration, and that one a run for each seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.sweep.file import SweepFile
from pipelines.tracked import TrackedRun, log_set_up
from rlq_ray.errors import UsageError
from rlq_ray.tracking import RunStatus, Tracker
from tuning.book import Standing
from tuning.record import Training, Trial

STATUS: dict[str, RunStatus] = {
    "finished": "FINISHED",
    "stopped early": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "running": "KILLED",
}
"""MLflow's word for how a training stands when nobody is at work on it any more."""


class SweepRecorder:
    """Makes the runs of configurations and trainings, in the driver alone, and ends them.

    Args:
        parent: the sweep's run.
        name: of the sweep.
        file: of the sweep.
        overrides: settings for all trainings.
        data_hashes: content hashes of the data sets by role.
    """

    def __init__(
        self,
        parent: TrackedRun,
        name: str,
        file: SweepFile,
        overrides: Sequence[str],
        data_hashes: Mapping[str, str],
    ) -> None:
        self._parent = parent
        self._name = name
        self._file = file
        self._overrides = overrides
        self._data_hashes = data_hashes
        # Those that an earlier driver made, among them runs that it did not live to write into the ledger.
        self._known = {run.name: run.run_id for run in parent.store.find_runs(parent.experiment_id)}

    def begin_trial(self, trial: Trial) -> str:
        """Make the run of a configuration, with its values as parameters."""
        tags = {"rlq.kind": "trial", "rlq.sweep": self._name}
        run_id = self._create(f"{self._name}-{trial.number:05d}", self._parent.run_id, tags)
        with self._writing(run_id) as tracker:
            tracker.log_params({key: str(value) for key, value in trial.values.items()})
        return run_id

    def begin_training(self, trial: Trial, training: Training, changes: Mapping[str, Any]) -> str:
        """Make the run of a training, with its whole configuration."""
        tags = {"rlq.kind": "training", "rlq.sweep": self._name, "rlq.recipe": self._file.recipe}
        run_id = self._create(training.run, trial.run_id, tags)
        overrides = [*self._overrides, f"seed={training.seed}"]
        with self._writing(run_id) as tracker, contextlib.suppress(UsageError):  # which the training itself tells
            log_set_up(tracker, self._file.changed_config(changes, overrides), self._data_hashes)
        return run_id

    def end_training(self, trial: Trial, training: Training, standing: Standing | None) -> None:
        """End the run of a training, and bring that of its configuration up to date."""
        assert training.run_id is not None
        assert trial.run_id is not None
        if training.reason:
            with self._writing(training.run_id) as tracker:
                tracker.set_tags({"rlq.reason": training.reason})
        self._parent.store.end_run(training.run_id, STATUS[training.state])
        with self._writing(trial.run_id) as tracker:
            tracker.set_tags({"rlq.state": trial.state})
            if standing is not None:
                tracker.log_metrics(self._scores(trial, standing), step=len(trial.finished()))
        self._parent.store.end_run(trial.run_id, STATUS[trial.state])

    def settle(self, standings: Sequence[tuple[Trial, Standing]]) -> None:
        """Bring the scores of all configurations up to date, which later trainings of others have changed."""
        for trial, standing in standings:
            assert trial.run_id is not None
            with self._writing(trial.run_id) as tracker:
                tracker.log_metrics(self._scores(trial, standing), step=len(trial.finished()))
            self._parent.store.end_run(trial.run_id, STATUS[trial.state])  # writing opens it again

    def _scores(self, trial: Trial, standing: Standing) -> dict[str, float]:
        means = zip(self._file.objectives, standing.means, strict=True)
        return {
            **{f"mean/{objective}": mean for objective, mean in means},
            f"lower_bound/{self._file.objectives[0]}": standing.lower_bound,
            "seeds": len(trial.finished()),
        }

    def leave(self, trials: Sequence[Trial]) -> None:
        """End the runs of what is still under way, since nobody will be at work on it."""
        for trial in trials:
            for training in trial.trainings:
                if not training.has_ended and training.run_id and trial.run_id:
                    for run_id in (training.run_id, trial.run_id):
                        self._parent.store.end_run(run_id, "KILLED")

    def _create(self, name: str, parent_run_id: str | None, tags: Mapping[str, str]) -> str:
        if name in self._known:
            return self._known.pop(name)
        return self._parent.store.create_run(self._parent.experiment_id, name, parent_run_id, tags)

    @contextlib.contextmanager
    def _writing(self, run_id: str) -> Iterator[Tracker]:
        tracker = self._parent.store.attach(run_id)
        try:
            yield tracker
        finally:
            tracker.detach()
