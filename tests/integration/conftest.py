"""Helpers of the tests that use real services."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlq_ray.tracking import default_uri

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # where nobody listens: what is asked of anything but this machine fails
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A real browser that knows no password and reaches no network."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("there is no chromium with chromedriver: `apt-get install chromium chromium-driver` brings both")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(executable_path=driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def sqlite_uri(service_folder: Path) -> str:
    """One SQLite store for all tests: making its tables takes seconds."""
    return default_uri(service_folder / "sqlite")


@pytest.fixture(params=["mlflow_server", "sqlite_uri"])
def tracking_uri(request: pytest.FixtureRequest) -> str:
    """A tracking store: a real server, then a SQLite file."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, str) else found.uri


@pytest.fixture
def train_workers(service_folder: Path) -> Callable[[], list[int]]:
    """Find the pids of the Ray Train workers that belong to this test session's cluster."""

    def find() -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    title = (folder / "cmdline").read_bytes()
                    files = {str(link.readlink()) for link in (folder / "fd").iterdir()}
                except OSError:
                    continue
                if title.startswith(b"ray::RayTrainWorker") and any(str(service_folder) in file for file in files):
                    found.append(int(folder.name))
        return found

    return find
