"""Real pictures, from pairs to records; and parts of data sets, from options to cells."""

import re

import numpy as np
import pytest
from bench.data.colour import to_unit
from bench.data.degrade import fingerprint
from bench.data.noise_level import estimated_sigma
from PIL import Image

import bench
from bench.errors import BenchError
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.task import Observation


@pytest.fixture
def pairs(tmp_path):
    """Two gray pairs, whose noise differs, and a TOML file that declares sigma."""
    random = np.random.RandomState(0)
    for part in ("clean", "noisy"):
        (tmp_path / "mine" / part).mkdir(parents=True)
    for name, sigma in (("a", 10), ("b", 30)):
        clean = np.add.outer(np.arange(32), np.arange(40)) + 60
        noisy = np.rint(np.clip(clean + random.normal(0, sigma, clean.shape), 0, 255))
        for part, picture in (("clean", clean), ("noisy", noisy)):
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "mine" / part / f"{name}.png")
    declared = 'clean = "clean/*.png"\nnoisy = "noisy/*.png"\nsigma = 20\n'
    (tmp_path / "mine" / "set.toml").write_text(declared)
    return tmp_path / "mine"


def cells(methods, datasets, level=None, **words):
    return make_plan(make_request(methods, "real", datasets, levels={"level": level}, **words)).cells


def noisy(pairs, name):
    return to_unit(np.asarray(Image.open(pairs / "noisy" / f"{name}.png")))[..., None]


def test_what_is_shown_is_the_noisy_file_and_what_is_scored_the_clean_one(pairs, tmp_path):
    result = bench.run("noisy", "real", pairs, store=tmp_path / "s.sqlite")
    assert [record.status for record in result.records] == ["ok", "ok"]
    assert [record.input_sha256 for record in result.records] == [fingerprint(noisy(pairs, n)) for n in "ab"]
    clean = np.asarray(Image.open(pairs / "clean" / "b.png")).astype(float)
    error = np.mean((255 * noisy(pairs, "b")[..., 0].astype(float) - clean) ** 2)
    assert result.records[1].psnr_db == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
    assert "mine" in result.table()


def test_blind_restorers_alone_are_asked_where_nothing_is_told(pairs):
    with pytest.raises(BenchError, match="nlm must be told sigma: ask for --level estimate, known, or a number"):
        cells("nlm", pairs)


@pytest.mark.parametrize(
    ("level", "told"),
    [("12.5", [12.5, 12.5]), ("estimate", None), (None, [None, None])],
    ids=["12.5", "estimate", "-"],
)
def test_what_is_told_is_the_level_or_each_picture_s_estimate(pairs, level, told):
    told = told or [estimated_sigma(noisy(pairs, name)) for name in "ab"]
    assert [cell.told for cell in sorted(cells("noisy", pairs, level), key=lambda c: c.entry.name)] == told


def test_what_is_told_is_what_the_pairs_declare(pairs, tmp_path):
    result = bench.run("nlm", "real", pairs / "set.toml", level="known", store=tmp_path / "s.sqlite")
    assert {record.reason for record in result.records} == {
        "shown as denoise: it does not name real; told sigma 20 (known)"
    }


def test_a_restorer_of_sigma_is_prepared_for_and_shown_what_is_told(pairs):
    [first, second] = cells("nlm", pairs, "estimate")
    assert (first.shown.task, first.shown.level) == ("denoise", first.told)
    assert first.told != second.told
    assert first.quality_key != cells("nlm", pairs, first.told)[0].quality_key


def test_no_declared_sigma_is_one_line(pairs):
    with pytest.raises(BenchError, match="no sigma is declared for it: write `sigma = "):
        cells("nlm", pairs, "known")


def test_a_set_without_pairs_is_one_line():
    with pytest.raises(BenchError, match="real needs pairs of a clean and a noisy picture, sample has none"):
        cells("noisy", "sample")


def test_a_pair_of_two_sizes_costs_itself_alone(pairs, tmp_path):
    Image.fromarray(np.zeros((31, 40), np.uint8)).save(pairs / "noisy" / "a.png")
    result = bench.run("noisy", "real", pairs, store=tmp_path / "s.sqlite")
    [(_, name, why)] = result.plan.broken
    assert (name, len(result.records)) == ("a.png", 1)
    assert re.match(r"a\.png: the clean picture is 40x32 of 1 channels and the noisy one 40x31 of 1", why)


def test_other_tasks_degrade_the_clean_pictures_of_pairs(pairs, tmp_path):
    result = bench.run("noisy", "denoise", pairs, sigma=25, store=tmp_path / "s.sqlite")
    assert result.records[0].psnr_db == pytest.approx(20.2, abs=0.5)


def test_a_changed_noisy_picture_is_another_cell(pairs):
    before = [cell.key for cell in cells("noisy", pairs)]
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(pairs / "noisy" / "b.png")
    after = [cell.key for cell in cells("noisy", pairs)]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


def test_a_part_of_a_set_is_the_same_cells_as_in_the_whole_and_is_told(photos, tmp_path):
    def plan(**words):
        return make_plan(make_request("noisy", "denoise", photos, levels={"sigma": 25}, **words))

    whole, part = plan(), plan(limit=2)
    assert [cell.key for cell in part.cells] == [cell.key for cell in whole.cells[:2]]
    assert part.notes[0] == f"{photos.name}: 2 of 3 pictures (--limit 2)"


def test_pictures_of_one_name_in_two_folders_are_saved_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 99, np.uint8)).save(tmp_path / "set" / folder / "a.png")
    bench.run(
        "noisy",
        datasets=tmp_path / "set",
        sigma=25,
        recursive=True,
        store=tmp_path / "s.sqlite",
        save=tmp_path / "to",
    )
    assert len([*(tmp_path / "to").rglob("clean.png")]) == 2


def test_a_restorer_may_name_the_task_and_is_told_what_is_known(pairs, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from bench.restorer import Restorer\n"
        "class Mine(Restorer):\n"
        "    name, tasks = 'mine', ['real']\n"
        "    def restore(self, seen):\n"
        "        assert seen.task == 'real' and seen.sigma == 7.5\n"
        "        return seen.image\n"
    )
    result = bench.run(f"{plugin}:Mine", "real", pairs, level=7.5, store=tmp_path / "s.sqlite")
    assert [record.status for record in result.records] == ["ok", "ok"], result.records[0].reason
    assert isinstance(Observation(noisy(pairs, "a"), "real").sigma, type(None))
