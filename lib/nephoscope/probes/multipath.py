# SPDX-License-Identifier: Apache-2.0
"""Multipath maps: which the kernel has and by which devices (sysfs), and what multipathd knows of each path.

The kernel's tree does not tell that device-mapper has failed a path; only multipathd does. It is asked `show maps json` by its
socket, which answers a listing to everybody (multipath-tools 0.8.5, 0.9.4 and 0.14: multipathd/uxlsnr.c), and by sudo where
the socket may not be used.

Sources: multipath-tools, libmultipath/print.c (PRINT_JSON_…, snprint_chk_state, snprint_dm_path_state, snprint_offline,
snprint_queueing), libmultipath/discovery.c (sysfs_get_host_adapter_name: of iSCSI it is the initiator's address),
libmpathcmd/mpath_cmd.c (the packets; a reply is 32 MiB at most); Linux, Documentation/ABI/testing/sysfs-block-dm,
drivers/scsi/scsi_sysfs.c (sdev_states), drivers/nvme/host/sysfs.c (nvme_sysfs_show_state).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, files
from nephoscope.probes import high_water

BLOCK = "/sys/block"
LINE = ("/usr/sbin/multipathd", "show", "maps", "json")
SOCKETS = ("\0/org/kernel/linux/storage/multipathd", "/run/multipathd.socket")  # the second since 0.9.9
ASKED = "ask multipathd"
REPLY_MAX = 32 << 20  # bytes: MAX_REPLY_LEN of mpath_cmd.h
NONE = ("", "-", "[undef]", "[unknown]", None)  # what stands where there is no such thing as a port or an adapter
# Word -> whether I/O can go by such a path; None: whoever says it does not know. ghost is the passive port of an array that
# has one, and good. The kernel's words are those of SCSI devices and of NVMe controllers.
CHECKER: Mapping[str, bool | None] = {
    "ready": True, "ghost": True, "faulty": False, "shaky": False, "i/o pending": False, "i/o timeout": False,
    "delayed": False, "disconnected": False, "undef": None,
}  # fmt: skip
DEVICE_MAPPER: Mapping[str, bool | None] = {"active": True, "failed": False, "undef": None}
DEVICE: Mapping[str, bool | None] = {"running": True, "offline": False, "unknown": None}
MARGINAL: Mapping[str, bool | None] = {"normal": True, "marginal": True}
KERNEL: Mapping[str, bool | None] = {
    "running": True, "created": False, "cancel": False, "deleted": False, "quiesce": False, "offline": False,
    "transport-offline": False, "blocked": False, "created-blocked": False,
    "live": True, "new": False, "resetting": False, "connecting": False, "deleting": False, "deleting (no IO)": False,
    "dead": False, "gone": False,
}  # fmt: skip
GONE = "gone"  # our own word
DAEMON = {"chk_st": CHECKER, "dm_st": DEVICE_MAPPER, "dev_st": DEVICE, "marginal_st": MARGINAL}
# What a path says that is well in every respect, since 0.8.3, and before.
GOOD = (["ready", "active", "running", "normal"], ["ready", "active", "running", None])
GOOD_STATES = ("running", "live", "")


class Path(NamedTuple):
    """One path of a map.

    usable   whether I/O can go by it; None: not known. Where multipathd was not heard, all that is known is what is not
    said     what is wrong with it, or not known, in a word; "": nothing
    adapter  the host's adapter (PCI slot), None: not told, as of iSCSI
    target   the array's port (WWPN), None: not told
    """

    name: str
    usable: bool | None = True
    said: str = ""
    adapter: str | None = None
    target: str | None = None


class Map(NamedTuple):
    """One map that the kernel has.

    wwid       the LUN's identity, which outlives renaming
    paths      those of the kernel and those of multipathd
    known      multipathd told its paths
    waits      without a usable path I/O waits, else it fails
    most       the most paths that were usable at once, in this run or an earlier one that is not forgotten
    suspended  seconds for which it has been seen suspended without a gap, 0: it is not, or was not before
    faults     how often multipathd saw a path fail in the last five minutes; None: not measured
    """

    name: str
    wwid: str
    paths: tuple[Path, ...] = ()
    known: bool = True
    waits: bool = False
    most: int = 0
    suspended: float = 0.0
    faults: float | Collecting | None = None

    @property
    def usable(self) -> int:
        """How many paths can be used, as far as it is known."""
        return [path.usable for path in self.paths].count(True)

    @property
    def bad(self) -> list[Path]:
        """Paths that can't be used."""
        return [path for path in self.paths if path.usable is False]

    @property
    def unsure(self) -> list[Path]:
        """Paths of which it is not known."""
        return [path for path in self.paths if path.usable is None]

    @property
    def complaints(self) -> str:
        """What is wrong with paths, as words: what can't be used, or is marginal."""
        return ", ".join([f"{path.name} {path.said}" for path in self.paths if path.said and path.usable is not None])

    @property
    def doubts(self) -> str:
        """What is not known of paths, as words."""
        return ", ".join([f"{path.name} {path.said}" for path in self.unsure])

    @property
    def counted(self) -> bool:
        """Whether it is known of each path if it can be used."""
        return self.known and not self.unsure

    @property
    def adapters(self) -> int:
        """How many adapters of the host the usable paths go by; 0: not told."""
        return len({path.adapter for path in self.paths if path.usable and path.adapter})

    @property
    def targets(self) -> int:
        """How many ports of the array the usable paths lead to; 0: not told."""
        return len({path.target for path in self.paths if path.usable and path.target})


class Host(NamedTuple):
    """The maps of a host, and what the next run needs.

    maps      by name; a Failed for one that can't be read
    unheard   why multipathd's own view is missing, None: it is not. A failure of the whole, which no filter may drop
    kept      plain JSON
    """

    maps: tuple[Map | Failed, ...]
    unheard: Failed | None = None
    kept: Any = None

    @property
    def good(self) -> list[Map]:
        """Those that could be read."""
        return [found for found in self.maps if isinstance(found, Map)]

    @property
    def named(self) -> bool:
        """Whether each map's name could be read: else nobody knows which ones are not there."""
        return all(isinstance(found, Map) or found.of for found in self.maps)

    @property
    def names(self) -> set[str]:
        """Names and WWIDs of what is there, readable or not."""
        there = {found.of for found in self.maps if isinstance(found, Failed)}
        return there | {name for found in self.good for name in (found.name, found.wwid)}

    @property
    def counted(self) -> bool:
        """Whether it is known of each path of each map if it can be used."""
        read = 0 < len(self.good) == len(self.maps)
        return read and self.unheard is None and all(found.counted for found in self.good)


def survey(run: Run, expected: Collection[str] = (), remember: float = 604800.0) -> Host:
    """Look at all maps, and ask multipathd if there are any.

    expected  names or WWIDs that are looked for: without any, and without a map, there is nothing here
    remember  seconds for which more usable paths than now are missed
    Raises Failed: absent when there is no map and none was expected; what hides the kernel's tree.
    """
    run.stage(f"read {BLOCK}/dm-*")
    seen = [_skeleton(run, name) for name in files.names(run, BLOCK) if name.startswith("dm-")]
    maps = [found for found in seen if found is not None]
    if not maps:
        if not expected and not run.left_out:
            raise Failed(ABSENT, "", f"list {BLOCK}", "the kernel has no multipath map")
        return Host((), None, run.before)
    told: Mapping[str, Any] = {}
    unheard: Failed | None = None
    try:
        told = parse(ask(run))
    except Failed as failed:
        unheard = failed
    return _host(run, maps, told, unheard, remember)


class _Skeleton(NamedTuple):
    """A map as the kernel tells it; devices: kernel's name -> state, "" where it tells none."""

    name: str
    wwid: str
    suspended: bool
    devices: Mapping[str, str]


def _skeleton(run: Run, entry: str) -> _Skeleton | Failed | None:
    """Return a map, or None for a device-mapper device that is another thing, left out, or gone meanwhile."""
    home = f"{BLOCK}/{entry}"
    try:
        # Whose it is can't be known before this, so no filter may drop what fails.
        uuid = files.text(run, f"{home}/dm/uuid", of="", limit=4096).strip()
        if not uuid.startswith("mpath-"):
            return None
        name = files.text(run, f"{home}/dm/name", of="", limit=4096).strip() or entry
        if not run.wants(name):
            return None
        suspended = files.text(run, f"{home}/dm/suspended", of=name, limit=4096).strip() == "1"
        devices = {
            device: _state(run, f"{home}/slaves/{device}") for device in files.names(run, f"{home}/slaves", of=name)
        }
    except Failed as failed:
        cure = f"read access to {BLOCK}" if failed.kind == NOT_ALLOWED else ""  # sudo is for multipathd alone
        return None if failed.kind == ABSENT else Failed(failed.kind, failed.of, failed.tried, failed.error, cure)
    return _Skeleton(name, uuid[len("mpath-") :], suspended, devices)


def _state(run: Run, device: str) -> str:
    """Return the state of a device, by one read: a host has thousands, and the kernel gives such a word as a whole."""
    try:
        descriptor = os.open(run.path(f"{device}/device/state"), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(descriptor, 256).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO):
            # A device of another kind has no such word; of one that was taken out the map keeps a link to nowhere.
            return "" if os.path.exists(run.path(device)) else GONE
        return f"unread: {error.strerror}"


def ask(run: Run) -> str:
    """Return multipathd's answer to `show maps json`.

    Raises Failed: not-allowed with the words "path states not seen" when neither socket nor sudo may be used; unreachable,
    unreadable, late; absent where there is no multipathd.
    """
    refusal = ""
    for name in SOCKETS:
        if run.root and name.startswith("\0"):
            continue  # no file, so not below a test's root
        try:
            return _by_socket(run, name if name.startswith("\0") else run.path(name))
        except (TimeoutError, EOFError) as error:
            said = "no answer in time" if isinstance(error, TimeoutError) else "it was cut before the answer was whole"
            raise Failed(UNREACHABLE, "", ASKED, said) from None
        except OSError as error:
            if type(error).__name__ == "timeout":  # Python 3.9
                raise Failed(UNREACHABLE, "", ASKED, "no answer in time") from None
            refusal = refusal or error.strerror or str(error)
    return _by_sudo(run, refusal)


def _by_sudo(run: Run, refusal: str) -> str:
    """Ask by the command; `refusal` is what the socket said."""
    from nephoscope.probes import as_root

    try:
        answer = as_root.ask(LINE, run, of="")
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
        raise Failed(NOT_ALLOWED, "", "", "path states not seen", f"{failed.cure}; its socket said {refusal}") from None
    if answer.status:
        lines = [line.strip() for line in (answer.out + answer.err).splitlines() if line.strip()]
        raise Failed(UNREACHABLE, "", " ".join(LINE), lines[-1] if lines else f"it ended with {answer.status}")
    return answer.out


def _by_socket(run: Run, name: str) -> str:
    """Speak to multipathd: a length of eight bytes, in this machine's order, and so many bytes with a NUL behind them.

    Raises OSError, EOFError, and Failed unreadable.
    """
    import socket
    import sys

    from nephoscope.base import dial

    run.stage("ask multipathd: show maps json")
    with dial.unix(run, name) as sock:
        owner = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # struct ucred: pid, uid, gid (unix(7))
        uid = int.from_bytes(owner[4:8], sys.byteorder)
        if uid not in (0, os.geteuid()):  # anybody may listen on an abstract name that multipathd has left free
            raise Failed(UNREADABLE, "", ASKED, f"user {uid} listens at its socket, not root")
        words = b"show maps json\0"
        dial.patience(run, sock)
        sock.sendall(len(words).to_bytes(8, sys.byteorder) + words)
        size = int.from_bytes(_exactly(run, sock, 8), sys.byteorder)
        if not 0 < size <= REPLY_MAX:
            raise Failed(UNREADABLE, "", ASKED, f"an answer of {size} bytes was announced")
        text = _exactly(run, sock, size).rstrip(b"\0\n").decode("utf-8", "replace")
    if text.startswith("permission deny"):  # 0.6 to 0.8: "need to be root"
        raise PermissionError(13, text)
    return text


def _exactly(run: Run, sock: Any, size: int) -> bytes:
    from nephoscope.base import dial

    parts = []
    while size > 0:
        dial.patience(run, sock)
        part = sock.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def parse(text: str) -> dict[str, Any]:
    """Return the maps of an answer by WWID. Raises Failed: unreachable when multipathd is too busy, unreadable."""
    import json

    if text.strip() == "timeout":
        raise Failed(UNREACHABLE, "", ASKED, "it is too busy: timeout")
    try:
        # Not strict: multipathd prints an array's own strings as they are.
        maps = json.loads(text, strict=False)["maps"]
        return {found["uuid"]: found for found in maps if _whole(found)}
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Failed(UNREADABLE, "", ASKED, f"not its JSON: {text.strip()[:40]!r}") from None


def _whole(found: Mapping[str, Any]) -> bool:
    """Return True for a map with all that must be told. Raises LookupError, TypeError."""
    for group in found["path_groups"]:
        for path in group["paths"]:
            if not isinstance(path["dev"] + path["dm_st"] + path["chk_st"], str):
                raise TypeError
    return isinstance(found["uuid"] + found["queueing"] + found["features"], str) and found["path_faults"] >= 0


def _host(
    run: Run, maps: Sequence[_Skeleton | Failed], told: Mapping[str, Any], unheard: Failed | None, remember: float
) -> Host:
    from nephoscope.base import samples

    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    skeletons = [found for found in maps if isinstance(found, _Skeleton)]
    since = samples.since(before.get("suspended"), [found.wwid for found in skeletons if found.suspended], now)
    history = None
    if unheard is None:
        numbers = {found.wwid: float(told[found.wwid]["path_faults"]) for found in skeletons if found.wwid in told}
        history = samples.take(run, numbers, before=before.get("faults", []))
    # A map that can't be read now may come back with less.
    old = before.get("most") if len(skeletons) < len(maps) else None
    best: dict[str, Any] = dict(old) if isinstance(old, dict) else {}
    results: list[Map | Failed] = [found for found in maps if isinstance(found, Failed)]
    for found in skeletons:
        known = told.get(found.wwid)
        paths = tuple(_paths(found.devices, known))
        states = [path.usable for path in paths]
        usable = states.count(True) if known is not None and None not in states else 0
        best[found.wwid] = high_water.mark(before.get("most"), found.wwid, usable, now, remember)
        results.append(
            Map(
                found.name,
                found.wwid,
                paths,
                known is not None,
                waits=known is not None and _waits(known["queueing"], known["features"]),
                most=int(best[found.wwid][0]),
                suspended=round(max(0.0, now - since[found.wwid]), 1) if found.wwid in since else 0.0,
                faults=history.rise(found.wwid) if history and found.wwid in history.now.values else None,
            )
        )
    results.sort(key=lambda one: one.name if isinstance(one, Map) else one.of)
    faults = history.keep() if history else before.get("faults")
    return Host(tuple(results), unheard, {"most": best, "suspended": since, "faults": faults})


def _waits(queueing: str, features: str) -> bool:
    """Return whether I/O waits where there is no path: "on", "5 chk", "25 sec"; "-": the kernel's own feature counts."""
    return "queue_if_no_path" in features if queueing == "-" else queueing != "off"


def _paths(devices: Mapping[str, str], told: Mapping[str, Any] | None) -> Iterator[Path]:
    """Yield the paths of a map: multipathd's, with what the kernel says of their devices, and those it does not have."""
    left = dict(devices)
    for group in told["path_groups"] if told else ():
        for path in group["paths"]:
            name = path["dev"].replace("/", "!")  # as sysfs writes it
            yield _path(name, path, left.pop(name, None))
    for name, state in sorted(left.items()):
        usable, said = _sum([("state", state, KERNEL)] if state else [])
        if told is not None and usable is not False:
            usable, said = None, "not known to multipathd"
        yield Path(name, usable, said)


def _path(name: str, told: Mapping[str, Any], state: str | None) -> Path:
    adapter, target = told.get("host_adapter"), told.get("target_wwpn")
    adapter = _adapter(adapter) if isinstance(adapter, str) else None
    target = None if target in NONE else target
    # Thousands say just this: what follows would come to the same.
    if state in GOOD_STATES and [told.get(key) for key in DAEMON] in GOOD:
        return Path(name, True, "", adapter, target)
    words = [(key, told[key], table) for key, table in DAEMON.items() if key in told]
    if state:
        words.append(("state", state, KERNEL))
    usable, said = _sum(words)
    if state is None and usable:
        usable, said = False, "not in the kernel's map"
    if usable and told.get("marginal_st") == "marginal":
        said = "marginal"
    return Path(name, usable, said, adapter, target)


@lru_cache(maxsize=256)  # a host has a few, and thousands of paths by them
def _adapter(text: str) -> str | None:
    """Return an adapter's name. An IP address is none's: a bond of two has one, and one adapter may have several."""
    if text in NONE or text.count(".") == 3 or text.count(":") > 2 or "::" in text:
        return None
    return text


def _sum(words: Sequence[tuple[str, str, Mapping[str, bool | None]]]) -> tuple[bool | None, str]:
    """Return whether a path is usable, by all words for it, and the word that says why not."""
    unsure = ""
    for key, word, table in words:
        value = table.get(word, word)
        if value is False:
            return False, word
        if value is not True:
            unsure = unsure or f"{key} {word!r}" + ("" if value is None else " is not understood")
    return (None, unsure) if unsure else (True, "")
