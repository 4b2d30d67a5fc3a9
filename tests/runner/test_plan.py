"""Plans: which cells there are, and what their keys hold."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import bench
from bench.errors import RequestError
from bench.measure.machine import Machine
from bench.runner.plan import make_plan
from bench.runner.request import make_request


def test_a_timed_key_holds_device_threads_and_machine_and_an_untimed_one_none_of_them(photos):
    def key(device="cpu", threads=1, machine="here", timed=True):
        machines = (Machine(device, threads, "" if device == "cpu" else "NVIDIA H200", machine),)
        request = replace(make_request("noisy", datasets=photos), machines=machines, timed=timed)
        return make_plan(request).cells[0].key

    others = [{"device": "cuda"}, {"threads": 2}, {"machine": "there"}]
    timings = {key(**other).partition("-")[2] for other in [{}, *others]}
    assert len(timings) == 4
    assert "untimed" not in timings
    assert {key(**other, timed=False).partition("-")[2] for other in [{}, *others]} == {"untimed"}
    assert key(threads=2).partition("-")[0] == key(timed=False).partition("-")[0]


def test_each_card_has_records_of_its_own(photos):
    def quality_key(device, name):
        request = replace(make_request("noisy", datasets=photos), machines=(Machine(device, 1, name, "{}"),))
        return make_plan(request).cells[0].quality_key

    devices = [("cpu", ""), ("cuda", "NVIDIA H200"), ("cuda", "NVIDIA H100"), ("cuda:1", "NVIDIA H100")]
    assert len({quality_key(*device) for device in devices}) == 4


def test_what_was_computed_of_a_cell_stays_when_it_is_called_otherwise(photos):
    cell = make_plan(make_request("noisy", datasets=photos)).cells[0]
    other = cell.called("noisy@here")
    assert (other.label, other.key, other.maker) == ("noisy@here", cell.key, cell.maker)
    assert cell.label == "noisy"
    assert "quality_key" in vars(other)


# --- what is left out, and what is said ----------------------------------------------------------------


def scene(height=40, width=48, channels=3):
    rows, columns, planes = np.mgrid[:height, :width, :channels]
    pixels = (3 * rows + 5 * columns + 60 * planes) % 256
    return Image.fromarray((pixels if channels == 3 else pixels[..., 0]).astype(np.uint8))


@pytest.fixture
def mixed(tmp_path):
    """Pictures of many kinds, each with a hitch."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    turned = Image.Exif()
    turned[274] = 6
    scene().save(folder / "a.jpg", quality=70)
    scene().save(folder / "b.jpg", quality=95, exif=turned)
    scene(channels=1).save(folder / "c.png", exif=turned)
    scene(channels=1).convert("RGB").save(folder / "d.png")
    scene(11, channels=1).save(folder / "e.png")
    return folder


def test_each_remark_on_pictures_is_told_once_with_how_many_have_it(mixed):
    notes = make_plan(make_request("noisy", datasets=mixed)).notes
    assert notes == [
        "mixed/a.jpg and 1 more: a JPEG of quality 70 to 95, whose losses count as clean here",
        "mixed/b.jpg and 1 more: its EXIF tag says that it is to be rotated: ignored, measured as stored",
        "mixed/d.png: its three channels are equal: a gray picture stored as colour, measured as colour",
    ]


def test_gray_pictures_that_demosaicking_leaves_out_are_counted(mixed):
    plan = make_plan(make_request("bilinear,malvar", "demosaick", mixed))
    assert len(plan.cells) == 2 * 3
    assert plan.notes[-1] == "mixed/c.png and 1 more: left out of demosaick, which needs colour"
    assert sum("left out" in note for note in plan.notes) == 1


def test_nothing_is_left_out_where_all_are_of_a_kind(mixed):
    for name in ("c.png", "e.png"):
        (mixed / name).unlink()
    assert not any("left out" in note for note in make_plan(make_request("menon", "demosaick", mixed)).notes)


@pytest.mark.parametrize(("scale", "left_out"), [("2", []), ("3", []), ("4", ["e.png"]), ("2,3,4", ["e.png"])])
def test_pictures_that_the_border_leaves_nothing_of_are_not_measured(mixed, scale, left_out):
    plan = make_plan(make_request("bicubic", "superres", mixed, levels={"scale": scale}))
    n_scales = len(scale.split(","))
    assert len(plan.cells) == 5 * n_scales - len(left_out)
    why = "superres scale 4 gray scores none of its 48x11 pixels: a border of 4 is left out"
    assert plan.broken == [("mixed", name, why) for name in left_out]


def test_where_all_are_too_small_the_error_says_so(tmp_path):
    for name, size in (("a.png", (3, 50)), ("b.png", (11, 11))):
        scene(*size, channels=1).save(tmp_path / name)
    with pytest.raises(RequestError, match=r"a\.png: superres scale 4 gray scores none of its 50x3 pixels.*b\.png"):
        make_plan(make_request("bicubic", "superres", tmp_path, levels={"scale": 4}))


def test_what_is_too_small_is_told_once_for_all_restorers_that_would_be_measured(mixed):
    plan = make_plan(make_request("bicubic,bicubic+", "superres", mixed, levels={"scale": 4}))
    assert len(plan.broken) == 1
    plan = make_plan(make_request("noisy,bicubic", "superres,denoise", mixed, levels={"scale": 4, "sigma": 25}))
    assert [cell.entry.name for cell in plan.cells if cell.spec.name == "noisy"][-1] == "e.png"


@pytest.mark.parametrize(
    ("sigma", "said"),
    [
        (0.1, ["sigma 0.1 is on the 0-255 scale; 0.1 on a 0-1 scale would be 25.5"]),
        ("25,0.2", ["sigma 0.2 is on the 0-255 scale; 0.2 on a 0-1 scale would be 51"]),
        (1 / 8, ["sigma 0.125 is on the 0-255 scale; 0.125 on a 0-1 scale would be 31.875"]),
        ([0, 1, 50], []),
    ],
)
@pytest.mark.parametrize("task", ["denoise", "denoise-blind", "denoise,denoise-blind"])
def test_a_sigma_that_looks_like_one_of_another_scale_is_said(photos, sigma, said, task):
    assert make_plan(make_request("noisy", task, photos, levels={"sigma": sigma})).notes == said


def test_two_folders_of_one_name_are_two_columns(tmp_path):
    for top in "xy":
        (tmp_path / top / "test").mkdir(parents=True)
        scene(40 + ord(top), channels=1).save(tmp_path / top / "test/0.png")
    folders = [tmp_path / top / "test" for top in "xy"]
    result = bench.run(
        "noisy", datasets=[*folders, f"{tmp_path}/x/../y/test/"], sigma=25, store=tmp_path / "s.sqlite"
    )
    assert result.n_measured == 2
    assert result.frame()["image"].tolist() == ["0.png", "0.png"]
    headers, _ = result.table("csv").splitlines()
    assert headers.split(",")[1:3] == ["x/test σ25", "y/test σ25"]


def test_a_gray_picture_stored_as_colour_is_remarked_on_beside_the_gray_one(tmp_path):
    for name, mode in (("gray", "L"), ("gray-as-rgb", "RGB")):
        (tmp_path / name).mkdir()
        scene(channels=1).convert(mode).save(tmp_path / name / "a.png")
    plan = make_plan(make_request("noisy", datasets=[tmp_path / "gray", tmp_path / "gray-as-rgb"]))
    assert plan.notes == [
        "gray-as-rgb/a.png: its three channels are equal: a gray picture stored as colour, measured as colour"
    ]


def test_each_repeat_is_a_cell_of_its_own_with_noise_of_its_own(photos):
    cells = make_plan(make_request("noisy", datasets=photos, levels={"sigma": 25}, repeats=4)).cells
    assert [cell.repeat for cell in cells] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert len({cell.seed for cell in cells}) == 12


def test_a_plan_too_large_to_have_is_refused_with_its_size_before_a_picture_is_read(photos, monkeypatch):
    monkeypatch.setattr("bench.runner.plan.read", None)
    request = make_request("noisy,noisy+", datasets=photos, levels={"sigma": "15,25"}, repeats=10**9)
    counted = "2 restorers x 2 levels x 3 images x 1000000000 repeats are 12,000,000,000"
    with pytest.raises(RequestError, match=counted):
        make_plan(request)
