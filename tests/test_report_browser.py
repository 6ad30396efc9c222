"""The report in a real browser: Debian's Chromium, headless, opening the page from disk as a user does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from fake_results import fake_map, fake_result
from lrscope.reporting import report
from system_deps import require_system

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # else a click may miss what is still scrolling
)
ATTACK = "</script><script>window.attacked = 1</script><img src=x onerror='window.attacked = 1'>"
# Strokes as drawn, not as asked for: widths of the curves' lines in the SVG.
STROKES = """return [...document.querySelectorAll('#plot-' + arguments[0] + ' .scatterlayer .trace path.js-line')]
  .map(p => [parseFloat(getComputedStyle(p).strokeWidth), p.style.stroke, parseFloat(p.closest('.trace').style.opacity || 1)])"""

RANGES = "return document.querySelectorAll('#plot-curves .scatterlayer .trace path.js-fill').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = Options()
    options.binary_location = str(require_system("/usr/bin/chromium", "chromium"))
    driver = require_system("/usr/bin/chromedriver", "chromium-driver")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = Chrome(options=options, service=Service(str(driver)))
        chrome.set_page_load_timeout(120)
        chrome.set_script_timeout(60)
        yield chrome
        chrome.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = fake_result(nonfinite_lrs=1)
    return report(result, tmp_path_factory.mktemp("report") / "report.html", regime_map=fake_map(result))


def wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, 60, poll_frequency=0.1).until(condition)


def show(browser: Chrome, page: Path, width: int = 1400) -> None:
    """Open the page in a window of this width, wait until all is drawn, and demand a silent console."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get(page.as_uri())
    wait(browser, lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes")
    assert complaints(browser) == []


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.slow
def test_every_figure_is_drawn_without_a_word_on_the_console_or_the_network(browser, page):
    show(browser, page)
    drawn = browser.execute_script(
        """return Object.fromEntries([...document.querySelectorAll('.plot')].map(p =>
        [p.id.slice(5), [p.querySelectorAll('svg.main-svg').length, p.querySelectorAll('.scatterlayer .trace').length]]))"""
    )
    assert set(drawn) == {"map", "finetune", "average", "features", "curves", "trajectories", "groups"}
    assert all(svgs > 0 and traces >= 3 for svgs, traces in drawn.values()), drawn
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.querySelectorAll('#map .modebar-btn').length") == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 700, 1400])
def test_nothing_sticks_out(browser, page, width):
    show(browser, page, width)
    inner, scroll = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
    assert inner == width
    assert scroll <= inner
    plots = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => [p.clientWidth, p.querySelector('svg.main-svg').clientWidth])"
    )
    assert all(svg == box and box > 0.5 * min(width, 1120) for box, svg in plots), plots
    # Phones scroll through figures with a finger: dragging there must not zoom.
    dragging = browser.execute_script("return document.getElementById('plot-map').layout.dragmode")
    assert dragging == (False if width < 640 else "zoom")


@pytest.mark.slow
def test_a_phone_sees_loss_and_accuracy_of_every_learning_rate(browser, page):
    show(browser, page, 390)
    browser.find_element(By.CSS_SELECTOR, "#table summary").click()
    cut, rows = browser.execute_script(
        """const shown = [...document.querySelectorAll('#table tbody tr, #table thead tr')].map(row =>
          [...row.children].filter(c => getComputedStyle(c).display !== 'none').map(c => {
            const text = document.createRange(); text.selectNodeContents(c);
            const box = text.getBoundingClientRect();
            return [c.textContent.trim(), box.left, box.right, box.top];
          }));
        return [document.querySelector('#table .wide').scrollWidth > document.querySelector('#table .wide').clientWidth, shown]"""
    )
    assert not cut, "the table scrolls sideways"
    assert [words for words, *_ in rows[0]] == [
        "ELR",
        "regime",
        "training loss",
        "test accuracy",
        "after decay to 0.0001",
    ]
    assert len(rows) == 17
    for row in rows:
        cells = [cell for cell in row[:5] if cell[0]]
        assert len(cells) == 5, row
        assert all(left >= 0 and right <= 390 for _, left, right, _ in cells), row
        assert all(before[2] <= after[1] for before, after in pairwise(cells)), f"cells overlap: {row}"


@pytest.mark.slow
def test_the_long_table_is_folded_and_a_link_to_it_unfolds_it(browser, page):
    show(browser, page)
    table = browser.find_element(By.ID, "table")
    assert table.get_attribute("open") is None
    browser.find_element(By.CSS_SELECTOR, "nav a[href='#regimes']").click()
    wait(browser, lambda b: table.get_attribute("open") is not None)
    assert "sharpness" in table.text
    assert complaints(browser) == []


@pytest.mark.slow
def test_marks_at_the_edge_of_a_zoomed_axis_are_drawn(browser, tmp_path):
    result = fake_result(epochs=4, seeds=2, average=False, features=False)
    result["finetune/test_accuracy"][:] = 0.94
    result["finetune/test_accuracy"][-2:] = 0.05
    show(browser, report(result, tmp_path / "page.html", regime_map=fake_map(result)))
    counts = browser.execute_script(
        """const plot = document.getElementById('plot-finetune');
        const asked = plot.data.filter(t => t.name === 'beyond this range').reduce((n, t) => n + t.x.length, 0);
        const drawn = [...plot.querySelectorAll('.scatterlayer .trace')].filter(t => t.__data__[0].trace.name ===
          'beyond this range').reduce((n, t) => n + t.querySelectorAll('.points path').length, 0);
        return [asked, drawn]"""
    )
    assert counts[0] == counts[1] >= 6


@pytest.mark.slow
def test_figures_follow_the_window(browser, page):
    show(browser, page, 1400)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    narrow = "const p = document.getElementById('plot-features'); return p.layout.dragmode === false && p._fullLayout.width < 390"
    wait(browser, lambda b: b.execute_script(narrow))
    assert complaints(browser) == []


@pytest.mark.slow
def test_the_slider_brings_one_learning_rate_forward_everywhere(browser, page):
    show(browser, page)
    before = browser.execute_script(STROKES, "curves")
    assert browser.execute_script(RANGES) == 0
    assert len({width for width, _, _ in before}) == 1
    slider = browser.find_element(By.ID, "curves-slider")
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    third = browser.execute_script("return JSON.parse(document.getElementById('rates').textContent)[2]")
    wait(browser, lambda b: third in b.find_element(By.CSS_SELECTOR, "#curves output").text)
    for name in ("curves", "trajectories"):
        strokes = browser.execute_script(STROKES, name)
        thick = [color for width, color, opacity in strokes if width > 3 and opacity == 1]
        assert len(thick) == 2, "one line in each of the two panels"
        assert len(set(thick)) == 1
        assert all(opacity < 0.3 for width, _, opacity in strokes if 0 < width < 3)
    assert slider.get_attribute("aria-valuetext") == third
    assert browser.execute_script(RANGES) == 2, "the range over runs, once in each panel"

    browser.find_element(By.CSS_SELECTOR, "#trajectories select").send_keys("all")
    wait(browser, lambda b: "All" in b.find_element(By.CSS_SELECTOR, "#curves output").text)
    assert slider.get_attribute("value") == "0"
    assert browser.execute_script(STROKES, "curves") == before
    assert complaints(browser) == []


@pytest.mark.slow
def test_a_legend_entry_hides_its_line(browser, page):
    show(browser, page)
    lines = "return document.querySelectorAll('#plot-finetune .scatterlayer .trace path.js-line').length"
    before = browser.execute_script(lines)
    entry = next(e for e in browser.find_elements(By.CSS_SELECTOR, "#plot-finetune .traces") if e.text == "0.001")
    entry.find_element(By.CSS_SELECTOR, ".legendtoggle").click()
    wait(browser, lambda b: b.execute_script(lines) < before)
    states = browser.execute_script(
        "return document.getElementById('plot-finetune').data.map(t => [t.legendgroup, t.visible])"
    )
    assert {visible for group, visible in states if group == "0.001"} == {"legendonly"}
    assert complaints(browser) == []


@pytest.mark.slow
def test_details_open_and_hold_the_config(browser, page):
    show(browser, page)
    details = browser.find_element(By.ID, "details-config")
    assert details.get_attribute("open") is None
    details.find_element(By.TAG_NAME, "summary").click()
    assert details.get_attribute("open") is not None
    assert "lr.low" in details.text


@pytest.mark.slow
def test_zooming_can_be_undone_with_a_button(browser, page):
    show(browser, page)
    read = "return document.getElementById('plot-curves').layout.yaxis.range"
    before = browser.execute_script(read)
    browser.execute_script("Plotly.relayout('plot-curves', {'yaxis.range': [-1, 0]})")
    assert browser.execute_script(read) == [-1, 0]
    browser.find_element(By.CSS_SELECTOR, "[data-reset=curves]").click()
    wait(browser, lambda b: b.execute_script(read) == before)
    assert complaints(browser) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_figures_can_be_saved(browser, page, kind, tmp_path):
    show(browser, page)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.find_element(By.CSS_SELECTOR, f"[data-save={kind}][data-figure=map]").click()
    saved = tmp_path / f"lrscope-map.{kind}"
    wait(browser, lambda b: saved.exists() and saved.stat().st_size > 5000)
    assert saved.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<svg"}[kind])
    assert complaints(browser) == []


@pytest.mark.slow
def test_printing_opens_details_and_fits_the_paper(browser, page):
    show(browser, page)
    told = "return [document.querySelectorAll('details[open]').length, document.getElementById('plot-map')._fullLayout.width]"
    closed, screen = browser.execute_script(told)
    assert closed == 0
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(told) == [4, 680]
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    wait(browser, lambda b: b.execute_script(told) == [0, screen])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = "return [...document.querySelectorAll('.controls')].every(c => getComputedStyle(c).display === 'none')"
    assert browser.execute_script(hidden)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.slow
def test_hostile_names_run_nothing(browser, tmp_path):
    result = fake_result(lrs=5, epochs=4, title=ATTACK, command=ATTACK, config={ATTACK: ATTACK}, groups=(ATTACK, "b"))
    found = fake_map(result, notes=(ATTACK,))
    labels = tuple(replace(label, flags=(ATTACK,)) for label in found.labels)
    borders = {n: replace(b, reason=ATTACK) for n, b in found.borders.items()}
    hostile = replace(found, labels=labels, borders=borders)
    show(browser, report(result, tmp_path / "hostile.html", regime_map=hostile))
    assert browser.execute_script("return window.attacked") is None
    assert browser.find_element(By.TAG_NAME, "h1").text == ATTACK
    assert "script>" in browser.find_element(By.CSS_SELECTOR, "#plot-groups .legend").text


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"regression": True, "features": False}, {"invariant": False, "space": "whole"}, {"nonfinite_lrs": 16}]
)
def test_other_kinds_of_results_are_drawn_too(browser, tmp_path, more):
    result = fake_result(epochs=6, seeds=2, **more)
    show(browser, report(result, tmp_path / "page.html", regime_map=fake_map(result, known=False)), 390)
    inner, scroll = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
    assert scroll <= inner
    empty = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].filter(p => !p.querySelector('svg')).length"
    )
    assert empty == 0


@pytest.mark.slow
def test_a_figure_that_fails_leaves_the_others_alone(browser, page, tmp_path):
    broken = page.read_text(encoding="utf-8").replace('"figures">{"map":{"data":[', '"figures">{"map":{"data":[null,')
    assert broken != page.read_text(encoding="utf-8")
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    browser.get((tmp_path / "broken.html").as_uri())
    wait(browser, lambda b: b.execute_script("return document.documentElement.dataset.ready") == "yes")
    assert "could not be drawn" in browser.find_element(By.ID, "plot-map").text
    assert browser.find_elements(By.CSS_SELECTOR, "#plot-finetune .scatterlayer .trace")
    browser.get_log("browser")
