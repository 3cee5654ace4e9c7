from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import UsageError
from curate.system.posix import network_mount, refuse_network_disk

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:44 / /users rw,relatime shared:7 - nfs4 filer:/export/users rw,vers=4.2
31 30 8:17 / /users/me/disk rw,relatime - xfs /dev/sdb1 rw
32 27 0:45 / /lab/big\040data rw - lustre 10.0.0.1@o2ib:/fs rw
33 27 0:46 / /s3 rw,nosuid - fuse.s3fs s3fs rw
34 27 0:47 / /mountpoint rw,nosuid - fuse mountpoint-s3 rw
35 27 0:48 / /content/drive rw - fuse.drive drive rw
36 27 0:49 / /lent rw - 9p host rw
37 27 0:50 / /ntfs rw - fuseblk /dev/sdc1 rw
38 27 0:51 / /covered rw - cifs //server/share rw
39 38 8:33 / /covered rw - ext4 /dev/sdd1 rw
40 27 8:49 / /twice rw - ext4 /dev/sde1 rw
41 40 0:52 / /twice rw - nfs old:/export rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/users/me/project/.curate", "nfs4"),
        ("/users", "nfs4"),
        ("/lab/big data/store", "lustre"),
        ("/s3/store", "fuse.s3fs"),
        ("/mountpoint/store", "fuse.mountpoint-s3"),
        ("/content/drive/MyDrive/.curate", "fuse.drive"),
        ("/twice/store", "nfs"),
    ],
)
def test_a_path_on_a_network_file_system(path: str, kind: str, mounts: Path) -> None:
    found = network_mount(Path(path), mounts)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    "path",
    ["/", "/usersother/store", "/users/me/disk/store", "/lent/store", "/ntfs/a", "/covered/store"],
)
def test_a_path_on_a_disk_of_this_machine(path: str, mounts: Path) -> None:
    assert network_mount(Path(path), mounts) is None


def test_a_link_leads_to_where_it_points(tmp_path: Path) -> None:
    real = tmp_path / "filer"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {real} rw - nfs f:/x rw\n")
    found = network_mount(tmp_path / "link" / "not" / "yet", table)
    assert found is not None
    assert found.folder == real


def test_without_a_table_nothing_is_refused(tmp_path: Path) -> None:
    assert network_mount(tmp_path, tmp_path / "none") is None


def test_the_refusal_says_where_why_and_what_to_do(mounts: Path) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_network_disk(Path("/users/me/.curate"), "use --store DIR", mounts)
    said = str(caught.value)
    where = "/users/me/.curate is on a network file system (nfs4, mounted at /users)"
    assert said.startswith(where)
    assert "neither the memory nor the locks" in said
    assert said.endswith("use --store DIR")
    refuse_network_disk(Path("/users/me/disk/.curate"), "use --store DIR", mounts)
