"""Rendered people as data sets: a target and a separate external set, rendered and ingested once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.ingest import ingest_folder
from pipelines.render import preset_named, render_people
from rlq_ray.config.load import fingerprint
from rlq_ray.data import SideFiles, read_manifest
from rlq_ray.errors import DataError
from rlq_ray.people.identity import Population
from rlq_ray.storage import Location, locate

ROLES: tuple[Population, Population] = ("target", "external")


@dataclass(frozen=True)
class PeopleData:
    """Both populations of a preset.

    Attributes:
        folder: for the images.
        store: for the shards.
        preset: which people.
        seed: of them.
        pose_clusters: into how many their poses fall.
    """

    folder: Path
    store: Location
    preset: str
    seed: int
    pose_clusters: int

    def images(self, role: Population) -> Path:
        """Say where the images of a population lie."""
        return self.folder / "people" / f"{self.preset}-{self.seed}-{role}"

    def shards(self, role: Population) -> str:
        """Give the URI of a population's data set."""
        return (self.store / "shards" / f"people-{self.preset}-{self.seed}-{role}").uri

    def is_ingested(self) -> bool:
        """Tell whether the data sets of both populations are there."""
        return all(map(self._is_whole, ROLES))

    def render(self) -> None:
        """Render what is not there yet, on the connected Ray cluster."""
        for role in ROLES:
            render_people(self.images(role), self.preset, population=role, seed=self.seed)

    def ingest(self) -> None:
        """Ingest images, genders, masks and keypoints where that has not been done."""
        for role in ROLES:
            name = self._name(role)
            if not self._is_whole(role):
                root = self.images(role)
                side_files = SideFiles(
                    gender=root / "gender.csv",
                    keypoints=root / "keypoints.json",
                    masks=root / "masks",
                    pose_k=self.pose_clusters,
                )
                ingest_folder(root, "ltcc", self.shards(role), name=name, side_files=side_files, licence="CC0-1.0")

    def _name(self, role: Population) -> str:
        """Name a data set after all that shapes its people, so that those of an older preset are not taken for them."""
        return f"people-{self.preset}-{role}-{fingerprint(asdict(preset_named(self.preset)))[:6]}"

    def _is_whole(self, role: Population) -> bool:
        try:
            manifest = read_manifest(locate(self.shards(role)))
        except DataError:
            return False  # there is none, or it is not whole
        return manifest.name == self._name(role) and manifest.pose is not None and manifest.pose.k == self.pose_clusters
