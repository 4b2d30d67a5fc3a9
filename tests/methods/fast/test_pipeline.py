"""Stages that wait for each other: what they make is the same on any number of threads, and none runs far ahead."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from time import sleep

import pytest
import torch
from bench.methods.fast.groupsc import sliding_restore
from bench.methods.fast.pipeline import AHEAD, Pipeline, Stage
from bench.methods.fast.streamed import Streamed
from bench.methods.fast.threads import Workers, torch_in_parallel
from bench.methods.networks.nlrn import NonLocalRecurrent
from bench.methods.networks.sparse_coding import SparseCoding

ROWS, STRIP, AROUND = 41, 4, 6


@pytest.fixture(params=[1, 2, 5])
def workers(request):
    with threads(request.param) as workers:
        yield workers


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with torch_in_parallel(torch.device("cpu")) as workers:
            yield workers
    finally:
        torch.set_num_threads(before)


class Count(Stage):
    """0, 1, 2, ..."""

    def needs(self, n):
        return 0

    def make(self, n):
        return torch.arange(float(self.strips[n].start), float(self.strips[n].stop))


class Sum(Stage):
    """Of the rows up to AROUND after each."""

    def __init__(self, strips, before, pipeline):
        super().__init__(strips, before)
        self.pipeline, self.x, self.furthest = pipeline, torch.empty(0), 0

    def needs(self, n):
        return min(self.strips[n].stop + AROUND, ROWS)

    def make(self, n):
        while len(self.x) < self.needs(n):
            self.x = torch.cat([self.x, self.take()])
        self.furthest = max(self.furthest, self.before.n - n)
        rows = self.strips[n]
        out = torch.empty(len(rows))

        def one(row):
            sleep(0.0005)
            out[row - rows.start] = self.x[: row + AROUND + 1].sum()

        self.pipeline.do(one, rows)
        return out


class Kept(Stage):
    def __init__(self, strips, before):
        super().__init__(strips, before)
        self.all = []

    def needs(self, n):
        return self.strips[n].stop

    def make(self, n):
        self.all.append(self.take())
        return self.all[-1]


def line(workers, n_sums=4, stage=Sum):
    pipeline = Pipeline(workers)
    strips = [range(top, min(top + STRIP, ROWS)) for top in range(0, ROWS, STRIP)]
    last = Count(strips)
    for _ in range(n_sums):
        last = stage(strips, last, pipeline)
    return pipeline, Kept(strips, last)


def test_stages_make_what_they_would_make_one_after_the_other(workers):
    pipeline, kept = line(workers)
    pipeline.run(kept)
    x = torch.arange(float(ROWS))
    for _ in range(4):
        x = torch.stack([x[: row + AROUND + 1].sum() for row in range(ROWS)])
    torch.testing.assert_close(torch.cat(kept.all), x, rtol=1e-6, atol=0)


def test_no_stage_runs_further_ahead_than_the_next_will_soon_need(workers):
    pipeline, kept = line(workers)
    pipeline.run(kept)
    stage = kept.before
    while isinstance(stage, Sum):
        assert stage.furthest * STRIP <= AROUND + (1 + AHEAD) * STRIP + STRIP
        assert not stage.made
        stage = stage.before


def test_a_thread_without_a_stage_helps_another_with_its_pieces():
    seen, both = set(), threading.Barrier(2)

    class Shared(Kept):
        def make(self, n):
            def one(piece):
                both.wait(timeout=20)  # breaks if one thread does all pieces
                seen.add(threading.get_ident())

            self.pipeline.do(one, range(2))
            return super().make(n)

    with threads(2) as workers:
        pipeline = Pipeline(workers)
        first = Count([range(1)])
        last = Shared(first.strips, first)
        last.pipeline = pipeline
        pipeline.run(last)
    assert len(seen) == 2


@pytest.mark.parametrize("where", ["a stage", "a piece"])
def test_an_error_ends_all_threads_and_comes_out(workers, where):
    class Failing(Sum):
        def make(self, n):
            if n == 2 and where == "a stage":
                raise ValueError("here")
            return super().make(n)

    pipeline, kept = line(workers, stage=Failing)
    if where == "a piece":
        do = pipeline.do

        def failing(one, pieces):
            def other(piece):
                if piece == 9:
                    raise ValueError("here")
                one(piece)

            do(other, pieces)

        pipeline.do = failing
    with pytest.raises(ValueError, match="here"):
        pipeline.run(kept)
    assert len(kept.all) < len(kept.strips)


def test_a_single_worker_is_the_caller():
    seen = set()

    class Noted(Sum):
        def make(self, n):
            seen.add(threading.get_ident())
            return super().make(n)

    pipeline, kept = line(Workers(1, map), stage=Noted)
    pipeline.run(kept)
    assert len(kept.all) == len(kept.strips)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("name", ["nlrn", "groupsc"])
def test_nothing_is_held_when_an_image_is_restored(name):
    """Not even until Python looks for what refers to each other: a process that restores many would grow."""
    y = torch.rand(1, 1, 20, 24)
    if name == "nlrn":
        restore = Streamed(NonLocalRecurrent(1, n_steps=3, width=16, embedding=8).eval(), 9)
    else:
        net = SparseCoding(1, window=12, lmbda_init=0.01, n_atoms=32, n_steps=3).requires_grad_(False)

        def restore(y):
            return sliding_restore(net, y)

    restore(y)
    gc.collect()
    gc.disable()
    try:
        restore(y)
        assert [held for held in gc.get_objects() if issubclass(type(held), (Stage, Pipeline))] == []
    finally:
        gc.enable()
