"""What asv tracks from commit to commit: `tox -e asv`. Offline: restorers whose weights are not here are left out."""
