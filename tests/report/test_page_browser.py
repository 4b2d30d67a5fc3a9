"""The page in a browser: Chromium, driven by playwright. Neither is installed with bench.

    pip install playwright && apt-get install chromium
    npm install axe-core
    python -m pytest -m slow tests/report/test_page_browser.py

`AXE_CORE` says where axe.min.js lies, if not in node_modules.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from PIL import Image

import bench
from bench.records.pictures import MANIFEST
from bench.records.record import frame_of
from bench.report.page import writing
from tests.report.album import make_album
from tests.report.test_page import record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None,
        reason="THE PAGE IS NOT TESTED IN A BROWSER: playwright is not installed (remedy: pip install playwright)",
    ),
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="THE PAGE IS NOT TESTED IN A BROWSER: there is no chromium (remedy: apt-get install chromium)",
    ),
]

ODD = "<img src=x onerror=alert(1)>.png"
GPU = {"device": "cuda", "environment": '{"gpu": "NVIDIA H200"}'}


def more_records():
    """Of another data set and task, on two devices, with an odd name and a failure."""
    for i, restorer in enumerate(("bm3d", "dncnn", "groupsc", "lidia")):
        for level in (15.0, 25.0, 50.0):
            for n in range(1, 13):
                image, psnr_db = ODD if n == 7 else f"{n:02}.png", 34.0 - level / 10 + i / 5 + n / 9
                made = {"restorer": restorer, "level": level, "dataset": "set12", "seconds": 2.0**i, "peak_mib": 99.0}
                key = f"{restorer}{level}{n}-"
                yield record(image, psnr_db, **made, key=f"{key}1", params=10 ** (i + 3))
                yield record(
                    image, psnr_db, **{**made, **GPU, "seconds": 2.0**-i}, key=f"{key}2", params=10 ** (i + 3)
                )
    bad = {"status": "failed", "psnr_db": None, "ssim": None, "reason": ODD, "key": "bad-"}
    yield record("01.png", **{"task": "deblock", "level": 10.0, "dataset": "classic5", "seconds": None, **bad})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page's file, and the folder of its pictures."""
    at = tmp_path_factory.mktemp("page")
    (at / "photos").mkdir()
    rows, columns = np.mgrid[:90, :120]
    for n in (1, 2):
        wave = 120 + 60 * np.sin(rows / (3 + n)) + 40 * (columns > 50) * (n - 1)
        Image.fromarray(wave.astype(np.uint8)).save(at / "photos" / f"{n}.png")
    folder = make_album(at / "photos", at, (25.0, 50.0))
    frame = frame_of([*bench.read(at / "store.sqlite").to_dict("records"), *more_records()])
    return writing.write(frame, at / "page.html", stores=[Path("store.sqlite")], pictures=folder).path, folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, made):
    """Opens the page. At the end: nothing was asked for but the file, and the console is empty."""
    opened, requests, said = [], [], []

    def open_page(**options):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        page.on("request", lambda request: requests.append(request.url[:200]))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(made[0].as_uri())
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    asked = [url for url in requests if not url.startswith(("data:image/png", "data:,"))]
    assert asked == [made[0].as_uri()] * len(opened)
    assert said == []


@pytest.fixture
def page(open_page):
    return open_page()


def table(page, name="Gaussian denoising"):
    return page.locator("section.table", has=page.locator("h3", has_text=name))


def names(page, **where):
    """The restorers of the rows that are shown, from above."""
    return table(page, **where).locator("tbody tr:visible th").all_inner_texts()


def choose(page, facet, *values):
    page.locator(f"[data-facet={facet}] summary").click()
    for value in values:
        page.locator(f"[data-facet={facet}] label", has_text=value).locator("input").check()
    page.keyboard.press("Escape")


def test_names_from_outside_are_shown_as_text(page):
    notes = table(page, "JPEG deblocking").locator("li", has_text="failed on")
    assert ODD in notes.first.inner_text()
    assert page.locator("img[src=x]").count() == 0


def test_a_heading_sorts_and_sorts_back(page):
    heading = table(page).locator("th", has_text="set12").last
    column = table(page).locator("thead tr").nth(1).locator("th", has_text="σ15").first
    button = column.locator("button")
    button.click()
    assert column.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "lidia"
    button.click()
    assert column.get_attribute("aria-sort") == "ascending"
    assert names(page)[0] == "bm3d"
    assert heading.count() == 1
    by_name = table(page).locator("thead th", has_text="restorer")
    by_name.locator("button").click()
    assert names(page) == sorted(names(page))
    assert column.get_attribute("aria-sort") is None


def test_what_has_no_figure_comes_last_in_both_directions(page):
    button = table(page).locator("thead tr").nth(1).locator("th", has_text="σ15").first.locator("button")
    for _ in range(2):
        button.click()
        assert set(names(page)[-2:]) == {"noisy", "tv"}


def test_the_filter_hides_rows_columns_and_tables(page):
    choose(page, "restorer", "noisy", "tv")
    assert names(page) == ["noisy", "tv"]
    assert page.locator("#count").inner_text() == "2 of 11 rows"
    assert not table(page, "JPEG deblocking").is_visible()
    assert table(page).locator("th[scope=colgroup]:visible").all_inner_texts() == ["photos"]
    choose(page, "level", "σ50")
    assert table(page).locator("thead tr").nth(1).locator("th:visible").all_text_contents() == ["photos σ50"]
    assert table(page).get_by_text("also of those that the filter hides").is_visible()
    page.locator("#clear").click()
    assert page.locator("#count").inner_text() == "11 rows"
    assert table(page, "JPEG deblocking").is_visible()


def test_the_plots_follow_the_filter(page):
    page.locator("#plot-column").select_option("set12 σ25")
    drawn = page.locator("#costs .point")
    assert drawn.count() == 8
    assert page.locator("#costs .front").count() == 2
    choose(page, "device", "cpu")
    assert {point.get_attribute("data-restorer") for point in drawn.all()} == {"bm3d", "dncnn", "groupsc", "lidia"}
    assert drawn.count() == 4
    assert page.locator("#costs .front").count() == 1
    choose(page, "restorer", "dncnn")
    assert drawn.count() == 1
    assert page.locator("#levels .line").count() == 1


def test_the_axes_can_be_chosen(page):
    axis = page.locator("#costs .axis").first
    assert axis.text_content() == "seconds per image"
    page.locator("#plot-cost").select_option("params")
    assert axis.text_content() == "parameters"
    page.locator("#plot-metric").select_option("ssim")
    assert page.locator("#costs .axis").last.text_content() == "SSIM"
    page.locator("#plot-metric").select_option("psnr_db")
    page.locator("#plot-over").select_option("")
    assert page.locator("#levels .axis").last.text_content() == "PSNR, dB"


def test_levels_are_drawn_as_the_gain_over_bm3d_unless_another_is_chosen(page):
    choose(page, "device", "cpu")
    axis, title = page.locator("#levels .axis").last, page.locator("#levels figcaption")
    assert axis.text_content() == "PSNR gain, dB"
    assert title.text_content() == "PSNR gain over bm3d by sigma, set12"
    page.locator("#plot-over").select_option("lidia")
    assert title.text_content() == "PSNR gain over lidia by sigma, set12"
    page.locator("#plot-over").select_option("")
    assert (axis.text_content(), title.text_content()) == ("PSNR, dB", "PSNR by sigma, set12")
    choose(page, "restorer", "dncnn", "groupsc", "lidia")
    page.locator("#plot-over").select_option("lidia")
    assert title.text_content() == "PSNR gain over lidia by sigma, set12"


def test_the_keyboard_opens_what_is_behind_a_figure_and_closes_it(page):
    figure = table(page).locator("tbody tr:has-text('lidia') td.figure button").first
    figure.focus()
    page.keyboard.press("Enter")
    details = page.locator("#details")
    assert details.is_visible()
    told = details.inner_text()
    assert "bench run --methods lidia@published --task denoise --datasets set12 --sigma 15" in told
    assert "5a54" in told
    assert ODD in told
    assert details.locator("tbody tr").count() == 12
    details.locator("th button", has_text="PSNR").press("Enter")
    assert details.locator("tbody tr").first.inner_text().startswith("12.png")
    page.keyboard.press("Escape")
    assert not details.is_visible()
    assert figure.evaluate("element => element === document.activeElement")


def test_a_point_of_a_plot_opens_too(page):
    page.locator("#plot-column").select_option("set12 σ25")
    page.locator("#costs .point").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#details dd", has_text="Gaussian denoising").is_visible()


def luminance(page, expression):
    """Of a colour, after WCAG 2."""
    colour = page.evaluate(f"getComputedStyle(document.body).{expression}")
    channels = [int(word) / 255 for word in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(open_page, scheme):
    page = open_page(color_scheme=scheme)
    ground, ink = luminance(page, "backgroundColor"), luminance(page, "color")
    assert (ground > 0.8) == (scheme == "light")
    assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 7


def test_a_phone_need_not_scroll_sideways(open_page):
    page = open_page(viewport={"width": 375, "height": 700})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 375
    page.locator("[data-facet=restorer] summary").click()
    assert page.evaluate(width) == 375
    page.keyboard.press("Escape")
    table(page).locator("td.figure button").first.click()
    assert page.locator("#details").is_visible()
    assert page.evaluate(width) == 375


def test_what_is_printed_has_tables_and_plots_and_no_controls(page):
    page.emulate_media(media="print")
    assert table(page).is_visible()
    assert page.locator("#costs svg").is_visible()
    for control in ("#filter", "#plot-choices", "#picture-choices", "nav"):
        assert not page.locator(control).is_visible()


# --- pictures ----------------------------------------------------------------------------------------------------


def stages(page):
    page.wait_for_selector(".pane.left img, .pane.left canvas")
    return page.locator(".stage").evaluate_all("all => all.map(one => getComputedStyle(one).transform)")


def test_the_picture_where_the_restorers_differ_most_comes_first(page):
    stages(page)
    offered = page.locator("#picture-scene option").all_inner_texts()
    gaps = [float(text.partition(": ")[2].removesuffix(" dB apart")) for text in offered]
    assert len(gaps) == 4
    assert sorted(text.partition(": ")[0] for text in offered) == [
        *("photos/1.png σ25", "photos/1.png σ50", "photos/2.png σ25", "photos/2.png σ50"),
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert page.locator("#picture-scene").input_value() == page.locator("#picture-scene option").first.get_attribute(
        "value"
    )
    assert re.fullmatch(r"tv: \d+\.\d\d dB, SSIM 0\.\d{4}", page.locator(".pane.left figcaption").inner_text())


def test_all_panes_show_the_same_place_at_zoom_8(page):
    assert len(stages(page)) == 6
    page.locator("#viewer").focus()
    for _ in range(4):
        page.keyboard.press("+")
    assert page.locator("#picture-zoom").inner_text() == "8×"
    zoomed = stages(page)
    assert len(set(zoomed)) == 1
    assert zoomed[0].startswith("matrix(8, 0, 0, 8,")
    page.locator(".pane.clean .glass").scroll_into_view_if_needed()
    box = page.locator(".pane.clean .glass").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 70)
    page.mouse.up()
    moved = stages(page)
    assert len(set(moved)) == 1
    before, after = ([float(word) for word in text[7:-1].split(",")[4:]] for text in (zoomed[0], moved[0]))
    assert np.subtract(after, before) == pytest.approx([-40, -30], abs=1)
    page.keyboard.press("0")
    assert page.locator("#picture-zoom").inner_text() == "fit"
    assert page.locator(".pane.left img").evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"


def left_share(page):
    return page.locator(".pane.both .half").last.evaluate(
        "one => one.getBoundingClientRect().width / one.parentElement.clientWidth"
    )


def test_the_slider_divides_the_pane_of_both(page):
    stages(page)
    assert left_share(page) == pytest.approx(0.5, abs=0.01)
    page.locator("#picture-split").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert left_share(page) == pytest.approx(0.6, abs=0.01)
    divider = page.locator(".divider")
    divider.scroll_into_view_if_needed()
    box, glass = divider.bounding_box(), page.locator(".pane.both .glass").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(glass["x"] + 0.25 * glass["width"], box["y"] + 30)
    page.mouse.up()
    assert left_share(page) == pytest.approx(0.25, abs=0.02)


def test_a_key_flickers_between_the_two(page):
    stages(page)
    caption = page.locator(".pane.both figcaption")
    page.locator("#viewer").focus()
    page.keyboard.press("f")
    assert (caption.inner_text(), round(left_share(page), 2)) == ("noisy", 0)
    page.keyboard.press("f")
    assert (caption.inner_text(), round(left_share(page), 2)) == ("tv", 1)


def test_an_error_map_has_a_stated_scale_and_shows_the_error(page, made):
    stages(page)
    name = page.locator("#picture-scene option:checked").inner_text()
    page.locator("#picture-errors").select_option("32")
    page.wait_for_selector(".pane.right canvas")
    assert "to white (32 of 255, or more)" in page.locator("#picture-scale").inner_text()
    shown = np.array(
        page.locator(".pane.right canvas").evaluate(
            "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
        )
    ).reshape(90, 120, 4)
    image, level = name.split("/")[1].partition(".png")[0], name.split("σ")[1].partition(":")[0]
    folder = made[1] / "photos" / image / f"denoise-{level}"
    clean, noisy = (np.asarray(Image.open(folder / f"{one}.png"), float) for one in ("clean", "noisy"))
    error = np.abs(noisy - clean)
    assert (shown[error >= 32][:, :3] == (252, 255, 164)).all()
    assert (shown[error == 0][:, :3] == (0, 0, 4)).all()
    quarter = shown[error == 8][:, :3]
    assert len(quarter)
    assert (quarter == (87, 16, 110)).all()


@pytest.mark.skipif(
    not AXE.is_file(), reason="axe-core is not there (remedy: npm install axe-core, AXE_CORE=its file)"
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, scheme):
    page = open_page(color_scheme=scheme)
    stages(page)
    for details in page.locator("details.notes, details.paper").all():
        details.evaluate("one => (one.open = true)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    table(page).locator("td.figure button").first.click()
    found += page.evaluate("axe.run('#details')")["violations"]
    serious = [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


# --- how quick a large page is ----------------------------------------------------------------------------------

LEVELS, SETS, IMAGES, RESTORERS, SCENES = (15.0, 25.0, 50.0), 7, 12, 20, 60


def many_records():
    """5,040 of them: of seven data sets, whose pictures are one's own."""
    rng = np.random.default_rng(0)
    for r in range(RESTORERS):
        for level in LEVELS:
            for image in range(IMAGES * SETS):
                psnr_db = 34 - level / 10 + r / 20 + image / 50 + rng.normal(0, 0.2)
                words = {"restorer": f"restorer{r:02}", "dataset": f"mine{image // IMAGES}", "level": level}
                words |= {"seconds": 1.5**r, "params": 2**r, "key": f"{r}-{level}-{image}"}
                yield record(f"{image:02}.png", psnr_db, **words)


def many_pictures(folder, records):
    """60 scenes of 256x256 pixels: clean, degraded, and what the two last restorers made of it."""
    rng, lines = np.random.default_rng(0), []
    of = {(one["restorer"], one["image"]): one for one in records if one["level"] == 25}
    for image in range(SCENES):
        clean = rng.normal(128, 20, (256, 256)).cumsum(1) % 256
        last = [of[f"restorer{r:02}", f"{image:02}.png"] for r in (RESTORERS - 2, RESTORERS - 1)]
        seen = {"clean": last[0], "degraded": last[0], **{one["restorer"]: one for one in last}}
        for n, (label, one) in enumerate(seen.items()):
            file = f"{image}-{label}.png"
            noisy = (clean + rng.normal(0, 5 * n, clean.shape)).clip(0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / file, compress_level=1)
            words = {
                name: one[name] for name in ("dataset", "folder", "image", "task", "level", "protocol", "repeat")
            }
            is_restored = label.startswith("restorer")
            words |= {"kind": "restored" if is_restored else label}
            words |= {"label": label, "key": one["key"]} if is_restored else {"label": "", "key": ""}
            lines.append(json.dumps({"file": file, **words}))
    (folder / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")


SORTED = """() => {
  const begun = performance.now();
  document.querySelector("thead .sort").click();
  document.body.getBoundingClientRect();
  return performance.now() - begun;
}"""


def test_a_page_of_5000_records_and_60_pictures_is_quick(browser, tmp_path):
    """On an idle machine it is made in less than 10 s, opens in less than 2 and sorts in less than 0.1: `-s` tells.

    What is asserted is ten times as much: the machine may do other work.
    """
    records = [*many_records()]
    many_pictures(tmp_path, records)
    frame = frame_of(records)
    begun = perf_counter()
    written = writing.write(
        frame, tmp_path / "page.html", stores=[Path("store.sqlite")], pictures=tmp_path, max_mb=100
    )
    made = perf_counter() - begun
    assert (written.n_records, written.n_pictures, written.left_out) == (5040, SCENES, [])
    page = browser.new_page()
    page.goto(written.path.as_uri())
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    assert page.locator(".table tbody tr").count() == RESTORERS
    sorted_ = min(page.evaluate(SORTED) for _ in range(3)) / 1000
    page.close()
    print(f"{written}: made in {made:.2f} s, opened in {opened:.2f} s, sorted in {sorted_:.3f} s")
    assert made < 100
    assert opened < 20
    assert sorted_ < 1
