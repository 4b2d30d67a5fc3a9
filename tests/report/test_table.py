"""Tables: what is averaged over what, what is marked, and what never shares a table."""

import json

import numpy as np
import pytest

from bench.errors import RequestError
from bench.records.record import frame_of
from bench.report.layout import Layout
from bench.report.table import render


def record(image, psnr_db=30.0, **figures):
    return {
        "restorer": "dncnn",
        "weights": "published:sigma_25.mat",
        "task": "denoise",
        "level": 25.0,
        "channels": 1,
        "dataset": "photos",
        "image": image,
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "reason": "",
        "psnr_db": psnr_db,
        "ssim": 0.8,
        "seconds": 0.5,
        "params": 555137,
        "key": "abc-123",
        **figures,
    }


def table(*records, format="csv", **layout):
    return render(frame_of(records), format, Layout(**layout))


def cells(text):
    return [line.split(",") for line in text.splitlines()]


def test_a_cell_is_the_mean_over_images():
    headers, row = cells(table(record("1.png", 30.0), record("2.png", 31.0)))
    assert headers[:2] == ["restorer", "photos σ25"]
    assert row[:2] == ["dncnn", "30.50 / 0.8000"]


def test_a_mean_over_fewer_images_than_were_asked_for_says_so():
    failed = record("2.png", None, ssim=None, status="failed", reason="ran out of luck")
    text = table(record("1.png"), failed, format="text")
    assert "30.00 / 0.8000 (1 of 2)" in text
    assert "dncnn failed on photos/2.png: ran out of luck" in text


def test_a_mean_over_a_part_of_a_set_says_so():
    assert "30.00 / 0.8000 (2 of 12)" in table(*(record(f"{i:02}.png", dataset="set12") for i in (1, 2)))
    others = [record(image, restorer="nlm") for image in ("1.png", "2.png")]
    _, alone, both = cells(table(record("1.png"), *others))
    assert (alone[1], both[1]) == ("30.00 / 0.8000 (1 of 2)", "30.00 / 0.8000")


def test_a_mean_over_gray_and_colour_images_says_so():
    mixed = [record("1.png"), record("2.png", channels=3), record("3.png", channels=3)]
    assert "photos σ25 is of 1 gray and 2 colour images" in table(*mixed, format="text")
    assert "colour images" not in table(*mixed[1:], format="text")


def test_levels_of_a_set_are_in_order():
    headers, _ = cells(table(record("1.png", level=50.0), record("1.png", level=15.0), record("1.png", level=25.0)))
    assert headers[1:4] == ["photos σ15", "photos σ25", "photos σ50"]


def test_weights_are_named_by_who_trained_them():
    headers, row = cells(table(record("1.png")))
    assert row[headers.index("weights")] == "published"


def test_ours_and_published_are_two_rows():
    _, *rows = cells(table(record("1.png"), record("1.png", weights="ours:dncnn-gray-25.safetensors")))
    assert [row[-1] for row in rows] == ["published", "ours"]


def test_figures_under_different_protocols_never_share_a_table():
    text = table(record("1.png"), record("1.png", protocol="groupsc-v1"), format="text")
    assert text.count("PSNR in dB") == 2
    assert "(standard-v1)" in text
    assert "(groupsc-v1)" in text


def test_a_timed_record_is_preferred_to_an_untimed_one_of_the_same_cell():
    headers, row = cells(table(record("1.png", seconds=0.25), record("1.png", seconds=None)))
    assert row[headers.index("s/image")] == "0.25"


def test_a_mosaic_is_named_by_its_pattern():
    headers, _ = cells(table(record("1.png", task="demosaick", level="RGGB", channels=3)))
    assert headers[1] == "photos RGGB"


def test_ssim_that_is_not_a_number_is_left_out():
    _, row = cells(table(record("1.png", ssim=np.nan)))
    assert row[1] == "30.00"


def test_a_mean_of_ssim_over_fewer_images_than_that_of_psnr_says_so():
    small = record("2.png", 31.0, ssim=np.nan)
    _, row = cells(table(record("1.png"), small))
    assert row[1] == "30.50 / 0.8000 (SSIM of 1)"
    failed = record("3.png", None, ssim=None, status="failed", reason="ran out of luck")
    assert "30.50 / 0.8000 (2 of 3, SSIM of 1)" in table(record("1.png"), small, failed, format="text")


def test_identical_answers_are_counted_and_the_mean_of_the_others_told():
    text = table(record("1.png", np.inf), record("2.png", 31.0), record("3.png", 32.0), format="text")
    assert "inf / 0.8000" in text
    told = "dncnn on photos σ25: identical with the clean picture (PSNR inf) on"
    assert f"{told} 1 of 3; the mean of the others is 31.50 dB" in text
    assert f"{told} 1 of 1\n" in table(record("1.png", np.inf), format="text") + "\n"
    assert "identical" not in table(record("1.png"), record("2.png", None, status="failed"), format="text")


def test_identical_answers_are_told_of_their_own_column_and_device():
    text = table(record("1.png", np.inf, level=15.0), record("1.png"), record("1.png", **H200), format="text")
    assert text.count("identical") == 1
    assert "dncnn (cpu) on photos σ15: identical" in text


def test_what_is_odd_about_an_answer_stands_below_once_with_its_images():
    odd = [record(f"{i}.png", 5.0, reason="its answer looks like 0-255, expected 0-1") for i in range(5)]
    text = table(*odd, record("6.png"), format="text")
    assert (
        "dncnn on photos/0.png, photos/1.png, photos/2.png and 2 more: its answer looks like 0-255, expected 0-1"
        in text
    )
    assert "failed" not in text


def test_what_was_skipped_stands_below():
    skipped = record("", None, restorer="nlm", status="skipped", reason="nlm does not deblock")
    assert "skipped: nlm does not deblock" in table(record("1.png"), skipped, format="text")


def test_where_all_was_skipped_there_is_no_table_and_the_reason_is_told():
    with pytest.raises(RequestError, match="skipped: no weights"):
        table(record("1.png", status="skipped", reason="no weights"))


@pytest.mark.parametrize(("format", "sigma"), [("latex", r"$\sigma$ = 25"), ("markdown", "σ25"), ("html", "σ = 25")])
def test_symbols_survive_in_every_format(format, sigma):
    assert sigma in table(record("1.png"), format=format)


def test_letters_on_request_say_who_may_be_called_equal():
    images = [f"{i:02}.png" for i in range(1, 13)]
    records = [
        *(record(image, psnr_db=30.0 + i / 9) for i, image in enumerate(images)),
        *(record(image, 29.9 + i / 9, restorer="bm3d", weights="") for i, image in enumerate(images)),
        *(record(image, 29.9 + i / 9 + (-1) ** i / 50, restorer="tv", weights="") for i, image in enumerate(images)),
    ]
    text = table(*records, format="text", significance=True)
    assert "30.61 / 0.8000 a" in text
    assert text.count("30.51 / 0.8000 b") == 2
    assert "restorers that share a letter are not told apart" in text
    assert "share a letter" not in table(*records[:2], format="text", significance=True)

    few = table(*(r for r in records if r["image"] < "06.png"), format="text", significance=True)
    assert "denoise 25 on photos (standard-v1): 5 images cannot tell 3 restorers apart" in few
    assert "share a letter" not in few


H200 = {"device": "cuda", "environment": json.dumps({"gpu": "NVIDIA H200"}), "key": "gpu-1"}
H100 = {"device": "cuda", "environment": json.dumps({"gpu": "NVIDIA H100"}), "key": "gpu-2"}


def columns(text):
    headers, *rows = cells(text)
    return [dict(zip(headers, row, strict=True)) for row in rows]


def test_each_device_has_a_row_with_its_own_times_and_memory():
    on_cpu = [record(f"{i}.png", seconds=float(i), peak_mib=100.0) for i in (1, 2)]
    on_gpu = [record(f"{i}.png", 30.001, seconds=i / 10, device_seconds=i / 20, peak_mib=9.0, **H200) for i in (1, 2)]
    cpu, gpu = columns(table(*on_cpu, *on_gpu))
    assert cpu["photos σ25"] == gpu["photos σ25"] == "30.00 / 0.8000"
    assert (cpu["device"], cpu["s/image"], cpu["GPU s"], cpu["peak MiB"]) == ("cpu", "1.5", "–", "100")
    assert (gpu["device"], gpu["s/image"], gpu["GPU s"], gpu["peak MiB"]) == ("NVIDIA H200", "0.15", "0.075", "9")


def test_two_cards_are_two_devices_and_each_weights_file_has_its_row_on_both():
    weights = ("published:a.mat", "ours:b.safetensors")
    rows = columns(table(*(record("1.png", weights=w, **card) for card in (H200, H100) for w in weights)))
    assert [(row["device"], row["weights"]) for row in rows] == [
        ("NVIDIA H200", "published"),
        ("NVIDIA H200", "ours"),
        ("NVIDIA H100", "published"),
        ("NVIDIA H100", "ours"),
    ]


def test_the_device_is_told_unless_all_is_of_the_cpu():
    assert "device" not in columns(table(record("1.png")))[0]
    assert "GPU s" not in columns(table(record("1.png")))[0]
    assert columns(table(record("1.png", **H200)))[0]["device"] == "NVIDIA H200"


def test_a_failure_says_on_which_device():
    failed = record("1.png", None, status="failed", reason="out of memory", **H200)
    text = table(record("1.png"), failed, format="text")
    assert "dncnn (NVIDIA H200) failed on photos/1.png: out of memory" in text


def test_letters_stand_where_the_figures_that_were_compared_are():
    images = [f"{i:02}.png" for i in range(1, 13)]
    records = [
        *(record(image, 30.0 + i / 9) for i, image in enumerate(images)),
        *(record(image, 30.0 + i / 9, **H200) for i, image in enumerate(images)),
        *(record(image, 29.9 + i / 9, restorer="bm3d", weights="") for i, image in enumerate(images)),
    ]
    rows = columns(table(*records, significance=True))
    assert [row["photos σ25"] for row in rows] == ["30.61 / 0.8000 a", "30.61 / 0.8000", "30.51 / 0.8000 b"]
