# SPDX-License-Identifier: Apache-2.0
"""Room in a node controller's stores (image cache, work space of instances), and in a cluster controller's image proxy.

Sources: storage/blobstore.c and node/handlers.c of Eucalyptus 3.1 to 5.1; cluster/handlers.c of 3.4 (image_cache_invalidate). A
store is a folder with a file `.blobstore` (`limit: N`, in blocks of 512 bytes); a blob's bytes are `ID.blocks` (work) or
`ID/blocks` (cache), and beside them `hollow` (counts as nothing), `refs` (others depend on it) and `deps` (lines
`STORE ID map START BLOCKS`: so much of it is another blob's). The node controller admits a blob by nominal sizes, while the
files are sparse: both are told. The cache is meant to be full: the least recently used are thrown out for the next, unless an
instance depends on them, and these alone can leave an image without room. The work space throws nothing out. The proxy of up to
3.4 removes its oldest file, one at a time, when it is over its size.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, child, files
from nephoscope.probes import as_root, euca_conf

STORES = ("cache", "work", "proxy")
MB = 1 << 20
LEAST = 10  # MB: a smaller work size is ignored, a smaller cache size switches the cache off (MIN_BLOBSTORE_SIZE_MB)
PROXY_SIZE = 32768  # MB, where CC_IMAGE_PROXY_CACHE_SIZE is not set (cluster/config-cc.h)
MOST = 200_000  # entries that are looked at
TRIED = "add up what its files take"
# In 4.4 an instance's folder is 0711 (INSTANCE_DIRECTORY_PERM): its owner and root alone may list it.
WORK = "/var/lib/eucalyptus/instances/work"
FIND = ("/usr/bin/find", WORK, "-type", "f", "-printf", "%b:%s:", "-print0")
GREP = ("/usr/bin/grep", "-rsw", "--include=*.deps", "map", WORK)
CURE = "membership of group eucalyptus, which may look into the instances' directory"


class Store(NamedTuple):
    """One store.

    allocated  bytes that its files take on the disk
    reserved   bytes as its owner counts them: the nominal sizes, without holes' mercy
    held       those of them that can't be thrown out
    limit      bytes; 0: switched off
    said       where the limit is from
    """

    name: str
    allocated: int
    reserved: int
    held: int
    limit: int
    said: str

    def share(self, size: int) -> float | None:
        """Return a size in percent of the limit, None for a store that is switched off."""
        return 100.0 * size / self.limit if self.limit > 0 else None


def look(run: Run, stores: tuple[str, ...], named: bool) -> list[Store | Failed]:
    """Return what the stores asked for hold, each counted in a child that can be abandoned.

    named  they were asked for by name: one that is not here is a Failed then, and else only where its counterpart is
    Raises Failed: absent (no Eucalyptus, or none of them here), not-allowed, unreadable (the configuration).
    """
    conf = euca_conf.read(run)
    paths = {name: path for name, path in _paths(conf).items() if name in stores}
    jobs = {name: (lambda name=name, path=path: _count(run, name, path)) for name, path in paths.items()}
    found: list[Store | Failed] = []
    gone: list[Failed] = []
    for name, answer in child.each(run, jobs, tried=TRIED, seconds=run.left()).items():
        if isinstance(answer, Failed) and answer.kind == NOT_ALLOWED and name == "work":
            try:
                answer = _count_as_root(run, paths[name])
            except Failed as failed:
                answer = failed
        if isinstance(answer, Failed):
            (gone if answer.kind == ABSENT and not named else found).append(answer)
            continue
        allocated, reserved, held, metadata = answer
        try:
            limit, said = _limit(conf, name, metadata)
            found.append(Store(name, allocated, reserved, held, limit, said))
        except Failed as failed:
            found.append(failed)
    if not found:
        where = ", ".join(paths.values()) or "eucalyptus.conf"
        raise Failed(ABSENT, "", f"look for {where}", "no node controller and no image proxy here")
    if any((one.of if isinstance(one, Failed) else one.name) != "proxy" for one in found):
        found += (one for one in gone if one.of != "proxy" and not _off(conf, one.of))  # a node controller has both
    return found


def _off(conf: Mapping[str, str], name: str) -> bool:
    """Return whether the configuration switches a store off."""
    try:
        return _limit(conf, name, "")[0] == 0
    except Failed:
        return False


def _paths(conf: Mapping[str, str]) -> dict[str, str]:
    """Return store -> directory; the proxy only where it is switched on."""
    instances = euca_conf.directory(conf, "instances")
    found = {"cache": f"{instances}/cache", "work": f"{instances}/work"}
    if conf.get("CC_IMAGE_PROXY"):
        base = conf.get("CC_IMAGE_PROXY_PATH") or f"{euca_conf.directory(conf, 'state')}/dynserv"
        found["proxy"] = f"{base.rstrip('/')}/data"
    return found


def _limit(conf: Mapping[str, str], name: str, metadata: str) -> tuple[int, str]:
    """Return the limit in bytes and where it is from: the configuration, or else what the node controller chose itself."""
    option = {"cache": "NC_CACHE_SIZE", "work": "NC_WORK_SIZE", "proxy": "CC_IMAGE_PROXY_CACHE_SIZE"}[name]
    text, factor = conf.get(option, ""), MB
    if name == "work" and not text and conf.get("MAX_DISK", "0") not in ("", "0"):
        option, text, factor = "MAX_DISK", conf["MAX_DISK"], MB << 10  # GB, until 3.1
    if name == "proxy" and not text:
        return PROXY_SIZE * MB, "default"
    if text and not text.lstrip("-").isdigit():
        raise Failed(UNREADABLE, name, "read eucalyptus.conf", f"{option} is no number: '{text[:40]}'")
    size = int(text) * factor if text else -1
    if size >= LEAST * MB or (name == "cache" and size >= 0):
        return (size, option) if size >= LEAST * MB else (0, option)
    for line in metadata.splitlines():
        word, _, value = line.partition(":")
        if word == "limit" and value.strip().isdigit():
            return int(value) * 512, ".blobstore"
    raise Failed(UNREADABLE, name, "", f"its size is not known: {option} is not set, and its .blobstore tells no limit")


def _count(run: Run, name: str, path: str) -> list[Any]:
    """Return bytes allocated, reserved, held, and the text of .blobstore; runs in a child."""
    try:
        total, metadata = [0, 0, 0], ""
        entries, todo = 0, [run.path(path)]
        while todo:
            names: dict[str, os.stat_result] = {}
            folder = todo.pop()
            try:
                with os.scandir(folder) as found:
                    for entry in found:
                        entries += 1
                        if entries > MOST:
                            raise Failed(UNREADABLE, name, TRIED, f"more than {MOST} entries in {path}")
                        _note(entry, names, todo)
            except FileNotFoundError:
                if folder == run.path(path):
                    raise
                continue  # an instance that ended while we looked
            total[0] += sum(status.st_blocks * 512 for status in names.values())
            if name == "proxy":
                total[1] += sum(s.st_size for n, s in names.items() if n not in ("network-topology", "config-cc"))
            else:
                for blob, status in names.items():
                    if blob == "blocks" or blob.endswith(".blocks"):
                        size, held = _blob(folder, blob[: -len("blocks")], names, status)
                        total[1] += size
                        total[2] += size if held or name == "work" else 0
            if folder == run.path(path) and ".blobstore" in names:
                metadata = _text(f"{folder}/.blobstore")
        return [*total, metadata]
    except FileNotFoundError as gone:
        raise Failed.of_os_error(name, f"look into {path}", gone) from None
    except PermissionError as denied:
        raise Failed.of_os_error(name, f"look into {path}", denied, CURE) from None


def _count_as_root(run: Run, where: str) -> list[Any]:
    """Return what `_count` does, of the work space. Raises Failed."""
    find, grep = (tuple(run.path(where) if word == WORK else word for word in line) for line in (FIND, GREP))
    found = as_root.find(find, run, of="work", seconds=run.left() / 2)
    if len(found) > MOST:
        raise Failed(UNREADABLE, "work", TRIED, f"more than {MOST} files in {where}")
    sizes = {path: int(size) for _, size, path in found}
    answer = as_root.ask(grep, run, of="work")
    if answer.status > 1:
        raise Failed(UNREADABLE, "work", "run grep", answer.err.strip()[:200] or f"it ended with {answer.status}")
    mapped: dict[str, int] = {}
    for line in answer.out.splitlines():
        path, _, text = line.partition(":")
        mapped[path] = mapped.get(path, 0) + _mapped(text)
    reserved = 0
    for path, size in sizes.items():
        if path.endswith(".blocks") and (prefix := path[: -len("blocks")]) + "hollow" not in sizes:
            reserved += max(0, size - mapped.get(prefix + "deps", 0))
    metadata = files.text(run, f"{where}/.blobstore", of="work", limit=65536)
    return [sum(int(blocks) * 512 for blocks, _, _ in found), reserved, reserved, metadata]


def _note(entry: os.DirEntry[str], names: dict[str, os.stat_result], todo: list[str]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        todo.append(entry.path)
    elif stat.S_ISREG(status.st_mode):
        names[entry.name] = status


def _blob(folder: str, prefix: str, names: Mapping[str, os.stat_result], status: os.stat_result) -> tuple[int, bool]:
    """Return a blob's bytes, and whether others depend on it. Its lock is not touched."""
    held = prefix + "refs" in names and names[prefix + "refs"].st_size > 0
    if prefix + "hollow" in names:
        return 0, held
    mapped = 0
    if prefix + "deps" in names:
        mapped = sum(map(_mapped, _text(f"{folder}/{prefix}deps").splitlines()))
    return max(0, status.st_size - mapped), held


def _mapped(line: str) -> int:
    """Return the bytes that a line of `deps` says to be another blob's."""
    words = line.split()
    return int(words[4]) * 512 if len(words) >= 5 and words[2] == "map" and words[4].isdigit() else 0


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
