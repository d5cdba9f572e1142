"""The report, opened in a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

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
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from perigee.claims.outcomes import headline
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


@pytest.fixture
def index(browser: webdriver.Chrome, report: Path) -> webdriver.Chrome:
    """The page of figures by itself."""
    browser.get((report.parent / "index.html").as_uri())
    return browser


KEYS = [f"periodic_{figure}" for figure in FIGURES]


def cards(browser: webdriver.Chrome) -> dict[str, WebElement]:
    """The part of the page of figures on each figure."""
    found = browser.find_elements(By.TAG_NAME, "article")
    return {card.get_attribute("id") or "": card for card in found}


def test_the_page_of_figures_shows_every_picture_and_verdict(
    index: webdriver.Chrome, report: Path
) -> None:
    claims = pd.read_csv(report.parent / "claims.csv")
    found = cards(index)
    assert list(found) == KEYS
    for key, card in found.items():
        width = card.find_element(By.TAG_NAME, "img").get_property("naturalWidth")
        assert int(width) > 400  # type: ignore[arg-type]
        ours = claims[claims["paper"] + "_" + claims["figure"] == key]
        empirical = ours[ours["kind"] != "identity"]
        assert (f"{len(empirical)} claims: " in card.text) == bool(len(empirical))
        for verdict, count in empirical["verdict"].value_counts().items():
            assert f"{count} {verdict}" in card.text
        for claim in ours["claim"]:
            assert claim in card.text
    assert headline(claims.to_dict("records")) in index.find_element(By.CLASS_NAME, "summary").text


def test_its_links_lead_to_files_and_places_that_are_there(
    index: webdriver.Chrome, report: Path
) -> None:
    links = [link.get_attribute("href") or "" for link in index.find_elements(By.TAG_NAME, "a")]
    assert len(links) >= 5 * len(KEYS)
    for link in links:
        path, place = unquote(urlparse(link).path), urlparse(link).fragment
        assert Path(path).is_file()
        assert Path(path).is_relative_to(report.parent)
        assert not place or f'id="{place}"' in Path(path).read_text()


def test_it_fits_a_narrow_screen(index: webdriver.Chrome) -> None:
    size = index.get_window_size()
    index.set_window_size(500, 900)
    try:
        wider = index.execute_script(  # type: ignore[no-untyped-call]
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        assert not wider
    finally:
        index.set_window_size(size["width"], size["height"])


def test_the_report_opens_on_the_figures(opened: webdriver.Chrome) -> None:
    shown = page_text(opened)
    assert "figures at smoke scale" in shown
    assert list(cards(opened)) == KEYS
    link = cards(opened)[KEYS[0]].find_element(By.LINK_TEXT, "PDF").get_attribute("href") or ""
    assert Path(unquote(urlparse(link).path)).is_file()


def test_the_report_is_one_small_file(report: Path) -> None:
    assert report.stat().st_size < 20 * MEGABYTE


@pytest.mark.parametrize("key", KEYS)
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
    assert "Differing from the paper: nothing." in text(opened)


def test_every_claim_is_in_it_with_its_verdict(opened: webdriver.Chrome, report: Path) -> None:
    show(opened, "Figures and verdicts", "claims")
    shown = page_text(opened)
    claims = pd.read_csv(report.parent / "claims.csv")
    assert len(claims) > 20
    for row in claims.itertuples():
        assert row.claim in shown
        assert row.source in shown
    # In the headline of the claims and in that of the identities, too.
    assert shown.count("not testable at this scale") == 2 + sum(
        claims["verdict"] == "not testable at this scale"
    )


def test_provenance_names_every_product(opened: webdriver.Chrome, report: Path) -> None:
    show(opened, "Figures and verdicts", "provenance")
    shown = page_text(opened)
    store = report.parents[1] / "store"
    for folder in store.glob("*/*-*"):
        assert folder.name in shown
    assert "Scale: smoke" in shown
    assert "Differing from the paper: nothing." in shown


def test_a_title_renews_the_pages_alone(workspace: Workspace) -> None:
    def rename(study: dict[str, Any]) -> None:
        study["figures"]["fig3"]["title"] = "Another title"

    workspace.edit_paper(rename)
    assert workspace.jobs("everything") == {"write_pages"}
    workspace.make("everything")
    assert "periodic_fig3: Another title" in (
        workspace.root / "results/smoke/index.html"
    ).read_text(encoding="utf-8")
    assert workspace.jobs("everything") == set()
