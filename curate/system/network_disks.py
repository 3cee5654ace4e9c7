"""Tell whether a path is on a network file system, where SQLite loses or damages data.

SQLite's write-ahead log needs memory that all its processes share, which only processes of one
machine have, and locks that network file systems keep to in part. See sqlite.org/wal.html and
sqlite.org/faq.html#q5. The table of mounts is Linux's; on other systems nothing is found.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from curate.errors import UsageError

MOUNTS = Path("/proc/self/mountinfo")
# As the kernel names them. Folders that a machine lends to its own virtual machines (9p, virtiofs)
# are none: they are on a disk of the same machine.
_NETWORK = (
    "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "davfs", "fhgfs", "gfarm", "glusterfs",
    "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "quobyte", "smb3",
    "smbfs", "wekafs",
)  # fmt: skip
# Programs behind FUSE: `fuse.NAME`, or `fuse` with NAME as what is mounted.
_FUSE = (
    "alluxio-fuse", "blobfuse", "blobfuse2", "ceph-fuse", "cfs-fuse", "curlftpfs", "davfs2",
    "drive", "fuse_dfs", "gcsfuse", "glusterfs", "goofys", "hdfs", "juicefs", "lizardfs", "mfs",
    "moosefs", "mount.davfs", "mountpoint-s3", "rclone", "s3fs", "s3ql", "seaweedfs", "sshfs",
    "weed",
)  # fmt: skip
# Space, tab, line end and backslash of a path are written as octal numbers.
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mounted file system: its folder and its type."""

    folder: Path
    kind: str


def network_mount(path: Path, mounts: Path = MOUNTS) -> Mount | None:
    """Return the network file system that holds `path`, which may not exist yet, or `None`.

    `mounts` is a table as in Linux's /proc/self/mountinfo.
    """
    try:
        # Not `splitlines`: a path may hold what it also takes for the end of a line.
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return None
    real, holder, kind = Path(os.path.realpath(path)), Path("/"), ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, described = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        folder = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        # The last of several at one place covers the others.
        if real.is_relative_to(folder) and len(folder.parts) >= len(holder.parts):
            source = described[1].partition("#")[0] if len(described) > 1 else ""
            holder, kind = folder, f"fuse.{source}" if described[0] == "fuse" else described[0]
    if kind in _NETWORK or kind.removeprefix("fuse.") in _FUSE:
        return Mount(holder, kind)
    return None


def refuse_network_disk(path: Path, instead: str, mounts: Path = MOUNTS) -> None:
    """Refuse to keep a SQLite file in `path` on a network file system; `instead` says what to do.

    Raises:
        UsageError: it is on one.
    """
    if (found := network_mount(path, mounts)) is not None:
        raise UsageError(
            f"{path.absolute()} is on a network file system ({found.kind}, mounted at "
            f"{found.folder}), where SQLite can lose or damage what it holds, because machines "
            f"share neither the memory nor the locks that its log needs; {instead}"
        )
