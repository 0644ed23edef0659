"""What is known of a job of a cluster, in our words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SIGNALLED = 128
"""Added by shells to the number of the signal that ended a command."""


@dataclass(frozen=True)
class JobRecord:
    """A job that was handed in.

    Attributes:
        job_id: its name on the cluster.
        state: pending, running, succeeded, failed or stopped.
        command: words after `rlq`, or the whole command line of a job that somebody else's tool handed in.
        since_s: when it was handed in, as a Unix time.
        ended_s: when it ended.
        user: who handed it in.
        commit: of its code, with a `+` if files differed from it; the version where there was no commit.
        package: hash of its code.
        exit_code: of its process; None while it runs, and where it was stopped or never began.
        message: Ray's word on how it stands.
    """

    job_id: str
    state: str
    command: str
    since_s: float
    ended_s: float | None
    user: str
    commit: str
    package: str
    exit_code: int | None
    message: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("succeeded", "failed", "stopped")

    @property
    def exit_status(self) -> int:
        """What a shell would give for it: 0 if it succeeded."""
        if self.state == "succeeded":
            return 0
        if not self.exit_code:  # it was stopped, or never began
            return 1
        return self.exit_code if self.exit_code > 0 else SIGNALLED - self.exit_code

    def to_json(self) -> dict[str, Any]:
        """Return it in plain values."""
        return {
            "id": self.job_id,
            "state": self.state,
            "command": self.command,
            "since": _text(self.since_s),
            "ended": None if self.ended_s is None else _text(self.ended_s),
            "user": self.user,
            "commit": self.commit,
            "package": self.package,
            "exit_code": self.exit_code,
        }


def record_of(details: Any) -> JobRecord:
    """Read what Ray tells of a job."""
    own = details.metadata or {}
    commit = own.get("rlq.commit") or own.get("rlq.version", "")
    return JobRecord(
        job_id=details.submission_id,
        state=details.status.value.lower(),
        command=own.get("rlq.command", details.entrypoint),
        since_s=(details.start_time or 0) / 1000,
        ended_s=details.end_time / 1000 if details.end_time else None,
        user=own.get("rlq.user", ""),
        commit=commit + ("+" if own.get("rlq.dirty") == "true" else ""),
        package=own.get("rlq.package", ""),
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _text(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
