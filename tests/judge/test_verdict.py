"""Verdicts on a paper's figures: reproduced, off, ours, or not measured and why."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.errors import PaperError, RequestError
from bench.judge.papers import load
from bench.judge.verdict import compare

TWO_IMAGES = {"set12": 2}.get


def record(restorer, level, psnr_db, image="01.png", weights="", **others):
    return {
        "restorer": restorer,
        "weights": weights,
        "task": "denoise",
        "level": level,
        "channels": 1,
        "dataset": "set12",
        "image": image,
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "psnr_db": psnr_db,
        "ssim": 0.9,
        "params": 556_032,
        **others,
    }


def both_images(restorer, level, psnr_db, weights="published:a.mat", **others):
    """Two images whose mean is `psnr_db`."""
    pairs = (("01.png", psnr_db - 1), ("02.png", psnr_db + 1))
    return [record(restorer, level, value, image, weights, **others) for image, value in pairs]


def verdict(paper, records, restorer="dncnn", level=25, metric="psnr_db", **options):
    comparison = compare(paper, pd.DataFrame(records), images_in=options.pop("images_in", TWO_IMAGES), **options)
    (found,) = (
        v
        for v in comparison.verdicts
        if (v.entry.restorer, v.entry.metric) == (restorer, metric) and v.entry.level in (level, None)
    )
    return found


def test_a_mean_within_tolerance_is_reproduced(paper):
    got = verdict(paper(), both_images("dncnn", 25.0, 30.484))
    assert (got.verdict, got.measured, got.difference) == ("reproduced", pytest.approx(30.484), 0.04)
    assert got.weights == "published:a.mat"


def test_measured_is_rounded_as_printed_before_it_is_judged(paper):
    assert verdict(paper(), both_images("dncnn", 25.0, 30.4949)).verdict == "reproduced"
    assert verdict(paper(), both_images("dncnn", 25.0, 30.4951)).verdict == "off"


def test_a_mean_beyond_tolerance_is_off(paper):
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.2)), images_in=TWO_IMAGES)
    assert comparison.counts() == {"reproduced": 1, "off": 2, "ours": 0, "not measured": 6}


def test_a_tolerance_of_ones_own_replaces_the_files(paper):
    records = both_images("dncnn", 25.0, 30.2)
    assert verdict(paper(), records, tolerance=0.3).verdict == "reproduced"
    assert verdict(paper(), records, metric="ssim", tolerance=0.3).verdict == "off"


def test_nothing_compared_is_a_failure_that_says_so(paper):
    other_protocol = both_images("dncnn", 25.0, 30.44, protocol="kair-v1")
    for records in (both_images("nlm", 25.0, 30.44), other_protocol):
        comparison = compare(paper(), pd.DataFrame(records), images_in=TWO_IMAGES)
        assert "0 compared" in comparison.summary()
        assert "nothing was compared, which counts as failure" in comparison.summary()


def test_a_table_may_name_the_protocol_that_its_figures_are_held_against(paper):
    its_own = paper("[[table]]", '[[table]]\nunder = "kair-v1"')
    kair = both_images("dncnn", 25.0, 30.44, protocol="kair-v1")
    standard = both_images("dncnn", 25.0, 30.2)
    got = verdict(its_own, kair + standard)
    assert (got.verdict, got.protocol) == ("reproduced", "kair-v1")
    forced = verdict(its_own, kair + standard, protocol="standard-v1")
    assert (forced.verdict, forced.protocol) == ("off", "standard-v1")
    assert verdict(its_own, standard).why == "no records of dncnn at this setting under kair-v1"
    with pytest.raises(RequestError, match="No protocol named 'kair'"):
        verdict(its_own, kair, protocol="kair")


def test_all_that_was_compared_is_reproduced(paper):
    records = both_images("dncnn", 25.0, 30.44, ssim=0.86) + both_images("noisy", 15.0, 24.61, "", ssim=0.5)
    comparison = compare(paper(), pd.DataFrame(records), images_in=TWO_IMAGES)
    assert comparison.summary().startswith("ours-2020: 5 compared, 5 reproduced, 0 off")


def test_our_weights_never_reproduce_the_authors(paper):
    got = verdict(paper(), both_images("dncnn", 25.0, 30.44, "ours:dncnn-25"))
    assert (got.verdict, got.difference) == ("ours", 0)
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 20.0, "ours:x")), images_in=TWO_IMAGES)
    assert comparison.compared == 0


def test_published_weights_are_preferred_to_ours(paper):
    records = both_images("dncnn", 25.0, 20.0, "ours:a") + both_images("dncnn", 25.0, 30.44, "published:b")
    got = verdict(paper(), records)
    assert (got.verdict, got.weights) == ("reproduced", "published:b")


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (both_images("noisy", 25.0, 30.0), "no records of dncnn"),
        (both_images("dncnn", 50.0, 30.0), "no records of dncnn at this setting under standard-v1"),
        (both_images("dncnn", 25.0, 30.0)[:1], "incomplete: 1 of 2 images"),
        (both_images("dncnn", 25.0, 30.0, status="failed"), "incomplete: 0 of 2 images"),
        (both_images("dncnn", 25.0, float("nan")), "incomplete: 0 of 2 images"),
    ],
)
def test_what_was_not_measured_says_why(paper, records, why):
    got = verdict(paper(), records)
    assert (got.verdict, got.measured, got.difference, got.why) == ("not measured", None, None, why)


def test_repeats_count_as_one_image(paper):
    first = both_images("dncnn", 25.0, 30.43)
    assert verdict(paper(), [*first, *both_images("dncnn", 25.0, 30.45, repeat=1)]).measured == pytest.approx(30.44)
    half = [first[0], {**first[0], "repeat": 1}]
    assert verdict(paper(), half).why == "incomplete: 1 of 2 images"


def test_levels_read_back_from_a_text_file_are_the_same_levels(paper):
    for level in (25, 25.0, "25", "25.0"):
        assert verdict(paper(), both_images("dncnn", level, 30.44)).verdict == "reproduced"


def test_a_set_that_we_lack_and_a_method_that_we_lack_say_so(paper):
    records = both_images("dncnn", 25.0, 30.44)
    assert verdict(paper(), records, images_in={}.get).why == "we have no data set set12"
    stranger = paper('restorer = "dncnn", ', "")
    assert verdict(stranger, records, restorer="").why == "not one of our restorers"


def test_an_incomparable_figure_says_why(paper):
    rule = '[[incomparable]]\nid = "dncnn-s"\nmetric = "ssim"\nbecause = "another SSIM"\n\n[[table]]'
    got = verdict(paper("[[table]]", rule), both_images("dncnn", 25.0, 30.44), metric="ssim")
    assert (got.verdict, got.why) == ("not measured", "another SSIM")


def test_run_times_are_never_compared():
    records = both_images("dncnn", 25.0, 30.44)
    comparison = compare(load("dncnn-2017"), pd.DataFrame(records), images_in=TWO_IMAGES)
    times = [v for v in comparison.verdicts if v.entry.restorer == "dncnn" and v.entry.table == "IV"]
    assert {v.why for v in times} == {"a run time of another machine"}


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        (555_600, "reproduced"),  # prints as 556k
        (557_000, "off"),
        (float("nan"), "not measured"),
    ],
)
def test_parameters_are_compared_to_the_digits_printed(paper, params, answer):
    assert verdict(paper(), both_images("dncnn", 25.0, 30.44, params=params), metric="params").verdict == answer


def test_several_networks_behind_one_name_have_no_one_size(paper):
    records = [*both_images("dncnn", 15.0, 32.86), *both_images("dncnn", 25.0, 30.44, params=700_000)]
    assert verdict(paper(), records, metric="params").why == "the records have several params"


def test_a_figure_of_one_image_is_held_against_that_image():
    records = [record("dncnn", 25.0, 29.45, "04.png", "published:a")]
    comparison = compare(load("dncnn-2017"), pd.DataFrame(records), images_in={"set12": 12}.get)
    (starfish,) = (v for v in comparison.verdicts if v.measured is not None)
    assert (starfish.entry.column, starfish.entry.printed, starfish.verdict) == ("Starfish", "29.41", "reproduced")
    assert comparison.reasons()["incomplete: not 05.png"] == 1


def test_records_without_a_needed_column_are_refused(paper):
    with pytest.raises(PaperError, match="no column 'psnr_db'"):
        compare(
            paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.44)).drop(columns="psnr_db"), images_in=TWO_IMAGES
        )


def test_rows_show_what_was_measured_and_on_request_everything(paper):
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.484)), images_in=TWO_IMAGES)
    headers, rows = comparison.rows()
    psnr = dict(zip(headers, rows[1], strict=True))
    assert len(rows) == 3
    assert [psnr[h] for h in ("measured", "published", "difference", "verdict")] == [
        "30.48",
        "30.44",
        "+0.04",
        "reproduced",
    ]
    assert (psnr["setting"], psnr["weights"], psnr["why"]) == ("denoise 25 gray set12", "published:a.mat", "noise")
    assert len(comparison.rows(everything=True)[1]) == 9


def test_what_two_devices_measured_counts_once_and_the_cpus_figures_count(paper):
    on_cpu = both_images("dncnn", 25.0, 30.44, device="cpu")
    on_gpu = both_images("dncnn", 25.0, 31.0, device="cuda")
    got = verdict(paper(), on_cpu + on_gpu)
    assert (got.verdict, got.measured) == ("reproduced", pytest.approx(30.44))
    assert verdict(paper(), on_gpu).measured == pytest.approx(31.0)
    half = verdict(paper(), on_cpu[:1] + on_gpu[1:])
    assert half.measured == pytest.approx((29.44 + 32.0) / 2)


def test_another_ssim_is_a_metric_of_its_own():
    def of_jpeg(**figures):
        rows = [{**record("jpeg", 10, 27.8, image, "", **figures), "task": "deblock"} for image in ("a.bmp", "b.bmp")]
        frame = pd.DataFrame(rows).assign(dataset="classic5")
        found = compare(load("nsr-2020"), frame, images_in={"classic5": 2}.get).verdicts
        return next(v for v in found if v.entry.printed == "0.7800")

    assert of_jpeg().why == "the records have no ssim8"
    assert (of_jpeg(ssim8=0.78).verdict, of_jpeg(ssim8=0.7595).verdict) == ("reproduced", "off")
