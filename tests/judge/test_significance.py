"""Paired comparison of restorers: who is better, by how much, and who may be called equal."""

import math

import numpy as np
import pandas as pd
import pytest

from bench.judge.significance import contests, holm, letters
from bench.records.record import Record, frame_of


def records(n_images=12, **psnr_db):
    """Restorer -> its PSNR on each image, or a number added to a hardness common to all."""
    hardness = np.random.RandomState(0).normal(30, 3, n_images)
    return frame_of(
        Record(
            restorer=name,
            weights="",
            task="denoise",
            level=25.0,
            channels=1,
            dataset="photos",
            image=f"{i}.png",
            protocol="standard-v1",
            repeat=0,
            status="ok",
            psnr_db=float(hardness[i] + np.broadcast_to(more, n_images)[i]),
            key=f"{name}-{i}",
        )
        for name, more in psnr_db.items()
        for i in range(n_images)
    )


def only(frame):
    (contest,) = contests(frame)
    return contest


def test_a_small_gain_on_every_image_is_told_from_a_large_spread_between_images():
    gain = 0.05 + 0.01 * np.random.RandomState(1).rand(12)
    contest = only(records(old=0.0, new=gain))
    (pair,) = contest.pairs
    assert (pair.a, pair.b, pair.n_images) == ("new", "old", 12)
    assert pair.difference_db == pytest.approx(gain.mean())
    assert 0.05 < pair.low < gain.mean() < pair.high < 0.06
    assert pair.p == pytest.approx(2 / 2**12)  # all of 12 differences of one sign
    assert pair.verdict == "new is better"


def test_the_interval_holds_the_mean_difference_with_95_percent_confidence():
    gain = np.random.RandomState(1).normal(0.05, 0.1, 400)
    (pair,) = only(records(400, old=0.0, new=gain)).pairs
    half = 1.96 * gain.std() / 400**0.5  # of so many images' mean, which is nearly normal
    assert pair.low == pytest.approx(gain.mean() - half, abs=0.05 * half)
    assert pair.high == pytest.approx(gain.mean() + half, abs=0.05 * half)


def test_a_larger_mean_that_comes_from_few_images_is_not_told_apart():
    gain = np.r_[1.0, np.random.RandomState(1).normal(0, 0.1, 11)]
    (pair,) = only(records(old=0.0, new=gain)).pairs
    assert pair.difference_db > 0.05
    assert not pair.different
    assert pair.verdict == "not told apart"


def test_restorers_that_answer_alike_are_equal():
    contest = only(records(a=0.0, b=0.0))
    assert contest.pairs[0].p == 1
    assert contest.letters() == {"a": "a", "b": "a"}


def test_too_many_restorers_for_the_images_are_warned_of():
    """Of m pairs over n images, the best that any can do is p = m 2 / 2^n."""
    better_each_time = {f"r{i:02}": i + np.random.RandomState(i).uniform(0, 0.5, 12) for i in range(15)}
    crowd = only(records(12, **better_each_time))
    assert not any(pair.different for pair in crowd.pairs)
    assert crowd.doubt == (
        "12 images cannot tell 15 restorers apart, for one that is better on all of them has p = 0.051 after Holm's"
        " correction for 105 pairs: select fewer"
    )
    assert set(crowd.letters().values()) == {""}

    del better_each_time["r07"]
    fewer = only(records(12, **better_each_time))
    assert all(pair.different for pair in fewer.pairs)
    assert not fewer.doubt


def test_five_images_tell_nothing():
    contest = only(records(5, old=0.0, new=1.0))
    (pair,) = contest.pairs
    assert contest.doubt.endswith("one that is better on all of them has p = 0.062")
    assert contest.letters() == {"old": "", "new": ""}
    assert math.isnan(pair.p)
    assert pair.verdict == "5 images tell nothing"


def test_an_image_that_one_of_the_two_failed_on_is_left_out():
    frame = records(old=0.0, new=0.1)
    frame.loc[(frame["restorer"] == "new") & (frame["image"] == "3.png"), "status"] = "failed"
    assert only(frame).pairs[0].n_images == 11


def test_where_one_pair_has_too_few_images_nobody_gets_a_letter():
    """Of twelve images `rare` has three: a is told from b, but whether `rare` is equal to either is not known."""
    frame = records(a=0.0, b=1.0 + np.random.RandomState(1).rand(12), rare=0.5)
    late = frame["image"].str.partition(".")[0].astype(int) >= 3
    contest = only(frame[~(late & (frame["restorer"] == "rare"))])
    assert sorted(pair.n_images for pair in contest.pairs) == [3, 3, 12]
    assert [pair.verdict for pair in contest.pairs if pair.n_images == 12] == ["b is better"]
    assert not contest.doubt
    assert contest.letters() == {"a": "", "b": "", "rare": ""}


def test_only_the_last_version_of_a_restorer_contends():
    before = records(new=-5.0).assign(key="before-" + records(new=0.0)["key"])
    now = records(old=0.0, new=0.1 + 0.01 * np.random.RandomState(1).rand(12))
    assert only(pd.concat([before, now], ignore_index=True)) == only(now)


class TestIdenticalAnswers:
    """Their PSNR is infinite."""

    def contest(self, **psnr_db):
        return only(records(**psnr_db))

    def test_count_in_the_test_as_the_largest_differences_and_not_in_the_mean(self):
        gain = 0.05 + 0.01 * np.random.RandomState(1).rand(12)
        finite = self.contest(old=0.0, new=gain).pairs[0]
        (pair,) = self.contest(old=0.0, new=np.r_[np.inf, np.inf, gain[2:]]).pairs
        assert (pair.a, pair.b, pair.n_images, pair.n_infinite) == ("new", "old", 12, 2)
        assert pair.p == finite.p
        assert pair.difference_db == pytest.approx(gain[2:].mean())
        assert 0.05 < pair.low < pair.difference_db < pair.high < 0.06
        assert pair.verdict == "new is better"

    def test_of_both_are_no_difference(self):
        both = np.r_[np.inf, np.inf, np.zeros(10)]
        (pair,) = self.contest(a=both, b=both).pairs
        assert (pair.n_images, pair.n_infinite, pair.difference_db, pair.p) == (12, 0, 0, 1)
        assert self.contest(a=np.inf, b=np.inf).letters() == {"a": "a", "b": "a"}

    def test_of_one_on_every_image_decide(self):
        contest = self.contest(a=np.inf, b=0.0)
        (pair,) = contest.pairs
        assert pair.verdict == "a is better"
        assert math.isnan(pair.difference_db)
        assert contest.letters() == {"a": "a", "b": "b"}
        _, [row] = contest.rows()
        assert row[3:5] == ["–", "–"]

    def test_do_not_make_better_who_is_worse_elsewhere(self):
        (pair,) = self.contest(a=np.r_[np.inf, -np.ones(11)], b=0.0).pairs
        assert pair.a == "a"  # its mean is infinite
        assert pair.difference_db == pytest.approx(-1)
        assert pair.verdict == "b is better"

    def test_of_one_here_and_of_the_other_there_cancel(self):
        gain = np.r_[np.inf, -np.inf, 0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, -0.8, 0.9, -1.0]
        (pair,) = self.contest(a=np.where(gain < -9, 0.0, gain), b=np.where(gain < -9, np.inf, 0.0)).pairs
        assert (pair.n_infinite, pair.verdict) == (2, "not told apart")
        assert np.isfinite([pair.difference_db, pair.low, pair.high, pair.p]).all()

    def test_are_said(self):
        _, [row] = self.contest(a=np.r_[np.inf, np.zeros(11)], b=0.0).rows()
        assert row[-1] == (
            "not told apart (one of the two is identical with the clean picture on 1, left out of the mean)"
        )


def test_two_that_share_no_image_are_no_pair():
    frame = records(old=0.0, new=0.1)
    late = frame["image"].str.partition(".")[0].astype(int) >= 6
    frame.loc[(frame["restorer"] == "new") == late, "status"] = "failed"
    contest = only(frame)
    assert contest.pairs == ()
    assert not contest.doubt


def test_the_same_restorer_with_two_weights_contends_with_itself():
    frame = records(a=0.0, b=0.2)
    frame["weights"] = np.where(frame["restorer"] == "b", "published:x", "ours:y")
    frame["restorer"] = "dncnn"
    assert list(only(frame).psnr_db) == ["dncnn@published", "dncnn@ours"]


def test_levels_and_data_sets_are_contests_of_their_own():
    frame = records(a=0.0, b=0.2)
    frame.loc[frame["image"].isin(["0.png", "1.png"]), "dataset"] = "others"
    assert [c.name for c in contests(frame)] == [
        "denoise 25 on others (standard-v1)",
        "denoise 25 on photos (standard-v1)",
    ]


def test_one_restorer_alone_is_no_contest():
    assert not list(contests(records(a=0.0)))


def test_holm_corrects_as_in_his_paper():
    assert holm([0.01, 0.04, 0.03, math.nan]) == pytest.approx([0.03, 0.06, 0.06, math.nan], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_letters_are_shared_by_those_that_are_equal_and_by_no_others():
    given = letters(["a", "b", "c", "d"], [("a", "b"), ("b", "c")])
    assert given == {"a": "a", "b": "ab", "c": "b", "d": "c"}


def test_three_that_are_equal_in_pairs_share_one_letter():
    assert letters(["a", "b", "c"], [("a", "b"), ("c", "b"), ("a", "c")]) == {"a": "a", "b": "a", "c": "a"}


def test_what_two_devices_measured_counts_once_and_the_cpus_figures_count():
    on_cpu = records(old=0.0, new=0.1 + 0.01 * np.random.RandomState(1).rand(12))
    on_gpu = records(old=0.0, new=-1.0).assign(device="cuda", key="gpu-1")
    assert only(pd.concat([on_cpu, on_gpu], ignore_index=True)) == only(on_cpu)
