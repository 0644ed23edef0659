"""The wheel that a job runs: the package as it is called here, stamped, and the same bytes for the same code.

It is written here, since it must also be made where the package is installed and there is nothing to build from, and
since it names no dependencies: those are the nodes' affair. Knows no Ray.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rlq_ray.build_stamp import PARTS, STAMP, BuildStamp, hash_files, package_files, package_root, read_stamp
from rlq_ray.errors import UsageError

DISTRIBUTION = "rlq-ray"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file: the first that a ZIP can hold."""
MOST_NAMED = 5
"""Files that a message names."""
GIT_TIMEOUT_S = 60


@dataclass(frozen=True)
class Wheel:
    """A wheel in memory: its file name, what it was made of, and its bytes."""

    name: str
    stamp: BuildStamp
    content: bytes


def build_wheel(root: Path | None = None, *, allow_dirty: bool = False) -> Wheel:
    """Pack the package and stamp it.

    Args:
        root: folder of the package's parts; by default those that are imported.
        allow_dirty: whether a checkout may differ from its commit; untracked files of the package then go along.

    Raises:
        UsageError: the checkout differs from its commit, or git cannot read it.
    """
    root = root or package_root()
    if (root / ".git").exists():
        changed = _changed(root)
        if changed and not allow_dirty:
            more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
            raise UsageError(
                f"{root} differs from its commit in {', '.join(changed[:MOST_NAMED])}{more}: "
                "commit that, or submit it as it is by --allow-dirty"
            )
        commit: str | None = _git(root, "rev-parse", "HEAD").strip()
        dirty = bool(changed)
        files = _read(root, _names_in_checkout(root))
        version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    else:
        files = _read(root, package_files(root))
        origin = read_stamp(root)
        commit = origin.commit if origin else None
        dirty = origin is not None and (origin.dirty or origin.content_hash != hash_files(files))
        version = origin.version if origin else metadata.version(DISTRIBUTION)
    stamp = BuildStamp(version, commit, dirty, hash_files(files))
    label = _version_label(stamp)
    name = f"{DISTRIBUTION.replace('-', '_')}-{label}"
    return Wheel(f"{name}-py3-none-any.whl", stamp, _zip({**files, STAMP: stamp.to_json()}, name, label))


def _version_label(stamp: BuildStamp) -> str:
    """Return the version with the commit, in the form that wheels may have."""
    local = [f"g{stamp.commit[:10]}"] if stamp.commit else []
    if stamp.dirty:
        local += ["dirty", stamp.content_hash[:10]]
    return "+".join([stamp.version.partition("+")[0], *([".".join(local)] if local else [])])


def _changed(root: Path) -> list[str]:
    """Name what git status shows."""
    lines = _git(root, "status", "--porcelain", "-z", "--no-renames").split("\0")
    return [line[3:] for line in lines if line]


def _names_in_checkout(root: Path) -> list[str]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PARTS).split("\0")
    return [name for name in listed if name and (root / name).is_file()]


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S
        ).stdout
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[0] if error.stderr.strip() else f"status {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise UsageError(f"git cannot tell what is committed in {root} ({reason}): mend that, or install the package")


def _read(root: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in names}


def _zip(files: Mapping[str, bytes], name: str, version: str) -> bytes:
    """Write the files and what the format of wheels asks for beside them."""
    about = f"{name}.dist-info"
    described = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: rlq\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in sorted(described.items()))
    described[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(described, key=lambda path: (path.startswith(about), path)):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, described[path], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
