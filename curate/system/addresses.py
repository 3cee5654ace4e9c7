"""Addresses of files elsewhere (`s3://`, `gs://`, `hdfs://`, ...), which fsspec opens.

Credentials are those that the file system's own package finds (environment, configuration files,
roles of the machine); an address must hold none. What such a package says of a failure is repeated
without secrets, and cut: some list every place where they looked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from curate.errors import CurateError, StoppedShort, UsageError
from curate.system.credentials import refuse_credentials, without_secrets
from curate.system.posix import no_room
from curate.system.proxy import proxy_of

# What is to be installed for the file systems of a scheme, besides what fsspec brings.
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs",
    "az": "adlfs", "oss": "ossfs", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol",
}  # fmt: skip
# Those that have the version of the fsspec that they need.
_VERSIONED = ("s3fs", "gcsfs")
_SAID = 300
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")


def open_address(where: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        UsageError: the address holds credentials, or the file system's package is not installed.
    """
    refuse_credentials(where)
    import fsspec

    web = where.startswith(("http://", "https://"))
    options = {"client_kwargs": {"proxy": proxy_of(where)}} if web else {}
    try:
        system, path = fsspec.core.url_to_fs(where, **options)
    except ImportError as error:
        package = _PACKAGES.get(urlsplit(where).scheme)
        if package is None:
            raise UsageError(f"{where}: {error}") from error
        version = f"=={fsspec.__version__}" if package in _VERSIONED else ""
        raise UsageError(
            f"{where}: needs the package {package}: pip install '{package}{version}'"
        ) from error
    # What others wrote since this process last looked is seen.
    system.invalidate_cache()
    return system, str(path)


@contextmanager
def address_errors(where: str, done: str, error_type: type[CurateError]) -> Iterator[None]:
    """Say of a failure at which address it was, what could not be `done`, and no secret.

    Every file system has errors of its own, of no common class. Neither a message nor its chain is
    kept as it is: they may quote headers.
    """
    try:
        yield
    except CurateError:
        raise
    except FileNotFoundError:
        absent = "no such file" if done == "read" else "its bucket or folder does not exist"
        raise error_type(f"{where}: {absent}") from None
    except Exception as error:
        if isinstance(error, OSError) and no_room(error):
            raise StoppedShort(
                f"{where}: no room for its copy; free some, or name a folder on a larger disk in "
                "TMPDIR, and run the same command again"
            ) from None
        first = (str(error).strip().splitlines() or [""])[0]
        # Where a server has sent the request on, its new address is signed in its query.
        told = _QUERY.sub(r"\1?...", f"{type(error).__name__}: {first}")
        said = without_secrets(told)[:_SAID]
        raise error_type(f"{where}: cannot be {done}: {said}") from None
