"""One person leaves; everybody else stays as they were."""

from __future__ import annotations

import pytest

from rlq_ray.data import DataSet, finish_ingest, forget_identity, plan_ingest, write_shard
from rlq_ray.errors import DataError


@pytest.mark.parametrize("shard_rows", [3, 10, 100])
def test_an_identity_leaves_no_trace(folder, tmp_path, shard_rows):
    uri = str(tmp_path / "out")
    plan = plan_ingest(folder.root, "ltcc", uri, name="mini", side_files=folder.side_files, shard_rows=shard_rows)
    finish_ingest(plan, [write_shard(job) for job in plan.jobs])
    before = DataSet.open(uri)
    records = [record for shard in range(len(before.manifest.shards)) for record in before.read_records(shard)]
    manifest = forget_identity(uri, "003")
    after = DataSet.open(uri)
    left = [record for shard in range(len(after.manifest.shards)) for record in after.read_records(shard)]
    assert left == [record for record in records if record.identity != "003"]
    assert after.index.source.tolist() == [record.source for record in left]
    assert [image.image for image in after.read_rows(range(len(after)))] == [record.image for record in left]
    assert manifest.splits["train"].identities == 5
    assert manifest.pose == before.manifest.pose
    theirs = [record.image for record in records if record.identity == "003"]
    files = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert not any(image in files for image in theirs)


def test_unknown_identities_are_refused(shared_uri):
    with pytest.raises(DataError, match="has no identity '3': check the name, such as '000'"):
        forget_identity(shared_uri, "3")
