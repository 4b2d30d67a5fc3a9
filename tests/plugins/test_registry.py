"""Restorers are found by name or in a file, described without being imported, and missed with help."""

import re
import sys
from dataclasses import replace

import pytest

from bench.errors import RestorerError
from bench.plugins import registry
from bench.plugins.installed import Point
from bench.plugins.registry import choose, choose_all, infos, load_class, made
from bench.plugins.source import Takes
from tests.conftest import BAD, PLUGINS

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


def test_of_packages_that_will_do_alike_one_is_enough(plugin):
    card = choose(f"{plugin}:Mine").info
    assert replace(card, requires={"no-such-package or numpy": ""}).unavailable is None
    assert replace(card, requires={"no-such-package or none-such": ""}).missing == ("no-such-package",)


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("version = VERSION", "sets `version` to what only running it would tell; expected a literal such as"),
        ("version = f'{1}'", "sets `version` to what only running it"),
        ("version = '1' + '2'", "sets `version` to what only running it"),
        ("version = 2", "sets `version` to 2; expected a literal such as version = "),
        ("version: str = str(3)", "sets `version` to what only running it"),
        ("version, other = '3', 4\n    version += 'b'", "sets `version` to what only running it"),
        ("if True:\n        version = '3'", "sets `version` to what only running it"),
        ("for version in '123':\n        pass", "sets `version` to what only running it"),
        ("@property\n    def version(self): return '3'", "sets `version` to what only running it"),
        ("other = version = VERSION", "sets `version` to what only running it"),
        ("(version, *rest) = VERSION", "sets `version` to what only running it"),
        ("variants = [name for name in 'ab']", "sets `variants` to what only running it"),
        ("variants = 'fast'", "sets `variants` to 'fast'; expected a literal such as variants = "),
        ("reads = ['a', 1]", "sets `reads` to .*; expected a literal such as reads = "),
        ("requires = ['numpy']", "sets `requires` to .*; expected a literal such as requires = "),
        ("needs_weights = 'no'", "sets `needs_weights` to 'no'"),
        ("tasks = 5", "sets `tasks` to 5; expected a literal such as tasks = "),
        ("tasks = 'denoise'", "sets `tasks` to 'denoise'; expected"),
        ("tasks = frozenset(TASKS)", "sets `tasks` to what only running it"),
        ("name = 7", "sets `name` to 7; expected"),
        ("devices = ('cpu',) + OTHERS", "sets `devices` to what only running it"),
    ],
)
def test_what_is_read_from_the_source_must_be_a_literal(tmp_path, attribute, says):
    path = tmp_path / "odd.py"
    path.write_text(f"class Odd(Restorer):\n    name, tasks = 'odd', {{'denoise'}}\n    {attribute}\n")
    with pytest.raises(RestorerError, match=f"class Odd {says}"):
        choose(f"{path}:Odd")


def test_literals_are_read_however_they_are_written(tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(
        "class Odd(Restorer):\n    [name, tasks], version = ('odd', frozenset(['denoise'])), '3'\n"
        "    label: str\n    a = variants = ['x']\n"
    )
    info = choose(f"{path}:Odd:x").info
    assert (info.name, info.tasks, info.version, info.variants) == ("odd", {"denoise"}, "3", ("x",))


def test_an_unknown_name_gets_the_near_miss_and_the_list():
    with pytest.raises(RestorerError, match=r"No restorer named 'nosiy'. Did you mean 'noisy'\? Known: .*bm3d"):
        choose("nosiy")


def test_a_path_that_was_split_at_its_comma_says_how_it_is_kept_whole():
    with pytest.raises(
        RestorerError, match=r"No restorer named './a'.* A path with a comma goes into quotes of its own"
    ):
        choose("./a")


def test_an_unknown_variant_gets_the_known_ones(plugin):
    with pytest.raises(RestorerError, match=r"no variant 'quick'\. It has: fast"):
        choose(f"{plugin}:Mine:quick")


def test_the_name_of_a_built_in_restorer_is_refused(plugin):
    with pytest.raises(RestorerError, match=r"my\.py: the name 'noisy' is a built-in restorer's\. Rename yours"):
        choose(f"{plugin}:Usurper")


def test_a_class_without_a_name_is_told_what_to_write(plugin):
    with pytest.raises(RestorerError, match="class Nameless must set `name` to a literal"):
        choose(f"{plugin}:Nameless")


def test_an_unknown_class_gets_the_near_miss(plugin):
    with pytest.raises(RestorerError, match=r"No class or function named 'Mien'\. Did you mean 'Mine'"):
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


# --- packages that bring restorers of one name ---------------------------------------------------------------


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages that each bring a restorer `mine`, and one that brings a `noisy`."""
    points = [Point("noisy", "bench.methods.identity:Noisy")]
    for package, name in (("pkg_a", "mine"), ("pkg_b", "mine"), ("pkg_c", "noisy")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        text = f"class Mine(Restorer):\n    name, tasks, variants = '{name}', {{'denoise'}}, ['fast']\n"
        (tmp_path / package / "mod.py").write_text(text)
        points.append(Point(name, f"{package}.mod:Mine"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "brought", lambda group: points)
    infos.cache_clear()
    yield tmp_path
    infos.cache_clear()
    for module in [name for name in sys.modules if name.startswith("pkg_")]:
        del sys.modules[module]


def test_each_of_two_that_share_a_name_is_asked_for_by_its_place(packages):
    assert [*infos()] == ["noisy", "pkg_a.mod:Mine", "pkg_b.mod:Mine", "pkg_c.mod:Mine"]
    one, other = choose("pkg_a.mod:Mine"), choose("pkg_b.mod:Mine:fast+@w")
    assert (one.name, other.name, other.weights) == ("mine", "mine:fast+", "w")
    assert one.info.target != other.info.target
    with pytest.raises(
        RestorerError, match=r"Several installed .* named 'mine'\. Ask for one: pkg_a\.mod:Mine, pkg_b\."
    ):
        choose("mine")


def test_a_package_that_takes_a_built_ins_name_costs_itself(packages):
    assert choose("noisy").info.is_built_in
    assert infos()["pkg_c.mod:Mine"].unavailable == (
        "cannot be read: its name, 'noisy', is a built-in restorer's: rename it"
    )


def test_a_file_may_share_the_name_of_a_package_that_is_installed(packages, plugin):
    assert choose(f"{plugin}:Mine").name == "mine"


def test_what_comes_with_a_restorer_lies_beside_its_module_or_in_a_package_around_it(packages):
    info = choose("pkg_a.mod:Mine").info
    assert info.companion("weights.toml") == packages / "pkg_a/weights.toml"
    deep = replace(info, source=packages / "pkg_a/nets/deep.py")
    (packages / "pkg_a/nets").mkdir()
    (packages / "weights.toml").write_text("")
    assert deep.companion("weights.toml") == packages / "pkg_a/nets/weights.toml"
    (packages / "pkg_a/nets/__init__.py").write_text("")
    (packages / "pkg_a/weights.toml").write_text("")
    assert deep.companion("weights.toml") == packages / "pkg_a/weights.toml"
    (packages / "pkg_a/nets/weights.toml").write_text("")
    assert deep.companion("weights.toml") == packages / "pkg_a/nets/weights.toml"


# --- parameters ----------------------------------------------------------------------------------------

WITH_PARAMETERS = """
from dataclasses import dataclass
from typing import ClassVar
from bench.restorer import Restorer, TorchRestorer
from elsewhere import Base

class Plain(Restorer):
    name, tasks = "plain", {"denoise"}

class Usual(Restorer):
    name, tasks, variants = "usual", {"denoise"}, ("v",)
    def __init__(self, variant="", weights=None, radius=2, *, steps):
        super().__init__(variant, weights)
        self.given = radius, steps

class Heir(Usual):
    name = "heir"

class Short(Restorer):
    name, tasks, variants = "short", {"denoise"}, ("v",)
    def __init__(self, radius=2):
        self.given = radius,

@dataclass
class Fields(Restorer):
    name, tasks = "fields", {"denoise"}
    count: ClassVar[int] = 0
    radius: int
    mode: str = "fast"
    @property
    def given(self):
        return self.radius, self.mode

@dataclass
class MoreFields(Fields):
    name = "more"
    steps: int = 7

class Open(Restorer):
    name, tasks = "open", {"denoise"}
    def __init__(self, variant="", weights=None, **given):
        super().__init__(variant, weights)
        self.given = tuple(given.items())

class Passing(Restorer):
    name, tasks, variants = "passing", {"denoise"}, ("v",)
    def __init__(self, *args, radius=2):
        super().__init__(*args)
        self.given = radius,

class Foreign(Base):
    name, tasks = "foreign", {"denoise"}
"""
ELSEWHERE = """
from bench.restorer import Restorer

class Base(Restorer):
    def __init__(self, radius=2):
        self.given = radius,
"""


@pytest.fixture
def family(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    path = tmp_path / "family.py"
    path.write_text(WITH_PARAMETERS)
    yield path
    for name in ("family", "elsewhere"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("Plain(radius=3)", "plain has no parameter 'radius'. It has none."),
        ("Usual(radus=3, steps=1)", "usual has no parameter 'radus'. Did you mean 'radius'? It has: radius, steps."),
        ("Usual(radius=3)", "usual needs steps: ask for it as usual(steps=…)."),
        ("Usual", "usual needs steps: ask for it as usual(steps=…)."),
        ("Heir", "heir needs steps: ask for it as heir(steps=…)."),
        ("Heir(step=3)", "heir has no parameter 'step'. Did you mean 'steps'? It has: radius, steps."),
        ("Short(mode=3)", "short has no parameter 'mode'. It has: radius."),
        ("Fields(rad=3)", "fields has no parameter 'rad'. Did you mean 'radius'? It has: radius, mode."),
        ("Fields(count=3)", "fields has no parameter 'count'. It has: radius, mode."),
        ("MoreFields", "more needs radius: ask for it as more(radius=…)."),
        ("Passing(size=1)", "passing has no parameter 'size'. It has: radius."),
    ],
)
def test_a_wrong_or_missing_parameter_is_named_before_anything_runs(family, asked, says):
    with pytest.raises(RestorerError) as raised:
        choose(f"{family}:{asked}")
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("asked", "given", "variant"),
    [
        ("Usual:v(steps=3)", (2, 3), "v"),
        ("Heir(radius=4, steps=3)", (4, 3), ""),
        ("Short:v(radius=5)", (5,), "v"),
        ("Fields(radius=1)", (1, "fast"), ""),
        ("MoreFields(radius=1, mode=slow)", (1, "slow"), ""),
        ("Open(a=1, b=(2, x))", (("a", 1), ("b", (2, "x"))), ""),
        ("Passing:v(radius=3)", (3,), "v"),
        ("Foreign(radius=3)", (3,), ""),
    ],
)
def test_a_class_is_made_with_them(family, asked, given, variant):
    spec = choose(f"{family}:{asked}")
    cls = load_class(spec.info.target)
    restorer = made(type(cls.__name__, (cls,), {"restore": None}), spec.variant, None, spec.parameters)
    assert (restorer.given, restorer.variant, restorer.weights) == (given, variant, None)


def test_what_only_the_loaded_class_tells_is_told_as_well(family):
    spec = choose(f"{family}:Foreign(radus=3)")
    with pytest.raises(
        RestorerError, match=r"foreign has no parameter 'radus'\. Did you mean 'radius'\? It has: radius"
    ):
        made(load_class(spec.info.target), "", None, spec.parameters)


def test_parameters_are_part_of_the_name_and_a_sweep_is_several(family):
    names = [spec.name for spec in choose_all(f"{family}:Usual:v(steps=1|2, radius='3')+")]
    assert names == ["usual:v(radius='3', steps=1)+", "usual:v(radius='3', steps=2)+"]
    with pytest.raises(RestorerError, match="asks for 2 restorers; expected one"):
        choose(f"{family}:Usual(steps=1|2)")


def test_a_home_folder_and_odd_signs_lead_to_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "a, b@c (d)"
    folder.mkdir()
    (folder / "my.py").write_text(PLUGIN)
    spec = choose("'~/a, b@c (d)/my.py':Net@'~/a, b@c (d)/w.pt'")
    assert spec.info.source == folder / "my.py"
    assert spec.weights == str(folder / "w.pt")


ADAPTER = replace(
    choose("noisy").info, name="adapter", adapts=("onnx", "pt2"), needs_weights=True, takes=Takes({}, False)
)


def test_an_adapter_is_asked_for_with_its_file(monkeypatch):
    known = {**infos(), "adapter": ADAPTER, "other": replace(ADAPTER, name="other", adapts=("net",))}
    monkeypatch.setattr(registry, "infos", lambda: known)
    spec = choose("adapter:./m@1.onnx(range=255)+")
    assert spec.weights == "./m@1.onnx"
    assert spec.name == "adapter(range=255)+"
    assert choose("adapter(range=255)+@./m@1.onnx") == spec
    with pytest.raises(
        RestorerError, match=r"adapter runs files \.onnx, \.pt2, not m\.net\. Files \.net are run by other"
    ):
        choose("adapter:m.net")


TWICE = """
from bench.restorer import WithDenoiser


class Twice(WithDenoiser):
    name, tasks = "twice", {"denoise"}

    def restore(self, seen):
        return self.denoiser(self.denoiser(seen.image, seen.sigma), seen.sigma)
"""


@pytest.mark.parametrize(
    ("asked", "name", "inside", "weights"),
    [
        ("vst:bm3d", "vst:bm3d", "bm3d", ""),
        ("vst:dncnn:bf16@ours", "vst:dncnn:bf16", "dncnn:bf16", "ours"),
        ("pnp:ffdnet(steps=4)+", "pnp:ffdnet(steps=4)+", "ffdnet", ""),
        (f"pnp:{PLUGINS}/simple.py:Box", "pnp:box", "box", ""),
        ("FILE:Twice:dncnn@published", "twice:dncnn", "dncnn", "published"),
    ],
)
def test_a_denoiser_inside_is_named_behind_the_colon(tmp_path, asked, name, inside, weights):
    (tmp_path / "twice.py").write_text(TWICE, encoding="utf-8")
    spec = choose(asked.replace("FILE", str(tmp_path / "twice.py")))
    assert (spec.name, spec.inside.name, spec.inside.weights, spec.weights) == (name, inside, weights, "")
    assert spec.code_sha256 not in (spec.info.code.sha256, spec.inside.code_sha256)
    assert {*spec.inside.code.held} <= {*spec.code.held}


def test_what_the_one_inside_needs_is_needed():
    spec = choose("vst:bm3d:package")
    assert "bm3d" in spec.info.requires
    assert "bm3d" not in choose("vst:bm3d").info.requires


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("vst", "vst takes a denoiser: ask for it as vst:NAME, e.g. vst:bm3d."),
        ("pnp:", "pnp takes a denoiser: ask for it as pnp:NAME, e.g. pnp:bm3d."),
        ("pnp:malvar", "pnp:malvar: malvar is not a denoiser, which pnp takes."),
        ("vst:pnp:bm3d", "vst:pnp:bm3d: pnp:bm3d is not a denoiser, which vst takes."),
        ("pnp:onnx:net.onnx", "pnp takes no network in a file: onnx is asked for alone."),
        ("vst:torchscript@net.pt", "vst takes no network in a file: torchscript is asked for alone."),
        ("vst:bmd3", "No restorer named 'bmd3'. Did you mean 'bm3d'?"),
        ("vst:dncnn:bf17", "dncnn has no variant 'bf17'."),
        ("pnp:nlm(step=3)", "pnp has no parameter 'step'. Did you mean 'steps'?"),
        ("vst:nlm(steps=3)", "vst has no parameter 'steps'."),
    ],
)
def test_a_denoiser_that_will_not_do_inside_is_named(asked, says):
    with pytest.raises(RestorerError, match=re.escape(says)):
        choose(asked)
