"""Between Tune and the book: what Tune's search and scheduler ask and are told of trainings, by Tune's names."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from rlq_ray.distributed.trial import keep_end
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd
from rlq_ray.errors import RlqError
from tuning.book import Book
from tuning.record import Training, Trial
from tuning.trainable import END, EVALUATED, Common


class Desk:
    """Where Tune's search and scheduler meet the book; their calls come from one thread, that of Tune's loop.

    Tune takes an error in some of these calls for the trial's own, so what the book cannot go on from is kept in
    `error`, and all trainings are let go.

    Args:
        book: says what is next.
        common: what all trainings share.
        max_failures: times that a training may be cut off and is taken up again.
        changed: is called after everything that happens.
        tell: is told which trainings were cut off.
    """

    def __init__(
        self,
        book: Book,
        common: Common,
        *,
        max_failures: int,
        changed: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._book = book
        self._common = common
        self._max_failures = max_failures
        self._changed = changed
        self._tell = tell
        self._under_way: dict[str, tuple[Trial, Training]] = {}
        self._losses: Counter[str] = Counter()
        self.error: RlqError | None = None
        self._is_over = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing for Tune to pickle: its record is not used."""
        return {}

    def let_go(self) -> None:
        """Have Tune end all that is under way, of which nothing more is noted."""
        self._is_over = True

    def next(self, tune_id: str) -> dict[str, Any] | None:
        """Give Tune the next training's configuration; None if there is none now."""
        with self._keeping_error():
            found = None if self.is_closed else self._book.next()
            if found is not None:
                trial, training = self._under_way[tune_id] = found
                self._changed()
                return _task_of(self._book, trial, training)
        return None

    @property
    def is_done(self) -> bool:
        """Whether nothing will be begun any more."""
        return self.is_closed or self._book.is_done

    def note(self, tune_id: str, result: dict[str, Any]) -> bool:
        """Pass on what a training reports, and tell whether it should stop."""
        if END in result:  # which Tune tells twice
            return False
        trial, training = self._under_way[tune_id]
        should_stop = True
        with self._keeping_error():
            should_stop = self._book.note(trial, training, Evaluated(**json.loads(result[EVALUATED])))
            self._changed()
        return should_stop

    def end(self, tune_id: str, result: dict[str, Any]) -> None:
        """Pass on how a training ended; one that Tune ended itself was stopped early."""
        trial, training = self._under_way.pop(tune_id)
        if self.is_closed:
            return
        with self._keeping_error():
            self._book.end(trial, training, self._end_of(trial, training, result))
            self._changed()

    def lose(self, tune_id: str, cause: str) -> None:
        """Have a training that was cut off taken up again, or end it as failed once that was too often.

        Tune itself would try again only what has begun: not what it was about to hand to an actor that it uses again.
        """
        trial, training = self._under_way.pop(tune_id)
        if self.is_closed:
            return
        self._losses[training.run] += 1
        losses = self._losses[training.run]
        with self._keeping_error():
            if losses <= self._max_failures:
                times = f"{losses} of at most {self._max_failures} times"
                self._tell(f"{training.run} was cut off ({cause}) and is taken up again, {times}")
                self._book.put_back(trial, training)
            else:
                reason = f"cut off {losses} times, at last by {cause}; see the workers' logs of Ray"
                self._book.end(trial, training, TrialEnd("failed", reason))
            self._changed()

    def _end_of(self, trial: Trial, training: Training, result: dict[str, Any]) -> TrialEnd:
        if END in result:
            return TrialEnd(**json.loads(result[END]))
        end = TrialEnd("stopped early", f"behind others after epoch {int(training.curve[-1][0])}")
        keep_end(self._common.task(**_task_of(self._book, trial, training)), end)
        return end

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is begun or noted."""
        return self._is_over or self.error is not None

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except RlqError as error:
            self.error = self.error or error


def _task_of(book: Book, trial: Trial, training: Training) -> dict[str, Any]:
    """Give what `Common.task` asks for, in plain values."""
    own: dict[str, Any] = {"run": training.run, "run_id": training.run_id}
    if part := training.part:
        own |= {"until_epoch": part.until_epoch, "parent": part.parent, "parent_epoch": part.from_epoch}
    return {"changes": book.changes(trial, training), "seed": training.seed, "own": own}
