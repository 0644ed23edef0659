"""A batch script for Slurm: Ray over the nodes of one job, which goes back into the queue when it loses them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from cluster.manifests.description import ClusterDescription
from cluster.manifests.variables import object_store_bytes, run_variables
from rlq_ray.errors import UsageError

TEMPLATE = Path(__file__).with_name("job.sh.j2")


def batch_script(description: ClusterDescription, header: str) -> str:
    """Return the script that `sbatch` is given.

    Args:
        description: of the cluster.
        header: comment lines for its head.

    Raises:
        UsageError: an option of sbatch is none.
    """
    workers, slurm = description.workers, description.slurm
    environment = Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        comment_start_string="{%#",  # jinja's own is a part of bash: ${#list[@]}
        comment_end_string="#%}",
    )
    return environment.from_string(TEMPLATE.read_text()).render(
        header=header.rstrip(),
        name=description.name,
        nodes=f"{max(1, workers.min)}-{workers.max}" if workers.min < workers.max else workers.max,
        workers=workers,
        memory_mib=round(workers.memory_gib * 1024),
        gres=":".join(filter(None, ("gpu", slurm.gpu_kind, str(workers.gpus)))) if workers.gpus else "",
        time_limit=_duration(description.job.time_limit_s),
        options=_options(description),
        setup=slurm.setup,
        variables={name: shlex.quote(value) for name, value in run_variables(description.stores).items()},
        secrets_file=_in_home(description.secrets.file),
        object_store_bytes=object_store_bytes(workers.shm_gib),
        command=description.job.command,
        retries=description.job.retries,
    )


def _options(description: ClusterDescription) -> list[str]:
    slurm = description.slurm
    named = {"partition": slurm.partition, "account": slurm.account, "qos": slurm.qos}
    for option in slurm.options:
        if not re.fullmatch(r"--[a-z][a-z-]*(=\S+)?", option):
            raise UsageError(f"slurm.options has '{option}': write --name or --name=value, without spaces")
    return [*(f"--{name}={value}" for name, value in named.items() if value), *slurm.options]


def _duration(seconds: int) -> str:
    """Write seconds as Slurm does: days-hours:minutes:seconds."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day}-{hour:02}:{minute:02}:{second:02}"


def _in_home(path: str) -> str:
    """Quote a path for the shell, but leave a leading ~ to it."""
    if path.startswith("~/"):
        return f'"$HOME"/{shlex.quote(path.removeprefix("~/"))}'
    return shlex.quote(path) if path else ""
