"""One contract, tried on every built-in restorer; learned ones untrained, so that nothing is downloaded."""

import pytest

from bench.plugins.registry import choose, infos
from bench.runner.contract import check
from tests.conftest import BAD, PLUGINS

VARIANTS = [f"{card.name}:{variant}" for card in infos().values() for variant in card.variants]
MINUTES = {  # test_groupsc.py, test_lidia.py and test_nlrn.py try them, with a small network or a small picture
    "groupsc:blocks",
    "groupsc:blocks48",
    "lidia:adapted",
    "lidia:authors",
    "lidia:small",
    "lidia:stored",
    "nlrn",
    "nlrn:patches",
}


ALONE = [name for name, card in infos().items() if not (card.adapts or card.takes_denoiser)]
INSIDE = ["pnp:nlm", "vst:nlm"]
WEEKLY = ["bm3d:package", "groupsc:bf16", "nlrn:bf16", "sc:bf16"]  # seconds each, of what another one tries too
# those of files have tests of their own


TRIED = [name for name in (*ALONE, *INSIDE, *VARIANTS) if name not in MINUTES]
RARELY = (pytest.mark.slow, pytest.mark.weekly)


@pytest.mark.parametrize("name", [pytest.param(name, marks=RARELY if name in WEEKLY else ()) for name in TRIED])
def test_every_restorer_keeps_to_the_contract(name):
    spec = choose(name)
    if spec.info.missing:
        pytest.skip(spec.info.unavailable)
    findings = list(check(spec))
    assert len(findings) > 5
    assert not [finding for finding in findings if not finding.ok]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Raises", "ValueError: no convergence"),
        ("AnswersNaN", "not finite"),
        ("WrongShape", "answered with shape"),
        ("Exits", "exited with status 3"),
        ("ChangesInput", "changed the observation"),
        ("Wavers", "answered differently when asked twice"),
    ],
)
def test_the_contract_finds_what_is_broken(name, says):
    broken = [finding.detail for finding in check(choose(f"{BAD}:{name}")) if not finding.ok]
    assert any(says in detail for detail in broken)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Sharing", "changed the observation it was given (image)"),
        ("ClipsLater", "changed the observation it was given (image)"),
        ("FillsMask", "changed the observation it was given (mask)"),
        ("Masked", "expected a plain NumPy array"),
        ("CountsLazily", "n_params() gave <generator"),
        ("Quits", "SystemExit: "),
        ("Draws", "its answer depends on the global random seed (dropout left on?"),
        ("Draws+", "its answer depends on the global random seed (dropout left on?"),
        ("DropoutLeftOn", "its answer depends on the global random seed (dropout left on?"),
        ("Alternates", "answered differently when asked twice"),
        ("Window", ""),
        ("Counted+", ""),
        ("DrawsItsOwn", ""),
    ],
)
def test_the_contract_finds_what_is_careless_and_that_alone(name, says):
    broken = [finding.detail for finding in check(choose(f"{PLUGINS}/careless.py:{name}")) if not finding.ok]
    assert bool(broken) == bool(says)
    assert all(says in detail for detail in broken)
