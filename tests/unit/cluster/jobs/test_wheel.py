import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cluster.jobs.wheel import build_wheel
from rlq_ray.build_stamp import PARTS, STAMP, hash_files, package_files, package_root, read_stamp
from rlq_ray.errors import UsageError


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small package in a git checkout, committed."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    root = tmp_path / "checkout"
    for part in PARTS:
        (root / part).mkdir(parents=True)
        (root / part / "__init__.py").write_text(f'"""{part}"""\n')
    (root / "rlq_ray" / "asset.bin").write_bytes(bytes(1000))
    (root / "pyproject.toml").write_text('[project]\nname = "rlq-ray"\nversion = "1.2.3"\n')
    (root / ".gitignore").write_text("*.log\n")
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def unpack(wheel, folder):
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        archive.extractall(folder)
    return folder


def test_holds_what_was_committed_and_its_stamp(checkout, tmp_path):
    wheel = build_wheel(checkout)
    folder = unpack(wheel, tmp_path / "node")
    assert wheel.stamp.commit == git(checkout, "rev-parse", "HEAD")
    assert wheel.name == f"rlq_ray-1.2.3+g{wheel.stamp.commit[:10]}-py3-none-any.whl"
    assert read_stamp(folder) == wheel.stamp
    assert not wheel.stamp.dirty
    unpacked = {name: (folder / name).read_bytes() for name in package_files(folder)}
    assert wheel.stamp.content_hash == hash_files(unpacked)
    assert sorted(unpacked) == sorted([*(f"{part}/__init__.py" for part in PARTS), "rlq_ray/asset.bin"])


def test_the_same_tree_gives_the_same_bytes(checkout, tmp_path):
    shutil.copytree(checkout, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.py"):
        path.touch(mode=0o600)
        path.chmod(0o700)
    git(tmp_path / "copy", "config", "core.fileMode", "false")
    assert build_wheel(tmp_path / "copy").content == build_wheel(checkout).content


def test_refuses_what_is_not_committed_and_says_which_files(checkout):
    (checkout / "rlq_ray" / "new file.py").write_text("")
    (checkout / "tuning" / "__init__.py").write_text("changed")
    with pytest.raises(UsageError, match=r"tuning/__init__.py, rlq_ray/new file.py: commit that, or .* --allow-dirty"):
        build_wheel(checkout)


def test_takes_uncommitted_files_if_told_and_says_so_in_the_stamp(checkout, tmp_path):
    clean = build_wheel(checkout)
    (checkout / "rlq_ray" / "new.py").write_text("")
    (checkout / "rlq_ray" / "noise.log").write_text("ignored by git")
    (checkout / "pipelines" / "__init__.py").unlink()
    wheel = build_wheel(checkout, allow_dirty=True)
    assert wheel.stamp.dirty
    assert wheel.stamp.content_hash != clean.stamp.content_hash
    assert wheel.name == (
        f"rlq_ray-1.2.3+g{clean.stamp.commit[:10]}.dirty.{wheel.stamp.content_hash[:10]}-py3-none-any.whl"
    )
    names = package_files(unpack(wheel, tmp_path / "node"))
    assert "rlq_ray/new.py" in names
    assert not {"rlq_ray/noise.log", "pipelines/__init__.py"} & set(names)


def test_what_was_unpacked_can_be_sent_on_as_it_is(checkout, tmp_path):
    wheel = build_wheel(checkout)
    again = build_wheel(unpack(wheel, tmp_path / "node"))
    assert again.stamp == wheel.stamp
    assert again.content == wheel.content


def test_an_unpacked_package_that_was_changed_is_called_so(checkout, tmp_path):
    folder = unpack(build_wheel(checkout), tmp_path / "node")
    (folder / "tuning" / "__init__.py").write_text("changed")
    assert build_wheel(folder).stamp.dirty


def test_an_installed_package_without_a_stamp_has_a_version_alone(checkout):
    shutil.rmtree(checkout / ".git")
    wheel = build_wheel(checkout)
    assert (wheel.stamp.commit, wheel.stamp.dirty, wheel.name) == (None, False, "rlq_ray-0.1.0-py3-none-any.whl")


def test_a_repository_that_git_does_not_read_is_explained(checkout):
    (checkout / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(UsageError, match=r"git cannot tell what is committed in .*mend that"):
        build_wheel(checkout)


@pytest.mark.slow
def test_is_what_setuptools_makes_and_pip_takes(tmp_path):
    """The real package, by the tools that people use."""
    root, copy = package_root(), tmp_path / "copy"
    listed = git(root, "ls-files", *PARTS, "pyproject.toml", "README.md").splitlines()
    for name in listed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path), str(copy)], check=True
    )
    (theirs,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(theirs) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = build_wheel(copy)
    file = tmp_path / "ours" / ours.name
    file.parent.mkdir()
    file.write_bytes(ours.content)
    subprocess.run([*pip, "install", "--no-index", "--target", str(tmp_path / "node"), str(file)], check=True)
    assert {*package_files(tmp_path / "node"), STAMP} == {*names, STAMP}
    assert read_stamp(tmp_path / "node") == ours.stamp
    assert len(list(Path(tmp_path / "node").glob("*.dist-info"))) == 1
