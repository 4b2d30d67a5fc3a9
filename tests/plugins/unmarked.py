"""Functions that are no metrics, for want of a right mark. They are read, and never run."""

from bench.metric import metric


def unmarked(restored, clean):
    return 1.0


@metric(better="best")
def which_way(restored, clean):
    return 1.0


@metric()
def unsaid(restored, clean):
    return 1.0


LOW = 0


@metric(better="larger", low=LOW)
def computed(restored, clean):
    return 1.0


@metric(better="larger", name="psnr")
def taken(restored, clean):
    return 1.0
