"""The report, opened in a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from support.workspace import FIGURES, Workspace

PAPER = "Lobacheva et al., NeurIPS 2021"
SECONDS = 60
NOT_YET = (
    NoSuchElementException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def report(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in a copy, so that no other test sees it."""
    workspace = finished.copy(tmp_path_factory.mktemp("report") / "workspace")
    printed = workspace.make("report")
    assert "The report is results/smoke/report.html." in printed
    return workspace.root / "results/smoke/report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium with the driver of the same installation."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        if os.environ.get("CI"):
            pytest.fail("chromium and chromedriver are not installed; .ci/run installs them")
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # No sandbox: tests may run as root; no /dev/shm: it is small in containers.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def opened(browser: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    browser.get(report.as_uri())
    return browser


def clicked(browser: webdriver.Chrome, path: str) -> bool:
    """Return whether a click succeeded, which it does not while an animation moves the element."""
    try:
        browser.find_element(By.XPATH, path).click()
    except NOT_YET:
        return False
    return True


def show(browser: webdriver.Chrome, category: str, entry: str, icon: str = "eye") -> None:
    """Open the entry; the category again as long as it is there, since a click may be lost."""
    wanted = f"//tr[td[text()='{entry}']]//a[@iconname='{icon}']"

    def opened(browser: webdriver.Chrome) -> bool:
        if clicked(browser, wanted):
            return True
        clicked(browser, f"//*[text()='{category}']")
        return False

    WebDriverWait(browser, SECONDS).until(opened, f"no {entry} under {category}")


def page_text(browser: webdriver.Chrome) -> str:
    frame = WebDriverWait(browser, SECONDS).until(lambda b: b.find_element(By.TAG_NAME, "iframe"))
    browser.switch_to.frame(frame)
    return WebDriverWait(browser, SECONDS).until(
        lambda b: b.find_element(By.TAG_NAME, "body").text.strip()
    )


def test_the_report_is_one_small_file(report: Path) -> None:
    assert report.stat().st_size < 20 * MEGABYTE


@pytest.mark.parametrize("key", [f"periodic_{figure}" for figure in FIGURES])
def test_every_figure_is_shown_under_its_paper(opened: webdriver.Chrome, key: str) -> None:
    show(opened, PAPER, key)
    found = f"//img[contains(@src, 'filename={key}.png')]"
    image = WebDriverWait(opened, SECONDS).until(lambda b: b.find_element(By.XPATH, found))
    width = WebDriverWait(opened, SECONDS).until(lambda b: image.get_property("naturalWidth"))
    assert int(width) > 400


def test_a_caption_tells_scale_and_deviations(opened: webdriver.Chrome) -> None:
    show(opened, PAPER, "periodic_fig3", icon="information-circle")

    def text(browser: webdriver.Chrome) -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    WebDriverWait(opened, SECONDS).until(lambda b: "Scale: smoke" in text(b))
    assert "Training a scale-invariant ConvNet" in text(opened)
    assert "width 4 (paper: 32)" in text(opened)


def test_every_claim_is_in_it_with_its_verdict(opened: webdriver.Chrome, report: Path) -> None:
    show(opened, "What came out", "claims")
    shown = page_text(opened)
    claims = pd.read_csv(report.parent / "claims.csv")
    assert len(claims) > 20
    for row in claims.itertuples():
        assert row.claim in shown
        assert row.source in shown
    assert shown.count("not testable at this scale") == 1 + sum(
        claims["verdict"] == "not testable at this scale"
    )


def test_provenance_names_every_product(opened: webdriver.Chrome, report: Path) -> None:
    show(opened, "What came out", "provenance")
    shown = page_text(opened)
    store = report.parents[1] / "store"
    for folder in store.glob("*/*-*"):
        assert folder.name in shown
    assert "Scale: smoke" in shown
    assert "dataset digits (paper: cifar10)" in shown
