"""The campaign of faults sees what is lost: each of these loses on purpose."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.__main__ import main
from tests.faults.campaign import Ended, Outcome, Try, bench, complaint, start
from tests.faults.cluster import changed

ENDED = Ended(("x",), 0, "", "", 1.0, 50.0)


def campaign(attempt, attempts=4):
    return SimpleNamespace(ATTEMPTS=attempts, attempt=attempt)


def test_counts_what_was_lost_and_says_how_to_repeat_it(capsys):
    def attempt(try_: Try) -> Outcome:
        return Outcome(f"kind {try_.index % 2}", "all of it" if try_.index == 2 else "", 12.3)

    assert main([], {"some": campaign(attempt)}) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].split()[:6] == ["some", "4", "2", "3", "1", "12"]
    assert "LOST: kind 0: all of it  (again: --only some --seed 0 --first 2 --attempts 1)" in told.err


def test_an_attempt_can_be_repeated(capsys):
    drawn = []

    def attempt(try_: Try) -> Outcome:
        drawn.append(try_.random.random())
        return Outcome("a")

    assert main([], {"some": campaign(attempt)}) == 0
    assert main(["--first", "2", "--attempts", "1"], {"some": campaign(attempt)}) == 0
    assert main(["--first", "2", "--attempts", "1", "--seed", "1"], {"some": campaign(attempt)}) == 0
    assert drawn[4] == drawn[2] != drawn[5]


def test_ends_with_its_share_of_the_minutes(capsys):
    def attempt(try_: Try) -> Outcome:
        time.sleep(0.01)
        return Outcome("a")

    assert main(["--minutes", "0.001"], {"some": campaign(attempt, 10_000)}) == 0
    assert int(capsys.readouterr().out.splitlines()[-1].split()[1]) < 1000


def test_leaves_out_what_takes_longer_than_its_share(capsys):
    long = SimpleNamespace(ATTEMPTS=1, attempt=lambda try_: Outcome("b"), SECONDS=60)
    known = {"some": campaign(lambda try_: Outcome("a"), 3), "long": long}
    assert main(["--minutes", "1"], known) == 0
    told = capsys.readouterr()
    assert told.err == "left out, for want of time: long\n"
    assert [line.split()[:2] for line in told.out.splitlines()[2:]] == [["some", "3"]]
    assert main(["--minutes", "3"], known) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:]] == [["some", "3"], ["long", "1"]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"status": None}, "hung past 1 s"),
        ({"status": -11}, "ended with status -11"),
        ({"status": 1, "err": "Traceback (most recent call last):\nKeyError: 'a'"}, "a traceback: KeyError: 'a'"),
        ({"orphans": ("sleep 9",)}, "left behind: sleep 9"),
        ({"peak_mib": 700.0}, "held 700 MiB"),
    ],
)
def test_complains(changed, said):
    assert complaint(Ended(**{**vars(ENDED), **changed})).startswith(said)
    assert bool(said) == bool(complaint(Ended(**{**vars(ENDED), **changed})))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_finds_an_orphan_whatever_session_it_has(tmp_path: Path):
    sleep = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    child = f"import subprocess, sys; subprocess.Popen({sleep}, start_new_session=True)"
    ended = start(["-c", child], tmp_path).wait(30)
    assert ended.status == 0
    assert [line for line in ended.orphans if "time.sleep(60)" in line]
    assert start(["-c", "pass"], tmp_path).wait(30).orphans == []


def test_a_forked_command_is_as_one_of_a_shell(tmp_path: Path):
    ended = bench(["list", "tasks"], tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "denoise" in ended.out
    ended = bench(["run", "--methods", "nosuch"], tmp_path)
    assert ended.status == 2
    assert ended.err.startswith("bench: No restorer named 'nosuch'.")


def test_what_a_cluster_measured_again_or_lost_is_seen():
    known = {"a": "09:00", "b": "09:01"}
    assert changed(known, {**known, "c": "09:02"}) == ""
    assert changed(known, {**known, "b": "09:05"}) == "1 records that were there were measured again, or are gone"
    assert changed(known, {}) == "2 records that were there were measured again, or are gone"
