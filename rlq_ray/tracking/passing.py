"""Which failures of a tracking server may go away by themselves. Knows MLflow's errors by their codes alone."""

from __future__ import annotations

PASSING_ERRORS = frozenset({"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED"})


def is_passing(error: Exception) -> bool:
    """Tell whether a failure may go away: a server or network that is away, a locked database, or one with a queue.

    A server that has more callers than connections to its database lets them wait for 30 s and blames them then.
    """
    code = getattr(error, "error_code", None)
    if code is None:
        return isinstance(error, OSError)
    return code in PASSING_ERRORS or "QueuePool limit" in str(error)
