"""A recipe has defaults; all of it that will not do is told, a line each: file, recipe, key, found, expected."""

import contextlib
from dataclasses import fields
from pathlib import Path

import pytest
from bench.data.toml import tomllib
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import RecipeError, RequestError, TrainingError
from bench.plugins.registry import choose
from bench.training import recipe as recipes
from bench.training.recipe import Recipe, find_recipe, read_recipes
from bench.training.template import write_new
from tests.conftest import PLUGINS

TEXT = (PLUGINS / "recipes" / "affine.toml").read_text()


def lines_without(key):
    return "\n".join(line for line in TEXT.splitlines() if line.partition(" =")[0] != key)


def told_of(path, content):
    """What is said of a file of this content."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingError) as error:
        read_recipes(path)
    said = str(error.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    return said.removeprefix(str(path))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("source", 3, "a text"),
        ("task", "[1]", "a text"),
        ("channels", 2, "1 or 3"),
        ("channels", "true", "a whole number"),
        ("data", "{ a = 1 }", "a text"),
        ("held_out", 0, "more than 0, and 1000000000 at most"),
        ("crop", 2.5, "a whole number"),
        ("batch", 0, "more than 0, and 10000 at most"),
        ("steps", 10**10, "more than 0, and 1000000000 at most"),
        ("lr", -1, "more than 0, and 1000 at most"),
        ("lr", "nan", "a number"),
        ("lr", "'fast'", "a number"),
        ("lr", 10**400, "a number"),
        ("eps", "inf", "a number"),
        ("clip", -0.1, "0 or more"),
        ("ema", 1, "0 or more, and less than 1"),
        ("bf16", 1, "true or false"),
        ("seed", -1, "0 to 9223372036854775807"),
        ("warm_up", 0.5, "a whole number"),
        ("decay", 0, "0.000001 to 1"),
        ("decay_every", 1e-300, "0.000001 to 1"),
        ("decay_at", 0.5, "a list of numbers"),
        ("decay_at", "[0.5, 0.5]", "fractions of 1 that rise"),
        ("backtrack_factor", 0, "more than 0, and 1 at most"),
        ("levels", 25, "a list of levels"),
        ("levels", "[true]", "a list of levels"),
        ("levels", "[15, 15.0]", "each once"),
        ("also", "[1]", "a table of tasks, each with a list of levels"),
        ("also", "{ deblock = 10 }", "a table of tasks, each with a list of levels"),
        ("also.deblock", "[]", "levels of another task than denoise"),
        ("also.denoise", "[25]", "levels of another task than denoise"),
        ("also.deblock", "[10, 10.0]", "each once"),
        ("options", 3, "a table of texts, numbers and lists"),
        ("options", "{ day = 1979-05-27 }", "a table of texts, numbers and lists"),
    ],
)
def test_a_value_that_will_not_do_is_named_with_what_was_expected(tmp_path, key, value, expected):
    said = told_of(tmp_path / "r.toml", f"{lines_without(key)}\n{key} = {value}\n")
    assert said.startswith(f", recipe 'quick': {key} is ")
    assert said.endswith(f", expected {expected}.")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "'demosaick'"}, "channels is 1, expected 3 for demosaick"),
        ({"task": "'denois'"}, "No task named 'denois'. Did you mean 'denoise'?"),
        ({"schedule": "'cosin'"}, "No schedule named 'cosin'. Did you mean 'cosine'?"),
        ({"also": "{ demosaick = ['RGGB'] }"}, "channels is 1, expected 3 for demosaick"),
        ({"also": "{ deblok = [10] }"}, "No task named 'deblok'. Did you mean 'deblock'?"),
        ({"also": "{ deblock = [101] }"}, "deblock takes a JPEG quality"),
        (
            {"also": "{ deblock = [10] }", "teacher": "'dncnn@published'"},
            "teacher is 'dncnn@published', which answers denoise alone, expected none with also",
        ),
        ({"levels": "['RGGB']"}, "denoise takes a noise standard deviation"),
        (
            {"batch": 10_000, "crop": 1000},
            "10000 crops of 1000x1000 pixels, expected 100000000 pixels a step",
        ),
        ({"lrr": 1}, "No key named 'lrr'. Did you mean 'lr'?"),
        ({"like": 3}, "like = 3, expected one above it: none is"),
        ({"like": "'quick'"}, "like = 'quick', expected one above it: none is"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_named(tmp_path, change, says):
    text = "\n".join(line for line in TEXT.splitlines() if line.partition(" =")[0] not in change)
    changed = "\n".join(f"{key} = {value}" for key, value in change.items())
    assert says in told_of(tmp_path / "r.toml", f"{text}\n{changed}\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "has no recipe, expected a table at least: [ours]"),
        ("lr = 3", "lr = 3 stands in no recipe, expected a table [lr]"),
        ("[[quick]]\nlr = 3", "quick = [{'lr': 3}] stands in no recipe"),
        ("[quick", "Expected ']' at the end of a table"),
        (b"\xff\xfe", "is no UTF-8 text (byte 0)"),
        (f"a = {'[' * 3000}", "nested too deeply"),
        (f"a = {'9' * 5000}", "digits"),
        ("#" * 2_000_000, "has more than 1048576 bytes: not read"),
    ],
    ids=range(8),
)
def test_a_file_that_holds_no_recipes_is_named(tmp_path, content, says):
    assert says in told_of(tmp_path / "r.toml", content)


def test_a_folder_is_no_recipe_file(tmp_path):
    with pytest.raises(TrainingError, match=r"cannot be read \(Is a directory\)"):
        read_recipes(tmp_path)


def test_a_long_chain_of_recipes_is_read(tmp_path):
    tables = [f"[r{n}]\nlike = '{'quick' if n == 0 else f'r{n - 1}'}'\nseed = {n}\n" for n in range(1100)]
    (tmp_path / "r.toml").write_text(TEXT + "".join(tables))
    assert read_recipes(tmp_path / "r.toml")["r1099"].seed == 1099


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400)
VALUES = st.recursive(
    PLAIN, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=3), one, max_size=2)
)


@given(
    st.dictionaries(st.sampled_from(sorted(Recipe.__dataclass_fields__)) | st.text(max_size=8), VALUES, max_size=4)
)
def test_whatever_a_table_holds_it_is_a_recipe_or_one_line(change):
    good = tomllib.loads(TEXT)["quick"]
    with contextlib.suppress(TrainingError):
        made = recipes.recipe_of("quick", {**good, **change})
        assert 0 < made.lr <= 1000
        assert made.as_dict()["name"] == "quick"


# --- one to begin with ---


def test_a_recipe_to_begin_with_says_every_key_and_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_new(Path("mine.toml"))
    text = Path("mine.toml").read_text()
    assert read_recipes(Path("mine.toml")) == {"mine": Recipe("mine")}
    assert {*tomllib.loads(text)["mine"]} == {f.name for f in fields(Recipe)} - {"name"}
    assert max(map(len, text.splitlines())) <= 118


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("noisy", ("denoise", 1, "bsd400", "--sigma 25")),
        ("jpeg", ("deblock", 1, "cbsd400", "--quality 30")),
        ("bilinear", ("demosaick", 3, "cbsd400", "--pattern RGGB")),
        ("bicubic", ("superres", 1, "cbsd400", "--scale 3")),
        (f"{PLUGINS}/net.py:Affine", ("denoise", 1, "bsd400", "--sigma 25")),
    ],
)
def test_it_is_for_what_the_restorer_does(tmp_path, name, expected):
    told = write_new(tmp_path / "a b.toml", name)
    recipe = read_recipes(tmp_path / "a b.toml")["mine"]
    assert (recipe.task, recipe.channels, recipe.data) == expected[:3]
    assert told.endswith(f"bench train {name} --recipe '{tmp_path}/a b.toml' {expected[3]}")


def test_it_is_not_written_over_a_file_unless_that_is_asked_for(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(RequestError, match="the file is there already"):
        write_new(path)
    assert path.read_text() == "precious"
    write_new(path, force=True)
    assert read_recipes(path)


@pytest.mark.parametrize(
    ("file", "says"), [("mine", "a recipe is a .toml file, e.g. mine.toml"), ("a/b.toml", "there is no folder a")]
)
def test_a_place_that_will_not_do_is_named(tmp_path, monkeypatch, file, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=f"--new {file}: {says}"):
        write_new(Path(file))


def test_what_a_recipe_does_not_say_has_a_default(tmp_path):
    (tmp_path / "mine.toml").write_text("[mine]\nsteps = 3\n")
    assert read_recipes(tmp_path / "mine.toml") == {"mine": Recipe("mine", steps=3)}


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[a]\nlrr = 1\nlr = -1\nbatch = 'x'\ntask = 'denoice'\n[b]\nlevels = [1, 1]\noptimizer = 'sgdm'\n"
        "batch = 10000\ncrop = 1000\n"
    )
    with pytest.raises(RecipeError) as error:
        read_recipes(path)
    assert [line.removeprefix(f"{path}, recipe ") for line in error.value.lines] == [
        "'a': No key named 'lrr'. Did you mean 'lr'?",
        "'a': batch is 'x', expected a whole number.",
        "'a': lr is -1, expected more than 0, and 1000 at most.",
        error.value.lines[3].removeprefix(f"{path}, recipe "),
        "'b': No optimizer named 'sgdm'. Did you mean 'sgd'? Known: adam, sgd, soap.",
        "'b': levels is [1.0, 1.0], expected each once.",
        "'b': batch = 10000 crops of 1000x1000 pixels, expected 100000000 pixels a step at most.",
    ]
    assert "'a': No task named 'denoice'. Did you mean 'denoise'?" in error.value.lines[3]


def test_the_command_line_prints_a_line_for_each(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[mine]\nlrr = 1\n'a\\nb' = 1\nlr = -1\n")
    with pytest.raises(SystemExit) as ended:
        main(["train", "sc", "--recipe", str(tmp_path / "mine.toml"), "--sigma", "25"])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all(line.startswith(f"bench: {tmp_path}/mine.toml, recipe 'mine': ") for line in said)


def test_a_recipe_of_any_file_is_found(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text("[one]\n[two]\nlr = 0.5\n")
    info = choose("sc").info
    assert find_recipe(info, str(path)).name == "one"
    assert find_recipe(info, f"{path}:two").lr == 0.5
    with pytest.raises(TrainingError, match=r"two\.toml: No recipe named 'tow'. Did you mean 'two'?"):
        find_recipe(info, f"{path}:tow")
    with pytest.raises(
        TrainingError, match=r"There is no recipe .*x\.toml. Write one to begin with: bench train --new"
    ):
        find_recipe(info, f"{tmp_path}/x.toml")


def test_a_recipe_of_one_task_is_written_as_before_there_were_several():
    """Else no checkpoint, card or kept result of then would be known again."""
    assert "also" not in Recipe("mine").as_dict()
    assert Recipe("mine", also={"deblock": (10.0,)}).as_dict()["also"] == {"deblock": (10.0,)}
