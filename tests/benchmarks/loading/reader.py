"""The other end of `one_pass`: a reader's process, driven step by step."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PASS_TIMEOUT_S = 300.0
END_TIMEOUT_S = 20.0
"""Ray takes some seconds to end."""


class PassError(Exception):
    """A contender failed; the message is the end of what it wrote to stderr."""


class Reader:
    """A process that reports on a pipe and goes on when told to. Killed if a pass takes too long."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        """Start `command` with the descriptor of its report as one more argument."""
        self._log = log
        reading, writing = os.pipe()
        self._report = os.fdopen(reading)
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [*command, str(writing)],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[writing],
                text=True,
                bufsize=1,
            )
        os.close(writing)
        self._killer = threading.Timer(PASS_TIMEOUT_S, self._process.kill)
        self._killer.daemon = True
        self._killer.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def hear(self) -> str:
        """Wait for its next line.

        Raises:
            PassError: it has ended.
        """
        line = self._report.readline()
        if not line:
            self._process.wait()
            raise PassError(_end_of(self._log.read_text(errors="replace")) or f"exit code {self._process.returncode}")
        return line

    def go_on(self) -> None:
        """Let it do its next step."""
        print(file=self._process.stdin, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._killer.cancel()
        self._report.close()


def write_data(command: list[str], environment: Mapping[str, str]) -> None:
    """Run the stage `write`.

    Raises:
        PassError: it failed.
    """
    done = subprocess.run([*command, "-1"], env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PassError(_end_of(done.stderr))


def _end_of(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])
