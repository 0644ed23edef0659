"""What an erasure says to people: what is gone, and what no command can reach from here."""

from __future__ import annotations

from rlq_ray.data import Forgotten
from rlq_ray.storage import locate


def report_lines(forgotten: Forgotten, uri: str) -> list[str]:
    """Tell what was erased and proved, and where copies may be left."""
    manifest = forgotten.manifest
    lines = [
        f"erased {forgotten.num_images} images with their masks, skeletons and labels; "
        f"{forgotten.num_rewritten} shards were rewritten",
        f"read back {forgotten.num_read} shards, index and manifest: nothing of them is left, and everybody else's "
        f"images are unchanged; the data set is now {manifest.content_hash[:12]}",
        "out of reach from here, so see to them yourself: the folder it was ingested from, copies and backups, "
        "pictures in MLflow, checkpoints trained on these images, and a teacher's features of them (the folder "
        "teacher-features of a store)",
        "caches on other nodes' disks are purged when the data set is next opened there",
    ]
    if not locate(uri).is_local:
        lines.append(
            "S3: where the bucket keeps versions, or has uploads that were cut off, the old objects stay until you "
            "delete them there"
        )
    return lines
