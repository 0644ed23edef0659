"""What a job is: a command, the code that it runs, and names of places. Pure: sends nothing and knows no Ray.

Nothing of it is secret, since Ray shows all of it: keys and passwords are in the environment of the cluster's nodes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.jobs.confidential import MEND, holds_password, refuse_secrets
from rlq_ray.build_stamp import HASH_VARIABLE, JOB_VARIABLE, BuildStamp
from rlq_ray.errors import UsageError

PYTHON_VARIABLE = "RLQ_PYTHON"
"""In the environment of a cluster's head: the Python that jobs run; by default the `python` of its PATH."""
ENTRY = "pipelines.job"
PLACES = {"RLQ_STORAGE": ("RLQ_STORAGE",), "RLQ_TRACKING_URI": ("RLQ_TRACKING_URI", "MLFLOW_TRACKING_URI")}
"""What travels, and the variables that it is taken from, the first that is set; else the cluster's own holds."""
STOP_GRACE_S = 90
"""Time from the wish to stop a job to its being killed: a tracker's last metrics may take a minute."""
DIGITS = 8
KEY = "rlq.key"


@dataclass(frozen=True)
class JobRequest:
    """A command to run as a job.

    Attributes:
        command: words after `rlq`.
        user: who asks.
        stamp: of the code that it runs.
        places: variables for it, by name: where data, runs and tracking are.
    """

    command: tuple[str, ...]
    user: str
    stamp: BuildStamp
    places: Mapping[str, str]

    @property
    def key(self) -> str:
        """Hash of what makes two requests the same: command, code and places, whoever asks."""
        identity = [self.command, self.stamp.content_hash, sorted(self.places.items())]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @property
    def entrypoint(self) -> str:
        """Shell command that runs it, where the package was unpacked."""
        return f'exec "${{{PYTHON_VARIABLE}:-python}}" -m {ENTRY} {shlex.join(self.command)}'

    def job_id(self, taken: Collection[str]) -> str:
        """Name the job, alike for the same request, so that of two at the same moment Ray takes one.

        Args:
            taken: ids of jobs that there have been.
        """
        words = [word for word in self.command[:2] if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", word)]
        first = "-".join([*words, self.key[:DIGITS]])
        number = 1
        while (name := first if number == 1 else f"{first}-{number}") in taken:
            number += 1
        return name

    def environment(self, job_id: str) -> dict[str, str]:
        """Return the variables of the job's processes on all nodes."""
        return {
            **self.places,
            JOB_VARIABLE: job_id,
            HASH_VARIABLE: self.stamp.content_hash,
            "RLQ_STACK": "none",  # it is on a cluster already
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S),  # Ray's supervisor of the job reads it; 3 s by default
        }

    def metadata(self) -> dict[str, str]:
        """Return what Ray keeps beside the job, for `rlq jobs`."""
        return {
            KEY: self.key,
            "rlq.command": shlex.join(self.command),
            "rlq.user": self.user,
            "rlq.commit": self.stamp.commit or "",
            "rlq.dirty": str(self.stamp.dirty).lower(),
            "rlq.version": self.stamp.version,
            "rlq.package": self.stamp.content_hash,
        }


def check_command(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Refuse a command that cannot be right as a job.

    Raises:
        UsageError: it carries a secret, or a settings file that only this machine has.
    """
    refuse_secrets(command, environment)
    for word in command:
        file = Path(word)
        if file.suffix == ".toml" and not file.is_absolute() and file.exists():
            raise UsageError(
                f"{word} is a file of this machine, and the job runs on another: put it into the package beside the "
                f"shipped ones, commit it, and name it '{file.stem}'"
            )


def places_to_send(environment: Mapping[str, str], known_there: Collection[str] = ()) -> dict[str, str]:
    """Choose the variables that name places for a job.

    Args:
        environment: of the person.
        known_there: values that are the cluster's own, and need not travel.

    Raises:
        UsageError: one carries a password, or means a folder relative to the working directory.
    """
    chosen = {}
    for name, sources in PLACES.items():
        source = next((source for source in sources if environment.get(source)), None)
        if source is None or environment[source] in known_there:
            continue
        value = environment[source]
        if holds_password(value):
            raise UsageError(f"{source} has a password in it: {MEND}")
        if "://" not in value and not Path(value).is_absolute():
            raise UsageError(
                f"{source}={value} is relative to a folder of this machine: give s3://BUCKET/PREFIX, "
                "or the absolute path of a folder that all nodes share"
            )
        chosen[name] = value
    return chosen
