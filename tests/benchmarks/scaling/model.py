"""What unit costs come to for many GPUs and images: pure arithmetic, no measurement.

A part's load is its share of what it can do: at 1 it holds the training up. Waiting in line below that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

LANES = 16
"""Streams that a batch is drawn from (`rlq_ray.data.window.MAX_LANES`); ranks beyond them read a lane together."""
OPEN_GROUPS = 2
"""Row groups that a reader fetches before its first batch (`MIN_LANE_GROUPS` there)."""
POINTS_PER_CALL = 1000
"""Most metric values that a tracker sends at once."""

Units = Mapping[str, float]


@dataclass(frozen=True)
class Assumptions:
    """What could not be measured here.

    Attributes:
        gpu_images_per_s: that one GPU trains on, mean of CAP and TAD steps; assumed, `rlq plan` measures it.
        gpu_images_per_step: of one GPU.
        node_gpus: of a machine like AWS's p5.48xlarge, as are the next four.
        node_cpus: vCPUs.
        node_memory_bytes: for all.
        node_network_bytes_per_s: to the store; assumed, the machine's 3,200 Gb/s are for its own kind.
        gpu_network_bytes_per_s: between GPUs of several machines, 3,200 Gb/s shared by 8.
        local_network_bytes_per_s: between GPUs of one machine; assumed, NVLink's 900 GB/s both ways halved.
        prefix_gets_per_s: S3's least for a prefix (AWS, optimizing performance).
        put_bytes_per_s: of one upload to S3; assumed.
        server_workers: processes of the MLflow server.
        gpu_hour_dollars: AWS's capacity blocks asked 4.92 for an H100 in early 2025.
        gb_month_dollars: of S3 storage; `million_gets_dollars` of requests (AWS, us-east-1).
    """

    gpu_images_per_s: float = 1000.0
    gpu_images_per_step: float = 64.0
    node_gpus: int = 8
    node_cpus: float = 192.0
    node_memory_bytes: float = 2048 * 2**30
    node_network_bytes_per_s: float = 12.5e9
    gpu_network_bytes_per_s: float = 50e9
    local_network_bytes_per_s: float = 450e9
    prefix_gets_per_s: float = 5500.0
    put_bytes_per_s: float = 90e6
    server_workers: int = 1
    gpu_hour_dollars: float = 4.92
    gb_month_dollars: float = 0.023
    million_gets_dollars: float = 0.4


@dataclass(frozen=True)
class Case:
    """GPUs, and images of the training set; `trainings` share the GPUs evenly."""

    gpus: int
    images: float
    trainings: int = 1


def amplification(readers: float) -> float:
    """Give how often each byte is read when so many readers share the lanes."""
    return max(1.0, readers / LANES)


def loads(case: Case, units: Units, own: Assumptions) -> dict[str, float]:
    """Give the load of each part, the first pass over the data included."""
    gpus, nodes = case.gpus / case.trainings, max(1.0, case.gpus / own.node_gpus)
    per_node, rate = min(case.gpus, own.node_gpus), case.gpus * own.gpu_images_per_s
    step_s = own.gpu_images_per_step / own.gpu_images_per_s
    read = amplification(gpus)
    gradient_bytes = 4 * units["parameters"] * 2 * (gpus - 1) / gpus
    lane_bytes_per_s = own.local_network_bytes_per_s if gpus <= own.node_gpus else own.gpu_network_bytes_per_s
    calls_per_s = case.trainings / step_s * units["calls_per_step"]
    return {
        "S3 requests": rate * units["requests_per_image"] * read / own.prefix_gets_per_s,
        "network to S3": rate * units["read_bytes_per_image"] * read / (nodes * own.node_network_bytes_per_s),
        "CPUs for reading and decoding": per_node
        * own.gpu_images_per_s
        * units["reading_cpu_s_per_image"]
        / (own.node_cpus * per_node / own.node_gpus),
        "planning, one thread a worker": gpus * own.gpu_images_per_s * units[_plan(gpus)],
        "memory for indices": per_node * case.images * units["index_bytes_per_image"] / own.node_memory_bytes,
        "exchange of gradients": gradient_bytes / lane_bytes_per_s / step_s,
        "MLflow": calls_per_s * units["call_s"] / own.server_workers,
    }


def first(found: Mapping[str, float]) -> str:
    """Name the part with the highest load."""
    return max(found, key=lambda part: found[part])


def times(case: Case, units: Units, own: Assumptions) -> dict[str, float]:
    """Give what takes a while, in seconds: an epoch, a start, a checkpoint, 10,000 queries against the images."""
    return {
        "epoch": case.images / (case.gpus / case.trainings * own.gpu_images_per_s),
        "opening": case.images * units["index_open_s_per_image"],
        "first plan": case.images * units[_plan(case.gpus / case.trainings)],
        "checkpoint": units["checkpoint_write_cpu_s"] + units["checkpoint_bytes"] / own.put_bytes_per_s,
        "ranking": 1e4 * case.images * units["ranking_cpu_s_per_pair"] / own.node_cpus,
    }


def dollars(case: Case, units: Units, own: Assumptions) -> dict[str, float]:
    """Give what an epoch of each training, and a month of storage, cost."""
    hours = times(case, units, own)["epoch"] / 3600 * case.gpus
    gets = case.trainings * case.images * units["requests_per_image"] * amplification(case.gpus / case.trainings)
    return {
        "GPUs": hours * own.gpu_hour_dollars,
        "requests": gets / 1e6 * own.million_gets_dollars,
        "storage": case.images * units["stored_bytes_per_image"] / 1e9 * own.gb_month_dollars,
    }


def _plan(gpus: float) -> str:
    return "lane_plan_s_per_image" if gpus >= LANES else "window_plan_s_per_image"


def predict_reading(
    units: Units, *, readers: int, demand: float, most_images_per_s: float, seconds: float
) -> dict[str, float]:
    """Foretell images, requests and bytes per second of readers that want `demand` images per second together.

    They begin to read and are watched for so many seconds.
    """
    read = amplification(readers)
    images = min(demand, most_images_per_s)
    requests = images * units["requests_per_image"] * read + readers * OPEN_GROUPS / seconds
    return {
        "images_per_s": images,
        "requests_per_s": requests,
        "bytes_per_s": requests * units["read_bytes_per_image"] / units["requests_per_image"],
    }


def predict_tracking(
    units: Units, *, demand: float, points: float
) -> tuple[float, Literal["keeps up", "falls behind"]]:
    """Foretell the calls per second of trackers that want `demand` calls of so many points.

    A call takes the server `call_s` for 200 points and `large_call_s` for 1,000. Trackers that wait send more at once.
    """
    per_point = (units["large_call_s"] - units["call_s"]) / (POINTS_PER_CALL - points)
    fixed = units["call_s"] - per_point * points
    if demand * units["call_s"] <= 1:
        return demand, "keeps up"
    most = (1 - demand * points * per_point) / fixed
    if most * POINTS_PER_CALL >= demand * points:
        return most, "keeps up"
    return 1 / units["large_call_s"], "falls behind"
