"""Restorers are found by name or in a file, described without being imported, and missed with help."""

import sys

import pytest

from bench.errors import RestorerError
from bench.plugins.registry import choose, infos, load_class
from tests.conftest import BAD

PLUGIN = '''
"""A plugin under test."""
raise RuntimeError("imported")
from bench.restorer import Restorer, TorchRestorer

class Base(Restorer):
    tasks = frozenset({"denoise", "deblock"})

class Mine(Base):
    """Does nothing much.

    At length.
    """
    name, version = "mine", "7"
    requires = {"numpy": "", "no-such-package": "for poets only"}
    variants = ("fast",)

class Net(TorchRestorer):
    name = "net"
    tasks = {"denoise"}

class Nameless(Restorer):
    tasks = {"denoise"}

class Usurper(Restorer):
    name, tasks = "noisy", {"denoise"}
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(PLUGIN)
    return path


def test_a_card_is_read_without_importing_the_file(plugin):
    card = choose(f"{plugin}:Mine").info
    assert (card.name, card.summary) == ("mine", "Does nothing much.")
    assert card.tasks == {"denoise", "deblock"}
    assert card.variants == ("fast",)
    assert not card.needs_weights


def test_a_torch_restorer_needs_weights(plugin):
    assert choose(f"{plugin}:Net").info.needs_weights


def test_a_missing_package_makes_it_unavailable_and_says_the_remedy(plugin):
    card = choose(f"{plugin}:Mine").info
    assert card.missing == ("no-such-package",)
    assert "pip install no-such-package" in card.unavailable


def test_the_version_of_a_file_changes_with_its_content(plugin):
    before = choose(f"{plugin}:Mine").info.version
    plugin.write_text(PLUGIN + "\n")
    after = choose(f"{plugin}:Mine").info.version
    assert before.startswith("7+")
    assert before != after


def test_an_unknown_name_gets_the_near_miss_and_the_list():
    with pytest.raises(RestorerError, match=r"No restorer named 'nosiy'. Did you mean 'noisy'\? Known: .*bm3d"):
        choose("nosiy")


def test_an_unknown_variant_gets_the_known_ones(plugin):
    with pytest.raises(RestorerError, match=r"no variant 'quick'\. It has: fast"):
        choose(f"{plugin}:Mine:quick")


def test_two_restorers_of_one_name_are_an_error_that_names_both_files(plugin):
    with pytest.raises(RestorerError, match=r"named 'noisy': .*my\.py and .*identity\.py"):
        choose(f"{plugin}:Usurper")


def test_a_class_without_a_name_is_told_what_to_write(plugin):
    with pytest.raises(RestorerError, match="class Nameless must set `name` to a literal"):
        choose(f"{plugin}:Nameless")


def test_an_unknown_class_gets_the_near_miss(plugin):
    with pytest.raises(RestorerError, match=r"No class named 'Mien'\. Did you mean 'Mine'"):
        choose(f"{plugin}:Mien")


def test_a_file_that_is_not_python_is_named_with_the_line(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nclass (:\n")
    with pytest.raises(RestorerError, match=r"broken\.py, line 2: not valid Python"):
        choose(f"{path}:Mine")


def test_what_stands_behind_the_at_sign_is_kept():
    spec = choose("dncnn:bf16@published")
    assert (spec.info.name, spec.variant, spec.weights) == ("dncnn", "bf16", "published")
    assert spec.name == "dncnn:bf16"


def test_a_class_that_is_no_restorer_is_refused(tmp_path):
    path = tmp_path / "other.py"
    path.write_text("class Other:\n    name, tasks = 'other', {'denoise'}\n")
    with pytest.raises(RestorerError, match="not a class derived from"):
        load_class(f"{path}:Other")
    sys.modules.pop("other")


def test_every_built_in_is_readable():
    assert len(infos()) >= 11
    assert not [card for card in infos().values() if card.fault]


def test_the_cards_of_the_built_in_say_whether_they_need_weights():
    for card in infos().values():
        assert card.needs_weights == load_class(card.target).needs_weights, card.name


def test_a_file_restorer_loads():
    assert load_class(choose(f"{BAD}:Prints").info.target).name == "prints"


def test_a_built_in_may_also_be_named_by_its_file():
    card = infos()["noisy"]
    assert choose(f"{card.source}:Noisy").info.name == "noisy"
