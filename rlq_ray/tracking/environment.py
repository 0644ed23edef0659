"""What a run was computed with: versions, machine, commit. Imports none of the packages that it names."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from rlq_ray.build_stamp import JOB_VARIABLE, content_hash, read_stamp

PACKAGES = ("rlq-ray", "torch", "torchvision", "ray", "mlflow", "pyarrow", "kornia", "numpy", "simplejpeg", "numba")
GIT_TIMEOUT_S = 10


def describe_environment() -> dict[str, Any]:
    """Describe this process's environment as JSON-ready values."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _package_versions(),
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": _gpu_names(),
        **describe_code(),
    }


def describe_code() -> dict[str, Any]:
    """Describe what code this is: commit (of its stamp, if it was sent for a job), hash of its files, and the job."""
    stamp = read_stamp()
    return {
        "git": {"commit": stamp.commit, "dirty": stamp.dirty} if stamp else git_state(),
        "package": {"hash": content_hash()},
        "job": os.environ.get(JOB_VARIABLE),
    }


def flatten_environment(environment: dict[str, Any]) -> dict[str, str]:
    """Flatten an environment to dotted names for tags, leaving out what is unknown."""
    flat: dict[str, str] = {}
    for name, value in environment.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": text for inner, text in flatten_environment(value).items()})
        elif value is not None and value != []:
            flat[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat


def git_state(folder: Path | None = None) -> dict[str, Any] | None:
    """Return the commit of a folder, by default this package's, and whether files differ; None outside a checkout."""
    folder = folder or Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu_names() -> list[str]:
    import torch  # here, because it takes seconds and only this needs it

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
