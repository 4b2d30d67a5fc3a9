"""The command line: one line for what will not do, status 2; tables and records for what does."""

import contextlib
import errno
import io
import json
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.cli import main
from bench.cli.output import flush, open_up, what_failed
from bench.records.mounts import Mount
from bench.records.store import Store
from tests.conftest import BAD
from tests.records.test_exported import record


def bench(*words):
    """What `bench word word …` prints, and its exit status; in this process, which saves a second a call."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as exit:
            status = exit.code or 0
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def refused(result):
    """The one line of an error, the exit status being 2."""
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line


@pytest.fixture
def run(photos, tmp_path):
    def run(*words, methods="noisy", datasets=photos, task="denoise"):
        options = ("--methods", methods, "--datasets", datasets, "--task", task)
        return bench("run", *options, "--store", tmp_path / "s.sqlite", *words)

    return run


@pytest.mark.parametrize(
    ("options", "words", "says"),
    [
        ({"methods": "nosiy"}, (), "No restorer named 'nosiy'. Did you mean 'noisy'?"),
        ({"datasets": "bsd86"}, (), "No data set named 'bsd86'. Did you mean 'bsd68'?"),
        ({"datasets": "./nowhere"}, (), "There is no folder './nowhere'"),
        ({"task": "denois"}, (), "No task named 'denois'. Did you mean 'denoise'?"),
        ({"task": "deblock"}, (), "Nothing to measure: noisy does not deblock"),
        ({}, ("--sigma", "-1"), "--sigma -1: denoise takes a noise standard deviation from 0 to 255"),
        ({}, ("--sigma", "abc"), "--sigma abc: denoise takes a noise standard deviation from 0 to 255"),
        ({}, ("--sigma", "nan"), "--sigma nan: denoise takes"),
        ({}, ("--sigma", "15,,25"), "--sigma : denoise takes"),
        ({}, ("--quality", "10"), "--quality does not concern denoise."),
        (
            {"methods": "jpeg", "task": "deblock"},
            ("--quality", "10.5"),
            "--quality 10.5: deblock takes a JPEG quality",
        ),
        ({}, ("--protocol", "standard"), "No protocol named 'standard'. Did you mean 'standard-v1'?"),
        ({}, ("--format", "markdwon"), "No table format named 'markdwon'. Did you mean 'markdown'?"),
        ({}, ("--jobs", "0"), "--jobs 0: expected a whole number of at least 1."),
        ({}, ("--repeats", "0"), "--repeats 0: expected"),
        ({}, ("--time-limit", "0"), "--time-limit 0"),
        ({}, ("--device", "tpu"), "--device tpu: expected cpu, cuda, cuda:N or mps; this machine has cpu"),
        ({}, ("--device", "cuda:99"), "--device cuda:99: this machine has cpu"),
        ({"methods": "./no.py:Mine"}, (), "No file no.py"),
        ({"methods": "dncnn@publishd"}, (), "after the @ stands 'published', 'ours' or a weights file"),
        ({"methods": ","}, (), "--methods: nothing was named."),
        ({"methods": "\x1b[2J\n\udcff"}, (), r"No restorer named '\x1b[2J\n\xff'."),
        ({"methods": f"./{'x' * 400}.py:Mine"}, (), "File name too long"),
        ({"methods": f"noisy@{'x' * 400}"}, (), "(File name too long)"),
        ({"datasets": "x" * 5000}, (), "A folder of images is written ./folder."),
        ({}, ("--threads", "5000"), "--threads 5000: expected a whole number of at most 1024."),
        ({}, ("--jobs", "1000000"), "--jobs 1000000: expected a whole number of at most 256."),
        ({}, ("--readings", "1000000"), "--readings 1000000: expected a whole number of at most 10000."),
        ({}, ("--repeats", "1000000000", "--dry-run"), "are 9,000,000,000 cells; a plan has at most 200,000."),
        ({}, ("--time-limit", "nan"), "--time-limit nan: expected a positive number"),
        ({}, ("--memory-limit=-inf",), "--memory-limit -inf: expected a positive number"),
    ],
    ids=lambda value: " ".join(map(str, value.values() if isinstance(value, dict) else value))[:40] or "-",
)
def test_bad_input_is_one_line_that_names_it(run, options, words, says):
    assert says in refused(run(*words, **options))


def test_an_empty_folder_is_named(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty' holds no images" in refused(run(datasets=empty))


def test_a_store_that_is_not_ours_is_refused(photos, tmp_path):
    other = tmp_path / "table.csv"
    other.write_text("method,psnr\n" * 50)
    result = bench("run", "--methods", "noisy", "--datasets", photos, "--store", other)
    said = refused(result)
    assert "table.csv: expected the name of a store" in said
    other = other.rename(tmp_path / "table.sqlite")
    result = bench("run", "--methods", "noisy", "--datasets", photos, "--store", other)
    assert "table.sqlite is not a bench store" in refused(result)


def test_a_broken_picture_is_named_and_the_rest_is_measured(run, photos):
    (photos / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much more")
    result = run("--sigma", "25")
    assert result.returncode == 1
    assert "noisy" in result.stdout
    assert "not measured: photos/2.png" in result.stderr


def test_pictures_that_had_to_be_converted_are_said(run, photos):
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(photos / "deep.png")
    Image.new("RGBA", (20, 20), (10, 20, 30, 255)).save(photos / "layered.png")
    result = run("--sigma", "25")
    assert result.returncode == 0
    assert "photos/deep.png: 16 bits" in result.stderr
    assert "photos/layered.png: " in result.stderr


def test_pictures_that_are_jpegs_already_are_said_once_for_all_of_a_kind(run, photos):
    for name in ("a", "b", "c"):
        Image.new("L", (32, 32), 100).save(photos / f"{name}.jpg", quality=60)
    result = run("--sigma", "25")
    assert "note: photos/a.jpg and 2 more: a JPEG of quality 60" in result.stderr


def test_a_dry_run_counts_and_measures_nothing(run, tmp_path):
    result = run("--sigma", "15,25", "--dry-run")
    assert "6 of 6 cells to measure" in result.stdout
    run("--sigma", "15")
    again = run("--sigma", "15,25", "--dry-run")
    assert "3 of 6 cells to measure" in again.stdout


def test_the_table_goes_to_standard_output_and_remarks_do_not(run):
    first, second = run("--sigma", "25"), run("--sigma", "25")
    assert first.stdout == second.stdout
    assert "3 of 3 cells were in the store already" in second.stderr


@pytest.mark.parametrize(
    ("format", "has"),
    [("markdown", "| noisy"), ("latex", r"\toprule"), ("html", "<table>"), ("csv", "noisy,"), ("text", "noisy ")],
)
def test_tables_in_every_format(run, tmp_path, format, has):
    run("--sigma", "25")
    result = bench("table", "--store", tmp_path / "s.sqlite", "--format", format)
    assert has in result.stdout
    assert "20." in result.stdout


FAILS = f"{BAD}:Raises"


def test_of_what_failed_the_command_that_says_why_is_told(run, tmp_path):
    result = run("--sigma", "25", methods=FAILS)
    store = tmp_path / "s.sqlite"
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"What failed is told by `bench why --store {store}`."
    assert bench("why", "--store", store).stdout.startswith(
        "  1  raises on photos/1.png, photos/2.png, photos/3.png: "
    )
    assert "in restore" in bench("why", "1", "--store", store).stdout
    assert "No failure is '2'" in refused(bench("why", "2", "--store", store))


def test_quiet_prints_the_table_alone_and_verbose_each_cell(run):
    quiet = run("--sigma", "25", "--quiet", methods=FAILS)
    assert "failed" in quiet.stdout
    assert quiet.stderr == ""
    verbose = run("--sigma", "25", "-v", "--force", methods=f"{BAD}:Prints")
    assert "  a plugin's chatter" in verbose.stderr.splitlines()
    assert "prints, denoise sigma 25 gray, photos/2.png: 20." in verbose.stderr
    assert "choose one" in refused(run("-q", "-v"))


def test_debugging_keeps_nothing_and_takes_no_options_of_keeping(run, tmp_path):
    result = run("--sigma", "25", "--debug")
    assert "--debug: nothing was timed, and nothing is kept in a store." in result.stderr
    assert not (tmp_path / "s.sqlite").exists()
    assert "--debug goes without" in refused(run("--debug", "--jobs", "2"))


def test_a_folder_that_is_made_for_a_store_is_said_and_a_dry_run_makes_none(photos, tmp_path):
    store = tmp_path / "new" / "s.sqlite"
    words = ("run", "--methods", "noisy", "--sigma", "25", "--datasets", photos, "--store", store)
    bench(*words, "--dry-run")
    assert not store.parent.exists()
    bench(*words, "--scale", "2")
    assert not store.parent.exists()
    said = f"The folder {store.parent} was made for the store {store}."
    assert said in bench(*words).stderr.splitlines()
    assert said not in bench(*words).stderr


def test_the_version_is_said():
    assert bench("--version").stdout == f"bench {version('bench')}\n"


def test_records_are_exported_to_standard_output_or_a_file(run, tmp_path):
    run("--sigma", "25")
    store = tmp_path / "s.sqlite"
    lines = bench("export", "--store", store, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["1.png", "2.png", "3.png"]
    bench("export", "--store", store, "--format", "csv", "--output", tmp_path / "out.csv")
    assert list(pd.read_csv(tmp_path / "out.csv")["image"]) == ["1.png", "2.png", "3.png"]


def test_records_can_be_selected(run, tmp_path):
    run("--sigma", "15,25")
    result = bench("export", "--store", tmp_path / "s.sqlite", "--select", "level == 15")
    assert len(result.stdout.splitlines()) == 1 + 3
    assert "--select level equals 15" in refused(
        bench("export", "--store", tmp_path / "s.sqlite", "--select", "level equals 15")
    )


def test_a_store_that_is_not_there_is_named(tmp_path):
    assert "There is no store" in refused(bench("table", "--store", tmp_path / "none.sqlite"))


def test_a_check_names_what_is_broken(tmp_path):
    result = bench("check", f"{BAD}:ChangesInput")
    assert result.returncode == 1
    assert "BROKEN  denoise sigma 25 gray: 29x61: changed the observation" in result.stdout


def test_list_names_restorers_terms_and_sets():
    words = " ".join(bench("list").stdout.split())
    for expected in ("terms of bm3d, for :package: ", "non-commercial", "dncnn :bf16", "set12", "standard-v1"):
        assert expected in words


def states(result):
    """The last words of the rows of a table, and the exit status."""
    return {line.split()[-1] for line in result.stdout.splitlines()[2:]}, result.returncode


def test_weights_are_listed_and_verified():
    assert "dncnn.gray-25" in bench("weights", "list").stdout
    assert states(bench("weights", "verify")) == ({"shipped"}, 0)
    assert states(bench("weights", "verify", "dncnn")) == ({"shipped", "missing"}, 1)
    assert states(bench("weights", "verify", "dncnn.ours-gray-25")) == ({"shipped"}, 0)


def test_a_file_that_is_missing_or_damaged_fails_the_verifying_of_its_set(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    whole = bench("data", "verify")
    assert {line.split()[0] for line in whole.stdout.splitlines()[2:]} == {"sample", "sample-colour"}
    assert whole.returncode == 0
    assert bench("data", "verify", "set5").returncode == 1
    assert bench("data", "verify", "sample").returncode == 0
    (tmp_path / "datasets" / "set5").mkdir(parents=True)
    (tmp_path / "datasets" / "set5" / "baby_GT.bmp").write_bytes(b"BM")
    damaged = bench("data", "verify")
    assert ["set5", "0", "4", "1"] in [line.split() for line in damaged.stdout.splitlines()]
    assert damaged.returncode == 1


def test_fetching_goes_on_after_what_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    result = bench("weights", "fetch", "cscnet", "sc")
    named = [line.split()[1] for line in result.stderr.splitlines()]
    assert named == [f"weights/cscnet/sigma_{sigma}.model" for sigma in (15, 25, 50, 75)]
    assert "sc.gray-25: " in result.stdout
    assert result.returncode == 1
    result = bench("data", "fetch", "set5", "sample", "set12")
    assert [line.split("/")[1] for line in result.stderr.splitlines()] == ["set5", "set12"]
    assert result.returncode == 1


def test_what_is_cached_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "nowhere"))
    assert bench("list", "cached").stdout.splitlines()[1:] == ["  in all             0.0 MB"]
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    for place, n_bytes in (("datasets/set5", 1_250_000), ("weights/cscnet", 250_000)):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "one").write_bytes(bytes(n_bytes))
        (tmp_path / place / ".part").write_bytes(bytes(9))
    assert [line.split() for line in bench("list", "cached").stdout.splitlines()[1:]] == [
        ["datasets/set5", "1", "of", "5", "files,", "1.2", "MB"],
        ["weights/cscnet", "1", "of", "4", "files,", "0.2", "MB"],
        ["in", "all", "1.5", "MB"],
    ]


def test_the_wanted_weights_are_listed_as_a_table_or_as_the_page():
    listed = bench("weights", "wanted").stdout.splitlines()
    assert listed[0].split() == ["restorer", "levels", "recipe", "where", "it", "stands", "goal"]
    assert listed[2].split()[:5] == ["1", "nsr", "sigma", "25", "gpu"]
    assert bench("weights", "wanted", "--markdown").stdout.startswith("# Weights that deserve more training\n")


def test_an_unknown_weights_name_gets_the_near_miss():
    assert "Did you mean 'dncnn'" in refused(bench("weights", "fetch", "dncn"))


def test_doctor_says_what_the_machine_has():
    result = bench("doctor")
    assert "torch" in result.stdout
    assert "BENCH_OFFLINE" in result.stdout
    assert "\ndevice cpu " in result.stdout


def test_doctor_says_where_stores_do_without_wal(monkeypatch):
    for kind, told in (("ext4", "ext4\n"), ("nfs4", "nfs4, where stores go without WAL\n")):
        monkeypatch.setattr("bench.report.listing.mount_of", lambda path, kind=kind: Mount(path, kind))
        assert f"\nthis folder is on    {told}" in bench("doctor").stdout


def test_compare_wants_to_know_with_what(run, tmp_path):
    run("--sigma", "25")
    result = bench("compare", "--store", tmp_path / "s.sqlite")
    assert result.returncode == 2
    assert "one of --paper NAME, --reference and --significance" in result.stderr


def test_exported_records_can_be_shown_and_compared_like_a_store(run, tmp_path):
    run("--sigma", "25", methods="noisy,tv")
    bench("export", "--store", tmp_path / "s.sqlite", "--output", tmp_path / "r.csv")
    tables = [bench("table", "--store", tmp_path / name).stdout for name in ("s.sqlite", "r.csv")]
    assert "photos" in tables[0]
    assert tables[0] == tables[1]
    result = bench("compare", "--significance", "--store", tmp_path / "r.csv")
    assert "tv" in result.stdout
    assert "images tell nothing" in result.stdout


def test_stores_are_shown_together_and_merged_and_a_conflict_is_named_with_status_1(tmp_path):
    at = "2026-11-28T09:30:00+00:00"
    for name, one in {
        "a": record("a-1"),
        "b": record("b-1", image="2.png", psnr_db=30.0),
        "c": record("a-1", ssim=1.0),
    }.items():
        with Store(tmp_path / f"{name}.sqlite") as store:
            store.add(replace(one, asked_at=at))
    a, b, c, into = (tmp_path / f"{name}.sqlite" for name in ("a", "b", "c", "into"))
    assert bench("merge", a, b, "--into", into).returncode == 0
    tables = [bench("table", "--store", a, "--store", b), bench("table", "--store", into)]
    assert tables[0].stdout == tables[1].stdout != bench("table", "--store", a).stdout
    merged = bench("merge", c, "--into", into)
    assert (merged.returncode, merged.stderr) == (1, "")
    assert "conflict: noisy, denoise 25, photos/1.png: ssim is none, and 1.0000 in" in merged.stdout
    assert "There is no store" in refused(bench("merge", tmp_path / "none.sqlite", "--into", into))


def test_a_part_is_run_and_told_and_what_is_none_is_named(run):
    assert "--shard 3/2: expected 1/2 to 2/2" in refused(run("--sigma", "25", "--shard", "3/2"))
    told = run("--sigma", "25", "--shard", "2/3", "--dry-run")
    assert "note: shard 2/3: 1 of 3 cells" in told.stdout
    assert "1 of 1 cells to measure" in told.stdout


def test_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert what_failed(error) == "The current folder is gone. Go to one that is there."
    monkeypatch.chdir(tmp_path)
    assert what_failed(error) == ""


def test_any_text_goes_to_a_stream_of_any_encoding(monkeypatch):
    held = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(held, encoding="ascii"))
    open_up()
    print("σ \udcff")
    flush()
    assert held.getvalue().decode() == "\\u03c3 \\udcff\n"
