"""What a run that was killed left is taken over if it is whole and for the same job, and is gone in the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlq_ray.data import DataSet, finish_ingest, ingest, plan_ingest, start_ingest, write_shard
from rlq_ray.errors import StorageError


def plan(folder, to, **changes):
    arguments = {"name": "mini", "side_files": folder.side_files, "shard_rows": 6} | changes
    return plan_ingest(folder.root, "ltcc", to, **arguments)


def files_of(to: Path) -> dict[str, float]:
    return {path.relative_to(to).as_posix(): path.stat().st_mtime_ns for path in to.rglob("*") if path.is_file()}


def test_finished_shards_are_not_written_again(folder, tmp_path):
    undisturbed = plan(folder, tmp_path / "undisturbed")
    expected = finish_ingest(undisturbed, [write_shard(job) for job in undisturbed.jobs])
    for job in start_ingest(plan(folder, tmp_path / "out")).jobs[:3]:
        write_shard(job)
    before = files_of(tmp_path / "out")
    again = plan(folder, tmp_path / "out")
    started = start_ingest(again)
    assert (started.num_finished, len(started.jobs)) == (3, 8)
    written = [write_shard(job) for job in started.jobs]
    after = files_of(tmp_path / "out")
    assert [name for name in before if before[name] != after[name]] == ["ingest/claim.json"]
    assert finish_ingest(again, written, started.claim).content_hash == expected.content_hash
    names = [
        sorted(path.relative_to(to) for path in to.rglob("*")) for to in (tmp_path / "out", tmp_path / "undisturbed")
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(("changed", "num_kept"), [("image", 7), ("mask", 7), ("gender", 7), ("clusters", 0)])
def test_another_job_is_done_anew(folder, tmp_path, changed, num_kept):
    for job in start_ingest(plan(folder, tmp_path / "out")).jobs:
        write_shard(job)
    if changed == "image":
        os.utime(folder.root / "LTCC_ReID" / "train" / "000_1_c2_000000.png", ns=(1, 1))
    elif changed == "mask":
        os.utime(folder.masks / "000_1_c2_000000_pant.png", ns=(1, 1))
    elif changed == "gender":
        folder.gender.write_text(folder.gender.read_text().replace("train,0,0", "train,0,1"))
    else:
        folder.keypoints.write_text(
            folder.keypoints.read_text().replace('"score": 2.0, "keypoints": [', '"score": 2.0, "keypoints": [9', 1)
        )
    assert start_ingest(plan(folder, tmp_path / "out")).num_finished == num_kept


def test_half_written_and_damaged_shards_are_done_anew(folder, tmp_path):
    out = tmp_path / "out"
    written = [write_shard(job) for job in start_ingest(plan(folder, out)).jobs]
    short, changed, gone = (out / shard.entry.path for shard in written[:3])
    content = changed.read_bytes()
    short.write_bytes(short.read_bytes()[:-1])
    changed.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    gone.unlink()
    (out / "ingest" / "part-00003.json").write_bytes(b"")
    again = plan(folder, out)
    started = start_ingest(again)
    assert [job.number for job in started.jobs if job.finished] == [1, 4, 5, 6, 7]
    finish_ingest(again, [write_shard(job) for job in started.jobs], started.claim)
    dataset = DataSet.open(str(out))
    for shard in range(8):
        assert list(dataset.read_records(shard))


def test_no_manifest_names_a_shard_that_is_gone(folder, tmp_path):
    made = plan(folder, tmp_path / "out")
    written = [write_shard(job) for job in made.jobs]
    (tmp_path / "out" / written[2].entry.path).unlink()
    with pytest.raises(StorageError, match=r"part-00002-.* was deleted meanwhile: let one at a time write there"):
        finish_ingest(made, written)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_is_no_part_of_the_data_set_stays(folder, tmp_path):
    out = tmp_path / "out"
    abandoned = ["shards/part-00009-0123456789abcdef.parquet", "shards/.part-00009-0123456789abcdef.parquet.1f.part"]
    others = ["notes.parquet", "shards/other/manifest.json", "shards/other/shards/part-00000-0123456789abcdef.parquet"]
    for name in (*abandoned, *others):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()
    manifest = ingest(folder.root, "ltcc", out, name="mini")
    own = {manifest.index.path, "manifest.json", *(entry.path for entry in manifest.shards)}
    assert set(files_of(out)) == {*own, *others}
