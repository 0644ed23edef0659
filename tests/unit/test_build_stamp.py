import pytest

from rlq_ray import build_stamp
from rlq_ray.build_stamp import STAMP, BuildStamp, hash_files, package_files, read_stamp, require_package
from rlq_ray.errors import PackageError


@pytest.fixture
def tree(tmp_path):
    for name in ("rlq_ray/a.py", "tuning/b.py", "tuning/assets/c.bin", "elsewhere/d.py", "rlq_ray/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def imported(tree, monkeypatch):
    """The tree in the place of the package that this process imports."""
    monkeypatch.setattr(build_stamp, "package_root", lambda: tree)
    build_stamp.content_hash.cache_clear()
    yield tree
    build_stamp.content_hash.cache_clear()


def test_names_the_files_of_the_package_alone(tree):
    (tree / STAMP).write_text("{}")
    assert package_files(tree) == ["rlq_ray/a.py", "tuning/assets/c.bin", "tuning/b.py"]


def test_the_hash_knows_names_and_contents_but_no_order():
    files = {"a": b"1", "b": b"2"}
    assert hash_files(files) == hash_files(dict(reversed(files.items())))
    assert len({hash_files(files), hash_files({"a": b"1", "c": b"2"}), hash_files({"a": b"2", "b": b"1"})}) == 3


def test_a_stamp_is_read_as_it_was_written(tree):
    assert read_stamp(tree) is None
    stamp = BuildStamp("0.1.0", "c0ffee", dirty=False, content_hash="ab")
    (tree / STAMP).write_bytes(stamp.to_json())
    assert read_stamp(tree) == stamp


def test_any_code_will_do_where_none_is_expected(imported):
    require_package(None)


def test_a_file_that_was_changed_is_noticed(imported):
    submitted = build_stamp.content_hash()
    require_package(submitted)
    build_stamp.content_hash.cache_clear()
    (imported / "tuning/b.py").write_text("tampered")
    with pytest.raises(PackageError, match=rf"hash \w{{12}} in {imported}, not {submitted[:12]}; delete that folder"):
        require_package(submitted)


def test_a_file_too_many_is_noticed(imported):
    submitted = build_stamp.content_hash()
    build_stamp.content_hash.cache_clear()
    (imported / "tuning/left_over.py").write_text("")
    with pytest.raises(PackageError):
        require_package(submitted)
