"""Who a process is to S3, and how it learns that this has changed; against a real server with several identities."""

from __future__ import annotations

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.object_store import ObjectStore, start_object_store
from rlq_ray.errors import StorageError
from rlq_ray.storage import Patience, RangeReader, locate, read_bytes, s3, write_bytes

CALM = Patience(deadline_s=30, attempt_s=10, hedge_s=10)
KEYS = [("first-access-key", "first-secret-key"), ("second-access-key", "second-secret-key")]
WRONG = ("no-access-key", "no-secret-key")
SOON, LATER = timedelta(seconds=30), timedelta(hours=1)


@pytest.fixture(scope="module")
def store(service_folder):
    """A server that knows all of `KEYS`."""
    identities = [
        {"name": access, "credentials": [{"accessKey": access, "secretKey": secret}], "actions": ["Admin"]}
        for access, secret in KEYS
    ]
    folder = service_folder / "identities"
    folder.mkdir()
    (folder / "keys.json").write_text(json.dumps({"identities": identities}))
    store = start_object_store(folder)
    yield store
    store.stop(grace_s=0.5)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A process without any AWS variable or file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def place(store, bare, monkeypatch):
    """An object, seen from a process that has only the endpoint."""
    place = locate(store.uri) / "object"
    with monkeypatch.context() as own:
        for name, value in store.environment.items():
            own.setenv(name, value)
        write_bytes(place, b"content")
    return place


class Issuer:
    """A program that hands out the next keys each time it is asked, and the profile that asks it."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self._keys = folder / "keys"
        program = folder / "issue"
        program.write_text(f"#!/bin/sh\nhead -n 1 {self._keys}\nsed -i 1d {self._keys}\n")
        program.chmod(0o700)
        (folder / "config").write_text(
            f"[profile issued]\ncredential_process = {program}\nendpoint_url = {store.endpoint}\nregion = eu-north-1\n"
        )

    def will_issue(self, *issued: tuple[tuple[str, str], timedelta]) -> None:
        lines = [
            json.dumps(
                {
                    "Version": 1,
                    "AccessKeyId": access,
                    "SecretAccessKey": secret,
                    "Expiration": (datetime.now(UTC) + lifetime).isoformat(),
                }
            )
            for (access, secret), lifetime in issued
        ]
        self._keys.write_text("".join(f"{line}\n" for line in lines))

    @property
    def left(self) -> int:
        return len(self._keys.read_text().splitlines())


@pytest.fixture
def issuer(tmp_path, store, place, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "issued")
    return Issuer(tmp_path, store)


def take_on(monkeypatch, keys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys[1])


def access_key():
    return s3.s3_client("rlq").keys[0]


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_changed_variables_are_noticed(place, store, monkeypatch, name):
    monkeypatch.setenv(name, store.endpoint)
    reader = RangeReader(CALM)
    for keys in KEYS:
        take_on(monkeypatch, keys)
        assert reader.read(place, 1, 3) == b"ont"
        assert access_key() == keys[0]
    take_on(monkeypatch, WRONG)
    with pytest.raises(
        StorageError, match=f"^cannot read {place}: AWS Error ACCESS_DENIED [^\n]*; check address and cred"
    ):
        reader.read(place, 1, 3)
    take_on(monkeypatch, KEYS[0])
    assert reader.read(place, 1, 3) == b"ont"
    assert reader.counts().retries == 0


def test_a_secret_is_not_shown(place, store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    take_on(monkeypatch, KEYS[0])
    assert KEYS[0][1] not in repr(s3.s3_client("rlq"))


def test_half_wrong_keys_are_refused_at_once(place, store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    take_on(monkeypatch, (KEYS[0][0], KEYS[1][1]))
    reader = RangeReader(CALM)
    with pytest.raises(StorageError, match=r"cannot read .* check address and credentials"):
        reader.read(place, 1, 3)
    assert reader.counts().requests == 1


def test_keys_that_run_out_are_replaced(place, issuer):
    issuer.will_issue((KEYS[0], SOON), (KEYS[0], SOON), (KEYS[1], LATER))  # boto3 asks again for those that end soon
    first = s3.s3_client("rlq")
    reader = RangeReader(CALM)
    assert reader.read(place, 1, 3) == b"ont"
    assert (first.keys[0], access_key()) == (KEYS[0][0], KEYS[1][0])
    assert reader.counts().retries == 0


@pytest.mark.parametrize("read", [lambda place: RangeReader(CALM).read(place, 0, 7), read_bytes], ids=["range", "file"])
def test_keys_that_are_refused_are_asked_for_once_more(place, issuer, read):
    issuer.will_issue((WRONG, LATER), (KEYS[0], LATER))
    assert read(place) == b"content"
    assert issuer.left == 0


@pytest.mark.parametrize("read", [lambda place: RangeReader(CALM).read(place, 0, 7), read_bytes], ids=["range", "file"])
def test_keys_that_stay_refused_are_told_of(place, issuer, read):
    issuer.will_issue((WRONG, LATER), (WRONG, LATER), (KEYS[0], LATER))
    with pytest.raises(StorageError, match=r"cannot read .*; check address and credentials"):
        read(place)
    assert issuer.left == 1


def test_keys_are_kept_while_nobody_issues_others(place, issuer, caplog):
    issuer.will_issue((KEYS[0], SOON), (KEYS[0], SOON))
    reader = RangeReader(CALM)
    with caplog.at_level(logging.WARNING):
        assert [reader.read(place, 1, 3) for _ in range(3)] == [b"ont"] * 3
    assert "cannot refresh the S3 credentials" in caplog.text
    assert sum(record.name == s3.__name__ for record in caplog.records) == 1, "they are not asked for at every read"


def test_keys_change_while_many_threads_read(place, issuer):
    issuer.will_issue(*((KEYS[number % 2], SOON) for number in range(40)), (KEYS[0], LATER))
    reader = RangeReader(CALM)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda number: reader.read(place, number % 7, 1), range(200)))
    assert b"".join(parts[:7]) == b"content"
    assert reader.counts().retries == 0


def test_a_profile_gives_endpoint_and_region(place, issuer, store):
    issuer.will_issue((KEYS[0], LATER))
    filesystem = place.filesystem()
    assert filesystem.region == "eu-north-1"
    assert read_bytes(place) == b"content"


def test_nobody_to_issue_keys_is_told(place, issuer):
    issuer.will_issue()
    with pytest.raises(StorageError, match=r"^no .*: check AWS_PROFILE"):
        RangeReader(CALM).read(place, 0, 1)


@pytest.mark.parametrize("endpoint", ["nonsense", "http://127.0.0.1:9/below"])
def test_an_endpoint_that_is_no_address_is_told(place, monkeypatch, endpoint):
    take_on(monkeypatch, KEYS[0])
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match=endpoint):
        RangeReader(CALM).read(place, 0, 1)


@pytest.mark.slow
def test_a_region_that_cannot_be_found_is_told_and_guessed(bare, monkeypatch, caplog):
    take_on(monkeypatch, KEYS[0])
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    began_s = time.monotonic()
    assert locate("s3://Not_A_Bucket/a").filesystem().region == "eu-west-3"
    assert "taking eu-west-3" in caplog.text
    assert time.monotonic() - began_s < 60
