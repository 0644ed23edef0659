from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus
from rich.console import Console

from cluster.jobs.record import record_of
from pipelines.jobs_view import jobs_table


def details(**changes):
    own = {"rlq.command": "train rlq", "rlq.user": "ada", "rlq.commit": "c0ffee" * 6, "rlq.dirty": "true"}
    known = {"submission_id": "j", "status": JobStatus.RUNNING, "entrypoint": "exec …", "metadata": own}
    known |= {"start_time": 1_700_000_000_000, "end_time": None, "driver_exit_code": None, "message": None}
    return SimpleNamespace(**{**known, **changes})


def test_reads_what_was_kept_beside_the_job():
    job = record_of(details())
    assert (job.state, job.command, job.user, job.commit) == ("running", "train rlq", "ada", "c0ffee" * 6 + "+")
    assert job.to_json()["since"] == "2023-11-14T22:13:20+00:00"
    assert not job.is_over


def test_reads_a_job_of_another_tool():
    job = record_of(details(metadata=None, entrypoint="python main.py"))
    assert (job.command, job.user, job.commit) == ("python main.py", "", "")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", -9, 137), ("FAILED", None, 1), ("STOPPED", None, 1)],
)
def test_its_exit_status_is_that_of_a_shell(status, code, expected):
    job = record_of(details(status=JobStatus(status), driver_exit_code=code))
    assert job.is_over
    assert job.exit_status == expected


def test_the_table_shows_every_column():
    console = Console(width=120)
    with console.capture() as shown:
        console.print(jobs_table([record_of(details())]))
    assert [*shown.get().splitlines()[0].split()] == ["job", "state", "command", "since", "user", "commit"]
    assert "ada" in shown.get()
    assert "c0ffeec0ff+" in shown.get()
