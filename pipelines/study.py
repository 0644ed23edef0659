"""What every study begins with: its data, and its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.console import stage
from pipelines.people_data import PeopleData
from pipelines.places import Places
from pipelines.study_file import StudyFile
from pipelines.teacher import find_or_train_teacher
from rlq_ray.errors import UsageError


@dataclass(frozen=True)
class Sources:
    """What trainings learn from: URIs of data sets and of the teacher's checkpoint, and the people if rendered."""

    target: str
    external: str
    teacher: str
    people: PeopleData | None

    @property
    def overrides(self) -> list[str]:
        """The settings that name them."""
        return [f"data.target={self.target}", f"data.external={self.external}", f"teacher={self.teacher}"]


def make_sources(
    file: StudyFile, places: Places, *, out: Path, overrides: Sequence[str], recipe: str, experiment: str
) -> Sources:
    """Render and ingest people where the file asks for them, and train the teacher, unless that was done before.

    Args:
        file: of the study.
        places: of shards, runs and tracking.
        out: folder for images.
        overrides: settings for all trainings.
        recipe: of some training, for the data sets that it names.
        experiment: of MLflow, for the teacher.

    Raises:
        UsageError: there are neither rendered people nor the names of data sets.
        DataError, TrainingError: see `find_or_train_teacher`.
    """
    target, external, people = _data(file, places, out, overrides, recipe)
    with stage("teacher, trained once on the external set"):
        teacher = find_or_train_teacher(file.teacher_config(external, overrides), places, experiment=experiment)
    return Sources(target, external, teacher, people)


def _data(
    file: StudyFile, places: Places, out: Path, overrides: Sequence[str], recipe: str
) -> tuple[str, str, PeopleData | None]:
    if file.preset is None:
        return *given_data(file, overrides, recipe), None
    people = PeopleData(out, places.store, file.preset, file.data_seed, file.pose_clusters)
    with stage(f"render people: {file.preset}, target and external"):
        people.render()
    with stage("ingest images, genders, masks and keypoints into Arrow shards"):
        people.ingest()
    return people.shards("target"), people.shards("external"), people


def given_data(file: StudyFile, overrides: Sequence[str], recipe: str) -> tuple[str, str]:
    """Give the URIs of target and external set that a study without rendered people is to be given.

    Raises:
        UsageError: one is missing.
    """
    # With TAD steps, a configuration without external data would be refused in words that fit a single run.
    without_tad = ["teacher=none", "schedule.cap_steps=1", "schedule.tad_steps=0"]
    data = file.recipe_config(recipe, {}, file.name, [*overrides, *without_tad]).data
    if data.external is None:
        raise UsageError(f"'{file.name}' has no external data: give data.external=URI")
    return data.target, data.external


def refuse_own(file: StudyFile, overrides: Sequence[str], own: Mapping[str, str]) -> None:
    """Refuse overrides of what the study sets itself; `own` says where some are given instead.

    Raises:
        UsageError: there is one.
    """
    own = {"teacher": "the teacher and teacher_seed of the file", **own}
    if file.preset is not None:
        own |= {"data.target": "the preset of the file", "data.external": "the preset of the file"}
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in own:
            raise UsageError(f"'{file.name}' sets {key} itself, so '{override}' is refused: use {own[key]}")
