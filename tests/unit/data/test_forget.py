"""One person leaves; everybody else stays as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlq_ray.data import (
    DataSet,
    WrittenShard,
    finish_ingest,
    forget_identity,
    ingest,
    ingestion,
    plan_ingest,
    read_manifest,
    write_shard,
)
from rlq_ray.data import forget as forgetting
from rlq_ray.errors import DataError
from rlq_ray.storage import locate


@pytest.mark.parametrize("shard_rows", [3, 10, 100])
def test_an_identity_leaves_no_trace(folder, tmp_path, shard_rows):
    uri = str(tmp_path / "out")
    plan = plan_ingest(folder.root, "ltcc", uri, name="mini", side_files=folder.side_files, shard_rows=shard_rows)
    finish_ingest(plan, [write_shard(job) for job in plan.jobs])
    before = DataSet.open(uri)
    records = [record for shard in range(len(before.manifest.shards)) for record in before.read_records(shard)]
    forgotten = forget_identity(uri, "003")
    manifest = forgotten.manifest
    after = DataSet.open(uri)
    left = [record for shard in range(len(after.manifest.shards)) for record in after.read_records(shard)]
    assert left == [record for record in records if record.identity != "003"]
    assert after.index.source.tolist() == [record.source for record in left]
    assert [image.image for image in after.read_rows(range(len(after)))] == [record.image for record in left]
    assert manifest.splits["train"].identities == 5
    assert (forgotten.num_images, forgotten.num_read) == (6, len(manifest.shards))
    assert [erasure.images for erasure in manifest.erasures] == [6]
    assert (manifest.content_hash, read_manifest(locate(uri))) != (before.manifest.content_hash, before.manifest)
    assert manifest.pose == before.manifest.pose
    theirs = [record.image for record in records if record.identity == "003"]
    files = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert not any(image in files for image in theirs)
    assert {path.name.partition("-")[0] for path in (tmp_path / "out").rglob("*")} == {
        "shards",
        "part",
        "index",
        "manifest.json",
    }


def test_unknown_identities_are_refused(shared_uri):
    with pytest.raises(DataError, match="has no identity '3': check the name, such as '000'"):
        forget_identity(shared_uri, "3")


class Killed(BaseException):
    """Stands for SIGKILL: nothing may tidy up after it."""


@pytest.mark.parametrize("step", ["write_row_groups", "publish", "delete_files", "_prove", "delete_file"])
def test_killed_at_any_step_it_ends_the_same(folder, tmp_path, monkeypatch, step):
    uris = [str(tmp_path / name) for name in ("killed", "undisturbed")]
    for uri in uris:
        ingest(folder.root, "ltcc", uri, name="mini", side_files=folder.side_files)
    module = forgetting if step != "delete_files" else ingestion
    with monkeypatch.context() as patch:
        patch.setattr(module, step, kill)
        with pytest.raises(Killed):
            forget_identity(uris[0], "003")
    killed, undisturbed = (forget_identity(uri, "003") for uri in uris)
    assert killed.manifest.content_hash == undisturbed.manifest.content_hash
    assert (killed.num_images, killed.num_rewritten) == (undisturbed.num_images, undisturbed.num_rewritten) == (6, 1)
    names = [sorted(path.relative_to(uri) for path in Path(uri).rglob("*")) for uri in uris]
    assert names[0] == names[1]
    with pytest.raises(DataError, match="has no identity '003'"):
        forget_identity(uris[0], "003")


def kill(*_: object, **__: object) -> None:
    raise Killed


def test_their_image_under_another_name_is_told_of(folder, tmp_path):
    train = folder.root / "LTCC_ReID" / "train"
    shutil.copy(train / "003_1_c2_000000.png", train / "004_1_c2_000077.png")
    ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    with pytest.raises(DataError, match=r"1 images of '003' lie in .* such as 'train/004_1_c2_000077.png' of '004'"):
        forget_identity(str(tmp_path / "out"), "003")
    assert forget_identity(str(tmp_path / "out"), "004").num_images == 7


def test_a_store_that_changes_an_image_is_found_out(folder, tmp_path, monkeypatch):
    ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    publish = forgetting.publish

    def publish_too_little(claim, shards, **about):
        shards[0] = WrittenShard(
            0,
            *forgetting.write_row_groups(
                claim.to,
                "shards/part-00000",
                [next(forgetting._others((tmp_path / "out" / shards[0].entry.path).read_bytes(), "000"))],
            ),
        )
        return publish(claim, shards, **about)

    monkeypatch.setattr(forgetting, "publish", publish_too_little)
    with pytest.raises(DataError, match="images of others than '003' were changed"):
        forget_identity(str(tmp_path / "out"), "003")
