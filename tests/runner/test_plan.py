"""Plans: which cells there are, and what their keys hold."""

from dataclasses import replace

from bench.runner.plan import make_plan
from bench.runner.request import make_request


def test_a_timed_key_holds_device_threads_and_machine_and_an_untimed_one_none_of_them(photos, monkeypatch):
    def key(device="cpu", threads=1, machine="here", timed=True):
        monkeypatch.setattr("bench.runner.plan.environment", lambda: machine)
        monkeypatch.setattr("bench.runner.plan.card", lambda device: "NVIDIA H200")
        request = replace(make_request("noisy", datasets=photos, threads=threads), device=device, timed=timed)
        return make_plan(request).cells[0].key

    others = [{"device": "cuda"}, {"threads": 2}, {"machine": "there"}]
    timings = {key(**other).partition("-")[2] for other in [{}, *others]}
    assert len(timings) == 4
    assert "untimed" not in timings
    assert {key(**other, timed=False).partition("-")[2] for other in [{}, *others]} == {"untimed"}
    assert key(threads=2).partition("-")[0] == key(timed=False).partition("-")[0]


def test_each_card_has_records_of_its_own(photos, monkeypatch):
    def quality_key(device, name):
        monkeypatch.setattr("bench.runner.plan.card", lambda device: name)
        request = replace(make_request("noisy", datasets=photos), device=device)
        return make_plan(request).cells[0].quality_key

    devices = [("cpu", ""), ("cuda", "NVIDIA H200"), ("cuda", "NVIDIA H100"), ("cuda:1", "NVIDIA H100")]
    assert len({quality_key(*device) for device in devices}) == 4
