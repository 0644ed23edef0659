import shlex
import subprocess
from dataclasses import replace

import pytest

from cluster.jobs.request import JobRequest, check_command, places_to_send
from rlq_ray.build_stamp import BuildStamp
from rlq_ray.errors import UsageError

STAMP = BuildStamp("0.1.0", "c0ffee" * 6, dirty=False, content_hash="ab" * 32)
REQUEST = JobRequest(("train", "rlq", "--name", "a b"), "ada", STAMP, {"RLQ_STORAGE": "s3://bucket/rlq"})


def test_its_command_reaches_the_process_word_for_word():
    request = replace(REQUEST, command=("train", "rlq", "x=$(date)", "y='*'", "--name", 'a "b"'))
    script = request.entrypoint.replace("exec ", "", 1)
    printed = subprocess.run(
        ["sh", "-c", script], env={"RLQ_PYTHON": "echo"}, capture_output=True, text=True, check=True
    ).stdout
    assert printed == "-m pipelines.job train rlq x=$(date) y='*' --name a \"b\"\n"


def test_two_requests_are_the_same_by_command_code_and_places():
    others = [
        replace(REQUEST, command=("train", "rlq", "--name", "c")),
        replace(REQUEST, stamp=replace(STAMP, content_hash="cd" * 32)),
        replace(REQUEST, places={}),
    ]
    assert len({REQUEST.key, *(other.key for other in others)}) == 4
    assert replace(REQUEST, user="bob").key == REQUEST.key


def test_its_id_tells_the_command_and_is_new():
    first = REQUEST.job_id(())
    assert first == f"train-rlq-{REQUEST.key[:8]}"
    assert REQUEST.job_id({first}) == f"{first}-2"
    assert REQUEST.job_id({first, f"{first}-2"}) == f"{first}-3"
    assert replace(REQUEST, command=("evaluate", "s3://b/c")).job_id(()).startswith("evaluate-")


def test_carries_names_of_places_and_the_hash():
    environment = REQUEST.environment("j")
    assert environment["RLQ_STORAGE"] == "s3://bucket/rlq"
    assert (environment["RLQ_JOB_ID"], environment["RLQ_PACKAGE_HASH"]) == ("j", STAMP.content_hash)
    assert shlex.split(REQUEST.metadata()["rlq.command"]) == list(REQUEST.command)


def test_takes_places_from_the_environment_unless_the_cluster_knows_them():
    environment = {"RLQ_STORAGE": "s3://a", "MLFLOW_TRACKING_URI": "http://m", "AWS_SECRET_ACCESS_KEY": "x"}
    assert places_to_send(environment) == {"RLQ_STORAGE": "s3://a", "RLQ_TRACKING_URI": "http://m"}
    assert places_to_send({**environment, "RLQ_TRACKING_URI": "http://r"})["RLQ_TRACKING_URI"] == "http://r"
    assert places_to_send(environment, {"s3://a"}) == {"RLQ_TRACKING_URI": "http://m"}


def test_refuses_a_place_with_a_password_and_one_of_this_machine_alone():
    with pytest.raises(UsageError, match="RLQ_TRACKING_URI has a password in it") as error:
        places_to_send({"RLQ_TRACKING_URI": "http://me:hunter2@host"})
    assert "hunter2" not in str(error.value)
    with pytest.raises(UsageError, match="RLQ_STORAGE=rlq-data is relative"):
        places_to_send({"RLQ_STORAGE": "rlq-data"})
    assert places_to_send({"RLQ_STORAGE": "/shared/rlq"}) == {"RLQ_STORAGE": "/shared/rlq"}


def test_refuses_a_settings_file_that_only_this_machine_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_command(("train", "mine.toml"), {})
    (tmp_path / "mine.toml").write_text("")
    with pytest.raises(UsageError, match=r"mine.toml is a file of this machine.* name it 'mine'"):
        check_command(("train", "mine.toml"), {})
