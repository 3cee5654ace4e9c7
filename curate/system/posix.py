"""Everything that depends on the operating system: durable files, folders, locks, memory, disks.

SQLite loses or damages data on a network file system: its write-ahead log needs memory that all its
processes share, which only processes of one machine have, and locks that network file systems keep
to in part. See sqlite.org/wal.html and sqlite.org/faq.html#q5. The table of mounts is Linux's; on
other systems nothing is found.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import signal
import sys
from pathlib import Path
from types import TracebackType
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


def usable_memory() -> int | None:
    """Return the bytes of memory that this process may use, or `None` where nobody says.

    It is the machine's memory, or less in a container or a job of a cluster.
    """
    found = control_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    if "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


def control_group_limits(groups: Path, mounted: Path) -> list[int]:
    """Return the limits of memory, in bytes, of the control groups that a process is in (Linux).

    Args:
        groups: what the kernel says of the process, a line `ID:CONTROLLERS:PATH` a hierarchy.
        mounted: where the hierarchies are.
    """
    found = list[int]()
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            # Of version 2 there is one hierarchy, whose line names no controllers.
            top, name = (mounted, "memory.max")
            if controllers:
                top, name = mounted / "memory", "memory.limit_in_bytes"
            group = top / path.strip("/")
            # A group's limit holds for all below it; in a container the path may lead nowhere.
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit.
                    found.append(int((folder / name).read_text()))
                if folder == top:
                    break
    return found


def sync(path: Path) -> None:
    """Make a file's bytes (or a folder's entries) durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(path: Path) -> None:
    """Make a file durable, or a folder with everything in it."""
    for below in path.rglob("*") if path.is_dir() else ():
        sync(below)
    sync(path)


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file as a whole; a reader sees the old text or the new one."""
    partial = path.with_name(path.name + ".tmp")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def no_room(error: BaseException) -> bool:
    """Tell whether an error means that a disk (or a quota on it) is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return "No space left on device" in text or "disk is full" in text


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`: on Linux a process inherits the peak of the one that started it.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def limit_memory(megabytes: int) -> None:
    """Let this process map at most so many MB (10^6 bytes), if a lower limit is not there yet."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = megabytes * 10**6
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))


def kill_after(seconds: float) -> None:
    """Have the kernel end this process after so many seconds of processor time; 0: not any more."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


class FolderLock:
    """Keep a second process out of a run folder; the lock dies with its process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def __enter__(self) -> FolderLock:
        """Take the lock, or raise `UsageError` when another process holds it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise UsageError(
                f"another process is writing {self._path.parent.parent}; wait for it, or give "
                "this run a folder of its own (--run RUN)"
            ) from error
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class FileLock:
    """A lock that one process holds alone, or several together; it dies with its process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Take the lock if nobody has it, and return whether that was so."""
        handle = self._opened()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def share(self) -> None:
        """Take the lock together with others who share it; wait for one who holds it alone."""
        self._handle = self._opened()
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def _opened(self) -> int:
        # Who may only read the folder can still ask whether somebody holds the lock.
        if self._path.exists() and not os.access(self._path, os.W_OK):
            return os.open(self._path, os.O_RDONLY)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


# What a file system says that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class UnfinishedFile:
    """The file beside `path` that becomes it; one process at a time writes it.

    What a killed process left is written over by the next one.
    """

    def __init__(self, path: Path) -> None:
        """Make the file `path.tmp`, empty, or raise `UsageError` where another process writes it.

        Its folder must be there.
        """
        self.path = path.with_name(f"{path.name}.tmp")
        while True:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._handle)
                raise UsageError(
                    f"another process is writing {path}; wait for it, or name another file"
                ) from error
            except OSError as error:
                # Mounted buckets and some network disks know no locks; files are written there all
                # the same.
                if error.errno not in _NO_LOCKS:
                    os.close(self._handle)
                    raise
            if self._is_there():
                break
            # Whoever wrote it has moved it to its place meanwhile: what is locked is that.
            os.close(self._handle)
        os.truncate(self._handle, 0)

    def close(self) -> None:
        """Delete the file, unless it was moved to its place, and let others write."""
        if self._is_there():
            self.path.unlink()
        os.close(self._handle)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._handle))
        except FileNotFoundError:
            return False


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
