"""Finds secrets in what a job would carry in the open: everybody on a cluster sees its command line and environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rlq_ray.errors import UsageError

TELLING_NAME = re.compile(r"secret|passw(or)?d|token|api[_-]?key|access[_-]?key|credential", re.IGNORECASE)
NAME_OF_A_PLACE = re.compile(r"(path|file|folder|dir|uri|url)$", re.IGNORECASE)
PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s@]*:[^/\s@]+@")
AWS_KEY_ID = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")
SHORTEST = 8
"""Characters of a secret that is looked for; shorter ones are part of ordinary words."""
MEND = (
    "leave it out and let the cluster's nodes know it, by their environment or a credentials file, "
    "since commands and settings of jobs are shown in the dashboard and in logs"
)


def refuse_secrets(command: Iterable[str], environment: Mapping[str, str]) -> None:
    """Refuse a command that seems to carry a secret; the message names the place and never the secret.

    Args:
        command: words of a command line.
        environment: of the person; the value of a variable with a telling name is a secret wherever it occurs.

    Raises:
        UsageError: there is one.
    """
    known = {value: name for name, value in environment.items() if _is_telling(name) and len(value) >= SHORTEST}
    previous = ""
    for number, word in enumerate(command, 1):
        name, has_value, value = word.partition("=")
        reason = None
        if holds_password(word):
            reason = "has a password in an address"
        elif AWS_KEY_ID.search(word):
            reason = "has a key of AWS"
        elif found := next((name for secret, name in known.items() if secret in word), None):
            reason = f"has the value of {found}"
        elif value and _is_telling(name):
            reason = f"sets {name}"
        elif previous.startswith("--") and _is_telling(previous) and not word.startswith("-"):
            reason = f"is the value of {previous}"
        if reason:
            raise UsageError(f"word {number} of the command {reason}: {MEND}")
        previous = "" if has_value else word


def holds_password(address: str) -> bool:
    """Tell whether an address has a password in it."""
    return PASSWORD_IN_ADDRESS.search(address) is not None


def _is_telling(name: str) -> bool:
    return TELLING_NAME.search(name) is not None and NAME_OF_A_PLACE.search(name) is None
