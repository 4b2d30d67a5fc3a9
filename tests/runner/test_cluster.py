"""A cluster: the figures of a run without one, and what becomes of jobs whose worker is gone."""

import contextlib
import json
import logging
import socketserver
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import pytest

import bench
from bench.errors import RequestError
from bench.measure.engine import engine
from bench.runner.executors import station
from bench.runner.executors.cluster import MOST_DEATHS, Cluster
from bench.runner.executors.connecting import address_of, client_of
from bench.runner.executors.executor import Outcome
from bench.runner.executors.roster import Present, slots_of
from bench.runner.executors.station import About
from bench.runner.job import Job
from bench.runner.run import Watcher
from tests.conftest import BAD
from tests.runner.test_job import MINE, cells_of, jobs_of

distributed = pytest.importorskip("distributed")

FIGURES = ["restorer", "label", "plugin", "image", "status", "reason", "psnr_db", "ssim", "input_sha256", "metrics"]


@pytest.fixture(scope="module")
def address():
    """Of a scheduler with two workers, all in this process."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    words = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with distributed.LocalCluster(processes=False, **words) as cluster:
        yield cluster.scheduler_address


class Hears(Watcher):
    def __init__(self):
        self.lines = []

    def told(self, line):
        self.lines.append(line)


def test_a_cluster_gives_the_figures_and_pictures_of_a_run_without_one(photos, tmp_path, address):
    (tmp_path / "mine.py").write_text(MINE + "\n    def prepare(self, setting, device):\n        print('hello')\n")
    words = {"datasets": photos, "sigma": 25, "threads": 1, "metrics": "gmsd"}
    methods = f"noisy,tv,{tmp_path}/mine.py:Mine"
    hears = Hears()
    here = bench.run(methods, store=tmp_path / "here.sqlite", save=tmp_path / "here", jobs=2, **words)
    there = bench.run(
        methods, store=tmp_path / "there.sqlite", save=tmp_path / "there", cluster=address, watcher=hears, **words
    )
    assert there.n_measured == 9
    assert there.frame()[FIGURES].equals(here.frame()[FIGURES])
    assert there.frame()["seconds"].isna().all()
    assert [record.key for record in there.records] == [record.key for record in here.records]
    assert hears.lines[0].startswith("2 slots in 2 workers on 1 machine")
    pictures = [
        {path.name: path.read_bytes() for path in (tmp_path / where).rglob("*.png")} for where in ("here", "there")
    ]
    assert len(pictures[0]) > 3
    assert pictures[0] == pictures[1]


def test_times_are_taken_alone_and_known_afterwards(photos, tmp_path, address):
    words = {"datasets": photos, "sigma": 25, "readings": 2, "store": tmp_path / "s.sqlite", "cluster": address}
    frame = bench.run("noisy", **words).frame()
    assert frame["seconds"].gt(0).all()
    assert {json.loads(text)["measured"] for text in frame["environment"]} == {"alone on its machine"}
    assert bench.run("noisy", **words).n_measured == 0


def test_what_a_worker_refuses_is_a_failure_and_is_tried_again_the_next_time(photos, tmp_path, address, monkeypatch):
    words = {"datasets": photos, "sigma": 25, "store": tmp_path / "s.sqlite", "cluster": address}
    another = SimpleNamespace(of=lambda text: replace(Job.of(text), code_sha256="d" * 64))
    with monkeypatch.context() as patched:
        patched.setattr(station, "Job", another)
        result = bench.run("noisy", **words)
    assert {record.status for record in result.records} == {"failed"}
    reason = result.records[0].reason
    assert reason.startswith("the code of noisy is ")
    assert "where it was to be measured, and dddddddddddd as planned: bring " in reason
    assert {record.status for record in bench.run("noisy", **words).records} == {"ok"}


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("somewhere", "--cluster somewhere: expected the address of a scheduler"),
        ("local:0", "--cluster local:0: expected 1 to 1024 workers"),
        ("none.json", "--cluster none.json: No such file"),
        ("bad.json", "--cluster bad.json: it is not a file that `dask scheduler` wrote"),
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ("tcp://127.0.0.1", "tcp://127.0.0.1 is no address of a scheduler: expected tcp://HOST:8786"),
        ("http://127.0.0.1:8786", "http://127.0.0.1:8786 is no address of a scheduler"),
        ("slurm", "--cluster slurm needs dask-jobqueue"),
    ],
)
def test_words_that_name_no_cluster_are_told(words, said, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.runner.executors.connecting.CONNECT_SECONDS", 0.5)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(RequestError, match=said):
        bench.run("noisy", datasets=photos, sigma=25, store=tmp_path / "s.sqlite", cluster=words)


class Other(socketserver.BaseRequestHandler):
    """Answers as a web server does, and hears the caller out."""

    def handle(self):
        self.request.sendall(b"HTTP/1.0 400 Bad Request\r\n")
        with contextlib.suppress(ConnectionError):
            while self.request.recv(1 << 16):
                pass


def test_what_answers_in_another_language_is_no_scheduler(monkeypatch):
    monkeypatch.setattr("bench.runner.executors.connecting.CONNECT_SECONDS", 0.5)
    with socketserver.TCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_address[1]}"
        began = time.monotonic()
        with pytest.raises(RequestError, match=f"no Dask scheduler answers at {address}"):
            client_of(address)
        assert time.monotonic() - began < 20
        server.shutdown()


def test_a_schedulers_file_names_its_address(tmp_path):
    (tmp_path / "s.json").write_text('{"address": "tcp://10.0.0.1:8786"}')
    assert address_of(f"{tmp_path}/s.json") == "tcp://10.0.0.1:8786"
    assert address_of("local:3") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"methods": lambda image, sigma: image}, "is a thing of this Python alone"),
        ({"jobs": 2}, "--jobs is for this machine alone"),
        ({"device": "cuda:1"}, "each slot of a cluster sees one GPU"),
    ],
    ids=["thing", "jobs", "device"],
)
def test_what_a_cluster_does_not_take_is_told(words, said, photos, tmp_path):
    words = {"methods": "noisy", "datasets": photos, "store": tmp_path / "s.sqlite", **words}
    with pytest.raises(RequestError, match=said):
        bench.run(cluster="local:1", **words)


# --- slots ---------------------------------------------------------------------------------------


def present(n_threads=4, cores=8, host="a", n_gpus=None, **parts):
    standing = {"token": "t", "engine": engine(), "host": host, "cores": tuple(range(cores)), "memory_mib": 8000.0}
    about = About(**{**standing, "cards": {"": ""}, "environment": "{}", **parts})
    return Present(host, n_threads, n_gpus, about)


def slots(worker, others=(), device="cpu", threads=None, timed=False, memory_mib=None):
    made = slots_of(worker, [worker, *others], device, threads, timed, memory_mib)
    return len(made.cards), made.threads


def test_a_worker_has_a_slot_for_each_thread_and_they_share_the_cores():
    assert slots(present()) == (4, 2)
    assert slots(present(), threads=3) == (4, 3)
    assert slots(present(), [present(token="u")]) == (4, 1)
    assert slots(present(), [present(host="b")]) == (4, 2)


def test_where_times_are_taken_a_worker_has_one_slot_with_all_cores_or_one_for_each_gpu():
    assert slots(present(), timed=True) == (1, 8)
    gpus = {"cards": {"0": "H100", "1": "H100", "2": "H100"}}
    assert slots(present(**gpus), device="cuda", timed=True) == (3, 2)
    assert slots(present(n_gpus=2, **gpus), device="cuda") == (2, 4)


def test_there_are_no_more_slots_than_have_room_in_memory():
    assert slots(present(), memory_mib=3000) == (2, 2)
    assert slots(present(), memory_mib=9000) == (1, 2)


def test_a_worker_that_cannot_measure_is_told():
    assert "it has bench 0.0.1, and here is" in present(engine="0.0.1").why_not("cpu")
    assert present(cards={}).why_not("cuda") == "it has no cuda device"
    assert present(n_gpus=0).why_not("cuda") == "it has no cuda device"
    assert Present("a", 1, None, None, "ModuleNotFoundError: No module named 'bench'").why_not("cpu")
    assert present().why_not("cpu") == ""


def test_why_a_worker_is_not_used_is_told_once(cluster):
    lines = []
    cluster.told = lines.append
    without = Present("a", 1, None, None, "ModuleNotFoundError: No module named 'bench'")
    for _ in range(2):
        cluster._meet({"tcp://a:1": without, "tcp://b:1": present()})
    assert lines == ["warning: the worker tcp://a:1 is not used: ModuleNotFoundError: No module named 'bench'"]
    assert [*cluster._hands] == ["tcp://b:1"]


# --- workers come and go ---------------------------------------------------------------------------


class Client:
    """Takes jobs; `sent` are (worker, future), in order."""

    def __init__(self):
        self.sent = []

    def submit(self, function, *given, key, workers, pure):
        future = Future()
        future.cancel = lambda force: None
        self.sent.append((workers[0], json.loads(given[2])["number"], future))
        return future

    def at(self):
        return [(worker, number) for worker, number, _ in self.sent]


@pytest.fixture
def jobs(photos):
    return jobs_of(cells_of("noisy,tv", photos))


@pytest.fixture
def cluster():
    """One whose threads do not run: the test does what they do."""
    cluster = Cluster("tcp://nowhere:1")
    cluster._client = Client()
    return cluster


def submit(cluster, jobs):
    outcomes = [cluster.submit(job, lambda: None) for job in jobs]
    while not cluster._events.empty():
        _, task = cluster._events.get()
        cluster._groups.setdefault(task.job.warm, deque()).append(task)
    return outcomes


def meet(cluster, *names, n_threads=1):
    cluster._meet({name: present(n_threads=n_threads, token=name) for name in names})
    cluster._send()


def answer(cluster, number):
    [task] = [task for hand in cluster._hands.values() for task in hand.at if task.job.number == number]
    cluster._finish(task.sent.hand, task, Outcome(None, "", reason="done"))
    cluster._send()


def test_jobs_go_to_the_worker_that_is_prepared_for_them(cluster, jobs):
    submit(cluster, jobs)  # three of noisy, three of tv
    meet(cluster, "a", "b")
    assert cluster._client.at() == [("a", 0), ("b", 3)]
    for hand in cluster._hands.values():
        hand.seconds = 10.0  # long enough that nothing is sent ahead
    answer(cluster, 3)
    answer(cluster, 0)
    assert cluster._client.at()[2:] == [("b", 4), ("a", 1)]


def test_what_was_sent_to_a_worker_that_is_gone_goes_elsewhere_once(cluster, jobs):
    outcomes = submit(cluster, jobs[:1])
    meet(cluster, "a", "b")
    [(first, _)] = cluster._client.at()
    meet(cluster, *{"a", "b"} - {first})
    assert [number for _, number in cluster._client.at()] == [0, 0]
    assert not outcomes[0].done()
    meet(cluster, "c")
    assert len(cluster._client.sent) == MOST_DEATHS
    assert outcomes[0].result(0).reason.startswith("the worker of the cluster that measured it ended, and so did")


def test_a_job_that_may_have_ended_a_worker_has_nothing_beside_it(cluster, jobs):
    submit(cluster, jobs)
    meet(cluster, "a", n_threads=2)
    assert [number for _, number in cluster._client.at()] == [0, 1]
    meet(cluster, "b", n_threads=2)  # a is gone
    assert cluster._client.at()[2:] == [("b", 0)]
    answer(cluster, 0)
    assert cluster._client.at()[3:] == [("b", 1)]
    answer(cluster, 1)
    assert len(cluster._hands["b"].at) >= 2


def test_where_the_scheduler_was_away_no_job_is_to_blame(cluster, jobs):
    outcomes = submit(cluster, jobs[:1])
    for name in "abcd":
        meet(cluster, name)
        cluster._lose_all()
    meet(cluster, "e")
    assert len(cluster._client.sent) == 5
    assert not outcomes[0].done()


def test_a_worker_that_began_again_at_the_same_address_is_another(cluster, jobs):
    submit(cluster, jobs[:1])
    meet(cluster, "a")
    cluster._meet({"a": present(token="another")})
    cluster._send()
    assert cluster._client.at() == [("a", 0), ("a", 0)]


def test_a_fault_of_ours_ends_what_was_submitted_and_what_is_submitted_later(cluster, jobs):
    outcomes = submit(cluster, jobs[:2])
    meet(cluster, "a")
    cluster._fail(ValueError("a fault"))
    outcomes.append(cluster.submit(jobs[2], lambda: None))
    assert [str(outcome.exception(0)) for outcome in outcomes] == ["a fault"] * 3


# --- in a worker -----------------------------------------------------------------------------------


def test_slots_that_were_left_measure_nothing_more(photos):
    slots = station.Slots("cpu", 1, [("", "")]).text()
    [job, *_] = jobs_of(cells_of("noisy", photos))
    outcome = station.outcome_of(station.measure("run", slots, job.text()))
    assert outcome.record.status == "ok"
    station.leave("run")
    assert station.outcome_of(station.measure("run", slots, job.text())).reason == station.LEFT


def test_slots_that_nobody_asks_end_and_begin_again(photos, monkeypatch):
    monkeypatch.setattr(station, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(station, "LOOK_SECONDS", 0.01)
    slots = station.Slots("cpu", 1, [("", "")]).text()
    for job in jobs_of(cells_of("noisy", photos))[:2]:
        assert station.outcome_of(station.measure("idle", slots, job.text())).record.status == "ok"
        deadline = time.monotonic() + 30
        while "idle" in station._crews and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "idle" not in station._crews


def test_a_job_that_nobody_waits_for_any_more_is_ended_and_the_slot_goes_on(photos, monkeypatch):
    monkeypatch.setattr(station, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(station, "_wanted_by_dask", lambda: lambda: False)
    slots = station.Slots("cpu", 1, [("", "")]).text()
    [sleeps, *_] = jobs_of(cells_of(f"{BAD}:Sleeps", photos))
    [noisy, *_] = jobs_of(cells_of("noisy", photos))
    began = time.monotonic()
    record = station.outcome_of(station.measure("left", slots, sleeps.text())).record
    assert record.status == "failed"
    assert "killed by SIGKILL" in record.reason
    assert time.monotonic() - began < 30  # of 60 that it may take
    monkeypatch.setattr(station, "_wanted_by_dask", lambda: lambda: True)
    assert station.outcome_of(station.measure("left", slots, noisy.text())).record.status == "ok"
    station.leave("left")


# --- the real thing --------------------------------------------------------------------------------

RESTORERS = "noisy,bm3d,nlm,tv,wavelet,dncnn,ffdnet,cscnet,deep-ksvd,sc"
"""Those that take seconds; one thread each, for the order of sums may depend on how many there are."""


@pytest.mark.slow
def test_two_workers_give_what_two_slots_here_do_to_the_last_digit(tmp_path):
    words = {"methods": RESTORERS, "datasets": "set12", "limit": 4, "sigma": 25, "threads": 1}
    here = bench.run(store=tmp_path / "here.sqlite", jobs=2, **words)
    there = bench.run(store=tmp_path / "there.sqlite", cluster="local:2", **words)
    assert not here.failures
    assert there.frame()[FIGURES].equals(here.frame()[FIGURES])
    assert [record.key for record in there.records] == [record.key for record in here.records]
