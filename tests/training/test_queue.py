"""The queue of weights that deserve more training: the page follows the file, and what is wrong in it is named."""

import shlex
from pathlib import Path

import pytest
import typer

from bench.cli.commands import app
from bench.errors import TrainingError
from bench.plugins.registry import choose
from bench.plugins.weights import named
from bench.training.queue import page, wanted

ROOT = Path(__file__).parents[2]

GOOD = {
    "restorer": "groupsc",
    "sigma": 25,
    "recipe": "gpu",
    "start": "groupsc-gray-25.safetensors",
    "tag": "groupsc.gray-25",
    "minutes": 3,
    "why": "29.01 dB",
    "goal": "29.20 dB",
}


def queue_of(folder, *tables):
    """A file with these tables for entries; a value None leaves its key out."""
    file = folder / "wanted.toml"
    lines = []
    for table in tables:
        lines.append("[[wanted]]")
        lines += [f"{key} = {value!r}" for key, value in table.items() if value is not None]
    file.write_text("\n".join(lines))
    return file


def test_an_entry_knows_its_training_set_command_and_folder(tmp_path):
    [entry] = wanted(queue_of(tmp_path, GOOD))
    assert entry.levels == {"sigma": "25"}
    assert entry.data == "bsd400"
    assert entry.folder == "groupsc-gray-25"
    assert entry.command == (
        "bench train groupsc --sigma 25 --recipe gpu --device cuda"
        " --start methods/weights/groupsc-gray-25.safetensors"
    )


def test_an_entry_may_begin_from_nothing_at_the_levels_of_its_recipe(tmp_path):
    [entry] = wanted(queue_of(tmp_path, GOOD | {"recipe": "blind-gpu", "sigma": None, "start": None, "tag": None}))
    assert (entry.levels, entry.start, entry.tag) == ({}, "", "")
    assert entry.command == "bench train groupsc --recipe blind-gpu --device cuda"
    assert entry.folder == "groupsc-denoise-blind"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sgima": 25}, "No key named 'sgima'. Did you mean 'sigma'?"),
        ({"goal": None}, "lacks the key 'goal'"),
        ({"goal": 29.2}, "goal = 29.2, expected a text"),
        ({"minutes": 0}, "minutes = 0, expected a number above 0"),
        ({"restorer": "gruopsc"}, "No restorer named 'gruopsc'. Did you mean 'groupsc'?"),
        ({"restorer": "nsr:sparse"}, "nsr has no variant 'sparse'"),
        ({"restorer": "bm3d"}, "There is no recipe for bm3d"),
        ({"recipe": "gpuu"}, "No recipe named 'gpuu'. Did you mean 'gpu'?"),
        ({"start": "groupsc-gray-52.safetensors"}, "No start named 'groupsc-gray-52.safetensors'. Did you mean"),
        ({"start": "sc-gray-25.safetensors"}, "No start named 'sc-gray-25.safetensors'"),
        ({"tag": "groupsc.grey-25"}, "No tag named 'groupsc.grey-25'. Did you mean 'groupsc.gray-25'?"),
        ({"sigma": None}, "level: none; the recipe 'gpu' takes sigma"),
        ({"quality": 10}, "level: sigma, quality; the recipe 'gpu' takes sigma"),
        ({"recipe": "jpeg-gpu"}, "level: sigma; the recipe 'jpeg-gpu' takes none"),
        ({"sigma": "15,25"}, "sigma = '15,25'; denoise takes a noise standard deviation"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_file_and_entry(tmp_path, change, says):
    file = queue_of(tmp_path, GOOD | {"sigma": 15}, GOOD | change)
    with pytest.raises(TrainingError) as error:
        wanted(file)
    assert str(error.value).startswith(f"{file}, entry 2")
    assert says in str(error.value)


def test_the_same_training_is_wanted_once(tmp_path):
    with pytest.raises(TrainingError, match=r"entry 2: groupsc, gray, sigma 25 stands in it already"):
        wanted(queue_of(tmp_path, GOOD, GOOD))


@pytest.mark.parametrize(
    ("text", "says"),
    [("[[wnated]]", "No table named 'wnated'. Did you mean 'wanted'?"), ("[[wanted", "Expected ']]'")],
)
def test_a_file_that_is_no_queue_is_named(tmp_path, text, says):
    file = tmp_path / "wanted.toml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=r"wanted\.toml: ") as error:
        wanted(file)
    assert says in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrainingError, match="There is no queue"):
        wanted(tmp_path / "wanted.toml")


# --- the committed queue -----------------------------------------------------------------------------


def test_the_page_is_the_one_written_from_the_queue():
    committed = (ROOT / "methods" / "weights" / "WANTED.md").read_bytes()
    assert committed == page(wanted()).encode()


def test_a_bar_in_a_text_does_not_end_its_cell(tmp_path):
    row = page(wanted(queue_of(tmp_path, GOOD | {"why": "a|b"}))).splitlines()[-1]
    assert r"| a\|b |" in row


@pytest.mark.parametrize("entry", wanted(), ids=lambda entry: entry.folder)
class TestEveryEntry:
    def test_begins_from_a_file_of_its_restorer_or_from_nothing(self, entry):
        ours = [d.path.name for d in named([choose(entry.restorer).info.name]) if d.path is not None]
        assert entry.start in ["", *ours]

    def test_would_replace_weights_of_its_own_training_set(self, entry):
        if entry.tag:
            [declaration] = named([entry.tag])
            assert declaration.trained_on == (entry.data,)

    def test_has_a_command_that_bench_train_takes(self, entry):
        program, *words = shlex.split(entry.command)
        assert program == "bench"
        command = typer.main.get_command(app).commands["train"]
        assert words.pop(0) == "train"
        options = command.make_context("train", words).params
        assert (options["name"], options["recipe"]) == (entry.restorer, entry.recipe)
        assert {k: options[k] for k in entry.levels} == entry.levels

    def test_has_a_folder_of_letters_digits_and_dashes(self, entry):
        assert entry.folder.replace("-", "").isalnum()
        assert entry.folder.isascii()
