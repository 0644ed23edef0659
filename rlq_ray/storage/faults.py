"""What went wrong with a store, whether waiting mends it, and how long to pause before the next try."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from enum import Enum

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0

_jitter = random.Random()  # its own: the global generator is part of what makes a run repeatable
_REFUSALS = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH"
    r"|MISSING_AUTHENTICATION_TOKEN|UNRECOGNIZED_CLIENT|REQUEST_EXPIRED|REQUEST_TIME_TOO_SKEWED)"
    r"|HTTP status (301|400|401|403)"  # 400 is an expired token, 301 a bucket of another region
)
_ABSENCES = re.compile(r"AWS Error (NO_SUCH_KEY|NO_SUCH_BUCKET|RESOURCE_NOT_FOUND)|HTTP status 404|Not a regular file")
_ADDRESS = re.compile("^When .*?: (?=AWS Error)")
_CUT_UPLOADS = re.compile("RequestTimeout|IncompleteBody")
"""Answered with status 400, though the next try can succeed."""


class Fault(Enum):
    """What kind of failure it is."""

    ABSENT = "there is no such file or bucket"
    REFUSED = "the store knows the keys not, or not any more"
    PASSING = "waiting may mend it"


def fault_of(error: OSError) -> Fault:
    """Tell what kind of failure pyarrow reports; what is unknown may pass."""
    text = str(error)
    if isinstance(error, FileNotFoundError) or _ABSENCES.search(text):
        return Fault.ABSENT
    if _REFUSALS.search(text) and not _CUT_UPLOADS.search(text):
        return Fault.REFUSED
    return Fault.PASSING


def reason_of(error: OSError) -> str:
    """Return what an error says, in one line, without the address: that is for the caller to name."""
    return _ADDRESS.sub("", " ".join((error.strerror or str(error)).split())).rstrip(".")


def pauses_s() -> Iterator[float]:
    """Yield pauses that double up to a bound, each shortened by chance, so that workers do not come back together."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * _jitter.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
