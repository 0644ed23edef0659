"""One read from S3, followed up until it is answered: attempts that are cut, hedges, retries, a deadline.

An attempt runs in another thread, so that its answer can be awaited for a bounded time and a second, equal request
overtake it (Dean and Barroso, The Tail at Scale, 2013). pyarrow cannot call a request back: one that was given up ends
by the limits of its client, soon after.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage.attempts import AttemptThreads
from rlq_ray.storage.faults import Fault, fault_of, pauses_s, reason_of
from rlq_ray.storage.handles import Handle, Handles
from rlq_ray.storage.places import Location
from rlq_ray.storage.s3 import S3Client, S3Limits, renew, s3_client

LANES = 2
"""Sets of connections: a hedge must not wait for a connection that stalled requests hold."""
CONNECT_TIMEOUT_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a range, in seconds."""

    deadline_s: float = 300.0
    """For a read with all its retries."""
    attempt_s: float = 20.0
    """For one attempt, which is then given up; enough for the largest range on the slowest line."""
    hedge_s: float = 1.0
    """For an answer, before a second, equal request is sent."""


PATIENT = Patience()


@dataclass(frozen=True)
class _Answer(Generic[T]):
    client: S3Client
    outcome: T | BaseException

    @property
    def has_passing_fault(self) -> bool:
        """Whether another request may still do better."""
        return isinstance(self.outcome, OSError) and fault_of(self.outcome) is Fault.PASSING


class Pursuit(Generic[T]):
    """Do `act` with an opened object until it succeeds; `requests`, `retries` and `hedges` say what that took."""

    def __init__(self, place: Location, act: Callable[[Handle], T], patience: Patience) -> None:
        self._place, self._act, self._patience = place, act, patience
        self._deadline_s = time.monotonic() + patience.deadline_s
        self.requests = self.retries = self.hedges = 0

    def run(self, threads: AttemptThreads, handles: Handles) -> T:
        """Follow it up.

        Raises:
            NotFoundError: no such object or bucket.
            StorageError: refused credentials, or no answer until the deadline.
        """
        is_renewed = False
        pauses = pauses_s()
        while True:
            answer = self._attempt(threads, handles)
            error = answer.outcome
            if not isinstance(error, BaseException):
                return error
            if not isinstance(error, OSError):
                raise error
            fault = fault_of(error)
            if fault is Fault.ABSENT:
                raise NotFoundError(f"{self._place} does not exist: check the address") from error
            if fault is Fault.PASSING:
                self._pause(next(pauses), error)
            elif is_renewed or not renew(answer.client):
                raise StorageError(
                    f"cannot read {self._place}: {reason_of(error)}; check the address and the credentials"
                ) from error
            else:
                is_renewed = True
            self.retries += 1

    def _attempt(self, threads: AttemptThreads, handles: Handles) -> _Answer[T]:
        """Ask once, and once more beside it if there is no answer for a while; return the first answer of use."""
        answers: queue.SimpleQueue[_Answer[T]] = queue.SimpleQueue()
        began_s = time.monotonic()
        give_up_s = min(began_s + self._patience.attempt_s, self._deadline_s)
        hedge_s = min(began_s + self._patience.hedge_s, give_up_s)
        client = self._send(threads, handles, answers)
        answer = _wait(answers, hedge_s)
        if answer is None and hedge_s < give_up_s:
            self._send(threads, handles, answers)
            self.hedges += 1
            answer = _wait(answers, give_up_s)
            if answer and answer.has_passing_fault:
                answer = _wait(answers, give_up_s) or answer
        waited_s = time.monotonic() - began_s
        return answer or _Answer(client, TimeoutError(f"no answer within {waited_s:.3g} s"))

    def _send(self, threads: AttemptThreads, handles: Handles, answers: queue.SimpleQueue[_Answer[T]]) -> S3Client:
        limits = S3Limits(
            connect_s=min(self._patience.attempt_s, CONNECT_TIMEOUT_S),
            silence_s=self._patience.attempt_s,
            max_attempts=1,
            lane=self.requests % LANES,
        )
        path = self._place.path
        client = s3_client(path.partition("/")[0], limits)
        act = self._act

        def answer() -> None:
            try:
                outcome: T | BaseException = act(handles.open(path, client))
            except BaseException as error:  # whatever it is, the waiting thread deals with it
                outcome = error
                handles.drop(path, client)
            answers.put(_Answer(client, outcome))

        threads.start(answer)
        self.requests += 1
        return client

    def _pause(self, pause_s: float, cause: OSError) -> None:
        if time.monotonic() + pause_s >= self._deadline_s:
            bucket, _, key = self._place.path.partition("/")
            raise StorageError(
                f"cannot read '{key}' of the bucket '{bucket}': {reason_of(cause)} "
                f"({self.requests} tries in {self._patience.deadline_s:g} s); check the store and the network"
            ) from cause
        time.sleep(pause_s)


def _wait(answers: queue.SimpleQueue[_Answer[T]], until_s: float) -> _Answer[T] | None:
    try:
        return answers.get(timeout=max(0.0, until_s - time.monotonic()))
    except queue.Empty:
        return None
