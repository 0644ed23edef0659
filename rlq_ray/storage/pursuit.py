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
from rlq_ray.storage.s3 import S3Client, S3Limits, renew, s3_client, wait_for_builders

LANES = 2
"""Requests take turns: a hedge and a retry use other connections than the request that is silent."""
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


class Pursuit(Generic[T]):
    """Do `act` with an opened object until it succeeds; `requests`, `retries` and `hedges` say what that took.

    A hedge is sent after `hedge_s`, which may be longer than the reader's patience asks for.
    """

    def __init__(self, place: Location, act: Callable[[Handle], T], patience: Patience, hedge_s: float) -> None:
        self._place, self._act, self._patience, self._hedge_s = place, act, patience, hedge_s
        self._limits = S3Limits(min(patience.attempt_s, CONNECT_TIMEOUT_S), patience.attempt_s, 1, LANES)
        self._answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._is_abandoned = False
        self.requests = self.retries = self.hedges = 0

    def abandon(self) -> None:
        """Let `run`, which another thread is in, raise soon; only while a client is made does it last on."""
        self._is_abandoned = True
        self._answers.put(self._farewell())

    def run(self, threads: AttemptThreads, handles: Handles) -> T:
        """Follow it up.

        Raises:
            NotFoundError: no such object or bucket.
            StorageError: refused credentials, no answer until the deadline, or abandoned.
        """
        is_renewed = False
        pauses = pauses_s()
        client = self._client()
        deadline_s = time.monotonic() + self._patience.deadline_s
        while True:
            found = self._attempt(client, deadline_s, threads, handles)
            if not isinstance(found, BaseException):
                return found
            if not isinstance(found, OSError):
                raise found
            fault = fault_of(found)
            if fault is Fault.ABSENT:
                raise NotFoundError(f"{self._place} does not exist: check the address") from found
            if fault is Fault.PASSING:
                self._pause(next(pauses), deadline_s, found)
            elif is_renewed or not renew(client):
                reason = reason_of(found)
                raise StorageError(f"cannot read {self._place}: {reason}; check address and credentials") from found
            else:
                is_renewed = True
            client = self._client()
            self.retries += 1

    def _client(self) -> S3Client:
        return s3_client(self._place.path.partition("/")[0], self._limits)

    def _listen(self) -> queue.SimpleQueue[T | BaseException]:
        """Make the queue that is waited on next, so that what was asked for before is not heard any more."""
        answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._answers = answers
        if self._is_abandoned:  # looked at only now: `abandon` puts its word into this queue or is seen here
            raise self._farewell()
        return answers

    def _farewell(self) -> StorageError:
        return StorageError(f"cannot read {self._place}: given up: the reader was closed")

    def _attempt(
        self, client: S3Client, deadline_s: float, threads: AttemptThreads, handles: Handles
    ) -> T | BaseException:
        """Ask once, and once more beside it if there is no answer for a while; return the first answer of use."""
        answers = self._listen()
        self._send(client, answers, threads, handles)
        began_s = time.monotonic()
        give_up_s = min(began_s + self._patience.attempt_s, deadline_s)
        hedge_s = min(began_s + self._hedge_s, give_up_s)
        found = _wait(answers, hedge_s)
        if found is None and hedge_s < give_up_s:
            self._send(client, answers, threads, handles)
            self.hedges += 1
            found = _wait(answers, give_up_s)
            if isinstance(found, OSError) and fault_of(found) is Fault.PASSING:
                other = _wait(answers, give_up_s)
                found = found if other is None else other
        return TimeoutError(f"no answer within {give_up_s - began_s:.3g} s") if found is None else found

    def _send(
        self, client: S3Client, answers: queue.SimpleQueue[T | BaseException], threads: AttemptThreads, handles: Handles
    ) -> None:
        path, act, lane = self._place.path, self._act, self.requests % LANES

        def answer() -> None:
            try:
                found: T | BaseException = act(handles.open(path, client, lane))
            except BaseException as error:  # whatever it is, the waiting thread deals with it
                found = error
                handles.drop(path, lane)
            answers.put(found)

        wait_for_builders()
        threads.start(answer)
        self.requests += 1

    def _pause(self, pause_s: float, deadline_s: float, cause: OSError) -> None:
        if time.monotonic() + pause_s >= deadline_s:
            bucket, _, key = self._place.path.partition("/")
            raise StorageError(
                f"cannot read '{key}' of the bucket '{bucket}': {reason_of(cause)} "
                f"({self.requests} tries in {self._patience.deadline_s:g} s); check the store and the network"
            ) from cause
        word = _wait(self._listen(), time.monotonic() + pause_s)  # nobody answers; only `abandon` may speak
        if isinstance(word, BaseException):
            raise word


def _wait(answers: queue.SimpleQueue[T | BaseException], until_s: float) -> T | BaseException | None:
    try:
        return answers.get(timeout=max(0.0, until_s - time.monotonic()))
    except queue.Empty:
        return None
