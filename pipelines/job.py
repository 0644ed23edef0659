"""What a job's process does on the cluster: make sure of its code, go to the jobs' folder, and run the command.

`python -m pipelines.job COMMAND …`, called by Ray where it unpacked the wheel. That folder goes when Ray likes, so
files are written elsewhere.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import sys
from pathlib import Path
from types import FrameType

from rlq_ray.build_stamp import JOB_VARIABLE, SHORT, content_hash, read_stamp, require_package, submitted_hash
from rlq_ray.errors import PackageError, RlqError

FOLDER_VARIABLE = "RLQ_JOBS_FOLDER"
"""In the environment of a cluster's head: where commands run, so that one finds there what another made."""
DEFAULT_FOLDER = "~/rlq-jobs"


def main() -> None:
    """Run the command line as `rlq` would."""
    signal.signal(signal.SIGTERM, _end)
    try:
        require_package(submitted_hash())
        _require_ray()
        folder = Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except (RlqError, OSError) as error:
        sys.exit(f"error: the job cannot begin: {error}")
    stamp = read_stamp()
    commit = stamp.commit[:SHORT] if stamp and stamp.commit else "none"
    code = f"commit {commit}, code {content_hash()[:SHORT]}"
    _say(f"job {os.environ.get(JOB_VARIABLE)} on {platform.node()} in {folder}, {code}")
    from pipelines.cli import TERMINATED
    from pipelines.cli import main as run_command

    try:
        run_command()
    except SystemExit as end:
        if end.code == TERMINATED:
            _say("stopped: submit the same to go on, but `train` with --resume, and a sweep by `sweep resume`")
        raise


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise PackageError(
            f"{sys.executable} of {platform.node()} has no ray: set RLQ_PYTHON to the Python that has, "
            "in the environment in which the cluster's head is started"
        )


def _end(signum: int, _frame: FrameType | None) -> None:
    """End as a command does, which takes over once it runs."""
    sys.exit(128 + signum)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
