"""Any folder with a table: one CSV or Parquet file with the columns `path,split,pid,camera,clothes[,gender,pose]`.

Paths are relative to the table's folder. What the table says is taken as it is: nothing is parsed from names.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.records import SPLITS
from rlq_ray.errors import DataError

REQUIRED = ("path", "split", "pid", "camera", "clothes")


def read(root: Path) -> list[SourceImage]:
    """List the images of the table, sorted by path; `root` is the table or the folder that holds just one.

    Clothes names that several identities use get the identity in front, since an outfit belongs to one person here.

    Raises:
        DataError: no or several tables, a missing column, or a value that cannot be used (with its line).
    """
    table = _find_table(root)
    rows = _read_rows(table)
    missing = [name for name in REQUIRED if rows and name not in rows[0]]
    if missing:
        raise DataError(f"{table} has no column '{missing[0]}': it needs {','.join(REQUIRED)}[,gender,pose]")
    wearers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        wearers[str(row["clothes"])].add(str(row["pid"]))
    shared = any(len(identities) > 1 for identities in wearers.values())
    images = [_image(table, line, row, shared) for line, row in enumerate(rows, start=2)]
    return sorted(images, key=lambda image: image.source)


def _find_table(root: Path) -> Path:
    if root.is_file():
        return root
    tables = sorted(file for file in root.glob("[!.]*") if file.suffix.lower() in (".csv", ".parquet"))
    if len(tables) != 1:
        raise DataError(f"'{root}' holds {len(tables)} CSV or Parquet files: keep one there, or name it as the root")
    return tables[0]


def _read_rows(table: Path) -> list[dict[str, Any]]:
    if table.suffix.lower() == ".parquet":
        return list(pq.read_table(table).to_pylist())
    with table.open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def _image(table: Path, line: int, row: dict[str, Any], shared: bool) -> SourceImage:
    where = f"{table} line {line}"
    empty = next((name for name in REQUIRED if row[name] in (None, "")), None)
    if empty:
        raise DataError(f"{where}: '{empty}' is empty; fill it in, or remove the line")
    if row["split"] not in SPLITS:
        raise DataError(f"{where}: split '{row['split']}' is unknown; write one of {', '.join(SPLITS)}")
    identity, clothes = str(row["pid"]), str(row["clothes"])
    gender, pose = row.get("gender"), row.get("pose")
    if gender not in (None, "", 0, 1, "0", "1", "0.0", "1.0"):
        raise DataError(f"{where}: gender '{gender}' is unknown; write 1 (male), 0 (female) or leave it empty")
    try:
        camera = int(row["camera"])
        cluster = None if pose in (None, "") else int(str(pose).removesuffix(".0"))
    except ValueError as error:
        raise DataError(f"{where}: {error}; cameras and poses are whole numbers") from error
    return SourceImage(
        file=table.parent / row["path"],
        source=Path(row["path"]).as_posix(),
        split=row["split"],
        identity=identity,
        clothes=f"{identity}_{clothes}" if shared else clothes,
        camera=camera,
        gender=None if gender in (None, "") else int(float(gender)),
        pose=cluster,
    )
