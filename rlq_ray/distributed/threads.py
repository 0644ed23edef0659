"""Threads beside the main one: work that must not hold it, and looking on while something runs. Knows no Ray."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def beside_main_thread(act: Callable[[], T], name: str) -> Future[T]:
    """Begin something beside the main thread, in which Ray's libraries would answer Ctrl-C and leave nobody else to."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(act())
        except BaseException as error:  # whatever it is, the waiting thread raises it
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


@contextlib.contextmanager
def looking_on(look: Callable[[], None], *, every_s: float, name: str) -> Iterator[None]:
    """Call `look` again and again, from a thread of its own, for as long as the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            look()

    watcher = threading.Thread(target=watch, name=name, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
