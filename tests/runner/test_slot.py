"""A slot: one cell after another, each with the pixels that were planned."""

from PIL import Image

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
