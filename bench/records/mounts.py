"""What file system a store lies on: over a network SQLite's WAL does not work, and locks do not always.

WAL needs memory that all who have the store open share, and machines share none. Without locks two that write at once
damage it. (https://sqlite.org/wal.html, https://sqlite.org/howtocorrupt.html, section 2)
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mount", "lacks_locks", "mount_of", "network_mount"]

NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs"),
        *("vmhgfs", "wekafs"),
    )
)
ON_THIS_MACHINE_ALONE = frozenset({"nolock", "local_lock=posix", "local_lock=all", "nobrl", "localflock"})
"""options of NFS, SMB and Lustre with which a lock is not told to other machines"""
TABLE = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """kind: `ext4`, `nfs4`, …; options: those of the mount and of its file system."""

    place: Path
    kind: str
    options: frozenset[str] = frozenset()

    @property
    def is_network(self) -> bool:
        """Whether other machines may see it. What is mounted through FUSE counts as such: most of it is."""
        return self.kind in NETWORK or self.kind == "fuse" or self.kind.startswith("fuse.")

    @property
    def keeps_locks_here(self) -> str:
        """The option by which a lock holds on this machine alone; "" if there is none."""
        return min(self.options & ON_THIS_MACHINE_ALONE, default="")


def network_mount(path: Path) -> Mount | None:
    """The network file system that a file is on, or will be; None on a local one, and where that cannot be told."""
    found = mount_of(path)
    return found if found is not None and found.is_network else None


def mount_of(path: Path) -> Mount | None:
    """What is mounted where a file is. None where the system does not say so as Linux does."""
    try:
        table = TABLE.read_text(encoding="utf-8", errors="surrogateescape")
        place = path.resolve()
    except (OSError, RuntimeError):
        return None
    around = [mount for mount in _mounts(table) if place.is_relative_to(mount.place)]
    return max(reversed(around), key=lambda mount: len(mount.place.parts), default=None)  # of two the later is on top


def _mounts(table: str) -> Iterator[Mount]:
    """`36 35 98:0 / /home rw,noatime shared:1 - nfs4 server:/home rw,vers=4.2`: see proc(5)."""
    for line in table.splitlines():
        before, _, behind = line.partition(" - ")
        mount, system = before.split(" "), behind.split(" ")
        if len(mount) >= 6 and system[0]:
            options = {*mount[5].split(","), *(system[2].split(",") if len(system) > 2 else ())}
            yield Mount(Path(_plain(mount[4])), system[0], frozenset(options))


def _plain(text: str) -> str:
    r"""Spaces and the like are written as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def lacks_locks(folder: Path) -> str:
    """Why no file in the folder can be locked; "" if one can be, or that cannot be tried."""
    try:
        import fcntl
    except ImportError:
        return ""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        handle, name = tempfile.mkstemp(prefix=".bench-lock-", dir=folder)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)
    return ""
