"""Figures: what they show, whom they leave out and say so, and the files that they become."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from bench.data.datasets import get, read
from matplotlib.text import Text

import bench
from bench.errors import RequestError, RestorerError
from bench.report import plots, plots_of_records
from bench.report.plots import our_look, place_labels, save_figure, styles
from bench.report.plots_of_pictures import check_crop, check_pixel, crops, maps, where_they_differ
from bench.restoring import looking
from bench.restoring.looking import Look, Maps, look_at, maps_of
from tests.conftest import PLUGINS
from tests.runner.here import Here
from tests.test_cli import bench as command
from tests.test_cli import refused

PSNR = {"noisy": 20.0, "cheap": 28.0, "worse": 27.9, "best": 30.0}
SECONDS = {"noisy": 0.001, "cheap": 0.1, "worse": 0.5, "best": 10.0}


def records(images=("1.png", "2.png"), levels=(25.0,), **columns):
    """Four restorers on a folder: the last is best and slowest, the third is worse than one that is cheaper."""
    rows = [
        {
            "restorer": name,
            "plugin": f"{name}.py:Net",
            "weights": "",
            "weights_file": "",
            "folder": "/photos",
            "level_name": "",
            "task": "denoise",
            "level": level,
            "channels": 1,
            "dataset": "photos",
            "image": image,
            "repeat": 0,
            "protocol": "standard-v1",
            "status": "ok",
            "reason": "",
            "device": "cpu",
            "threads": 1,
            "key": "a-b",
            "psnr_db": PSNR[name] + 0.1 * i - level / 25,
            "seconds": SECONDS[name],
            "params": 0,
            "asked_at": "",
            "code_sha256": "",
            "restorer_version": "1",
            "weights_sha256": "",
            "environment": "",
            **columns,
        }
        for name in PSNR
        for level in levels
        for i, image in enumerate(images)
    ]
    return pd.DataFrame(rows)


def drawn(draw, *args, **options):
    with our_look():
        figure, told = draw(*args, **options)
        figure.draw_without_rendering()
    return figure.axes[0], told


def texts(axes):
    return {text.get_text() for text in axes.texts}


class TestPareto:
    def test_the_front_goes_up_in_steps_and_past_what_is_beaten(self):
        axes, told = drawn(plots_of_records.pareto, records())
        assert axes.lines[0].get_xydata().tolist() == pytest.approx(
            np.array([[0.1, 27.05], [10, 27.05], [10, 29.05]])
        )
        assert texts(axes) == {"cheap", "worse", "best"}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds per image", "PSNR in dB")
        assert told == ["noisy: 19.05 dB, far below the others, not drawn", "measured on cpu"]

    def test_whoever_lacks_a_picture_is_left_out_and_named(self):
        frame = records()
        failed = (frame["restorer"] == "best") & (frame["image"] == "2.png")
        axes, told = drawn(plots_of_records.pareto, frame.assign(status=frame["status"].mask(failed, "failed")))
        assert "best" not in texts(axes)
        assert "best: 1 of 2 pictures at 25, not drawn" in told

    def test_classical_methods_have_a_place_at_no_parameters(self):
        frame = records()
        frame.loc[frame["restorer"] == "best", "params"] = 500_000
        axes, _ = drawn(plots_of_records.pareto, frame, "params")
        assert axes.get_xscale() == "symlog"
        assert {line.get_xdata()[0] for line in axes.lines[1:]} == {0, 500_000}

    def test_devices_and_threads_are_told_apart(self):
        frame = pd.concat([records(), records(device="cuda", environment='{"gpu": "A card"}', threads=2)])
        axes, told = drawn(plots_of_records.pareto, frame.reset_index(drop=True), methods=["best", "cheap"])
        assert texts(axes) == {f"{name}, {device}" for name in ("best", "cheap") for device in ("cpu", "A card")}
        assert "times are with 1 and 2 threads" in told

    @pytest.mark.parametrize(
        ("frame", "words", "says"),
        [
            (records(levels=(15.0, 25.0)), {}, 'level 15, 25. Choose, e.g. --select "level == 15"'),
            (records(), {"against": "second"}, "No cost named 'second'. Did you mean 'seconds'?"),
            (records(), {"methods": ["bets"]}, "No restorer in the records named 'bets'. Did you mean 'best'?"),
            (records(seconds=None), {}, "no seconds per image in the records of noisy, cheap, worse, best"),
            (records().iloc[:0], {}, "There are no records to draw"),
            (records(), {"width": 0.1}, "--width 0.1: expected inches"),
        ],
        ids=["levels", "cost", "name", "no times", "nothing", "width"],
    )
    def test_what_cannot_be_drawn_is_one_line(self, frame, words, says):
        with pytest.raises(RequestError) as raised:
            drawn(plots_of_records.pareto, frame, **words)
        assert says in str(raised.value)


class TestLevels:
    def test_gains_are_over_one_restorer_at_each_level(self):
        axes, told = drawn(plots_of_records.levels, records(levels=(15.0, 50.0)), "cheap")
        of_best = axes.lines[0].get_xydata()
        assert of_best == pytest.approx(np.array([[15, 2], [50, 2]]))
        assert texts(axes) == {"best", "worse", "cheap"}
        assert axes.get_ylabel() == "PSNR gain over cheap in dB"
        assert told == ["noisy: far below the others, not drawn"]

    def test_whoever_lacks_a_level_is_left_out_and_named(self):
        frame = records(levels=(15.0, 50.0))
        frame = frame[(frame["restorer"] != "best") | (frame["level"] == 15)]
        axes, told = drawn(plots_of_records.levels, frame, "cheap")
        assert "best" not in texts(axes)
        assert "best: not measured at 50, not drawn" in told

    @pytest.mark.parametrize(
        ("frame", "over", "says"),
        [
            (records(), "bm3d", "No restorer in the records named 'bm3d'"),
            (records(task="demosaick", level="RGGB"), "cheap", "Bayer patterns are no levels"),
        ],
        ids=["name", "pattern"],
    )
    def test_what_cannot_be_drawn_is_one_line(self, frame, over, says):
        with pytest.raises(RequestError, match=says):
            drawn(plots_of_records.levels, frame, over)


class TestImages:
    @pytest.mark.parametrize("n", [8, 40])
    def test_there_is_a_bar_for_each_picture_and_the_mean(self, n):
        names = [f"{i}.png" for i in range(n)]
        frame = records(names)
        frame.loc[frame["restorer"] == "best", "psnr_db"] += np.linspace(-3, 1, n)
        axes, [told] = drawn(plots_of_records.images, frame, methods=["best", "cheap"])
        assert len(axes.patches) == n + 1  # and the interval
        assert told.startswith("mean difference +1.000 dB, 95 % interval [")

    def test_a_difference_is_of_two(self):
        with pytest.raises(RequestError, match="--methods best: a difference is of two restorers"):
            drawn(plots_of_records.images, records(), methods=["best"])


class TestMaps:
    def look(self, n=3, part=np.s_[:, :]):
        values = np.zeros((80, 100), np.float32)
        values[part] = 0.5
        return Maps(np.full((80, 100, 1), 0.5, np.float32), {f"map {i}": values for i in range(n)}, (10, 20), ("so",))

    def test_panels_show_the_picture_and_each_map(self):
        with our_look():
            figure, told = maps(self.look())
            figure.draw_without_rendering()
        assert [axes.get_xlabel() for axes in figure.axes[:4]] == ["seen", "map 0", "map 1", "map 2"]
        assert [axes.images[0].get_array().shape for axes in figure.axes[:4]] == [(80, 100)] * 4
        assert [axes.images[0].get_clim() for axes in figure.axes[1:4]] == [(0, 1)] * 3
        assert told == ["so"]

    def test_maps_of_one_pixel_are_drawn_where_they_are_not_0_and_the_pixel_is_marked(self):
        with our_look():
            figure, told = maps(self.look(1, np.s_[5:16, 15:35]))
            figure.draw_without_rendering()
        assert [axes.images[0].get_array().shape for axes in figure.axes[:2]] == [(11, 20)] * 2
        assert figure.axes[0].lines[0].get_xydata().tolist() == [[5, 5]]
        assert told == ["of pixel 20,10; the part shown begins at 15,5", "so"]

    @pytest.mark.parametrize(("n", "shape"), [(3, (1, 4)), (4, (1, 5)), (16, (3, 6)), (20, (3, 7))])
    def test_many_maps_fill_rows_evenly(self, n, shape):
        with our_look():
            figure, _ = maps(self.look(n))
        spec = figure.axes[0].get_gridspec()
        assert (spec.nrows, spec.ncols) == shape
        assert figure.get_figwidth() == (3.3 if n == 3 else 7.0)

    @pytest.mark.parametrize("text", ["1", "a,b", "1,2,3", "-1,2"])
    def test_a_pixel_is_two_numbers(self, text):
        with pytest.raises(RequestError, match=r"expected x,y in pixels"):
            check_pixel(text)
        assert check_pixel("3, 7") == (7, 3)

    def test_a_restorer_of_ones_own_is_asked_for_its_maps(self, tmp_path):
        (tmp_path / "mine.py").write_text(MINE)
        look = maps_of(f"{tmp_path}/mine.py:Mine", "denoise", "sample", "chelsea.png", {"sigma": 25}, pixel=(3, 250))
        assert [*look.maps] == ["where"]
        assert (np.argwhere(look.maps["where"]) == [[3, 250]]).all()
        assert look.seen.shape == (256, 256, 1)

    @pytest.mark.parametrize(
        ("method", "words", "error", "says"),
        [
            ("noisy", {}, RestorerError, "noisy has no maps to draw"),
            ("noisy,tv", {}, RequestError, "Maps are those of one restorer; noisy,tv are 2"),
            ("noisy", {"pixel": (3, 256)}, RequestError, "--pixel 256,3: the restored picture has 256x256 pixels"),
        ],
    )
    def test_what_has_no_maps_is_one_line(self, method, words, error, says):
        with pytest.raises(error) as raised:
            maps_of(method, "denoise", "sample", "chelsea.png", {"sigma": 25}, **words)
        assert says in str(raised.value)


MINE = """
import numpy as np
from bench.restorer import Restorer


class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return seen.image.copy()

    def maps(self, seen, pixel):
        where = np.zeros(seen.restored_shape[:2], np.float32)
        where[pixel] = 1
        return {"where": where}
"""


class TestCrops:
    def look(self):
        clean = np.full((80, 100, 1), 0.5, np.float32)
        one, other = clean.copy(), clean.copy()
        other[44:50, 60:70] = 0.9
        return Look(clean, {"one": (one, 30.0), "other": (other, 20.0)}, ())

    def test_the_square_is_where_the_answers_differ(self):
        x, y, width, height = where_they_differ(self.look())
        assert (width, height) == (32, 32)
        assert x <= 60 <= 70 <= x + width
        assert y <= 44 <= 50 <= y + height

    def test_panels_show_crops_errors_and_psnr(self):
        with our_look():
            figure, told = crops(self.look(), (50, 40, 30, 20))
            figure.draw_without_rendering()
        words = [axes.get_xlabel() for axes in figure.axes[:3]]
        assert words == ["clean", "one\n30.00 dB", "other\n20.00 dB"]
        assert told == ["crop 50,40,30,20; errors in grey levels, from 0 to 102 and more"]
        assert figure.axes[5].images[0].get_array().shape == (20, 30)

    def test_the_width_is_a_column_or_a_page(self):
        with our_look():
            few, _ = crops(self.look())
            clean = self.look().clean
            many, _ = crops(Look(clean, {str(i): (clean, 30.0) for i in range(5)}, ()))
        assert (few.get_figwidth(), many.get_figwidth()) == (3.3, 7.0)

    @pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,0,4", "-1,2,3,4"])
    def test_a_crop_is_four_numbers(self, text):
        with pytest.raises(RequestError, match=r"expected x,y,width,height in pixels"):
            check_crop(text)

    def test_a_crop_lies_in_the_picture(self):
        with our_look(), pytest.raises(RequestError, match="--crop 90,0,20,20: the picture has 100x80 pixels"):
            crops(self.look(), (90, 0, 20, 20))

    def test_a_picture_is_restored_as_a_run_does_it(self, monkeypatch):
        monkeypatch.setattr(looking, "RestorerProcess", Here)
        look = look_at(f"noisy,{PLUGINS / 'simple.py'}:Box", "denoise", "sample", "chelsea.png", {"sigma": 25})
        assert [*look.answers] == ["noisy", "box"]
        [entry] = [entry for entry in get("sample").entries if entry.name == "chelsea.png"]
        assert np.array_equal(look.clean, read(get("sample"), entry).pixels)
        assert look.answers["noisy"][1] == pytest.approx(20.22, abs=0.01)

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (
                ("--methods", "noisy", "--image", "chelsae.png"),
                "No picture in sample named 'chelsae.png'.",
            ),
            (("--methods", "noisy", "--sigma", "15,25"), "at one level: --sigma 15, e.g."),
            (("--methods", "jpeg"), "jpeg does not denoise"),
            (("--methods", "noisy", "--crop", "1"), "--crop 1: expected"),
            (("--methods", "noisy", "-o", "a.eps"), "--output a.eps: expected a file that ends in .pdf, .png, .svg"),
        ],
        ids=["image", "levels", "task", "crop", "format"],
    )
    def test_what_will_not_do_is_one_line(self, words, says):
        output, level = (() if "-o" in words else ("-o", "a.png")), (() if "--sigma" in words else ("--sigma", "25"))
        assert says in refused(command("plot", "crops", *words, *output, *level))


class TestFiles:
    @pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
    def test_the_same_records_give_the_same_file(self, tmp_path, monkeypatch, kind):
        frame = records().replace({"best": "a$b_{c}$<&>"})
        monkeypatch.setattr("bench.api.read", lambda store, select: frame)
        for name in ("1", "2"):
            result = command("plot", "pareto", "-o", tmp_path / f"{name}.{kind}")
            assert (result.returncode, result.stdout) == (0, "")
        one, other = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("1", "2"))
        assert one == other
        if kind == "pdf":
            assert b"/Type0" in one
            assert b"/Type3" not in one  # fonts are embedded as they are

    def test_names_are_shown_as_they_are(self, tmp_path):
        with our_look():
            figure = plots.new_figure(3, 2)
            axes = figure.add_subplot()
            axes.plot([0], [0])
            place_labels(axes, [(0, 0, "a$b_{c}$ \\x")])
            save_figure(figure, tmp_path / "a.svg")
        assert "<!-- a$b_{c}$ \\x -->" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_series_are_told_apart_without_colour():
    made = styles([str(i) for i in range(84)])
    assert len({*made.values()}) == 84
    grays = [int(style.colour[1:3], 16) for style in made.values()]
    assert len(grays) == 84
    first = list(made.values())[:7]
    assert len({(style.marker, style.dashes) for style in first}) == 7


def test_labels_hide_neither_points_nor_each_other():
    points = [(x / 3, 0.0, f"label {x}") for x in range(6)]
    with our_look():
        figure = plots.new_figure(3.3, 2.5)
        axes = figure.add_subplot()
        axes.plot([x for x, *_ in points], [y for _, y, _ in points], "o")
        axes.margins(0.4)
        place_labels(axes, points)
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in axes.texts]
    overlapping = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    assert not overlapping


def test_an_unknown_figure_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"No figure named 'paretto'\. Did you mean 'pareto'"):
        bench.plot("paretto", tmp_path / "a.pdf")
