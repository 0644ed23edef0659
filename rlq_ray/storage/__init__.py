"""Where bytes lie: on mounted disks and in S3. The only room that knows of S3."""

from rlq_ray.storage.files import (
    delete_file,
    exists,
    list_files,
    probe_writable,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from rlq_ray.storage.memory import Content
from rlq_ray.storage.places import Location, locate
from rlq_ray.storage.pursuit import Patience
from rlq_ray.storage.ranges import RangeReader, ReadCounts

__all__ = [
    "Content",
    "Location",
    "Patience",
    "RangeReader",
    "ReadCounts",
    "delete_file",
    "exists",
    "list_files",
    "locate",
    "probe_writable",
    "read_bytes",
    "read_json",
    "write_bytes",
    "write_json",
]
