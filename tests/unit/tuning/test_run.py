from pathlib import Path
from types import SimpleNamespace

import pytest

from tuning.run import CAUSE_LENGTH, _cause

DEAD = "The actor died.\n\tclass_name: F\nThe actor is dead because its node has died."
STACK = 'ray::F.train()\n  File "a.py", line 1, in b\nrlq_ray.errors.StorageError: the store is away'
MEMORY = "Task was killed due to the node running low on memory.\nSee the documentation."


@pytest.mark.parametrize(
    ("story", "is_pickled", "cause"),
    [
        (DEAD, True, "The actor is dead because its node has died."),
        (STACK, True, "rlq_ray.errors.StorageError: the store is away"),
        (MEMORY, False, "Task was killed due to the node running low on memory."),
        ("", False, "no word of why"),
    ],
)
def test_the_line_that_says_why_is_told_of_an_errors_story(
    story: str, is_pickled: bool, cause: str, tmp_path: Path
) -> None:
    """Tune pickles what its actors raise and their death, and no other error of Ray's."""
    file = tmp_path / "error.txt"
    file.write_text(f"Failure # 1 (occurred at noon)\n{story}\n")
    trial = SimpleNamespace(error_file=str(file), pickled_error_file=str(file) if is_pickled else None)
    assert _cause(trial) == cause


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1 (occurred at noon)\n" + "word " * 100)
    assert len(_cause(SimpleNamespace(error_file=str(file), pickled_error_file=None))) <= CAUSE_LENGTH
