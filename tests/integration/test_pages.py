"""Pages of sweeps and runs in a real browser that cannot reach any network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from pipelines.run_report.page import run_page
from pipelines.sweep.page import sweep_page

SWEEP_CHARTS = ["forest", "pareto", "parallel", "importance", "curves", "conflict"]
RUN_CHARTS = ["scores", "losses-cap", "losses-tad", "conflict", "severities", "diagnostics", "course"]

Open = Callable[[str], Chrome]


@pytest.fixture
def opened(browser: Chrome, tmp_path: Path) -> Open:
    """Write a page, and open it from disk."""

    def write_and_open(text: str) -> Chrome:
        page = tmp_path / "page.html"
        page.write_text(text, encoding="utf-8")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(page.as_uri())
        return browser

    return write_and_open


def drawn(browser: Chrome) -> list[str]:
    """Name the charts with data in them."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.js-plotly-plot')]"
        ".filter(chart => chart.querySelector('svg .trace')).map(chart => chart.id)"
    )


def wait_for_charts(browser: Chrome, charts: Sequence[str] = SWEEP_CHARTS) -> None:
    WebDriverWait(browser, 30).until(lambda driver: drawn(driver) == charts)


def column(browser: Chrome, place: int) -> list[str]:
    rows = browser.find_elements(By.CSS_SELECTOR, ".ranking tbody tr")
    return [row.find_elements(By.TAG_NAME, "td")[place].text for row in rows]


def requests(browser: Chrome) -> list[str]:
    """Give what the page has asked for; the browser's own pages are left out."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent if params["documentURL"] == browser.current_url]


@pytest.mark.parametrize(
    ("kind", "write", "charts"), [("sweep", sweep_page, SWEEP_CHARTS), ("run", run_page, RUN_CHARTS)]
)
def test_all_charts_draw_without_a_word_on_the_console_or_to_the_network(
    opened: Open, request: pytest.FixtureRequest, kind: str, write: Callable[[Any], str], charts: list[str]
) -> None:
    browser = opened(write(request.getfixturevalue(f"{kind}_report")))
    wait_for_charts(browser, charts)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = requests(browser)
    assert browser.current_url in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_click_on_a_header_sorts_and_another_turns_the_order(opened: Open, sweep_report) -> None:
    browser = opened(sweep_page(sweep_report))
    header = browser.find_elements(By.CSS_SELECTOR, ".ranking th")[8]
    assert header.text.replace("\u200b", "") == "optimizer.learning_rate"
    header.find_element(By.TAG_NAME, "button").click()
    rates = ["0.0004", "0.001", "0.002", "0.003", "0.004", "0.005", "0.02", "0.1"]
    assert column(browser, 8) == rates
    assert header.get_attribute("aria-sort") == "ascending"
    header.find_element(By.TAG_NAME, "button").click()
    assert column(browser, 8) == rates[::-1]
    assert header.get_attribute("aria-sort") == "descending"


def test_what_is_missing_sorts_last_both_ways(opened: Open, sweep_report) -> None:
    browser = opened(sweep_page(sweep_report))
    momentum = browser.find_elements(By.CSS_SELECTOR, ".ranking th button")[10]
    for known in (["0.8", "0.9", "0.9", "0.95"], ["0.95", "0.9", "0.9", "0.8"]):
        momentum.click()
        assert column(browser, 10) == known + 4 * ["–"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_follow_the_scheme(opened: Open, sweep_report, scheme: str) -> None:
    browser = opened(sweep_page(sweep_report))
    wait_for_charts(browser)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    ink = "return [getComputedStyle(document.body).color, getComputedStyle(document.querySelector('.xtick text')).fill]"
    WebDriverWait(browser, 30).until(lambda driver: len(set(driver.execute_script(ink))) == 1)


def test_a_narrow_window_scrolls_boxes_and_not_the_page(opened: Open, sweep_report) -> None:
    browser = opened(sweep_page(sweep_report))
    metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wait_for_charts(browser)
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth")
    assert browser.execute_script("return document.querySelector('.ranking').offsetWidth") > 400
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_runs_panels_scroll_in_a_narrow_window_and_keep_apart(opened: Open, run_report) -> None:
    browser = opened(run_page(run_report))
    metrics = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wait_for_charts(browser, RUN_CHARTS)
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth <= {page}.clientWidth")
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('#losses-cap .annotation-text')].map(one => one.getBoundingClientRect())"
        ".map(box => [box.left, box.right])"
    )
    assert len(boxes) == 3
    assert all(left[1] < right[0] for left, right in itertools.pairwise(sorted(boxes)))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_values_of_users_are_drawn_as_texts(opened: Open, sweep_report) -> None:
    hostile = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"
    sweep_report["trials"][1]["values"]["optimizer.name"] = hostile
    sweep_report["keys"].append(hostile)
    sweep_report["importance"] = {hostile: 1.0}
    sweep_report["objectives"][0]["label"] = hostile
    browser = opened(sweep_page(sweep_report))
    wait_for_charts(browser)
    assert browser.execute_script("return window.taken") is None
    (label,) = browser.find_elements(By.CSS_SELECTOR, "#importance .ytick text")
    assert label.text == hostile


def test_a_sweep_that_has_only_begun_opens_without_complaint(opened: Open) -> None:
    browser = opened(sweep_page({"name": "new", "trials": [{"number": 0, "state": "running"}]}))
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert "No trial has finished yet." in browser.find_element(By.TAG_NAME, "main").text
