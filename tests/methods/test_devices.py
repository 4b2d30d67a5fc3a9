"""What is done at a time is told for every kind of device that a network may compute on."""

import pytest
from bench.methods import cscnet, deep_ksvd, sc
from bench.methods.fast import groupsc, nlrn
from bench.methods.networks import lidia, n3net

from bench.restorer import TorchRestorer


@pytest.mark.parametrize(
    "at_a_time",
    [cscnet.COPIES, deep_ksvd.BAND, lidia.CHUNK, n3net.COLUMNS, sc.BAND, groupsc.BATCH, nlrn.TILES_AT_ONCE],
)
def test_every_device_has_its_number(at_a_time):
    assert {*at_a_time} == {*TorchRestorer.devices}
    assert min(at_a_time.values()) > 0
