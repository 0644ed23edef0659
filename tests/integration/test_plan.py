"""A dry run on a real cluster: it measures, it keeps nothing, and it gives the room back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.forecast.course import forecast
from pipelines.places import Places
from rlq_ray.distributed import rehearsing
from rlq_ray.errors import CheckpointError, ServiceError, UsageError
from rlq_ray.storage import list_files, locate

ROOM_S = 60


@pytest.fixture
def places(ray_cluster, tmp_path: Path) -> Places:
    """A store with nothing in it, and a tracking store that would be made if anybody wrote to it."""
    return Places(locate(tmp_path / "store"), f"sqlite:///{tmp_path / 'tracking.db'}", None)


def sources(tiny_people: Any) -> list[str]:
    return [f"data.{role}={uri}" for role, uri in tiny_people.shards.items()]


def nothing_was_kept(tmp_path: Path) -> bool:
    return list_files(locate(tmp_path)) == []


def has_room(cpus: float) -> bool:
    """Tell whether all CPUs can be had, by taking them: what Ray says of free ones comes late."""
    group = ray.util.placement_group([{"CPU": cpus}])
    found = bool(group.wait(ROOM_S))
    ray.util.remove_placement_group(group)
    return found


@pytest.mark.slow
def test_a_recipe_on_two_workers_is_measured_and_nothing_kept(places: Places, tiny_people, tmp_path: Path) -> None:
    cpus = ray.cluster_resources()["CPU"]
    plan = forecast("tiny_base", [*sources(tiny_people), "workers.count=2"], places)
    assert plan["kind"] == "recipe"
    assert plan["steps"]["cap"]["count"] == 6
    assert plan["steps"]["cap"]["images"] == 8, "of both workers"
    assert 0 < plan["seconds"][0] < plan["seconds"][1]
    assert 10**8 < plan["memory_bytes"][0] <= plan["memory_bytes"][1] < 10**10
    assert plan["checkpoint_bytes"] > 10**5
    assert plan["workers"] == "2 workers with 1 CPU each"
    assert nothing_was_kept(tmp_path)
    assert has_room(cpus)


@pytest.mark.slow
def test_a_sweep_is_planned_with_a_teacher_and_people_that_are_to_come(places: Places, tmp_path: Path) -> None:
    plan = forecast("smoke", [], places)
    assert plan["kind"] == "sweep"
    assert plan["trainings"] == [6, 3]
    assert plan["configurations"] == 6
    assert set(plan["steps"]) == {"cap", "tad"}
    assert plan["teacher_seconds"][0] > 0
    assert plan["data_seconds"][0] > 0
    assert plan["at_a_time"] == 4
    assert plan["seconds"][0] > plan["teacher_seconds"][0] + plan["data_seconds"][0]
    assert nothing_was_kept(tmp_path)


def test_what_the_cluster_can_never_place_is_refused_with_the_arithmetic(places: Places, tiny_people) -> None:
    settings = [*sources(tiny_people), "batch.identities=6", "batch.external_images=6", "workers.count=6"]
    with pytest.raises(UsageError, match="6 workers of 1 CPUs do not fit, the cluster's nodes have 4 CPUs"):
        forecast("tiny_base", settings, places)


def test_room_that_others_hold_is_told_and_not_waited_for(
    places: Places, tiny_people, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsing, "PATIENCE_S", 2)
    taken = ray.util.placement_group([{"CPU": 4}])
    try:
        assert taken.wait(ROOM_S)
        with pytest.raises(
            ServiceError, match=r"1 worker found no room within 2 s, the cluster has .* of 4 CPU free: end what holds"
        ):
            forecast("tiny_base", [*sources(tiny_people), "workers.count=1"], places)
    finally:
        ray.util.remove_placement_group(taken)


def test_a_teacher_that_is_missing_is_found_first(places: Places, tiny_people, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        forecast("tiny_rlq", [*sources(tiny_people), f"teacher={tmp_path / 'nobody'}"], places)
