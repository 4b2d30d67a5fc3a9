"""The page of the ablations: a table and curves where one has been run, the paper's claim where none has."""

import pytest

import bench
from bench.training.ablation import read_ablation
from bench.training.ablation_runs import Trained, runs_of, write_runs
from tests.conftest import PLUGINS
from tests.docs.blocks import ROOT

FILES = sorted((ROOT / "results" / "ablations").glob("*.toml"))


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


def test_the_page_has_a_table_where_there_are_results_and_else_the_claim(generate, tmp_path, monkeypatch):
    text = (
        f'claim = "<b>More_is_more</b>"\nrestorer = "{PLUGINS}/net.py:Affine"\nsigma = 25\nseeds = [0, 1]\n'
        'steps = 4\ntest = "sample"\n[variants.a]\n[variants.b]\noptions = { size = 1 }\n'
    )
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(text)
    write_runs([], tmp_path / "two" / "runs.json")
    monkeypatch.setattr(generate.bench, "ablation", lambda file, format: f"| {file.stem} in {format} |")
    first, second = generate.ablations(tmp_path).split("\n## ")[1:]
    assert first.startswith(
        "one\n\n```sh\nbench ablate results/ablations/one.toml\n```\n\nThe paper: \\<b\\>More\\_is"
    )
    assert "Nobody has run it to its end here." in first
    assert second.endswith("| two in markdown |\n\n![Validation PSNR by steps](ablation-two.svg)\n")


def test_curves_are_drawn_of_the_means_over_seeds(generate, tmp_path):
    pytest.importorskip("matplotlib")
    curves = {
        0: [(0, None, 5.0), (2, 0.1, 20.0), (4, 0.1, 22.0)],
        1: [(0, None, 5.0), (2, 0.1, 21.0), (4, 0.1, 23.0)],
    }
    trained = [Trained(v, seed, 4, 512, "", {}, curve) for v in ("a & b", "c") for seed, curve in curves.items()]
    write_runs(trained, tmp_path / "runs.json")
    generate.draw_curves(tmp_path / "runs.json", tmp_path / "drawn.svg")
    assert (tmp_path / "drawn.svg").read_text().count('<g id="line2d_') > 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_this_projects_ablations_can_be_read(file):
    ablation = read_ablation(file)
    assert len(ablation.seeds) >= 2
    assert ablation.test not in {variant.recipe.data for variant in ablation.variants}


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.with_suffix("").exists()], ids=lambda file: file.stem
)
def test_the_results_are_of_the_files_budgets(file):
    report = bench.ablation(file)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_their_options_are_those_of_the_networks(file, tmp_path):
    pytest.importorskip("torch")
    assert all(run.macs_per_step for run in runs_of(read_ablation(file), tmp_path))
