"""A campaign of faults: things brought from outside are broken on purpose, and what that costs is counted.

    python -m tests.faults [--only stores,servers] [--minutes 5] [--seed 1]     (or: tox -e faults -- …)

Each module beside this one that has `ATTEMPTS` and `attempt` is a campaign: see `tests.faults.campaign`.
"""
