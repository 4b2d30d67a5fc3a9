"""The host, without a process around it: each call has its own copy, and what comes back is plain or a failure."""

from functools import partial

import numpy as np
import pytest

from bench.measure.clocks import CpuClock
from bench.plugins.registry import choose
from bench.plugins.unchanged import hold
from bench.restorer import Restorer, Setting
from bench.runner import host
from bench.runner.contract import observe_disc
from bench.runner.host import Session, answer
from bench.runner.messages import Answer, Failure, Load, Prepare, Ready, Restore, Show, Unable, written
from bench.runner.wire import frame
from tests.conftest import PLUGINS

CARELESS = PLUGINS / "careless.py"
GRAY = Setting("denoise", 25.0, 1)
MOSAIC = Setting("demosaick", "RGGB", 3)


def session(name, setting=GRAY, *, ensemble=False):
    """A session that is prepared, and its answer to that, or to loading if that failed."""
    made, info = Session(), choose(f"{CARELESS}:{name}").info
    said = answer(made, Load(info.target, "", "", ("", ""), ensemble, "cpu", info.name, info.version, "", (), False))
    return made, said if isinstance(said, Failure) else answer(made, Prepare(setting, None))


def asked(name, setting=GRAY, size=(16, 12), *, readings=3, ensemble=False):
    """The answer of a restorer of careless.py for a disc, and what it was shown."""
    seen = observe_disc(setting, size)
    made, _ = session(name, setting, ensemble=ensemble)
    return answer(made, Restore(seen, True, readings)), seen


class Showing(Restorer):
    name, tasks = "showing", {"denoise"}
    shows = {}

    def restore(self, seen):
        return seen.image

    def maps(self, seen, pixel):
        return self.shows


MAP = np.full((16, 12), 0.5, np.float32)


def shown(maps):
    made, restorer = Session(), Showing()
    made.restorer, made.code, restorer.shows = restorer, hold(()), maps
    return answer(made, Show(observe_disc(GRAY, (16, 12)), (3, 4)))


def test_maps_come_stacked_with_their_titles():
    said = shown({"a": MAP, "b\nc": 0 * MAP})
    assert said.titles == ("a", "b c")
    assert np.array_equal(said.maps, [MAP, 0 * MAP])
    none = shown({})
    assert (none.titles, none.maps.shape) == ((), (0, 16, 12))


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ([MAP], "expected 20 arrays at most, by their titles"),
        ({str(n): MAP for n in range(21)}, "expected 20 arrays at most"),
        ({"a": MAP[1:]}, "expected float32 of shape (16, 12)"),
        ({"a": MAP.astype(float)}, "expected float32 of shape (16, 12)"),
        ({1: MAP}, "expected float32 of shape (16, 12)"),
        ({"a": 3 * MAP}, "maps() gave 'a' values that are not from 0 to 1"),
        ({"a": np.nan * MAP}, "maps() gave 'a' values that are not from 0 to 1"),
        ({"a": -MAP}, "maps() gave 'a' values that are not from 0 to 1"),
    ],
    ids=range(8),
)
def test_maps_that_will_not_do_are_a_failure_that_says_why(maps, says):
    failure = shown(maps)
    assert isinstance(failure, Failure)
    assert says in failure.reason


@pytest.mark.parametrize("readings", [1, 3, 10])
@pytest.mark.parametrize(
    ("name", "setting", "changed"),
    [
        ("Sharing", GRAY, "image"),
        ("ClipsLater", GRAY, "image"),
        ("Flattens", GRAY, "image"),
        ("Forgets", GRAY, "sigma"),
        ("FillsMask", MOSAIC, "mask"),
    ],
)
def test_a_call_that_changed_its_input_is_a_failure_that_says_so(name, setting, changed, readings):
    failure, seen = asked(name, setting, readings=readings)
    assert failure == Failure(f"changed the observation it was given ({changed}): it is to work on a copy")
    assert np.array_equal(seen.image, observe_disc(setting, (16, 12)).image)


@pytest.mark.parametrize("name", ["Sharing", "Flattens", "Forgets"])
def test_so_it_is_in_each_of_eight_views(name):
    failure, _ = asked(name, ensemble=True)
    assert failure.reason == asked(name)[0].reason


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("name", ["Idle", "Buffer", "Window", "Keeps", "Labelled"])
def test_memory_that_is_used_again_does_not_reach_an_earlier_answer(name, ensemble):
    said, seen = asked(name, size=(14, 14), ensemble=ensemble)
    np.testing.assert_allclose(said.x_hat, seen.image, atol=0 if not ensemble else 1e-6)
    frame(*written(said), b"")


def test_what_is_kept_of_one_picture_does_not_reach_the_next():
    made, _ = session("Keeps")
    for size in ((16, 12), (16, 12), (9, 9)):
        seen = observe_disc(GRAY, size)
        assert np.array_equal(answer(made, Restore(seen, True, 2)).x_hat, seen.image)


@pytest.mark.parametrize(
    ("name", "figures"),
    [("Counted", (7, None)), ("CountedByTorch", (7, 4.5)), ("Counted+", (7, None)), ("CountedByTorch+", (7, 36.0))],
)
def test_figures_of_any_library_become_pythons(name, figures):
    said, _ = asked(name.removesuffix("+"), ensemble=name.endswith("+"))
    assert (said.params, said.macs_per_pixel) == figures
    assert [type(figure) for figure in figures] == [type(said.params), type(said.macs_per_pixel)]


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Masked", "MaskedArray, expected a plain NumPy array"),
        ("OwnArray", "Own, expected a plain NumPy array"),
        ("CountsLazily", "n_params() gave <generator"),
        ("ManyLevels", "estimated_level gave [20.0, 30.0]"),
        ("NoMacs", "macs_per_pixel() gave nan"),
        ("RaisesSpeechless", "SpeechlessError: its text cannot be had, __str__ raised RuntimeError (careless.py, "),
        ("RaisesItsOwn", "LocalError: made here (careless.py, line "),
        ("RaisesSurrogates", r"ValueError: caf\udce9 (careless.py, line "),
        ("RaisesMuch", "ValueError: much much "),
        ("Quits", "SystemExit: (careless.py, line "),
        ("Interrupts", "KeyboardInterrupt: (careless.py, line "),
    ],
)
def test_what_will_not_do_is_a_failure_that_can_be_sent_and_stored(name, says, ensemble):
    failure, _ = asked(name, ensemble=ensemble)
    assert isinstance(failure, Failure)
    assert says in failure.reason
    assert len(failure.reason) <= 500
    assert failure.reason.isprintable()
    frame(*written(failure), b"")


def test_a_reason_or_a_device_that_is_no_text_is_a_failure():
    _, said = session("Undecided")
    assert said == Failure("why_not() gave False, expected text or None")
    _, said = session("OneDevice")
    assert said == Failure("devices is 'cpu', expected words, as in ('cpu', 'cuda')")


def test_a_setting_out_of_reach_is_none():
    _, said = session("Idle", Setting("deblock", 10.0, 1))
    assert said == Unable("idle does not deblock")
    assert session("Idle")[1] == Ready()


def test_each_cell_draws_the_numbers_of_its_seed():
    made, _ = session("Draws")
    seen = observe_disc(GRAY, (8, 8))
    first, again, other = (answer(made, Restore(seen, False, None, seed)) for seed in (0, 0, 1))
    assert isinstance(first, Answer)
    assert np.array_equal(first.x_hat, again.x_hat)
    assert not np.array_equal(first.x_hat, other.x_hat)


class Listening(CpuClock):
    """Notes when it runs."""

    def __init__(self, log):
        self.log = log

    def time(self, f):
        self.log.append("start")
        value, reading = super().time(f)
        self.log.append("stop")
        return value, reading


def test_no_clock_runs_while_copies_are_made_and_compared(monkeypatch):
    made, _ = session("Idle")
    log = []
    made.clock = Listening(log)
    for name in ("handed", "check_answer", "check_untouched"):
        noted = partial(noting, log, name, getattr(host, name))
        monkeypatch.setattr(host, name, noted)
    answer(made, Restore(observe_disc(GRAY, (8, 8)), True, 2))
    first = ["handed", "start", "stop", "check_answer"]
    again = ["handed", "start", "stop", "check_untouched"]
    assert log == [*first, *again, *again, "handed"]  # the last for its multiply-accumulates


def noting(log, name, f, *args):
    log.append(name)
    return f(*args)
