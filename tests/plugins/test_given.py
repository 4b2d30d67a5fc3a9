"""Weights that a user names behind the @: who takes them, by which reader, and what is said before anything runs."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from bench.methods.sc import SC
from PIL import Image
from safetensors.torch import load_file

import bench
from bench.errors import WeightsError
from bench.plugins.cards import remarks, settings
from bench.plugins.registry import choose, load_class
from bench.plugins.weights import check_origin, file_named, pick
from bench.tasks import Setting
from tests.checkpoint_files import BROKEN, FOREIGN, READ, safetensors, saved, values, write
from tests.methods.published import mirror_folder

GRAY = Setting("denoise", 25.0, 1)

CONV = """
from torch import nn
from bench.restorer import Restorer, TorchRestorer

class Conv(TorchRestorer):
    name, tasks = "conv", {"denoise"}

    def network(self, setting):
        c = setting.channels
        return nn.Sequential(nn.Conv2d(c, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, c, 3, padding=1))
"""


@pytest.fixture
def conv(tmp_path):
    """A network that the files of READ fit, and a folder of one picture."""
    (tmp_path / "net.py").write_text(CONV)
    (tmp_path / "gray").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 200).save(tmp_path / "gray" / "a.png")
    return f"{tmp_path}/net.py:Conv"


def measure(tmp_path, *methods, sigma=25):
    return bench.run([*methods], datasets=[tmp_path / "gray"], sigma=sigma, store=tmp_path / "s.sqlite")


# --- what becomes of files ---------------------------------------------------------------------------------


def test_one_network_gives_one_figure_whatever_its_weights_are_kept_in(conv, tmp_path):
    kinds = ["safetensors", "state dict", "params", "module in state_dict", "before torch 1.6", "compiled"]
    outcome = measure(tmp_path, *(f"{conv}@{write(tmp_path, kind)}" for kind in kinds))
    assert [record.status for record in outcome.records] == ["ok"] * len(kinds)
    assert len({record.psnr_db for record in outcome.records}) == 1
    assert not outcome.plan.notes


REFUSED_BY_ALL = sorted(BROKEN.keys() - {"half a file of old", "a third of a file of old", "a flipped bit"})
PROGRAMS = ["onnx", "torchscript", "a whole model", "numbers of numpy", "a plain pickle"]
REFUSED = [*REFUSED_BY_ALL, *PROGRAMS, "keras", "a zip"]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_before_anything_is_measured(conv, tmp_path, kind):
    with pytest.raises(WeightsError) as caught:
        measure(tmp_path, f"{conv}@{write(tmp_path, kind)}")
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/{write(tmp_path, kind).name} ")
    assert line.endswith(".")
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize("kind", ["two networks", "a flipped bit"])
def test_what_only_reading_tells_costs_its_own_cells_in_a_line(conv, tmp_path, kind):
    [record] = measure(tmp_path, f"{conv}@{write(tmp_path, kind)}").records
    assert record.status == "failed"
    assert write(tmp_path, kind).name in record.reason
    assert "weights_only" not in record.reason


@pytest.mark.parametrize(
    ("weights", "says"),
    [("none.pth", "there is no file"), (".", "that is a folder"), ("publishd", "there is no file 'publishd'")],
)
def test_what_is_no_file_is_refused(conv, weights, says):
    with pytest.raises(WeightsError, match=f"stands 'published', 'ours' or a weights file; {says}"):
        check_origin(choose(f"{conv}@{weights}"))


# --- who takes weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["bm3d", "noisy", "jpeg", "nlm", "tv", "wavelet", "bicubic", "bilinear", "malvar", "menon", "bm3d+"],
)
def test_a_method_without_weights_refuses_them(tmp_path, name):
    bare = name.rstrip("+")
    with pytest.raises(WeightsError, match=f"{bare}@.*: {bare} takes no weights. Ask for it without the file."):
        pick(choose(f"{name}@{write(tmp_path, 'safetensors')}"), GRAY)


PLAIN = """
{imports}
from bench.restorer import Restorer

class Mine({base}):
    name, tasks = "mine", {{"denoise"}}
    {lines}

    def restore(self, seen):
        return {answer}
"""

TAKES = {
    "reads self.weights": {"answer": "seen.image * len(self.weights.path.name)"},
    "asks by name": {"answer": "seen.image if getattr(self, 'weights') else None"},
    "keeps them from the start": {
        "lines": "def __init__(self, variant='', weights=None): self.w = weights; super().__init__(variant)"
    },
    "hands itself to a helper": {"imports": "import helper", "answer": "helper.restored(self, seen)"},
    "has a base elsewhere": {"imports": "from helper import Base", "base": "Base"},
    "needs them": {"lines": "needs_weights = True"},
}
TAKES_NONE = {
    "does not mention them": {},
    "computes with weights": {
        "lines": "def mean(self, x, weights): return (x * weights).sum() / sum(weights)",
        "answer": "self.mean(seen.image, [1])",
    },
    "hands on all that it is made with": {
        "lines": "def __init__(self, *given, **named): super().__init__(*given, **named)"
    },
    "imports another": {"imports": "import quiet", "answer": "quiet.restored(seen)"},
}


def plain(tmp_path, imports="", base="Restorer", lines="", answer="seen.image.copy()"):
    (tmp_path / "mine.py").write_text(PLAIN.format(imports=imports, base=base, lines=lines, answer=answer))
    (tmp_path / "helper.py").write_text(
        "from bench.restorer import Restorer\nclass Base(Restorer): pass\n"
        "def restored(self, seen): return seen.image * bool(self.weights)\n"
    )
    (tmp_path / "quiet.py").write_text("def restored(seen): return seen.image.copy()\n")
    return f"{tmp_path}/mine.py:Mine"


@pytest.mark.parametrize("way", {**TAKES, **TAKES_NONE})
def test_a_plugin_takes_weights_if_its_code_names_them(tmp_path, way):
    spec = choose(f"{plain(tmp_path, **{**TAKES, **TAKES_NONE}[way])}@{write(tmp_path, 'text')}")
    if way in TAKES:
        assert pick(spec, GRAY).file.label == "file:text.pth"  # of whatever kind: it reads them itself
    else:
        with pytest.raises(WeightsError, match="mine takes no weights"):
            pick(spec, GRAY)


@pytest.mark.parametrize("kind", REFUSED_BY_ALL)
def test_what_is_broken_is_refused_whoever_would_read_it(tmp_path, kind):
    with pytest.raises(WeightsError, match=write(tmp_path, kind).name):
        check_origin(choose(f"{plain(tmp_path, **TAKES['reads self.weights'])}@{write(tmp_path, kind)}"))


OWN_READER = (
    CONV
    + """
    def load(self, network, weights):
        LINE
"""
)


@pytest.mark.parametrize("kind", ["onnx", "npz", "torchscript", "a whole model", "text"])
def test_a_load_of_ones_own_reads_what_it_likes(tmp_path, kind):
    (tmp_path / "net.py").write_text(OWN_READER.replace("LINE", "print(weights.path)"))
    check_origin(choose(f"{tmp_path}/net.py:Conv@{write(tmp_path, kind)}"))
    (tmp_path / "net.py").write_text(OWN_READER.replace("LINE", "super().load(network, weights)"))
    with pytest.raises(WeightsError):
        check_origin(choose(f"{tmp_path}/net.py:Conv@{write(tmp_path, kind)}"))


@pytest.mark.parametrize("name", ["ksvd:global", "lssc"])
def test_those_that_read_safetensors_by_themselves_say_so(tmp_path, name):
    with pytest.raises(WeightsError, match=r"is a checkpoint of PyTorch, and (ksvd|lssc) reads safetensors alone"):
        check_origin(choose(f"{name}@{write(tmp_path, 'state dict')}"))


# --- by which reader -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restorer", "file", "kind", "reader"),
    [
        ("dncnn", "a.mat", "matlab 7.3", "matconvnet"),
        ("dncnn", "sigma_25.mat", "matlab 7.3", "matconvnet"),
        ("dncnn", "renamed.h5", "matlab 7.3", "matconvnet"),
        ("dncnn", "a.pth", "state dict", "state-dict"),
        ("dncnn", "a.safetensors", "safetensors", ""),
        ("dncnn", "a.mat", "safetensors", ""),
        ("lidia", "a.pt", "state dict", "lidia-authors"),
        ("lidia", "a.ckpt", "state dict", "lidia-authors"),
        ("lidia", "a.pt", "safetensors", ""),
        ("cscnet", "best.model", "before torch 1.6", "cscnet-authors"),
        ("groupsc", "ckpt", "state dict", "groupsc-authors"),
        ("nlrn", "a.pth", "state dict", "state-dict"),
    ],
)
def test_the_reader_is_the_declared_one_of_files_that_look_alike(tmp_path, restorer, file, kind, reader):
    path = write(tmp_path, kind).rename(tmp_path / file)
    assert file_named(choose(f"{restorer}@{path}")).loader == reader


@pytest.mark.parametrize("kind", ["keras", "matlab 7.3", "npz", "onnx"])
def test_where_no_reader_is_declared_the_file_is_refused(tmp_path, kind):
    with pytest.raises(WeightsError, match=r"\. (Convert it to|It runs as it is: ask for it as onnx:FILE)"):
        check_origin(choose(f"nlrn@{write(tmp_path, kind)}"))


# --- trained for another setting ----------------------------------------------------------------------------


def card(setting="denoise sigma 25 gray", task="denoise", channels=1, levels=(), **others):
    recipe = {"task": task, "channels": channels, "levels": levels, **others}
    return safetensors(values(), card=json.dumps({"setting": setting, "recipe": recipe}), options="{}")


def told(spec, task, level, channels=1):
    return [*remarks(spec, file_named(spec), Setting(task, level, channels))]


def test_weights_of_another_level_are_said(conv, tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(card())
    spec = choose(f"{conv}@{path}")
    assert told(spec, "denoise", 25.0) == []
    says = "conv@best.safetensors: trained for denoise sigma 25 gray, and used for denoise sigma 15 gray"
    assert told(spec, "denoise", 15.0) == [says]
    assert told(spec, "denoise", 25.0, 3)
    assert told(spec, "denoise-blind", 25.0)
    assert measure(tmp_path, f"{conv}@{path}", sigma=[15, 25]).plan.notes == [says]


def test_weights_for_several_levels_are_for_those_between(conv, tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(card("denoise-blind sigma 25 colour", "denoise-blind", 3, [5, 10, 25]))
    spec = choose(f"{conv}@{path}")
    assert told(spec, "denoise-blind", 7.5, 3) == []
    assert "trained for denoise-blind sigma 5 to 25 colour" in told(spec, "denoise-blind", 30.0, 3)[0]


def test_weights_for_several_tasks_are_for_each(conv, tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(card(also={"denoise-blind": [5, 55]}))
    spec = choose(f"{conv}@{path}")
    assert told(spec, "denoise", 25.0) == told(spec, "denoise-blind", 30.0) == []
    both = "trained for denoise sigma 25 gray, denoise-blind sigma 5 to 55 gray, and used for"
    assert both in told(spec, "denoise-blind", 75.0)[0]


@pytest.mark.parametrize(
    "given",
    [
        {"setting": "denoise sigma 25 gray"},
        {"setting": "denoise", "recipe": {"task": "denoise", "channels": 1}},
        {"setting": "denoise sigma x gray", "recipe": {"task": "denoise", "channels": 1}},
        {"setting": "weather sigma 5 gray", "recipe": {"task": "weather", "channels": 1}},
        {"setting": 3, "recipe": [1]},
        {"setting": "denoise sigma 25 gray", "recipe": {"task": "denoise", "channels": 1, "levels": ["a"]}},
        {"setting": "denoise sigma 25 gray", "recipe": {"task": "denoise", "channels": 1, "also": [3]}},
    ],
)
def test_a_card_of_another_kind_says_nothing(conv, tmp_path, given):
    path = tmp_path / "best.safetensors"
    path.write_bytes(safetensors(values(), card=json.dumps(given)))
    assert told(choose(f"{conv}@{path}"), "denoise", 15.0) == []


def test_a_copy_of_declared_weights_is_known_by_its_content(tmp_path):
    shipped = next(iter(pick(choose("deep-ksvd@ours"), GRAY)))
    copy = tmp_path / "w.safetensors"
    copy.write_bytes(shipped.path.read_bytes())
    says = "deep-ksvd@w.safetensors: trained for denoise sigma 25 gray, and used for denoise sigma 50 gray"
    assert told(choose(f"deep-ksvd@{copy}"), "denoise", 50.0) == [says]
    state = {name: tensor + 0 for name, tensor in load_file(copy).items()}
    copy.write_bytes(safetensors(state))  # the same tensors without a card: another file
    assert told(choose(f"deep-ksvd@{copy}"), "denoise", 35.0) == []


def test_declared_and_no_weights_have_no_remarks():
    for name in ("deep-ksvd@ours", "noisy"):
        spec = choose(name)
        assert [*remarks(spec, pick(spec, GRAY).file, Setting("denoise", 50.0, 1))] == []


def test_which_of_two_state_dicts_is_read_is_said(conv, tmp_path):
    says = "conv@params_ema.pth: of its 'params_ema' and 'params' the first is read, if it fits"
    assert measure(tmp_path, f"{conv}@{write(tmp_path, 'params_ema')}").plan.notes == [says]
    assert told(choose(f"{conv}@{write(tmp_path, 'net and another')}"), "denoise", 25.0) == []


# --- bench check -----------------------------------------------------------------------------------------


def reading(name):
    return next(finding for finding in bench.check(name) if finding.what.startswith("reads "))


def test_a_check_opens_the_file_and_says_for_what_it_is(conv, tmp_path):
    for kind in ("state dict", "params_ema"):
        path = write(tmp_path, kind)
        found = [*bench.check(f"{conv}@{path}")]
        assert all(finding.ok for finding in found)
        [first] = [finding for finding in found if finding.what == f"reads {path}"]
        assert first.detail.startswith("for denoise sigma 25 gray")
        assert ("'params_ema' and 'params'" in first.detail) == (kind == "params_ema")


def test_a_check_tries_colour_too(conv, tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3))
    (tmp_path / "x.pth").write_bytes(saved(net.state_dict()))
    assert reading(f"{conv}@{tmp_path}/x.pth").detail == "for denoise sigma 25 colour"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        (lambda: saved({"body.0.weight": torch.zeros(4, 1, 3, 3)}), "the file has 'body.0.weight' that the network"),
        (lambda: saved({"params": values(torch.nn.Conv2d(1, 4, 3))}), "another architecture"),
        (READ["state dict"], ""),
        (FOREIGN["onnx"], "is an ONNX graph"),
        (BROKEN["git lfs"], "is a pointer of Git LFS"),
    ],
)
def test_a_check_says_why_a_file_will_not_do(conv, tmp_path, content, says):
    path = tmp_path / "x.pth"
    if content:
        path.write_bytes(content())
    found = reading(f"{conv}@{path}")
    assert found.ok == (not says)
    assert says in found.detail


def test_a_check_refuses_weights_that_nobody_takes(tmp_path):
    found = reading(f"noisy@{write(tmp_path, 'safetensors')}")
    assert (found.ok, "noisy takes no weights" in found.detail) == (False, True)


def test_a_check_begins_with_the_setting_of_the_card(conv, tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(card("denoise sigma 7 gray"))
    spec = choose(f"{conv}@{path}")
    tried = settings(spec, file_named(spec))
    assert tried[0] == Setting("denoise", 7.0, 1)
    assert {one.channels for one in tried} == {1, 3}
    assert len({*tried}) == len(tried)


# --- published formats and plain ones --------------------------------------------------------------------


PUBLISHED = (
    CONV
    + """
    def load(self, network, weights):
        if weights.loader == "theirs":
            import torch
            state = torch.load(weights.path, weights_only=True)
            network.load_state_dict({name: state[f"their {name}"] for name in network.state_dict()})
        else:
            super().load(network, weights)
"""
)
DECLARED = """
["conv.theirs"]
settings = [{{ task = "denoise", channels = 1, levels = [25] }}]
path = "theirs.pt"
sha256 = "{sha256}"
licence = "MIT"
trained_by = "authors"
trained_on = ["sample"]
loader = "theirs"
"""


@pytest.fixture
def published(tmp_path):
    """A network with published weights in a format of their own."""
    (tmp_path / "net.py").write_text(PUBLISHED)
    content = saved({f"their {name}": tensor for name, tensor in values().items()})
    (tmp_path / "theirs.pt").write_bytes(content)
    (tmp_path / "weights.toml").write_text(DECLARED.format(sha256=hashlib.sha256(content).hexdigest()))
    (tmp_path / "gray").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 200).save(tmp_path / "gray" / "a.png")
    return f"{tmp_path}/net.py:Conv"


def test_a_file_that_is_declared_for_several_settings_is_for_each_of_them(published, tmp_path):
    text = (tmp_path / "weights.toml").read_text()
    more = '{ task = "denoise", channels = 1, levels = [25] }, { task = "denoise", channels = 3, levels = [5, 10] }'
    (tmp_path / "weights.toml").write_text(text.replace('{ task = "denoise", channels = 1, levels = [25] }', more))
    shutil.copy(tmp_path / "theirs.pt", tmp_path / "copy.pth")
    spec = choose(f"{published}@{tmp_path}/copy.pth")
    assert told(spec, "denoise", 25.0) == told(spec, "denoise", 10.0, 3) == []
    [line] = told(spec, "denoise", 10.0)
    assert "trained for denoise sigma 25 gray, denoise sigma 5, 10 colour, and used for" in line


def test_a_file_may_be_in_the_published_format_or_plain(published, tmp_path):
    shutil.copy(tmp_path / "theirs.pt", tmp_path / "copy.pth")
    plainly = write(tmp_path, "params")
    names = [published, f"{published}@{tmp_path}/copy.pth", f"{published}@{plainly}"]
    outcome = measure(tmp_path, *names)
    assert [record.status for record in outcome.records] == ["ok"] * 3
    assert len({record.psnr_db for record in outcome.records}) == 1


def test_what_is_in_neither_format_is_told_in_plain_words(published, tmp_path):
    (tmp_path / "wide.pth").write_bytes(saved(values(torch.nn.Conv2d(1, 9, 3))))
    [record] = measure(tmp_path, f"{published}@{tmp_path}/wide.pth").records
    assert "wide.pth does not fit the network: the file has 'weight' and 1 more" in record.reason


def test_what_looks_published_and_is_not_is_told_as_such(published, tmp_path):
    text = (tmp_path / "weights.toml").read_text()
    shutil.move(tmp_path / "theirs.pt", tmp_path / "theirs.mat")
    (tmp_path / "weights.toml").write_text(text.replace("theirs.pt", "theirs.mat"))
    [record] = measure(tmp_path, f"{published}@{write(tmp_path, 'matlab 5')}").records
    assert "is a MATLAB 5 file and cannot be read as the published weights are ('theirs')" in record.reason


def test_own_networks_of_the_package_take_checkpoints(tmp_path):
    """The shipped weights of SC as a .pth, with the options that safetensors keep in their metadata."""
    shipped = pick(choose("sc@ours"), GRAY).file
    network = SC("", shipped)
    (tmp_path / "sc.pth").write_bytes(saved({"params": load_file(shipped.path), "options": dict(network.options)}))
    own = SC("", file_named(choose(f"sc@{tmp_path}/sc.pth")))
    for one in (network, own):
        one.prepare(GRAY, "cpu")
    assert own.options == network.options
    assert all(torch.equal(a, b) for a, b in zip(network.plain.parameters(), own.plain.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "channels"),
    [
        ("dncnn", "sigma_25.mat", 1),
        ("ffdnet", "FFDNet_color.mat", 3),
        ("cscnet", "sigma_25.model", 1),
        ("lidia", "model_state_sigma_25_bw.pt", 1),
    ],
)
def test_published_files_that_are_named_are_read_as_published(tmp_path, name, file, channels):
    """Under another name too, and as a state dict with the network's own names."""
    setting = Setting("denoise", 25.0, channels)
    theirs = mirror_folder() / "weights" / name / file
    renamed = tmp_path / f"renamed{theirs.suffix}"
    shutil.copy(theirs, renamed)

    def prepared(asked):
        picked = pick(choose(asked), setting).file
        restorer = load_class(choose(asked).info.target)("", picked)
        restorer.prepare(setting, "cpu")
        return restorer.plain.state_dict()

    published = prepared(f"{name}@published")
    (tmp_path / "own.pth").write_bytes(saved({"params": published}))
    for path in (theirs, renamed, tmp_path / "own.pth"):
        named = prepared(f"{name}@{path}")
        assert all(torch.equal(tensor, named[key]) for key, tensor in published.items())
