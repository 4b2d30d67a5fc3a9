"""The page without a browser: what it shows, that it asks for nothing, and that names from outside stay text."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import bench
from bench.cli.commands import app
from bench.errors import RequestError
from bench.judge import papers
from bench.records.record import Record, frame_of
from bench.records.store import Store
from bench.report.drawing import plain
from bench.report.layout import Layout
from bench.report.page import contents as contents_of_pages
from bench.report.page import writing
from bench.report.page.commands import command_for
from bench.report.page.contents import make_contents
from bench.report.page.document import PROGRAM
from bench.report.table import make_tables

PAPERS = papers.names


@pytest.fixture(autouse=True)
def _no_papers(monkeypatch):
    """To read their tables takes longer than all else here."""
    monkeypatch.setattr(papers, "names", list)


IMAGES = [f"{i:02}.png" for i in range(1, 9)]


def record(image, psnr_db=30.0, **figures):
    return {
        "restorer": "dncnn",
        "plugin": "bench.methods.dncnn:DnCNN",
        "weights": "published:sigma_25.mat",
        "weights_file": "",
        "folder": "",
        "level_name": "",
        "task_plugin": "",
        "task": "denoise",
        "level": 25.0,
        "channels": 1,
        "dataset": "photos",
        "image": image,
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "reason": "",
        "psnr_db": psnr_db,
        "ssim": 0.8,
        "seconds": 0.5,
        "params": 555137,
        "threads": 2,
        "device": "cpu",
        "environment": '{"cpu": "Zen", "cores": "2", "torch": "2.6"}',
        "weights_sha256": "5a54",
        "key": f"{image}-1",
        **figures,
    }


def two_restorers():
    """Told apart on eight pictures, at two levels; one picture of one of them failed at the second."""
    for level in (25.0, 50.0):
        for i, image in enumerate(IMAGES):
            yield record(image, 30.0 + i / 7, level=level, key=f"d{level}{image}-1")
            bad = {"status": "failed", "reason": "ran out of luck", "psnr_db": None, "ssim": None}
            tv = record(image, 28.0 + i / 9, restorer="tv", weights="", level=level, key=f"t{level}{image}-1")
            yield {**tv, **bad} if level == 50 and i == 3 else tv


class Parsed(HTMLParser):
    """A document's start tags with their attributes, and the text of each element of a name."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], ("", {})
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

        self.inside = tag, dict(attributes)

    def handle_endtag(self, tag):
        self.inside = "", {}

    def handle_data(self, data):
        self.texts.append((self.inside, data))

    def text_of(self, tag, **attributes):
        return "".join(text for (name, has), text in self.texts if name == tag and has == attributes)


def written(*records, at, **options):
    file = at / "page.html"
    options = {"stores": [Path("s.sqlite")], **options}
    told = writing.write(frame_of(records), file, **options)
    return Parsed(file.read_text(encoding="utf-8")), told


def data(page):
    return json.loads(page.text_of("script", type="application/json", id="data"))


# --- what it shows ---------------------------------------------------------------------------------------------


def test_figures_and_notes_are_those_of_the_table():
    records = frame_of(two_restorers())
    contents, _ = make_contents(records)
    [table] = contents["tables"]
    [expected] = make_tables(records, Layout(significance=True))
    assert [[cell["text"] for cell in row["cells"]] for row in table["rows"]] == [
        [plain(cell) for cell in row] for row in expected.rows
    ]
    assert [column["name"] for column in table["columns"]] == expected.headers
    assert table["footnotes"] == [*expected.notes, *expected.footnotes]
    texts = " ".join(row["cells"][1]["text"] + row["cells"][2]["text"] for row in table["rows"])
    assert "(7 of 8)" in texts
    assert " a" in texts


def test_behind_each_figure_are_the_records_that_it_is_the_mean_of():
    contents, _ = make_contents(frame_of(two_restorers()))
    [table], held = contents["tables"], contents["records"]
    for row in table["rows"]:
        for cell, level in zip(row["cells"][1:3], ("σ25", "σ50"), strict=True):
            these = range(cell["first"], cell["first"] + cell["n"])
            known = [held["psnr_db"][i] for i in these if held["psnr_db"][i] is not None]
            assert f"{np.mean(known):.2f}" == cell["text"].split()[0]
            assert {held["level_label"]["texts"][held["level_label"]["places"][i]] for i in these} == {level}
            assert [held["image"]["texts"][held["image"]["places"][i]] for i in these] == IMAGES


def test_a_figure_of_some_images_is_not_whole_and_so_never_ranks():
    contents, _ = make_contents(frame_of(two_restorers()))
    assert [[cell["whole"] for cell in row["cells"][1:3]] for row in contents["tables"][0]["rows"]] == [
        [True, True],
        [True, False],
    ]


def test_infinite_and_missing_figures_are_written_as_json_has_them(tmp_path):
    page, _ = written(record("1.png", np.inf, ssim=np.nan, seconds=None), at=tmp_path)
    held = data(page)["records"]
    assert held["psnr_db"] == ["inf"]
    assert "ssim" not in held
    assert "seconds" not in held


def test_machine_and_versions_are_read_out_of_the_environment_or_shown_as_they_are():
    contents, _ = make_contents(frame_of([record("1.png"), record("2.png", environment="<odd>", key="2-")]))
    assert contents["records"]["machine"]["texts"] == ["2 cores of Zen", "<odd>"]
    assert contents["records"]["versions"]["texts"] == ["torch 2.6", ""]


def test_pictures_that_weights_have_seen_are_told():
    contents, _ = make_contents(frame_of([record("04.png", dataset="set12")]))
    assert any(
        note.startswith("dncnn's weights were trained on bsd400; on set12: 04.png")
        for note in contents["tables"][0]["footnotes"]
    )


def test_measured_stands_beside_printed(monkeypatch):
    monkeypatch.setattr(papers, "names", PAPERS)
    contents, _ = make_contents(frame_of(record(f"{i:02}.png", 30.44, dataset="set12") for i in range(1, 13)))
    [paper] = [paper for paper in contents["papers"] if paper["name"] == "dncnn-2017"]
    place = paper["headers"].index
    row = next(row for row in paper["rows"] if row[place("setting")] == "denoise 25 gray set12")
    assert (row[place("measured")], row[place("published")]) == ("30.440", "30.436")
    assert row[place("verdict")] == "reproduced"
    assert len(paper["facets"]) == len(paper["rows"])


def test_a_page_can_be_made_of_an_export(tmp_path):
    from bench.records.record import Record
    from bench.records.store import Store

    with Store(tmp_path / "s.sqlite") as store:
        for one in two_restorers():
            store.add(Record(**one))
    bench.export(tmp_path / "s.sqlite", "csv", tmp_path / "s.csv")
    pages = []
    for name in ("s.sqlite", "s.csv"):
        told = bench.page(tmp_path / name, tmp_path / "page.html", title="mine")
        pages.append(data(Parsed(told.path.read_text(encoding="utf-8"))))
        assert str(told).endswith("MB, 32 records")
    assert pages[0]["tables"] == pages[1]["tables"]
    assert pages[0]["records"] == pages[1]["records"]


# --- the command that measures it again ----------------------------------------------------------------------------

COMMANDS = [
    ({}, "dncnn@published --task denoise --datasets photos --sigma 25 --protocol standard-v1 --threads 2"),
    (
        {"restorer": "tv:fast+", "weights": "", "repeat": 2, "threads": None},
        "tv:fast+ --task denoise --datasets photos --sigma 25 --protocol standard-v1 --repeats 3",
    ),
    (
        {
            "restorer": "net:big",
            "plugin": "/my plugins/net.py:Net",
            "weights": "file:w.pt",
            "weights_file": "/x/w.pt",
        },
        "'/my plugins/net.py:Net:big@/x/w.pt' --task denoise --datasets photos --sigma 25 --protocol standard-v1"
        " --threads 2",
    ),
    (
        {"task": "demosaick", "level": "RGGB", "folder": "/a b/photos", "device": "cuda", "weights": "ours:x"},
        "dncnn@ours --task demosaick --datasets '/a b/photos' --pattern RGGB --protocol standard-v1 --device cuda"
        " --threads 2",
    ),
]


@pytest.mark.parametrize(("figures", "words"), COMMANDS, ids=range(len(COMMANDS)))
def test_a_figure_tells_the_command_that_measures_it_again(figures, words):
    command = command_for(frame_of([record("1.png", **figures)]))
    assert command == f"bench run --methods {words} --store again.sqlite"
    _, name, *options = shlex.split(command)
    get_command(app).commands[name].make_context(name, options)


# --- it asks for nothing ------------------------------------------------------------------------------------------

ODD = "</script><img src=x onerror=alert(1)><!--<script>"


def test_names_from_outside_stay_text(tmp_path):
    odd = {
        "restorer": f"net{ODD}",
        "dataset": ODD,
        "reason": ODD,
        "environment": ODD,
        "revision": ODD,
        "weights": f"file:{ODD}",
        "weights_file": f"/{ODD}",
        "key": ODD,
    }
    plain, _ = written(record("1.png"), at=tmp_path, title="mine")
    page, _ = written(record(f"{ODD}\udcff.png", **odd), at=tmp_path, title=f"</title></h1>{ODD}")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [tag for tag in page.tags if tag[0] != "meta"] == [tag for tag in plain.tags if tag[0] != "meta"]
    held = data(page)["records"]
    assert held["image"]["texts"] == [f"{ODD}?.png"]
    assert held["reason"]["texts"] == [ODD]
    assert page.text_of("h1").strip() == f"</title></h1>{ODD}"


def test_text_becomes_elements_nowhere():
    files = {file.name: file.read_text("utf-8") for file in (Path(writing.__file__).parent / "assets").glob("*.js")}
    assert {*files} == {*PROGRAM}
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert not [name for name, text in files.items() if way in text]


def test_the_browser_is_told_to_ask_for_nothing_and_to_run_this_program_alone(tmp_path):
    page, _ = written(record("1.png"), at=tmp_path)
    [policy] = [has["content"] for tag, has in page.tags if has.get("http-equiv") == "Content-Security-Policy"]
    told = dict(directive.split(" ", 1) for directive in policy.split("; "))
    digests = {
        name: base64.b64encode(hashlib.sha256(page.text_of(name).encode()).digest()).decode()
        for name in ("script", "style")
    }
    assert told == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digests['script']}'",
        "style-src": f"'sha256-{digests['style']}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_in_it_points_outside(tmp_path):
    page, told = written(record("1.png"), at=tmp_path)
    for _, has in page.tags:
        assert has.get("src") is None
        assert has.get("href", "#").startswith(("#", "data:"))
    addresses = set(re.findall(r"https?://[^\s\"')]+", told.path.read_text(encoding="utf-8")))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name of elements; nobody asks for it


# --- pictures ----------------------------------------------------------------------------------------------------


def album(folder, *scenes):
    """A folder of pictures: (data set, image, {label: (key, pixels)}) each."""
    entries = []
    for dataset, image, restored in scenes:
        for label, (key, pixels) in {"clean": ("", 9), "degraded": ("", 5), **restored}.items():
            kind = label if label in ("clean", "degraded") else "restored"
            file = f"{dataset}/{Path(image).stem}/{label}.png"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(pixels).integers(0, 255, (9, 9), np.uint8)).save(folder / file)
            shared = {"task": "denoise", "level": 25.0, "protocol": "standard-v1", "repeat": 0, "folder": ""}
            name = label if kind == "restored" else ""
            entries.append(
                {"file": file, "kind": kind, "dataset": dataset, "image": image, "label": name, "key": key, **shared}
            )
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder


def rivals(image, difference, **figures):
    tv = {**figures, "restorer": "tv", "weights": "", "key": f"tv{image}-1"}
    return [record(image, 30.0, **figures), record(image, 30.0 - difference, **tv)]


def scene(image, dataset="photos"):
    return dataset, image, {"dncnn": (f"{image}-1", 1), "tv": (f"tv{image}-1", int(image[0]) + 10)}


def embedded(page):
    return [has["id"] for tag, has in page.tags if has.get("type") == "text/plain"]


def test_pictures_are_embedded_once_each_the_most_different_first(tmp_path):
    folder = album(tmp_path / "p", scene("1.png"), scene("2.png"))
    page, told = written(*rivals("1.png", 0.5), *rivals("2.png", 2.0), at=tmp_path, pictures=folder)
    scenes = data(page)["scenes"]
    held = data(page)["records"]["image"]
    assert [held["texts"][held["places"][one["restored"][0]["record"]]] for one in scenes] == ["2.png", "1.png"]
    assert scenes[0]["clean"] == scenes[1]["clean"]
    assert len(embedded(page)) == 5  # clean, degraded and dncnn's are of the same pixels in both
    first = page.text_of("script", type="text/plain", id="file-0").strip()
    assert base64.b64decode(first) == (folder / "photos/2/clean.png").read_bytes()
    assert (told.n_pictures, told.left_out) == (2, [])


def test_what_does_not_fit_is_left_out_and_named(tmp_path):
    records = [*rivals("1.png", 0.5), *rivals("2.png", 2.0)]
    folder = album(tmp_path / "p", scene("1.png"), scene("2.png"))
    _, without = written(*records, at=tmp_path)
    one = 4 * sum(file.stat().st_size for file in (folder / "photos/2").iterdir()) / 3
    budget = without.n_bytes + one + 2000
    page, told = written(*records, at=tmp_path, pictures=folder, max_mb=budget / 1e6)
    assert without.n_bytes + one < told.n_bytes <= budget
    assert told.n_pictures == 1
    assert told.left_out == data(page)["left_out"]
    assert told.left_out == [
        "left out: 1 picture beyond --max-mb (photos/1.png at 25): restorers differ less on them"
    ]


def test_pictures_that_may_not_be_passed_on_are_embedded_on_own_responsibility_alone(tmp_path):
    folder = album(tmp_path / "p", scene("1.png", "set12"))
    records = rivals("1.png", 1.0, dataset="set12")
    page, told = written(*records, at=tmp_path, pictures=folder)
    assert embedded(page) == []
    assert told.left_out == [
        "left out: 1 picture of set12, whose terms do not say that they may be passed on (--own-responsibility embeds"
        " them)"
    ]
    page, told = written(*records, at=tmp_path, pictures=folder, own_responsibility=True)
    assert len(embedded(page)) == 4
    assert data(page)["scenes"][0]["terms"].startswith("Unknown")


def test_pictures_of_records_that_are_not_shown_are_left_out(tmp_path):
    folder = album(tmp_path / "p", scene("1.png"), scene("2.png"))
    page, told = written(*rivals("1.png", 1.0), at=tmp_path, pictures=folder)
    assert len(data(page)["scenes"]) == 1
    assert told.left_out == ["left out: 2 restored pictures of no record that the page shows"]


def test_files_that_are_missing_or_no_png_are_named(tmp_path):
    with pytest.raises(RequestError, match=r"manifest.jsonl cannot be read: No such file"):
        written(record("1.png"), at=tmp_path, pictures=tmp_path / "p")
    folder = album(tmp_path / "p", scene("1.png"))
    (folder / "photos/1/tv.png").write_bytes(b"%!PS-Adobe")
    with pytest.raises(RequestError, match=r"photos/1/tv.png is not a PNG file"):
        written(*rivals("1.png", 1.0), at=tmp_path, pictures=folder)
    (folder / "photos/1/tv.png").unlink()
    os.mkfifo(folder / "photos/1/tv.png")
    with pytest.raises(RequestError, match=r"photos/1/tv.png is not a file"):
        written(*rivals("1.png", 1.0), at=tmp_path, pictures=folder)
    (folder / "photos/1/tv.png").unlink()
    with pytest.raises(RequestError, match=r"photos/1/tv.png: No such file"):
        written(*rivals("1.png", 1.0), at=tmp_path, pictures=folder)


# --- the file ----------------------------------------------------------------------------------------------------


def test_it_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "page.html.part").mkdir()
    with pytest.raises(RequestError, match=r"--output .*page.html: Is a directory"):
        written(record("1.png"), at=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html.part"]
    with pytest.raises(RequestError, match=r"--output .*nowhere/page.html: No such file"):
        written(record("1.png"), at=tmp_path / "nowhere")


@pytest.mark.parametrize("output", ["", ".", "/"])
def test_a_folder_is_no_file_to_write(output):
    with pytest.raises(RequestError, match="that is a folder; expected the name of a file"):
        writing.write(frame_of([record("1.png")]), Path(output), stores=[])


@pytest.mark.parametrize("max_mb", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_a_number_above_0(tmp_path, max_mb):
    with pytest.raises(RequestError, match=r"--max-mb .*: expected a number above 0"):
        written(record("1.png"), at=tmp_path, max_mb=max_mb)


def test_there_is_no_page_of_nothing(tmp_path):
    with pytest.raises(RequestError, match="no records to make a page of"):
        written(record("1.png", status="skipped", reason="no weights"), at=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_of_more_records_than_a_browser_shows_is_refused(tmp_path, monkeypatch):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(*(Record(**{**record(f"{i}.png"), "key": f"{i}-1"}) for i in (1, 2, 3)))
    monkeypatch.setattr(contents_of_pages, "MOST_RECORDS", 2)
    with pytest.raises(RequestError, match="More than 2 records are too many for a page: --select chooses"):
        bench.page(tmp_path / "s.sqlite", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    assert bench.page(tmp_path / "s.sqlite", tmp_path / "page.html", select="image != '2.png'").n_records == 2
