"""`bench ablate`: what its file says, that a killed one goes on to the same table, when the paper is agreed with."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_rel

import bench
from bench.cli import main
from bench.errors import BenchError, RecipeError
from bench.runner.debug import debug
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from bench.training import ablation_runs  # noqa: E402
from bench.training.ablation import read_ablation  # noqa: E402
from bench.training.ablation_runs import Trained, read_runs, runs_of  # noqa: E402
from bench.training.ablation_table import _differences, rows_of, verdict  # noqa: E402
from bench.training.lock import alone_in  # noqa: E402
from bench.training.loop import Training  # noqa: E402

TEXT = f"""
claim = "Nine pixels say more than one"
source = "nobody-2020, Table 1"
restorer = "{PLUGINS}/net.py:Affine"
recipe = "quick"
sigma = 25
seeds = [0, 1]
steps = 4
test = "sample"
limit = 1

[variants."3x3"]

[variants."1x1"]
options = {{ size = 1 }}
paper_difference = "worse"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The ablation above, in a folder where nothing has been trained."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "size.toml"
    path.write_text(TEXT)
    return path


def edited(path, *changes):
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


# --- the file --------------------------------------------------------------------------------------------


def test_a_variant_is_the_recipe_with_what_all_and_it_say(file):
    ablation = read_ablation(
        edited(file, ('[variants."3x3"]', "[all]\ncrop = 24\noptions = { size = 5 }\n[variants.a]"))
    )
    first, second = ablation.variants
    assert (first.name, first.recipe.crop, first.recipe.options) == ("a", 24, {"size": 5})
    assert (second.recipe.crop, second.recipe.options, second.recipe.batch) == (24, {"size": 1}, 2)
    assert (ablation.seeds, ablation.steps, ablation.macs, ablation.limit) == ((0, 1), 4, None, 1)


def test_options_are_added_to_those_there_are(file):
    told = ("options = { size = 1 }", "options = { other = 1 }")
    assert read_ablation(edited(file, told)).variants[1].recipe.options == {"size": 3, "other": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("steps = 4", "stepps = 20"), "No key named 'stepps'. Did you mean 'steps'"),
        (("steps = 4", ""), "steps or macs is the budget of a training: none says it, expected one of them"),
        (("steps = 4", "steps = 4\nmacs = 1e6"), "both say it, expected one of them"),
        (("steps = 4", "steps = 0"), "steps is 0, expected a whole number from 1 to"),
        (("steps = 4", "macs = -1"), "macs is -1, expected more than 0"),
        (("steps = 4", "macs = nan"), "macs is nan, expected a number"),
        (("seeds = [0, 1]", "seeds = [0]"), r"seeds is \[0\], expected a list of two or more whole numbers"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "each once"),
        (("seeds = [0, 1]", "seeds = [0, true]"), "expected a list of two or more"),
        (("seeds = [0, 1]", ""), "it lacks the key 'seeds'"),
        (("sigma = 25", "quality = 10"), "the level of denoise is said by one key, sigma; found: quality"),
        (("sigma = 25", "sigma = 999"), "sigma is 999; denoise takes a noise standard deviation from 0 to 255"),
        (("sigma = 25", ""), "found: none"),
        (('recipe = "quick"', 'recipe = "quik"'), "No recipe named 'quik'. Did you mean 'quick'"),
        (("Affine", "Afine"), "Afine"),
        (('claim = "Nine pixels say more than one"', "claim = 3"), "claim is 3, expected a text of one line"),
        (("limit = 1", "limit = 1.5"), "limit is 1.5, expected a whole number"),
        (('[variants."1x1"]', "[other]"), "No key named 'other'"),
        (('[variants."3x3"]', ""), "it has 1 variants, expected 2 to 100"),
        (('"1x1"', '"3 x3"'), None),
        (('"1x1"', '"3x3."'), "variants '3x3' and '3x3.' would share a folder: rename one"),
        (('paper_difference = "worse"', "seed = 3"), "variant '1x1': seed is no variant's own; seeds says it"),
        (('paper_difference = "worse"', "steps = 3"), "variant '1x1': steps is no variant's own; steps or macs says"),
        (('paper_difference = "worse"', "channels = 3"), "variant '1x1' has another task, channels or levels"),
        (('"worse"', '"wors"'), "paper_difference is 'wors', expected dB or better, worse, alike"),
        (('"worse"', "inf"), "variant '1x1': paper_difference is inf, expected a number"),
        (
            ('paper_difference = "worse"', "paper_psnr_db = 30.0"),
            "goes with one of the first variant, which has none",
        ),
        (('"worse"', '"worse"\npaper_psnr_db = 30.0'), "both say what the paper has: choose one"),
        (('[variants."3x3"]', '[variants."3x3"]\npaper_difference = 1.0'), "is to the first variant, which this is"),
    ],
)
def test_what_will_not_do_in_the_file_is_told_in_a_line(file, change, says):
    edited(file, change)
    if says is None:
        assert read_ablation(file)
        return
    with pytest.raises(BenchError, match=says) as raised:
        read_ablation(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_that_is_wrong_in_a_recipe_is_told(file):
    edited(file, ('paper_difference = "worse"', "lrr = 3\nbatch = 0"))
    with pytest.raises(RecipeError) as raised:
        read_ablation(file)
    first, second = raised.value.lines
    assert first == f"{file}, recipe '1x1': No key named 'lrr'. Did you mean 'lr'?"
    assert second.startswith(f"{file}, recipe '1x1': batch is 0, expected")


def test_there_is_no_file(tmp_path):
    with pytest.raises(BenchError, match=r"There is no ablation .*/nothing\.toml"):
        read_ablation(tmp_path / "nothing.toml")


def test_the_papers_figures_give_its_differences(file):
    edited(
        file,
        ('[variants."3x3"]', '[variants."3x3"]\npaper_psnr_db = 30.8'),
        ('paper_difference = "worse"', "paper_psnr_db = 30.65"),
    )
    first, second = read_ablation(file).variants
    assert first.paper is None
    assert second.paper == pytest.approx(-0.15)
    assert second.sign == -1


# --- the budget ------------------------------------------------------------------------------------------


def test_a_budget_of_operations_gives_a_dear_variant_fewer_steps(file, tmp_path):
    runs = runs_of(read_ablation(edited(file, ("steps = 4", "macs = 50000"))), tmp_path)
    of_a_batch = {"3x3": 9 * 16 * 16 * 2, "1x1": 16 * 16 * 2}
    assert [(str(run), run.macs_per_step, run.steps) for run in runs] == [
        ("3x3, seed 0", of_a_batch["3x3"], 50_000 // of_a_batch["3x3"]),
        ("1x1, seed 0", of_a_batch["1x1"], 50_000 // of_a_batch["1x1"]),
        ("3x3, seed 1", of_a_batch["3x3"], 50_000 // of_a_batch["3x3"]),
        ("1x1, seed 1", of_a_batch["1x1"], 50_000 // of_a_batch["1x1"]),
    ]


def test_options_that_will_not_do_are_told_before_anything_is_trained(file, tmp_path):
    edited(file, ("options = { size = 1 }", 'options = { size = "wide" }'))
    with pytest.raises(BenchError, match=r"variant '1x1': .*Affine does not work with it"):
        runs_of(read_ablation(file), tmp_path)


def test_a_dry_run_tells_what_would_be_trained_and_keeps_nothing(file, tmp_path):
    told = str(bench.ablate(file, dry_run=True))
    assert re.search(r"^3x3 +4 +18\.4k +\S+ +\S+ m?s$", told, re.MULTILINE)
    assert "4 trainings, 0 of which have ended; the others take about" in told
    assert [*tmp_path.iterdir()] == [file]


# --- the whole -------------------------------------------------------------------------------------------


def tables(file, **words):
    return [str(bench.ablate(file, **words)), str(bench.ablation(file))]


@pytest.fixture
def here(monkeypatch):
    """What is measured at the end is measured in this process: starting others takes seconds."""
    monkeypatch.setattr(ablation_runs, "run_plan", lambda plan, *_, **__: SimpleNamespace(records=debug(plan)))


def test_one_cut_short_goes_on_to_the_same_table_to_the_last_bit(file, tmp_path, here, monkeypatch, capsys):
    report = bench.ablate(file)
    whole = str(report)
    assert report.ok
    assert re.search(
        r"^1x1 +\d+\.\d{3} ± \d+\.\d{3} +2 +1 +4 +2\.05k +[+-]\d+\.\d{3} ± \S+ +worse +\w", whole, re.MULTILINE
    )
    assert "[4 of 4] 1x1, seed 1: 4 steps of 512 MACs, " in capsys.readouterr().err
    first = made_in(tmp_path)
    shutil.rmtree(tmp_path / "training")
    shutil.rmtree(tmp_path / "size")

    original, made = Training._train_step, []

    def train_step(self, *batch):
        made.append(self.step)
        if made.count(2) == 3:  # of the third training two steps are kept
            raise InterruptedError
        return original(self, *batch)

    monkeypatch.setattr(Training, "_train_step", train_step)
    with pytest.raises(InterruptedError):
        bench.ablate(file)
    assert not (tmp_path / "size").exists()
    monkeypatch.setattr(Training, "_train_step", original)
    assert tables(file) == [whole, whole]
    told = capsys.readouterr().err
    assert "[2 of 4]" in told  # before it was killed
    assert told.count("[3 of 4] 3x3, seed 1") == 2
    assert made_in(tmp_path) == first
    assert str(tmp_path / "training") not in (tmp_path / "size" / "records.csv").read_text()

    monkeypatch.setattr(Training, "_train_step", None)  # nothing is trained, or measured, that is there
    assert str(bench.ablate(file)) == whole
    assert capsys.readouterr().err == ""


def made_in(folder):
    """Curves, weights, and figures, without what hangs on the clock."""
    trained = read_runs(folder / "size" / "runs.json")
    curves = [(one.variant, one.seed, one.steps, one.macs_per_step, one.curve) for one in trained]
    files = sorted(folder.glob("training/ablations/size/*/last.safetensors"))
    tensors = {file.parent.name: {k: v.tolist() for k, v in load_file(file).items()} for file in files}
    records = bench.read(folder / "size" / "records.csv")
    columns = ["image", "psnr_db", "ssim", "input_sha256", "weights_file", "params", "macs_per_pixel"]
    return curves, tensors, records[columns].to_dict("records")


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_table(file, tmp_path):
    edited(file, ("steps = 4", "steps = 400"))
    command = [sys.executable, "-c", "from bench.cli import main; main()", "ablate", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = subprocess.run([*command, "--folder", "whole"], env=environment, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    first = [one.curve for one in read_runs(tmp_path / "size" / "runs.json")]
    shutil.rmtree(tmp_path / "size")  # with results nothing would be trained
    for cut in ("3x3-0", "1x1-1"):
        begun = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        log = tmp_path / "training/ablations/size" / cut / "log.csv"
        while begun.poll() is None and not (log.exists() and log.read_text().count("\n") > 3):
            time.sleep(0.01)
        os.kill(begun.pid, signal.SIGKILL)
        assert begun.wait() == -signal.SIGKILL
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout
    assert [one.curve for one in read_runs(tmp_path / "size" / "runs.json")] == first


@pytest.fixture
def unmeasured(monkeypatch):
    """Nothing is measured at the end: no process is started for it."""
    monkeypatch.setattr(ablation_runs, "measured", lambda *_: [])


def test_one_that_diverges_does_not_end_the_others(file, unmeasured):
    edited(file, ("options = { size = 1 }", 'options = { size = 1 }\nlr = 1e3\noptimizer = "sgd"\nclip = 0.0'))
    file.write_text(file.read_text().replace("steps = 4", "steps = 30"))
    report = bench.ablate(file)
    assert not report.ok
    assert "1x1, seed 0: The training diverged before step" in str(report)
    assert [one.variant for one in read_runs(file.with_suffix("") / "runs.json")] == ["3x3", "3x3"]


def test_one_that_another_process_trains_is_passed_over_and_nothing_is_kept_yet(file, tmp_path, unmeasured):
    with alone_in(tmp_path / "training/ablations/size/3x3-1"):
        report = bench.ablate(file)
    assert not report.ok
    assert "3x3, seed 1: under way in another process" in str(report)
    assert not (tmp_path / "size").exists()
    bench.ablate(file)
    assert len(read_runs(tmp_path / "size" / "runs.json")) == 4


def test_a_test_set_that_there_is_not_is_told_before_anything_is_trained(file, tmp_path):
    with pytest.raises(BenchError, match="samplee"):
        bench.ablate(edited(file, ('"sample"', '"samplee"')))
    assert not (tmp_path / "training").exists()


def test_trainings_of_another_file_are_not_taken_for_its_own(file, unmeasured):
    bench.ablate(file)
    with pytest.raises(BenchError, match=r"holds another training \(other recipe\)"):
        bench.ablate(edited(file, ("steps = 4", "steps = 5")))


def test_the_command_prints_the_table_and_its_status_says_whether_all_gave_a_figure(file, unmeasured, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ablate", str(file), "--format", "csv"])
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("variant,PSNR,params,")
    with pytest.raises(SystemExit) as ended:
        main(["ablate", str(file), "--table", "--dry-run"])
    assert ended.value.code == 2
    assert "--dry-run and --table: choose one." in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "[]]", "[3]", '[{"variant": "3x3"}]'])
def test_results_that_are_none_are_named(file, tmp_path, text):
    if text is not None:
        (tmp_path / "size").mkdir()
        (tmp_path / "size" / "runs.json").write_text(text)
    with pytest.raises(BenchError, match=r"size/runs\.json"):
        bench.ablation(file)


# --- the results that are kept -----------------------------------------------------------------------------


def test_a_seed_more_costs_itself_alone_though_the_trainings_are_gone(file, tmp_path, here, capsys):
    bench.ablate(file)
    shutil.rmtree(tmp_path / "training")
    edited(file, ("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    assert "6 trainings, 4 of which have ended" in str(bench.ablate(file, dry_run=True))
    capsys.readouterr()
    grown = tables(file)
    told = capsys.readouterr().err
    assert [number for number in range(1, 7) if f"[{number} of 6]" in told] == [5, 6]
    shutil.rmtree(tmp_path / "training")
    shutil.rmtree(tmp_path / "size")
    assert tables(file) == grown  # as if all had been trained at once
    assert grown[0] == grown[1]


@pytest.mark.parametrize(
    "change", [("steps = 4", "steps = 5"), ('[variants."3x3"]', '[all]\nlr = 0.5\n[variants."3x3"]')], ids=str
)
def test_results_of_another_recipe_or_budget_are_not_shown_as_the_files_own(file, unmeasured, change):
    bench.ablate(file)
    edited(file, change)
    report = bench.ablation(file)
    assert not report.ok
    assert "3x3, seed 0: the results are of another recipe or budget" in str(report)


def test_results_that_lack_a_picture_or_cannot_be_read_are_made_anew(file, tmp_path, here, capsys):
    bench.ablate(file)
    shutil.rmtree(tmp_path / "training")
    edited(file, ("limit = 1", "limit = 2"))
    bench.ablate(file)
    assert capsys.readouterr().err.count("[4 of 4]") == 2
    shutil.rmtree(tmp_path / "training")
    (tmp_path / "size" / "records.csv").write_text("restorer\n")
    bench.ablate(file)
    assert capsys.readouterr().err.count("[4 of 4]") == 1


# --- the table -------------------------------------------------------------------------------------------


def test_an_interval_of_two_variants_is_that_of_the_paired_t_test():
    psnr_db = np.array([[28.0, 28.3, 27.9, 28.4], [27.6, 28.1, 27.4, 28.2]])
    (_, difference), (_, half) = _differences(psnr_db)
    low, high = ttest_rel(psnr_db[1], psnr_db[0]).confidence_interval(0.95)
    assert (difference - half, difference + half) == pytest.approx((low, high))


def test_more_variants_share_an_error_and_a_correction():
    rng = np.random.default_rng(0)
    psnr_db = 28 + rng.normal(0, 0.3, (1, 3)) + rng.normal(0, 0.1, (5, 3))  # seeds differ by more than variants
    differences, halves = _differences(psnr_db)
    assert differences == pytest.approx(psnr_db.mean(1) - psnr_db[0].mean())
    assert halves == pytest.approx(np.full(5, halves[0]))
    left = psnr_db - psnr_db.mean(1)[:, None] - psnr_db.mean(0) + psnr_db.mean()
    t_of_8 = 3.2060  # two sides of 0.05 / 4, 8 degrees of freedom: (5 - 1) (3 - 1)
    assert halves[0] == pytest.approx(t_of_8 * np.sqrt((left**2).sum() / 8 * 2 / 3), rel=1e-3)


def test_a_seed_without_a_figure_is_left_out_of_its_variant_alone():
    psnr_db = np.array([[28.0, 28.2], [27.0, np.nan], [27.5, 27.6]])
    differences, halves = _differences(psnr_db)
    assert differences == pytest.approx([0, -1, -0.55])
    assert halves[1] == pytest.approx(halves[2] * np.sqrt(2))
    assert np.isnan(_differences(psnr_db[:2])[1]).all()


@pytest.mark.parametrize(
    ("sign", "difference", "half", "told"),
    [
        (-1, -0.5, 0.2, "agreed"),
        (-1, 0.5, 0.2, "not"),
        (-1, -0.1, 0.2, "cannot tell"),
        (1, 0.5, 0.2, "agreed"),
        (1, -0.5, 0.2, "not"),
        (0, 0.02, 0.05, "agreed"),
        (0, 0.02, 0.2, "cannot tell"),
        (0, 0.5, 0.2, "not"),
        (0, -0.5, 0.2, "not"),
        (1, 0.5, float("nan"), "cannot tell"),
        (None, 0.5, 0.2, ""),
    ],
)
def test_whether_a_paper_is_agreed_with(sign, difference, half, told):
    assert verdict(sign, difference, half) == told


def test_pictures_that_changed_between_trainings_are_named(file):
    import pandas as pd

    cards = [{"recipe": {"data": "./photos"}, "data_sha256": sha256} for sha256 in ("a", "b")]
    trained = [Trained("3x3", seed, 4, 512, "", card, []) for seed, card in enumerate(cards)]
    with pytest.raises(BenchError, match=r"The pictures of ./photos changed between two trainings"):
        rows_of(read_ablation(file), trained, pd.DataFrame())
