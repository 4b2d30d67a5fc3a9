"""A restorer in this process, in the place of `RestorerProcess`: a test that needs no isolation saves the start."""

from __future__ import annotations

import numpy as np

from bench.plugins.registry import load_class
from bench.runner.messages import Answer, Failure, Unable


class Here:
    """Does what RestorerProcess does, without limits."""

    def __init__(self, spec, device, threads, limits):
        self.spec, self.device, self.said = spec, device, ""

    def ready(self, setting, weights):
        self.restorer = load_class(self.spec.info.target)(self.spec.variant, weights)
        reason = self.restorer.why_not(setting)
        if reason is not None:
            return Unable(reason)
        self.restorer.prepare(setting, self.device)
        return None

    def restore(self, seen):
        try:
            x_hat = np.asarray(self.restorer.restore(seen))
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}")
        assert x_hat.shape == seen.restored_shape
        return Answer(x_hat, None, None, 0, None, None, 0.0)

    def close(self):
        pass
