"""Several stores in one: nothing is lost, nothing is overwritten without a word, all or none is added."""

from dataclasses import replace

import pytest

import bench
from bench.errors import RequestError, StoreError
from bench.records.figures import Figure, as_text
from bench.records.logs import Logs
from bench.records.merging import BATCH, SHOWN, merge
from bench.records.store import Store
from tests.records.test_exported import RECORDS, record


def store_of(path, *records):
    with Store(path) as opened:
        opened.add(*records)
    return path


def records_of(path):
    with Store(path, reading=True) as opened:
        return opened.records()


@pytest.fixture
def two(tmp_path):
    """What comes of merging stores of these records, one each, in this order."""

    def merged(*records):
        paths = [tmp_path / f"{number}.sqlite" for number in range(len(records))]
        for path, one in zip(paths, records, strict=True):
            path.unlink(missing_ok=True)
            store_of(path, one)
        into = tmp_path / "into.sqlite"
        into.unlink(missing_ok=True)
        found = merge(paths, into)
        return found, records_of(into)

    return merged


def test_all_records_of_all_files_are_there_afterwards(tmp_path):
    a = store_of(tmp_path / "a.sqlite", *RECORDS[:2])
    b = store_of(tmp_path / "b.sqlite", *RECORDS[2:])
    bench.export(b, "csv", tmp_path / "b.csv")
    merged = bench.merge([a, tmp_path / "b.csv"], tmp_path / "c.sqlite")
    assert merged.ok
    assert sorted(records_of(tmp_path / "c.sqlite"), key=lambda r: r.key) == RECORDS
    assert str(merged).splitlines() == [
        f"{a}: 2 records, 2 new",
        f"{tmp_path / 'b.csv'}: 2 records, 2 new",
        f"{tmp_path / 'c.sqlite'}: 4 records",
    ]


def test_merging_again_changes_nothing(tmp_path):
    a, into = store_of(tmp_path / "a.sqlite", *RECORDS), tmp_path / "c.sqlite"
    merge([a], into)
    before = into.read_bytes()
    again = merge([a, into, a], into)
    assert (again.n, [source.n_new for source in again.sources]) == (4, [0, 0])  # the store itself is not read
    assert into.read_bytes() == before


def test_many_records_are_merged_in_batches(tmp_path):
    a = store_of(tmp_path / "a.sqlite", *(record(f"{i:05}-1") for i in range(BATCH + 5)))
    assert merge([a], tmp_path / "c.sqlite").n == BATCH + 5


@pytest.mark.parametrize("order", [1, -1])
def test_a_good_record_stays_before_a_failed_one(two, order):
    good, failed = (
        record(),
        record(status="failed", psnr_db=None, reason="?", measured_at="2099-01-01T00:00:00+00:00"),
    )
    merged, there = two(*[good, failed][::order])
    assert merged.ok
    assert there == [good]


@pytest.mark.parametrize("order", [1, -1])
def test_else_the_one_measured_last_as_it_was_asked_for_last(two, order):
    times = ("2026-11-28T09:30:00+00:00", "2026-11-28T10:30:00+00:00")
    first = record(seconds=2.0, measured_at=times[0], asked_at=times[1], label="noisy (a)")
    second = record(seconds=1.0, measured_at=times[1], asked_at=times[0])
    merged, there = two(*[first, second][::order])
    assert merged.ok
    assert there == [replace(second, asked_at=times[1], label="noisy (a)")]


@pytest.mark.parametrize("order", [1, -1])
def test_a_record_gets_the_metrics_that_the_other_has(two, order):
    gmsd, vif = ({name: Figure(0.5, "1", "larger")} for name in ("gmsd", "vif"))
    merged, there = two(*[record(metrics=as_text(gmsd)), record(metrics=as_text(vif))][::order])
    assert merged.ok
    assert [one.metrics for one in there] == [as_text(gmsd | vif)]


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"psnr_db": 20.3}, "psnr_db is 20.2500, and 20.3000"),
        ({"psnr_db": None}, "psnr_db is 20.2500, and none"),
        ({"psnr_db": float("inf")}, "psnr_db is 20.2500, and inf"),
        ({"ssim": 0.52}, "ssim is 0.5000, and 0.5200"),
        ({"input_sha256": "f" * 64}, "input_sha256 is 000000000000…, and ffffffffffff…"),
        ({"metrics": as_text({"gmsd": Figure(0.6, "1", "smaller")})}, "gmsd is 0.5000, and 0.6000"),
    ],
)
def test_two_good_records_of_other_figures_are_a_conflict_and_the_first_stays(two, tmp_path, figures, says):
    first = record(ssim=0.5, input_sha256="0" * 64, metrics=as_text({"gmsd": Figure(0.5, "1", "smaller")}))
    merged, there = two(first, replace(first, **figures, measured_at="2099-01-01T00:00:00+00:00"))
    assert not merged.ok
    where = tmp_path / "1.sqlite"
    assert merged.conflicts == [f"noisy, denoise 25, photos/1.png: {says} in {where}; the first stays"]
    assert there == [first]
    again = merge([where], tmp_path / "into.sqlite")
    assert again.conflicts == merged.conflicts


def test_of_two_machines_both_stay_and_are_named_if_their_figures_differ(two, tmp_path):
    here, there = record("abc-1", environment="here"), record("abc-2", environment="there", psnr_db=20.3)
    merged, found = two(here, there)
    assert found == [here, there]
    assert "psnr_db is 20.2500, and 20.3000" in merged.conflicts[0]
    assert merged.conflicts[0].endswith("both stay, for their keys differ")
    assert merge([tmp_path / "1.sqlite"], tmp_path / "into.sqlite").conflicts == merged.conflicts


@pytest.mark.parametrize(
    ("other", "is_one"),
    [({"environment": "there", "psnr_db": 20.26}, True), ({"psnr_db": 20.26}, False), ({"psnr_db": 20.2501}, True)],
)
def test_the_last_digits_may_be_another_machines(two, other, is_one):
    assert two(record(), record(**other))[0].ok is is_one


def test_of_many_conflicts_the_first_are_named(tmp_path):
    a = store_of(tmp_path / "a.sqlite", *(record(f"{i:05}-1") for i in range(SHOWN + 5)))
    b = store_of(tmp_path / "b.sqlite", *(record(f"{i:05}-1", psnr_db=1.0) for i in range(SHOWN + 5)))
    merged = merge([a, b], tmp_path / "c.sqlite")
    assert len(merged.conflicts) == SHOWN
    assert "and 5 more conflicts" in str(merged)


def test_what_failed_brings_what_it_printed(tmp_path):
    failed = record("abc-1", status="failed", psnr_db=None, reason="?")
    a, into = store_of(tmp_path / "a.sqlite", failed), tmp_path / "c.sqlite"
    Logs(a).keep(failed, "Traceback: here")
    merge([a], into)
    assert Logs(into).of("abc-1") == "Traceback: here"
    assert "Traceback: here" in bench.why("1", [tmp_path / "c.sqlite", a])
    merge([store_of(tmp_path / "b.sqlite", record("abc-1"))], into)
    assert Logs(into).of("abc-1") == ""


# --- all or none -------------------------------------------------------------------------------------------


def damaged(path):
    store_of(path, record())
    content = bytearray(path.read_bytes())
    at = content.find(b"standard-v1", 8192 if len(content) > 8192 else 0)
    content[at] ^= 1
    path.write_bytes(content)


def foreign(path):
    path.write_text("Dear diary")


@pytest.mark.parametrize(
    ("make", "says"), [(damaged, "is damaged"), (foreign, "is not a bench store"), (lambda path: None, "no store")]
)
@pytest.mark.parametrize("was_there", [True, False])
def test_one_file_that_will_not_do_is_named_and_nothing_is_added(tmp_path, make, says, was_there):
    a, bad, into = store_of(tmp_path / "a.sqlite", *RECORDS), tmp_path / "bad.sqlite", tmp_path / "c.sqlite"
    make(bad)
    if was_there:
        store_of(into, record("there-1"))
    with pytest.raises(StoreError, match=f"bad.sqlite.*{says}|{says}.*bad.sqlite"):
        merge([a, bad], into)
    assert into.exists() is was_there
    assert not [*tmp_path.glob("c.sqlite-*")]
    if was_there:
        assert records_of(into) == [record("there-1")]


def test_the_store_that_is_made_is_not_called_as_an_export(tmp_path):
    with pytest.raises(RequestError, match=r"--into .*x.csv: expected the name of a store, .*; e.g. .*x.sqlite"):
        merge([store_of(tmp_path / "a.sqlite", record())], tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("key")
    with pytest.raises(
        RequestError, match=r"--store .*x.csv: expected .*; `bench merge .*x.csv --into .*x.sqlite` makes"
    ):
        bench.run("noisy", store=tmp_path / "x.csv")


def test_a_run_goes_on_from_an_export(photos, tmp_path):
    words = {"datasets": photos, "sigma": 25, "jobs": 2}
    bench.run("noisy", **words, store=tmp_path / "a.sqlite")
    bench.export(tmp_path / "a.sqlite", "csv", tmp_path / "a.csv")
    bench.merge(tmp_path / "a.csv", tmp_path / "b.sqlite")
    assert bench.run("noisy", **words, store=tmp_path / "b.sqlite").n_measured == 0
