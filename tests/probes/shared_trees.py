# SPDX-License-Identifier: Apache-2.0
"""Machines with shared file systems, as trees; each mount is a directory of the test's own folder.

The lines of mountinfo and mountstats are those of node_exporter's fixtures (collector/fixtures/proc/10/mountinfo and mountstats,
Linux 4.x, nfs-utils' statvers 1.1) with paths, sources and counters put in; fuse.glusterfs as GlusterFS 10.3 showed it.
"""

from __future__ import annotations

NFS_OPTIONS = "rw,vers=4.0,rsize=1048576,hard,proto=tcp,timeo=600,retrans=2,sec=sys,addr=192.0.2.1,local_lock=none"
ROOT = "21 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro,data=ordered"
NOVA = f"194 21 0:42 / /srv/nova rw,relatime shared:144 - nfs4 nas.example:/nova {NFS_OPTIONS}"
GLUSTER = "49 21 0:40 / /srv/gv rw,relatime - fuse.glusterfs 192.0.2.7:/vol rw,user_id=0,group_id=0,default_permissions,allow_other"


def stats(
    path="/srv/nova", sends=6428, recvs=6428, read="1298 1298 0 207680 1210292152 6 79386 79407", kind="nfs4", xprt=""
):
    xprt = xprt or f"tcp 832 0 1 0 11 {sends} {recvs} 0 12154 0 24 26 5726"
    return f"""device nas.example:{path} mounted on {path} with fstype {kind} statvers=1.1
\topts:\trw,vers=4.0,hard,proto=tcp
\tage:\t13968
\tevents:\t52 226 0 0 1 13 398 0 0 331 0 47 0 0 77 0 0 77 0 0 0 0 0 0 0 0 0
\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)
\txprt:\t{xprt}
\tper-op statistics
\t        NULL: 9 9 9 0 0 0 900000 900000
\t        READ: {read}
\t       WRITE: 0 0 0 0 0 0 0 0

"""


def tree(tmp_path, *lines, fstab=None, mountstats=None, make=True):
    """Write the tree (again) and return its root."""
    (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/self/mountinfo").write_text("\n".join([ROOT, *lines, ""]))
    (tmp_path / "proc/self/mountstats").write_text(
        "device /dev/sda1 mounted on / with fstype ext4\n" + (stats() if mountstats is None else mountstats)
    )
    if fstab is not None:
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc/fstab").write_text(fstab)
    for line in lines if make else ():
        path = tmp_path / line.split(" ")[4].replace("\\040", " ").lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
    return str(tmp_path)
