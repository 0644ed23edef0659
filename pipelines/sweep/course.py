"""A sweep from its file to its report: begun, gone on with after any end, and shown while it runs."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from cluster.ray_local import session
from pipelines.at_work import alone
from pipelines.console import stderr
from pipelines.places import Places
from pipelines.study import make_sources, refuse_own
from pipelines.sweep.begun import Sweep
from pipelines.sweep.file import OWN, read_sweep_file
from pipelines.sweep.live import SweepLive
from pipelines.sweep.page import sweep_page
from pipelines.sweep.plan import announce_plan, refuse_small_disk
from pipelines.sweep.recorder import SweepRecorder
from pipelines.sweep.report import SweepReport, build_sweep_report
from pipelines.teacher_features import make_teacher_features
from pipelines.tracked import earlier_run, tracked_run
from pipelines.train import preflight
from rlq_ray.build_stamp import submitted_hash
from rlq_ray.config.load import to_dict
from rlq_ray.distributed.threads import looking_on
from rlq_ray.errors import StorageError, TrackingError, UsageError
from rlq_ray.storage import locate, probe_writable, write_bytes
from tuning.book import Book
from tuning.population_book import PopulationBook
from tuning.record import PULSE_S, Trial
from tuning.room import at_a_time, needs
from tuning.run import run_sweep
from tuning.trainable import Common

REPORT_EVERY_S = 60.0
"""Seconds between reports of a sweep that runs; a page has some MB."""


def begin_sweep(source: str, places: Places, *, name: str | None, out: Path, overrides: tuple[str, ...]) -> Sweep:
    """Read and check a sweep, and take its name.

    Raises:
        UsageError: a setting of it cannot be used, or the name is taken.
    """
    file = read_sweep_file(source).with_whole_paths()
    sweep = Sweep(name or file.name, file, overrides, out, places)
    refuse_own(file, overrides, OWN)
    file.check(overrides)
    if sweep.ledger.read_card() is not None:
        raise UsageError(
            f"the sweep '{sweep.name}' exists in {places.store}: go on with it by `rlq sweep resume {sweep.name}`, "
            "or take another --name"
        )
    probe_writable(places.store)
    text = tomli_w.dumps(file.model_dump(mode="json", exclude_none=True))  # whose order counts, in the space
    sweep.ledger.keep_card({"file": text, "overrides": list(overrides), "out": str(out.absolute())})
    return sweep


def carry_out(sweep: Sweep) -> SweepReport:
    """Train what is missing, and write the report as it goes.

    Raises:
        UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used.
        TrainingError, StorageError, TrackingError: the sweep cannot go on; it can be resumed.
    """
    file, places = sweep.file, sweep.places
    with alone(sweep.folder, f"the sweep '{sweep.name}'"), session(places.ray_address):
        sources = make_sources(
            file,
            places,
            out=sweep.out,
            overrides=sweep.overrides,
            recipe=file.recipe,
            experiment=sweep.experiment,
        )
        overrides = [*sources.overrides, *sweep.overrides]
        config = file.config({}, overrides)
        hashes = {role: manifest.content_hash for role, manifest in preflight(config).items()}
        need = needs(config.workers)
        concurrent = at_a_time(need, file.budget.concurrent)
        refuse_small_disk(file, config.train.epochs, concurrent, places.store, sources.teacher)
        at_once = need.workers * min(concurrent, at_a_time(need, None))
        make_teacher_features(file.config_with_most_draws(overrides), places, workers=at_once)
        with tracked_run(
            places.tracking_uri,
            sweep.experiment,
            sweep.name,
            run_id=earlier_run(places.tracking_uri, sweep.experiment, sweep.name),
            tags={"rlq.kind": "sweep"},
        ) as parent:
            recorder = SweepRecorder(parent, sweep.name, file, overrides, hashes)
            book = (PopulationBook if file.search.kind == "pbt" else Book)(
                sweep.name,
                space=file.space,
                settings=file,
                epochs=config.train.epochs,
                ledger=sweep.ledger,
                recorder=recorder,
            )
            announce_plan(file, config.train.epochs, book, need, concurrent)
            common = Common(
                to_dict(config),
                places.store.uri,
                places.tracking_uri,
                book.reported,
                on_gpu="gpu" in need.each,
                package=submitted_hash(),
            )
            papers = _Papers(sweep)
            _beat(sweep)
            try:
                with (
                    SweepLive(file, book, config.train.epochs, concurrent) as live,
                    looking_on(lambda: _beat(sweep), every_s=PULSE_S, name="rlq-pulse"),
                ):
                    run_sweep(
                        book,
                        common,
                        concurrent=concurrent,
                        changed=lambda: papers.after(live, book),
                        tell=lambda text: stderr.print(f"  {text}"),
                    )
            except BaseException:
                papers.write(book.trials, "interrupted")
                with contextlib.suppress(TrackingError):  # the error that is under way says more
                    recorder.leave(book.trials)
                    recorder.settle(book.standings())
                raise
            recorder.settle(book.standings())
            report = papers.write(book.trials, "finished")
            sweep.ledger.keep_card({**(sweep.ledger.read_card() or {}), "is_done": True})
            for path in papers.paths:
                parent.tracker.log_file(path, "report")
    return report


def _beat(sweep: Sweep) -> None:
    with contextlib.suppress(StorageError):  # the sweep itself tells of a store that is away
        sweep.ledger.keep_pulse()


class _Papers:
    """The report's files, written again from time to time while a sweep runs."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._written_s = -math.inf

    @property
    def paths(self) -> list[Path]:
        return [self._sweep.folder / name for name in ("report.json", "report.html")]

    def after(self, live: SweepLive, book: Book) -> None:
        live.update()
        if time.monotonic() - self._written_s > REPORT_EVERY_S:
            self.write(book.trials, "running")

    def write(self, trials: Sequence[Trial], state: str) -> SweepReport:
        sweep = self._sweep
        report = build_sweep_report(sweep.name, sweep.file, trials, state=state, overrides=sweep.overrides)
        as_json, page = self.paths
        write_bytes(locate(as_json), (json.dumps(report, indent=1) + "\n").encode())
        write_bytes(locate(page), sweep_page(report).encode())
        self._written_s = time.monotonic()
        return report
