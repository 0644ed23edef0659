"""The local stack as a user has it: `rlq up`, what the others do with it, and `rlq down`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from cluster.processes import free_ports
from cluster.stack import running
from cluster.stack.card import read_credentials

pytestmark = pytest.mark.slow

SERVERS = ("s3", "mlflow", "ray")
OTHERS_VARIABLES = ("AWS_", "RAY_", "RLQ_", "MLFLOW_")
"""Beginnings of variables that are about the servers of other tests."""
TIMEOUT_S = 550.0


@dataclass(frozen=True)
class Stack:
    """A stack in a folder of its own, as its user sees it."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "rlq-data" / "stack"

    @property
    def settings(self) -> dict[str, Any]:
        return json.loads((self.folder / "settings.json").read_text())

    @property
    def secrets(self) -> list[str]:
        values = read_credentials(self.folder / "credentials.env")
        return [value for name, value in values.items() if name != "MLFLOW_TRACKING_USERNAME"] + [self.token]

    @property
    def token(self) -> str:
        return (self.folder / "ray_token").read_text()

    @property
    def login(self) -> tuple[str, str]:
        values = read_credentials(self.folder / "credentials.env")
        return values["MLFLOW_TRACKING_USERNAME"], values["MLFLOW_TRACKING_PASSWORD"]

    def rlq(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS_VARIABLES)}
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=self.home,
            env=kept | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def done(self, *arguments: str) -> str:
        answer = self.rlq(*arguments)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def states(self) -> dict[str, Any]:
        return {server["key"]: server for server in json.loads(self.rlq("status", "--json").stdout)["servers"]}

    def addresses(self) -> dict[str, str]:
        return json.loads(self.rlq("status", "--json").stdout)["addresses"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    home = Path(tempfile.mkdtemp(prefix="rlq-k-", dir="/tmp"))
    made = Stack(home)
    names = ("--dashboard-port", "--mlflow-port", "--s3-port", "--ray-port")
    ports = [str(word) for pair in zip(names, free_ports(4), strict=True) for word in pair]
    try:
        made.done("up", "--cpus", "2", *ports)
        yield made
    finally:
        made.rlq("down")
        shutil.rmtree(home)


def asked(address: str, **headers: str) -> int:
    """Return the status of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def members(stack: Stack) -> list[running.Process]:
    return [process for key in SERVERS for process in running.members(stack.folder, key)]


def listening(pids: set[int]) -> set[str]:
    """Return the addresses on which processes listen, as the kernel writes them."""
    sockets = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            sockets.add(str(handle.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add(words[1].partition(":")[0])
    return found


def test_all_runs_and_a_second_up_changes_nothing(stack: Stack) -> None:
    before = stack.states()
    assert {key: state["state"] for key, state in before.items()} == dict.fromkeys(SERVERS, "running")
    answer = stack.rlq("up")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("runs already") == 3
    assert {key: state["pid"] for key, state in stack.states().items()} == {
        key: state["pid"] for key, state in before.items()
    }


def test_it_listens_on_the_loopback_address_only(stack: Stack) -> None:
    addresses = listening({process.pid for process in members(stack)})
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses
    assert addresses <= loopback


def test_it_asks_for_keys(stack: Stack) -> None:
    mlflow, dashboard = stack.addresses()["mlflow"], stack.addresses()["dashboard"]
    question = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    for login, status in ((None, 401), (("rlq", "wrong"), 401), (stack.login, 200)):
        header = {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"} if login else {}
        assert asked(question, **header) == status
        assert asked(mlflow, **header) == status
    for token, status in (("", 401), ("wrong", 403), (stack.token, 200)):
        header = {"Authorization": f"Bearer {token}"} if token else {}
        assert asked(f"{dashboard}/api/jobs/", **header) == status
    assert asked(f"{stack.addresses()['s3']}/rlq") == 403


def test_the_doctor_finds_everything_well(stack: Stack) -> None:
    findings = json.loads(stack.done("doctor", "--json"))
    assert [finding["name"] for finding in findings] == ["versions", "disk", "stack", "storage", "tracking", "ray"]
    texts = {finding["name"]: finding["text"] for finding in findings if finding["is_well"]}
    assert "s3://rlq" in texts["storage"]
    assert stack.addresses()["mlflow"] in texts["tracking"]
    assert stack.addresses()["ray"] in texts["ray"]


def test_a_training_goes_through_it_and_no_secret_shows(stack: Stack, tiny_people) -> None:
    shards = stack.home / "shards"
    shutil.copytree(tiny_people.shards["target"], shards)
    settings = ("data.target=shards", "train.epochs=1", "workers.count=1")
    outcome = json.loads(stack.done("train", "tiny_base", *settings, "--name", "through", "--json"))
    assert outcome["checkpoint"].startswith("s3://rlq/")
    assert not [path.name for path in (stack.home / "rlq-data").iterdir() if path.name != "stack"]

    places = [Path(stack.settings["ray_temp_dir"]), *(stack.folder / name for name in ("logs", "run", "mlflow"))]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    files += [path for path in (stack.folder / "s3" / "objects").rglob("*") if path.is_file()]
    assert any(outcome["mlflow_run_id"].encode() in path.read_bytes() for path in files)  # so they are those files
    dashboard = stack.addresses()["dashboard"]
    shown = {}
    for page in ("jobs", "actors", "tasks", "workers", "runtime_envs", "placement_groups"):
        question = f"{dashboard}/api/v0/{page}?detail=1&limit=10000"
        request = urllib.request.Request(question, headers={"Authorization": f"Bearer {stack.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            shown[page] = answer.read()
    assert b"TrainController" in shown["actors"]
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert any(str(stack.folder).encode() in line for line in lines)
    for secret in stack.secrets:
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        assert not [page for page, text in shown.items() if secret.encode() in text]
        assert not [line for line in lines if secret.encode() in line]


class TestPages:
    """In a real browser; `RLQ_SCREENSHOTS` names a folder for pictures of what it sees."""

    @staticmethod
    def seen(browser: Any, name: str) -> str:
        if folder := os.environ.get("RLQ_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / f"{name}.png"))
        return browser.find_element(By.TAG_NAME, "body").text

    def test_the_dashboard_asks_for_the_token(self, stack: Stack, browser: Any) -> None:
        browser.set_window_size(1300, 900)
        browser.get(stack.addresses()["dashboard"])
        wait = WebDriverWait(browser, 90)
        field = wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, "input[type=password]"))
        wait.until(lambda _: field.is_displayed())
        refused = self.seen(browser, "dashboard-refused")
        assert "Authentication Token Required" in refused
        assert "pipelines.cli" not in refused
        field.send_keys(stack.token)
        buttons = browser.find_elements(By.TAG_NAME, "button")
        next(button for button in buttons if button.text.lower() == "submit").click()
        wait.until(lambda driver: "pipelines.cli doctor" in driver.find_element(By.TAG_NAME, "body").text)
        self.seen(browser, "dashboard")

    def test_mlflow_asks_for_the_password(self, stack: Stack, browser: Any) -> None:
        address = stack.addresses()["mlflow"]
        browser.get(f"{address}/#/experiments")
        assert self.seen(browser, "mlflow-refused") == ""
        browser.get(address.replace("://", f"://{':'.join(stack.login)}@"))  # as if typed when the browser asks
        browser.get(f"{address}/#/experiments")
        wait = WebDriverWait(browser, 90)
        wait.until(lambda driver: "rlq-doctor" in driver.find_element(By.TAG_NAME, "body").text)
        self.seen(browser, "mlflow")


@pytest.mark.parametrize(
    ("key", "role"), [("s3", "server"), ("mlflow", "keeper"), ("ray", "server"), ("ray", "keeper")]
)
def test_a_dead_server_is_told_of_and_started_anew(stack: Stack, key: str, role: str) -> None:
    before = stack.states()
    record = running.read_record(stack.folder, key)
    assert record
    os.kill(getattr(record, role).pid, signal.SIGKILL)
    while record.keeper.is_alive:
        os.sched_yield()
    told = stack.rlq("status")
    assert told.returncode == 1
    assert "rlq up" in told.stderr.splitlines()[-1]
    assert f"{before[key]['title']}: dead" in told.stderr.splitlines()[-1]
    if role == "server":  # else what it left may still be about to end
        refused = stack.rlq("sweep", "show", "nothing")
        assert refused.returncode == 1
        assert "does not answer: `rlq up` mends it" in refused.stderr
    mended = stack.rlq("up")
    assert mended.returncode == 0, mended.stderr
    assert f"{before[key]['title']} died" in mended.stderr
    after = stack.states()
    assert {state["state"] for state in after.values()} == {"running"}
    changed = {name for name in SERVERS if after[name]["pid"] != before[name]["pid"]}
    assert changed == {key}


def test_a_server_that_hangs_is_started_anew(stack: Stack) -> None:
    before = stack.states()["s3"]
    os.kill(before["pid"], signal.SIGSTOP)
    assert stack.states()["s3"]["state"] == "not answering"
    mended = stack.rlq("up")
    assert mended.returncode == 0, mended.stderr
    assert "does not answer" in mended.stderr
    assert stack.states()["s3"]["pid"] != before["pid"]


def test_other_ports_are_refused_while_it_runs(stack: Stack) -> None:
    answer = stack.rlq("up", "--mlflow-port", str(free_ports(1)[0]))
    assert answer.returncode == 1
    assert "rlq down" in answer.stderr.splitlines()[-1]


def test_down_ends_all_of_it_and_nothing_else(stack: Stack) -> None:
    processes = members(stack)
    ports = [stack.settings["mlflow"], *stack.settings["s3"], *stack.settings["ray"]]
    temp_dir = Path(stack.settings["ray_temp_dir"])
    assert len(processes) > 10
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        stack.done("down")
        assert stranger.poll() is None
        stranger.kill()
    assert [process for process in processes if process.is_alive] == []
    assert members(stack) == []
    tables = "".join(Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6"))
    taken = {line.split()[1].partition(":")[2] for line in tables.splitlines() if " 0A " in line}
    assert taken
    assert not taken & {f"{port:04X}" for port in ports}
    assert not temp_dir.exists()
    assert (stack.folder / "logs" / "ray").is_dir()
    assert "rlq up" in stack.done("status")
    findings = {finding["name"]: finding["text"] for finding in json.loads(stack.done("doctor", "--json"))}
    assert f"file://{stack.home}" in findings["storage"]
    assert "sqlite" in findings["tracking"]


def test_what_was_stored_is_there_when_it_is_up_again(stack: Stack) -> None:
    secrets = stack.secrets
    stack.done("up")
    assert stack.secrets == secrets
    assert "through" in stack.done("evaluate", "through", "--workers", "1")
