"""A slot: one cell after another, each with the pixels that were planned."""

from PIL import Image

import bench
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.runner.slot import Slot
from bench.runner.worker import Limits


def test_pixels_that_changed_after_planning_are_not_measured_under_the_old_ones_name(photos):
    plan = make_plan(make_request("noisy", datasets=photos))
    Image.new("L", (32, 24), 7).save(photos / "2.png")
    slot = Slot(Limits(), readings=None)
    try:
        records = [slot.measure(cell) for cell in plan.cells if cell.setting.level == 25]
    finally:
        slot.close()
    assert [record.status for record in records] == ["ok", "failed", "ok"]
    assert records[1].reason.startswith("photos/2.png has other pixels than planned: it changed meanwhile")
    assert records[1].psnr_db is None


SCALED = """
from bench.restorer import Restorer

class Scaled(Restorer):
    name, tasks = "scaled", {"denoise"}

    def restore(self, seen):
        return 255 * seen.image if seen.image.shape[0] == 24 else 1 * seen.image
"""


def test_an_answer_that_looks_like_0_255_is_measured_and_the_remark_kept_and_printed(photos, tmp_path):
    (tmp_path / "mine.py").write_text(SCALED)
    store = tmp_path / "s.sqlite"
    for _ in range(2):  # measured, then found in the store
        result = bench.run(f"{tmp_path}/mine.py:Scaled", datasets=photos, sigma=25, store=store)
        frame = result.frame()
        assert set(frame["status"]) == {"ok"}
        assert frame["reason"].tolist() == ["its answer looks like 0-255, expected 0-1"] * 2 + [""]
        assert "scaled on photos/1.png, photos/2.png: its answer looks like 0-255, expected 0-1" in result.table()
    assert bench.table(store) == result.table()


def test_what_has_no_figure_is_a_failure_and_the_others_are_measured(photos, tmp_path, monkeypatch):
    """A border that the plan did not know of."""
    monkeypatch.setattr("bench.protocol.Protocol._border", lambda self, setting: 9)
    monkeypatch.setattr("bench.protocol.Protocol.scored_size", lambda self, height, width, setting: (height, width))
    frame = bench.run("noisy", datasets=photos, sigma=25, store=tmp_path / "s.sqlite").frame()
    assert frame["status"].tolist() == ["ok", "ok", "failed"]
    assert frame["reason"].iloc[2] == "no pixel is left to compare, so that there is no PSNR"
    assert frame["psnr_db"].isna().tolist() == [False, False, True]
