"""`bench info` tells all of one thing, `bench cite` what a store rests on; listings fit their columns."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import bench
from bench.errors import RequestError, RestorerError
from bench.records.record import Record, frame_of
from bench.report import listing
from bench.report.about import about, cited
from bench.report.listing import LISTINGS, entry
from tests.conftest import BAD


def told(name):
    return {tuple(line.split()) for line in about(name).splitlines()}


def test_of_a_network_each_setting_and_its_weights_are_told_and_what_to_cite():
    lines = told("dncnn")
    assert ("denoise", "gray", "25", "all", "published:sigma_25.mat", "missing") in lines
    assert ("denoise", "gray", "25", "all", "ours:dncnn-gray-25.safetensors", "shipped") in lines
    assert (
        "denoise-blind",
        "gray",
        "0",
        "to",
        "55",
        "plain,",
        ":bf16",
        "published:GD_Gray_Blind.mat",
        "missing",
    ) in lines
    assert ("variants", "dncnn:bf16", "dncnn:three") in lines
    assert ("@article{zhang2017dncnn,",) in lines


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bm3d", ":package needs bm3d non-commercial use only (Tampere University)"),
        ("set12", "overlaps set5 05.png and butterfly_GT.bmp are cut from one picture"),
        ("set12", "pictures 12, gray"),
        ("set12", "here 0 of 12"),
        ("sample", "here 4 of 4"),
        ("denoise", "unless said --sigma 15,25,50"),
        ("kair-v1", "noise from NumPy seed 0"),
        ("ssim", "@article{wang2004ssim,"),
        (f"{BAD}:Raises", f"written in {BAD}"),
    ],
)
def test_of_each_kind_of_thing_the_facts_are_told(name, words):
    assert words in " ".join(about(name).split())


def test_what_is_not_there_gets_the_near_miss():
    with pytest.raises(RequestError, match=r"metric or protocol named 'dncn'\. Did you mean 'dncnn'\?"):
        bench.info("dncn")
    with pytest.raises(RestorerError, match=r"No file \./no\.py|No file no\.py"):
        bench.info("./no.py:Mine")


CELL = Record("dncnn", "", "denoise", 25.0, 1, "set12", "01.png", "standard-v1", 0, "ok", psnr_db=30.0, ssim=0.8)


def test_what_a_store_rests_on_is_cited_once_each():
    records = [
        CELL,
        replace(CELL, restorer="dncnn:bf16+", image="02.png"),
        replace(CELL, restorer="sc", dataset="bsd68"),
        replace(CELL, restorer="groupsc", dataset="photos"),
        replace(CELL, restorer="mine"),
        replace(CELL, restorer="lidia", status="failed"),
    ]
    bibtex, unknown = cited(frame_of(records))
    assert [line for line in bibtex.splitlines() if line[:1] in "@%" and line] == [
        "% dncnn, set12",
        "@article{zhang2017dncnn,",
        "% sc, groupsc",
        "@inproceedings{lecouat2020groupsc,",
        "% bsd68",
        "@inproceedings{martin2001bsd,",
        "% bsd68",
        "@article{roth2009foe,",
        "% ssim",
        "@article{wang2004ssim,",
    ]
    assert unknown == ["restorer mine", "data set photos"]


@pytest.mark.parametrize(
    ("restorer", "keys"),
    [
        ("vst:bm3d", ["makitalo2013anscombe", "dabov2007bm3d"]),
        ("bm3d:package+", ["dabov2007bm3d", "makinen2020bm3d"]),
        ("sc(tile=64)", ["lecouat2020groupsc"]),
    ],
)
def test_of_each_part_of_a_restorers_name_the_papers_are_cited(restorer, keys):
    bibtex, _ = cited(frame_of([replace(CELL, restorer=restorer, dataset="photos", ssim=None)]))
    assert sorted(re.findall(r"@\w+\{(\w+),", bibtex)) == sorted(keys)


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("what", LISTINGS)
def test_a_listing_fits_the_columns(monkeypatch, what, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, listing.listing(what).splitlines())) <= min(columns, 100)


def test_a_name_that_is_wider_than_its_column_stands_above(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert entry("short", "text", ["remark"]) == ["  short              text", "                     ! remark"]
    assert entry("n" * 19, "text") == ["  " + "n" * 19, "                     text"]
