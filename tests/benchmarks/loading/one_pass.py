"""One contender in a process of its own: `python -m loading.one_pass STAGE MODULE JOB REPORT_FD`.

STAGE is `write` (make its data set), `measure` (one pass against the clock) or `check` (one pass, every image looked
at). For the last two the process says `ready` on the descriptor once everything is imported and started, waits for a
line on its standard input, and ends by writing its findings as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loading.job import HEIGHT, WIDTH, Job
from loading.photos import HASHES, pixel_hash
from loading.processes import adopt_orphans, cpu_seconds


def main() -> None:
    """Do one stage."""
    stage, module, job_text, report_fd = sys.argv[1:]
    job = Job.from_json(job_text)
    contender = importlib.import_module(f"loading.{module}")
    if stage == "write":
        contender.write(job)
        return
    adopt_orphans()
    if hasattr(contender, "start"):
        contender.start(job)
    with os.fdopen(int(report_fd), "w") as report:
        print("ready", file=report, flush=True)
        sys.stdin.readline()
        findings = measure(contender, job) if stage == "measure" else check(contender, job)
        print(json.dumps(findings), file=report, flush=True)
        sys.stdin.readline()  # memory is read once more before anything is torn down


def measure(contender: Any, job: Job) -> dict[str, float]:
    """Give the times (seconds on a clock that all processes share), CPU seconds and images of a pass.

    What was made ready while the first batch was waited for counts as if it were made afterwards. That favours those
    who read far ahead, by about 4 % with two workers that hold two batches each.
    """
    pid = os.getpid()
    begun_cpu_s, begun = cpu_seconds(pid), time.monotonic()
    first_images = images = 0
    first_at = first_cpu_s = last_at = 0.0
    for batch in contender.batches(job):
        refuse_other_shapes(batch)
        last_at = time.monotonic()
        images += len(batch)
        if not first_at:
            first_at, first_cpu_s, first_images = last_at, cpu_seconds(pid), images
    end_cpu_s = cpu_seconds(pid)
    return {
        "begun_at": begun,
        "first_at": first_at,
        "last_at": last_at,
        "cpu_s": end_cpu_s - first_cpu_s,
        "whole_cpu_s": end_cpu_s - begun_cpu_s,
        "first_images": first_images,
        "images": images,
    }


def check(contender: Any, job: Job) -> dict[str, Any]:
    """Count how often each photo came, known by its pixels; unknown pixels count as `wrong`."""
    number_of = {name: number for number, name in enumerate(json.loads((Path(job.photos) / HASHES).read_text()))}
    seen: Counter[int] = Counter()
    for batch in contender.batches(job):
        refuse_other_shapes(batch)
        for image in batch:
            seen[number_of.get(pixel_hash(image.permute(1, 2, 0).numpy()), -1)] += 1
    wrong = seen.pop(-1, 0)
    return {"wrong": wrong, "times": {str(number): times for number, times in seen.items()}}


def refuse_other_shapes(batch: Tensor) -> None:
    """Hold a contender to uint8 (B, 3, 384, 192).

    Raises:
        ValueError: it gives something else.
    """
    if batch.dtype != torch.uint8 or tuple(batch.shape[1:]) != (3, HEIGHT, WIDTH):
        raise ValueError(f"a batch is {batch.dtype} {tuple(batch.shape)}: the comparison is of uint8 (B, 3, 384, 192)")


if __name__ == "__main__":
    main()
