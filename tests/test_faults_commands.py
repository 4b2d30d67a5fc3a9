"""The campaign of command lines reaches every option, is the same each time, and sees what is wrong."""

from random import Random

import pytest

from tests.faults.campaign import Ended
from tests.faults.commands import ATTEMPTS, NEVER, commands, made_words, odd_toml, said


def test_every_option_and_argument_has_its_odd_words():
    there = {f"{' '.join(words)} {p.name}" for words, parameters in commands().items() for p in parameters}
    there -= {kind for kind in there if kind.rpartition(" ")[2] in NEVER}
    tried = {made_words(Random(f"0 commands {i}"))[1] for i in range(3 * ATTEMPTS)}
    assert len(there) > 80
    assert there <= tried


def test_an_attempt_can_be_made_again():
    assert made_words(Random("0 commands 7")) == made_words(Random("0 commands 7"))
    assert odd_toml(Random(7), "a = 1\nb = 2\n") == odd_toml(Random(7), "a = 1\nb = 2\n")


@pytest.mark.parametrize(
    ("status", "out", "err", "wrong"),
    [
        (0, "a table\n", "3 files\n", ""),
        (2, "", "bench: No restorer named 'x'.\n", ""),
        (2, "", "Usage: bench run [OPTIONS]\n\nError: No such option: --x\n", ""),
        (None, "", "", "hung past"),
        (1, "", "Traceback (most recent call last):\nKeyError: 'x'\n", "a traceback: KeyError: 'x'"),
        (-11, "", "", "ended with status -11"),
        (2, "", "no store\n", "status 2 and 1 lines"),
        (2, "", "bench: one\nbench: two\n", "status 2 and 2 lines"),
        (0, "", "x.py:3: DeprecationWarning: old\n", "said: x.py:3"),
        (0, "\x1b[2J", "", r"printed '\x1b'"),
        (0, "\u202ea", "", r"printed '\u202e'"),
        (2, "", f"bench: {'x' * 10_000}\n", "a line without end"),
    ],
)
def test_what_is_wrong_is_seen(status, out, err, wrong):
    ended = Ended(["table"], status, out, err, 1.0, 100.0)
    assert said(ended).startswith(wrong)
    assert bool(said(ended)) == bool(wrong)


def test_a_run_that_outgrows_its_memory_is_seen():
    assert said(Ended(["table"], 0, "", "", 1.0, 700.0)).startswith("held 700 MiB")
