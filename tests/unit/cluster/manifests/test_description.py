"""The description of a cluster: every shipped one loads, and what is wrong is told in one line with its mend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.manifests.description import ClusterDescription
from cluster.manifests.render import render
from pipelines.cluster_file import CLUSTERS, read_description
from rlq_ray.errors import UsageError

NAMES = sorted(path.stem for path in CLUSTERS.glob("*.toml"))


def test_there_is_one_for_every_way_to_run() -> None:
    assert {"standing", "spot_job", "aws_spot", "slurm"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_one_renders_by_the_command_in_its_head(name: str) -> None:
    head = (CLUSTERS / f"{name}.toml").read_text()
    (target,) = set(re.findall(r"^# +rlq cluster render --target (\w+) --description " + name, head, re.MULTILINE))
    assert render(target, read_description(name), ["rlq"]).text.startswith("#")


@pytest.mark.parametrize("name", NAMES)
def test_survives_the_way_to_plain_values(name: str) -> None:
    description = read_description(name)
    assert ClusterDescription.model_validate(description.model_dump(mode="json")) == description


def test_a_file_extends_another_and_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('name = "base"\n[workers]\nmin = 1\nmax = 2\ngpus = 1\n')
    (tmp_path / "more.toml").write_text('extends = "base.toml"\nname = "more"\n[workers]\nmax = 9\n')
    description = read_description(str(tmp_path / "more.toml"), ["workers.min=3"])
    assert (description.name, description.workers.min, description.workers.max) == ("more", 3, 9)
    assert description.image_name.endswith("-cuda")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("workers.mx=3", "unknown setting 'workers.mx': did you mean 'max'?"),
        ("worker.max=3", "unknown setting 'worker': did you mean 'workers'?"),
        ("workers.min=9", "workers.min is 9 and workers.max 4: raise workers.max"),
        ("workers.shm_gib=16", "workers.shm_gib is 16 of workers.memory_gib 16: leave memory to training"),
        ("workers.cpus=0", "workers.cpus = 0 is not possible"),
        ("workers.notice_s=5", "workers.notice_s = 5 is not possible"),
        ("name=Upper_Case", "name = 'Upper_Case' is not possible"),
        ("name=" + "a" * 41, "is not possible"),
        ("stores.tracking_uri=sqlite:///mlflow.db", "which other machines cannot reach"),
        ("stores.tracking_uri=https://me:word@mlflow", "holds a user or password: keep them in a secret"),
        ("stores.s3_endpoint=https://key@s3", "holds a user or password: keep them in a secret"),
        ("stores.storage_uri=rlq-data", "write s3://bucket/prefix"),
        ("job.command=AWS_SECRET_ACCESS_KEY=x rlq train a", "job.command sets AWS_SECRET_ACCESS_KEY"),
        ("secrets.s3=AKIAIOSFODNN7EXAMPLE", "'AKIAIOSFODNN7EXAMPLE' is not possible"),
        ("aws.reach=ssh", "aws.reach = 'ssh' is not possible"),
    ],
)
def test_refuses_in_one_line_that_names_the_mend(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_description(None, [setting])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_the_shipped_ones_where_there_is_none() -> None:
    with pytest.raises(UsageError, match=r"there is no cluster description 'standng': .*standing"):
        read_description("standng")


def test_every_setting_says_what_it_is() -> None:
    sections = [ClusterDescription, *(field.annotation for field in ClusterDescription.model_fields.values())]
    described = [section for section in sections if isinstance(section, type) and hasattr(section, "model_fields")]
    assert len(described) == 9
    for section in described:
        for name, field in section.model_fields.items():
            of_section = isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields")
            assert field.description or of_section, f"{section.__name__}.{name}"
