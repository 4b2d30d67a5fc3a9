"""Listing finds what packages bring without importing anything of theirs, and a broken one costs itself."""

import sys
import zipfile

import pytest

import bench
from bench.errors import RequestError, RestorerError, WeightsError
from bench.plugins.installed import Sources, brought
from bench.plugins.registry import GROUP, choose, infos
from bench.plugins.weights import all_declarations, declarations, fault_of

GOOD = "class Mine(Restorer):\n    '''Does it.'''\n    name, tasks = {name!r}, {{'denoise'}}\n"

BROKEN = {
    "nul": (b"x = 1\0\n", "not valid Python"),
    "notutf8": (b"name = '\xff'\n", "not valid Python"),
    "nocookie": (b"# -*- coding: martian -*-\n", "not valid Python"),
    "nested": (b"x = " + b"(" * 10**5 + b")" * 10**5, "not valid Python|nested too deeply"),
    "minus": (b"x = " + b"-" * 10**5 + b"1", "nested too deeply"),
    "longsum": (b"x = " + b"1+" * 10**5 + b"1", "nested too deeply"),
    "huge": (b"# much\n" * 200_000, "bytes; of a plugin's source at most"),
    "number": (b"class Mine(Restorer):\n    name, tasks = 'number', 5\n", "sets `tasks` to 5"),
    "empty": (b"", "No class or function named 'Mine'"),
    "comma": (b"class Mine(Restorer):\n    name, tasks = 'a,b', {'denoise'}\n", "cannot be asked for"),
    "escape": (b"class Mine(Restorer):\n    name, tasks = '\\x1b[2J', {'denoise'}\n", "cannot be asked for"),
    "surrogate": (b"class Mine(Restorer):\n    name, tasks = '\\udcff', {'denoise'}\n", "cannot be asked for"),
    "terms": (
        b"class Mine(Restorer):\n    name, tasks, requires = 'terms', {'denoise'}, {'x': 5}\n",
        "sets `requires`",
    ),
    "othername": (GOOD.format(name="another").encode(), "its entry point says 'othername'"),
    "compiled": (None, "is compiled"),
    "missing": (None, "there is no module"),
    "looped": (None, "there is no module|looped"),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder of packages, each broken in its way, beside good ones whose parents must not be imported."""
    root = tmp_path_factory.mktemp("site")

    def package(name, *, init="raise SystemExit(0)\n", entry=None):
        (root / f"{name}_pkg").mkdir()
        (root / f"{name}_pkg/__init__.py").write_text(init)
        entry = entry or f"{name} = {name}_pkg.mod:Mine"
        info = root / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_bytes(
            entry if isinstance(entry, bytes) else f"[{GROUP}]\n{entry}\n".encode()
        )
        return root / f"{name}_pkg"

    for name in ("quits", "raises"):
        init = "raise SystemExit(0)\n" if name == "quits" else "raise RuntimeError\n"
        (package(name, init=init) / "mod.py").write_text(GOOD.format(name=name))
    (package("cookie") / "mod.py").write_bytes(
        b"# -*- coding: latin-1 -*-\n# \xe9\n" + GOOD.format(name="cookie").encode()
    )
    (package("bom") / "mod.py").write_bytes(b"\xef\xbb\xbf" + GOOD.format(name="bom").encode())
    circle = "class Mine(B):\n    name, tasks = 'circle', {'denoise'}\nclass B(Mine):\n    pass\n"
    (package("circle") / "mod.py").write_text(circle)
    many = "".join(f"class C{i}(C{i - 1}, C{i - 1}):\n    pass\n" for i in range(1, 60))
    first, last = "class C0:\n    name, tasks = 'diamonds', {'denoise'}\n", "class Mine(C59):\n    pass\n"
    (package("diamonds") / "mod.py").write_text(first + many + last)
    for name, (content, _) in BROKEN.items():
        folder = package(name)
        if content is not None:
            (folder / "mod.py").write_bytes(content)
    (root / "compiled_pkg/mod.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    (root / "compiled_pkg/mod.pyc").write_bytes(b"\0")
    (root / "looped_pkg/mod.py").symlink_to("mod.py")
    package("noclass", entry="noclass = noclass_pkg.mod")
    package("noname", entry=" = noname_pkg.mod:Mine")
    package("noequals", entry="just words")
    package("dots", entry="dots = ...:Mine")
    package("garbled", entry=b"\xff\xfe[bench.methods]\n")
    package("unrelated", entry=b"[console_scripts]\nwhatever\n")
    for name in ("twice", "again"):
        (package(name, entry=f"twice = {name}_pkg.mod:Mine") / "mod.py").write_text(GOOD.format(name="twice"))
    with zipfile.ZipFile(root / "zipped.zip", "w") as archive:
        archive.writestr("zipped_pkg/__init__.py", "")
        archive.writestr("zipped_pkg/mod.py", GOOD.format(name="zipped"))
    (root / "nozip.zip").write_bytes(b"PK\x03\x04 no more")
    package("zipped", entry="zipped = zipped_pkg.mod:Mine").joinpath("__init__.py").unlink()
    (root / "zipped_pkg").rmdir()
    (root / "space/within").mkdir(parents=True)  # without any __init__: namespace packages
    (root / "space/within/mod.py").write_text(GOOD.format(name="spaced"))
    package("spaced", entry="spaced = space.within.mod:Mine")
    return root


@pytest.fixture
def known(packages, monkeypatch):
    for place in (packages, packages / "zipped.zip", packages / "nozip.zip"):
        monkeypatch.syspath_prepend(str(place))
    before = {*sys.modules}
    infos.cache_clear()
    yield infos()
    infos.cache_clear()
    assert not [name for name in {*sys.modules} - before if name.partition(".")[0].endswith("_pkg")]


def test_every_broken_package_is_one_entry_with_its_fault_and_the_others_are_as_they_were(known):
    for name, (_, fault) in BROKEN.items():
        with pytest.raises(AssertionError, match=fault):
            raise AssertionError(known[name].fault)
    for name in ("quits", "raises", "cookie", "bom", "circle", "diamonds", "spaced", "noisy", "dncnn"):
        assert not known[name].fault, known[name].fault
        assert known[name].tasks
    for name in ("noclass", "noequals", "dots"):
        assert "expected name = module:Class" in known[name].fault
    assert "not UTF-8" in known["garbled"].fault
    assert known["zipped"].fault.endswith("lies within an archive: unpack it")
    assert {"twice_pkg.mod:Mine", "again_pkg.mod:Mine"} <= {*known}
    assert "unrelated" not in known


def test_a_listing_has_a_line_for_each(known):
    text = bench.listing("restorers")
    assert text.count("! unavailable: cannot be read") == sum(bool(info.fault) for info in known.values())
    assert all(line.isprintable() for line in text.split("\n"))


def test_who_asks_for_the_broken_one_is_told_and_the_others_are_measured(known, photos, tmp_path):
    words = {"datasets": photos, "sigma": 25, "store": tmp_path / "s.sqlite"}
    with pytest.raises(RequestError, match=r"Nothing to measure: number cannot be read: .* sets `tasks` to 5"):
        bench.preview("number", **words)
    told = bench.preview("number,noisy", **words)
    assert "skipped: number cannot be read" in told
    assert "3 of 3 cells to measure" in told


def test_a_package_that_is_there_twice_is_the_first_of_them(packages, monkeypatch, tmp_path):
    (tmp_path / "quits-2.dist-info").mkdir()
    (tmp_path / "quits-2.dist-info/METADATA").write_text("Name: quits\n")
    (tmp_path / "quits-2.dist-info/entry_points.txt").write_text(f"[{GROUP}]\nquits = elsewhere:Mine\n")
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [point.value for point in brought(GROUP) if point.name == "quits"] == ["elsewhere:Mine"]


class Demanding:
    """A finder with all three words of importlib's own call, as asv has one."""

    def find_spec(self, name, path, target):
        return None


class OfBefore:
    """A finder of before there was `find_spec`."""

    def find_module(self, name, path=None):
        return None


@pytest.mark.parametrize("finder", [Demanding(), OfBefore()], ids=lambda finder: type(finder).__name__)
def test_finders_of_others_are_asked_as_python_asks_them(monkeypatch, finder):
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert Sources().of("bench.methods.dncnn").name == "dncnn.py"


def test_the_sources_of_the_built_in_ones_are_found_whether_they_are_installed_or_in_a_checkout():
    assert Sources().of("bench.methods.dncnn").name == "dncnn.py"
    with pytest.raises(RestorerError, match=r"bench\.errors is a module, not a package"):
        Sources().of("bench.errors.nothing")


def test_a_file_that_is_no_source_is_told(tmp_path):
    for name, (content, fault) in BROKEN.items():
        if content is not None and name != "othername":
            (tmp_path / "it.py").write_bytes(content)
            with pytest.raises(RestorerError, match=fault):
                choose(f"{tmp_path}/it.py:Mine")
    with pytest.raises(RestorerError, match="File name too long"):
        choose(f"{'x' * 5000}.py:Mine")


# --- weights.toml ----------------------------------------------------------------------------------

ENTRY = {
    "settings": '[{ task = "denoise", channels = 1, levels = [25] }]',
    "path": '"one.safetensors"',
    "sha256": '"' + "0" * 64 + '"',
    "licence": '"MIT"',
    "trained_by": '"us"',
    "trained_on": '["sample"]',
}


def manifest(folder, **changed):
    lines = [f"{key} = {value}" for key, value in {**ENTRY, **changed}.items() if value is not None]
    (folder / "weights.toml").write_text("\n".join(['["mine.one"]', *lines]))
    declarations.cache_clear()
    return folder / "weights.toml"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"settings": "5"}, "settings is 5, expected a list of tables"),
        ({"settings": "[5]"}, "settings is .5., expected a list of tables"),
        ({"settings": "[{}]"}, "lack task"),
        ({"settings": '[{ task = "denois", channels = 1, levels = [25] }]'}, "No task named 'denois'. Did you mean"),
        ({"settings": '[{ task = "denoise", channels = "1", levels = [25] }]'}, "channels is '1', expected 1 or 3"),
        ({"settings": '[{ task = "denoise", channels = 1, levels = 25 }]'}, "levels is 25, expected some of a noise"),
        ({"settings": '[{ task = "denoise", channels = 1, levels = ["x"] }]'}, "levels is"),
        ({"settings": '[{ task = "denoise", channels = 1, levels = [nan] }]'}, "levels is"),
        ({"settings": '[{ task = "denoise", channels = 1, levels = [] }]'}, "levels is"),
        ({"settings": '[{ task = "denoise", channels = 1, levels = { from = 1 } }]'}, "lack to"),
        ({"variants": "5"}, "variants is 5, expected a list of texts"),
        ({"path": "5"}, "path is 5, expected text"),
        ({"path": '"a\\u0000b"'}, "path is .*, expected text"),
        ({"path": None}, "lack url"),
        ({"path": None, "url": '"https://x"'}, "lack file"),
        ({"path": None, "url": '"https://x"', "file": '"../../x"'}, "not a plain name"),
        ({"sha256": "5"}, "sha256 is 5, expected text"),
        ({"sha256": '"xyz"'}, "sha256 is 'xyz', expected hexadecimal"),
        ({"sha256": None}, "lack sha256"),
        ({"bytes": "-1"}, "bytes is -1, expected a whole number"),
        ({"bytes": "1.5"}, "bytes is 1.5"),
        ({"licence": None}, "lack licence"),
        ({"licence": "[]"}, r"licence is \[\], expected text"),
        ({"trained_by": '"them"'}, "trained_by is 'them', expected one of"),
        ({"trained_by": "[]"}, r"trained_by is \[\], expected text"),
        ({"trained_on": '"sample"'}, "trained_on is 'sample', expected a list of texts"),
        ({"loader": "{}"}, "loader is {}, expected text"),
    ],
    ids=str,
)
def test_a_wrong_declaration_is_one_line_that_names_file_entry_and_key(tmp_path, changed, said):
    with pytest.raises(WeightsError, match=f"weights.toml: weights 'mine.one'.* {said}") as raised:
        declarations(manifest(tmp_path, **changed))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"[", "weights.toml: "),
        (b"x = " + b"[" * 100_000, "weights.toml: "),
        (b"# much\n" * 200_000, "has more than 1048576 bytes"),
        (b"mine = 5", "weights 'mine': it is 5, expected a table"),
        (None, "is no file"),
    ],
    ids=["bytes", "syntax", "deep", "huge", "number", "folder"],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path, content, said):
    declarations.cache_clear()
    if content is None:
        (tmp_path / "weights.toml").mkdir()
    else:
        (tmp_path / "weights.toml").write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        declarations(tmp_path / "weights.toml")


def test_a_wrong_manifest_costs_its_own_package_alone(packages, known):
    (packages / "quits_pkg/weights.toml").write_text("mine = 5")
    declarations.cache_clear()
    try:
        assert "expected a table" in fault_of(known["quits"])
        assert "dncnn" in {d.restorer for d in all_declarations()}
        assert "! without weights: " in bench.listing("restorers")
    finally:
        (packages / "quits_pkg/weights.toml").unlink()
        declarations.cache_clear()
