# SPDX-License-Identifier: Apache-2.0
"""Storage servers of OpenStack Swift, by their recon middleware, and ring files, which say which servers there are.

Answers: swift/common/middleware/recon.py of 2.30.1 (asked for real) and 2.38.1; most come from cache files that daemons write,
so `null` is "no daemon told it", never zero, and a daemon that died leaves its last words. What is told of disks is looked at
when it is asked, whatever `mount_check` says (constraints.check_mount). Ring files: overview_ring_format.rst of 2.38.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, LATE, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, attempt, files
from nephoscope.base.run import Share
from nephoscope.base.samples import History, take

PORTS = {"object": 6200, "container": 6201, "account": 6202}
OLD_PORTS = {6000: "object", 6001: "container", 6002: "account"}  # before 2.6
KINDS = {**OLD_PORTS, **{port: kind for kind, port in PORTS.items()}}
SIDE_BY_SIDE = 24
SHARE = 4.0  # seconds that one server may take: one that is silent must not take the others' time
MOST = 1 << 20  # bytes of one answer: a hundred disks take 12 KiB
LIST = 16 << 20  # bytes of a ring file's list of devices
FUTURE = 60.0  # seconds by which a time of a node's own may lie ahead of its own clock
NO_TIME = "its auditor ended a pass: when, it tells after an hour at work, where it has something to look at"
SKIPPED = "recon skips it, as no directory, or as one whose stat fails"
NO_RECON = "no recon in its pipeline, or no storage server"
RINGS = "/etc/swift"
THIS_HOSTS = "this host's"


class Server(NamedTuple):
    """A server process: what it serves, where; `devices` are those that a ring gives weight there."""

    kind: str
    host: str
    port: int
    devices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the option --host takes it."""
        return f"{self.kind}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Ring(NamedTuple):
    """A ring file of this host: its MD5, as recon tells it, and (host, port, device, weight) of its devices."""

    name: str
    md5: str
    devices: tuple[tuple[str, int, str, float], ...]


class Answers(NamedTuple):
    """What one server said: its version, its clock (seconds since 1970), how far that is off ours at least, and each answer.

    told  "ringmd5" -> plain JSON, or the Failed that came instead; what is not in it was not asked
    """

    server: Server
    version: str
    at: float
    clock: float
    told: Mapping[str, Any]


class Measure(NamedTuple):
    """A number under the name of its limit: seconds, percent or a count; `detail` is what it is made of."""

    name: str
    value: float | Collecting | None
    of: str = ""
    detail: str = ""


class Trouble(NamedTuple):
    """What no limit decides: "differs", "lacks", "dying", "odd", "unknown" or "well", the object, and it in words."""

    word: str
    of: str
    text: str


class Survey(NamedTuple):
    """Everything that was learnt; `kept` is plain JSON for the next run."""

    answers: Sequence[Answers]
    failures: Sequence[Failed]
    troubles: Sequence[Trouble]
    measures: Sequence[Measure]
    kept: Any = None
    unasked: int = 0  # servers of the ring files that --host does not name

    @property
    def summary(self) -> str:
        """How many answered, and with which versions."""
        hosts = {answers.server.host for answers in self.answers}
        versions = ", ".join(sorted({answers.version for answers in self.answers}))
        others = f"; {self.unasked} of the rings not asked" if self.unasked else ""
        return f"{len(self.answers)} servers on {len(hosts)} hosts answer, Swift {versions}{others}"


def host(text: str) -> tuple[tuple[str, str, int], ...]:
    """Return (kind, host, port) of each server that "[KIND@]HOST[:PORT]" names: all three kinds without a port.

    Raises ValueError, also for a port that is not one of Swift's own without the kind that it serves.
    """
    kind, _, rest = text.rpartition("@")
    name, _, number = rest.rpartition(":") if rest.count(":") == 1 or "]:" in rest else (rest, "", "")
    name = name.strip("[]")
    if not name or (kind not in PORTS and "@" in text) or any(character in name for character in "/?# \t"):
        raise ValueError(f"'{text}' is no server: write HOST, HOST:PORT or KIND@HOST:PORT")
    if not number:
        return tuple((each, name, port) for each, port in PORTS.items() if kind in ("", each))
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise ValueError(f"'{text}' has no port between 1 and 65535")
    kind = kind or KINDS.get(int(number), "")
    if not kind:
        raise ValueError(f"'{text}' does not say what serves there: write object@{rest}, container@… or account@…")
    return ((kind, name, int(number)),)


def survey(
    run: Run, hosts: Iterable[Iterable[tuple[str, str, int]]], directory: str, modes: Iterable[str], period: float
) -> Survey:
    """Ask every server, and return what they said, compared with each other and with this host's ring files.

    hosts      what `host` returned; without any the servers are those of the ring files in `directory` (else RINGS)
    directory  where ring files lie, "" for none beside `hosts`
    modes      rings, replication, async, disks, quarantine, audit, clock: they say what is asked
    period     seconds over which a rise of what is quarantined counts
    Raises Failed: absent, not-allowed or unreadable, when neither says which servers there are.
    """
    named = list(dict.fromkeys(one for each in hosts for one in each))
    local: list[Ring] = []
    failures: list[Failed] = []
    if directory or not named:
        for found in rings(run, directory or RINGS):
            (failures if isinstance(found, Failed) else local).append(found)  # type: ignore[arg-type]
        if not local and not named:
            raise failures[0]
    unread = bool(failures)
    servers = [server for server in _servers(local, named) if run.wants(server.name)]
    asked = tuple(modes)
    heard: list[Answers] = []
    for answer in _side_by_side(run, servers, lambda server, seconds: ask(run, server, asked, seconds)):
        if isinstance(answer, Failed):
            failures.append(answer)
            continue
        heard.append(answer)
        failures += (one for one in answer.told.values() if isinstance(one, Failed))
    # What no ring names is no disk: that takes all the rings.
    hosts_known = set() if unread else {host for ring in local for host, *_ in ring.devices}
    in_rings = {(host, device) for ring in local for host, _, device, _ in ring.devices}
    stores = _stores(heard)
    gathered: list[Trouble | Measure] = [Trouble("well", one.server.name, "answers") for one in heard]
    for one in heard:
        gathered += _of_server(one, asked)
    if "rings" in asked and heard:
        gathered += _compared(heard, {ring.name: ring.md5 for ring in local})
    gathered += _asyncs(stores)
    gathered += _disks(run, stores, in_rings, hosts_known)
    counted, history = _quarantined(run, stores, [server.host for server in servers], period)
    gathered += counted
    return Survey(
        heard,
        failures,
        [one for one in gathered if isinstance(one, Trouble)],
        [one for one in gathered if isinstance(one, Measure)],
        history.keep(),
        len({server[:3] for server in _servers(local, ())} - set(named)) if named else 0,
    )


# ---------------------------------------------------------------- ring files


def rings(run: Run, directory: str) -> list[Ring | Failed]:
    """Return the ring files of a directory of this host, and a Failed for each that can't be read or is missing.

    Raises Failed when the directory can't be listed.
    """
    names = {name for name in files.names(run, directory) if name.endswith(".ring.gz")}
    names = {name for name in names if name.split(".")[0].split("-")[0] in PORTS}
    missing = {f"{kind}.ring.gz" for kind in ("account", "container")} - names
    if not any(name.startswith("object") for name in names):
        missing.add("object.ring.gz")
    lacking = [
        Failed(ABSENT, name, f"read {directory}/{name}", "it is not there: which servers there are is not known")
        for name in sorted(missing)
    ]
    if len(missing) == len(PORTS):
        lacking = [Failed(ABSENT, "", f"read {directory}", "no ring files: name the servers by --host, or --rings DIR")]
    return [*lacking, *(attempt(ring, run, f"{directory}/{name}") for name in sorted(names))]


def ring(run: Run, path: str) -> Ring:
    """Return one ring file's devices and MD5. Raises Failed; a ring of Swift before 1.7, a pickle, is unreadable."""
    import gzip
    import hashlib
    import json
    import struct
    import zlib

    name, tried = path.rpartition("/")[2], f"read {path}"
    run.stage(tried)
    try:
        digest = hashlib.new("md5", usedforsecurity=False)
        with open(run.path(path), "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                if run.left() <= 0:
                    raise Failed(LATE, name, tried, "not read to its end: the time was up")
        with gzip.open(run.path(path), "rb") as unpacked:
            magic, version = struct.unpack("!4sH", unpacked.read(6))
            if magic != b"R1NG" or version not in (1, 2):
                raise Failed(UNREADABLE, name, tried, "no ring file of version 1 or 2")
            form, found = ("!I", None) if version == 1 else ("!Q", None)
            for _ in range(
                1 if version == 1 else 4
            ):  # of version 2 the devices are a part of their own, near the beginning
                (length,) = struct.unpack(form, unpacked.read(struct.calcsize(form)))
                if length > LIST:
                    break
                part = json.loads(unpacked.read(length))
                found = part.get("devs") if version == 1 else part
                if isinstance(found, list):
                    break
        if not isinstance(found, list):
            raise Failed(UNREADABLE, name, tried, "its list of devices was not found")
        devices = tuple(
            (str(one["ip"]), int(one["port"]), str(one["device"]), float(one.get("weight", 1)))
            for one in found
            if one is not None
        )
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise Failed(UNREADABLE, name, tried, "it is no gzip file") from None
        raise Failed.of_os_error(name, tried, error, "read on it for the monitoring's user") from None
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, EOFError, zlib.error, RecursionError):
        raise Failed(UNREADABLE, name, tried, "it is cut, or no ring file") from None
    return Ring(name, digest.hexdigest(), devices)


def _servers(local: Sequence[Ring], named: Sequence[tuple[str, str, int]]) -> list[Server]:
    """Return the servers that are named, else those of the rings, with the devices that should be there."""
    weighty: dict[tuple[str, str, int], set[str]] = {}
    for one in local:
        kind = one.name.split(".")[0].split("-")[0]
        for where, port, device, weight in one.devices:
            devices = weighty.setdefault((kind, where, port), set())
            if weight > 0:
                devices.add(device)
    chosen = named or sorted(weighty)
    return [Server(*one, tuple(sorted(weighty.get(one, ())))) for one in chosen]


# ---------------------------------------------------------------- asking


def paths(kind: str, modes: Iterable[str]) -> list[str]:
    """Return what is asked of a server below /recon/, after version and time: 7 answers, 10 of an object server at most."""
    wanted = {
        "rings": ["ringmd5", "swiftconfmd5"],
        "replication": [f"replication/{kind}", *(["reconstruction/object"] if kind == "object" else [])],
        "async": ["devices", "async"] if kind == "object" else [],
        "disks": ["devices", "diskusage", *(["driveaudit"] if kind == "object" else [])],
        "quarantine": ["devices", "quarantined"],
        "audit": [f"auditor/{kind}"],
    }
    return list(dict.fromkeys(path for mode in modes for path in wanted.get(mode, ())))


def ask(run: Run, server: Server, modes: Iterable[str], seconds: float = SHARE) -> Answers:
    """Ask one server, over one connection, within its share of the time.

    Raises Failed where it does not answer, or not as recon does. A disk that spoils `diskusage` may leave `unmounted`
    (the same look, without the file systems' sizes): that is asked instead.
    """
    from nephoscope.base.http import Session

    share: Any = Share(run, seconds)
    where = f"[{server.host}]" if ":" in server.host else server.host
    with Session(share, f"http://{where}:{server.port}", of=server.name, limit=MOST) as session:
        version = _first(run, session, server, seconds)
        before = run.clock.time()
        at = attempt(session.json, "/recon/time")
        after = run.clock.time()
        if isinstance(at, Failed):
            raise _out_of_time(run, at, server, seconds)
        if not _number(at):
            raise Failed(UNREADABLE, server.name, "GET /recon/time", f"not a time: {str(at)[:40]!r}")
        off = max(0.0, abs(at - (before + after) / 2) - (after - before) / 2)
        told: dict[str, Any] = {}
        todo = paths(server.kind, modes)[::-1]
        while todo:
            path = todo.pop()
            answer = attempt(session.json, f"/recon/{path}")
            if isinstance(answer, Failed):
                if not answer.error.startswith(
                    ("HTTP ", "not JSON")
                ):  # the connection itself: the rest would wait as long
                    told[path] = _out_of_time(run, answer, server, seconds)
                    break
                if path == "diskusage":
                    todo.append("unmounted")
                if path == "reconstruction/object" and answer.error == "HTTP 404":
                    continue  # before 2.17 recon did not tell of it
            elif not _shaped(path, answer):
                answer = Failed(UNREADABLE, server.name, f"GET /recon/{path}", f"not understood: {str(answer)[:40]!r}")
            told[path] = answer
        return Answers(server, version, float(at), off, told)


def _shaped(path: str, answer: Any) -> bool:
    """Whether an answer has the shape of recon's: no server has no directory of devices, nor no name of swift.conf."""
    if path in ("diskusage", "unmounted"):
        return isinstance(answer, list)
    return isinstance(answer, dict) and (bool(answer) or path not in ("devices", "swiftconfmd5"))


def _first(run: Run, session: Any, server: Server, seconds: float) -> str:
    """Return the version of Swift: the answer that proves that recon is there."""
    try:
        answer = session.json("/recon/version")
    except Failed as failed:
        failed = _out_of_time(run, failed, server, seconds)
        if failed.error.startswith("HTTP 4"):
            raise Failed(failed.kind, server.name, failed.tried, f"{failed.error}: {NO_RECON}", "") from None
        raise failed from None
    version = answer.get("version") if isinstance(answer, dict) else None
    if not isinstance(version, str):
        raise Failed(UNREADABLE, server.name, "GET /recon/version", f"not recon's answer: {str(answer)[:40]!r}")
    return version


def _out_of_time(run: Run, failed: Failed, server: Server, seconds: float) -> Failed:
    """Return a Failed unreachable for a server that used up its share while the run itself has time."""
    if failed.kind == LATE and run.left() > 0:
        return Failed(UNREACHABLE, server.name, failed.tried, f"its {seconds:.1f} s were used up before")
    return failed


def _side_by_side(
    run: Run, servers: Sequence[Server], one: Callable[[Server, float], Answers]
) -> list[Answers | Failed]:
    """Return what each server said, in their order, some asked at a time; what is not begun in time is Failed late."""
    import threading

    answers: dict[int, Any] = {}
    queue = iter(range(len(servers)))
    share = max(1.0, min(SHARE, run.left() * SIDE_BY_SIDE / max(1, len(servers))))

    def work() -> None:
        for number in queue:  # a range's iterator gives each number to one thread only
            if run.left() <= 0:
                return
            try:
                answers[number] = one(servers[number], share)
            except Exception as error:  # a bug is told by the main thread, which lives on
                answers[number] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in servers[:SIDE_BY_SIDE]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(run.left() + 0.1)
    found: list[Answers | Failed] = []
    for number, server in enumerate(servers):
        answer = answers.get(number, Failed(LATE, server.name, "ask recon", "not asked to the end: the time was up"))
        if isinstance(answer, Exception) and not isinstance(answer, Failed):
            raise answer
        found.append(answer)
    return found


# ---------------------------------------------------------------- understanding


def _number(value: Any) -> bool:
    # By comparison, which holds for NaN, too: an int of 400 digits can't be made a float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


def _good(answers: Answers, path: str) -> Any:
    """Return an answer, or None where it was not asked or came not."""
    answer = answers.told.get(path)
    return None if isinstance(answer, Failed) else answer


def _age(answers: Answers, name: str, last: Any, never: str) -> Trouble | Measure:
    """Return how long ago a time of a node's own was, by its own clock; no time and 0 are "never"."""
    of = answers.server.name
    if last is None or last == 0:
        return Trouble("unknown", of, never)
    if not _number(last) or last < 0 or last > answers.at + FUTURE:
        return Trouble(
            "unknown", of, f"the time of its last {name.replace('_age', '')} is not understood: {last!r:.40}"
        )
    return Measure(name, max(0.0, answers.at - last), of)


def _of_server(answers: Answers, modes: Sequence[str]) -> Iterator[Trouble | Measure]:
    """Yield what a server says of itself: replication, reconstruction, audits, errors of drives, its clock."""
    kind, of = answers.server.kind, answers.server.name
    if "clock" in modes:
        yield Measure("clock", answers.clock, of)
    told = _good(answers, f"replication/{kind}")
    if told is not None:
        last = told.get("replication_last")
        last = told.get("object_replication_last") if last is None else last
        yield _age(answers, "repl_age", last, "no pass of replication has ended: recon has no time of one")
        yield from _failed_share(told.get("replication_stats"), of)
    told = _good(answers, "reconstruction/object")
    if (
        told is not None and told.get("object_reconstruction_last") is not None
    ):  # there, where a policy has erasure coding
        yield _age(answers, "reconstruct_age", told["object_reconstruction_last"], "no reconstruction has ended")
    told = _good(answers, f"auditor/{kind}")
    if told is not None:
        yield from _audit(answers, told)
    told = _good(answers, "driveaudit")
    if told is not None and told.get("drive_audit_errors") is not None:  # there, where swift-drive-audit is set up
        errors = told["drive_audit_errors"]
        yield Measure("drive_errors", errors, of) if _number(errors) else _unknown(of, "drive_audit_errors", errors)


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:8]) + (" …" if len(words) > 8 else "")


def _unknown(of: str, name: str, value: Any) -> Trouble:
    return Trouble("unknown", of, f"{name} is not understood: {value!r:.40}")


def _failed_share(stats: Any, of: str) -> Iterator[Trouble | Measure]:
    """Yield how many of the copies of the last pass failed, in percent, and towards whom; nothing of no pass."""
    if stats is None:
        return
    if not isinstance(stats, dict) or not (_number(stats.get("success")) and _number(stats.get("failure"))):
        yield _unknown(of, "replication_stats", stats)
        return
    whole = stats["success"] + stats["failure"]
    nodes = stats.get("failure_nodes")
    towards = f", towards {', '.join(sorted(map(str, nodes))[:4])}" if isinstance(nodes, dict) and nodes else ""
    share = 100.0 * stats["failure"] / whole if whole > 0 else 0.0
    yield Measure("repl_failed", share, of, f"{stats['failure']} of {whole}{towards}")


def _audit(answers: Answers, told: Mapping[str, Any]) -> Iterator[Trouble | Measure]:
    """Yield how long ago the auditor's last report began: it makes one an hour; sets of disks may have one each."""
    kind = answers.server.kind
    silent = "the auditor has told nothing: it never ran"
    if kind != "object":
        since = told.get(f"{kind}_audits_since")
        if since is None and told.get(f"{kind}_auditor_pass_completed") is not None:
            yield Trouble("well", answers.server.name, NO_TIME)
            return
        yield _age(answers, "audit_age", since, silent)
        return
    stats = told.get("object_auditor_stats_ALL")
    if isinstance(stats, dict) and "start_time" not in stats:
        starts = [one.get("start_time") for one in stats.values() if isinstance(one, dict)]
    else:
        starts = [stats.get("start_time")] if isinstance(stats, dict) else [stats]
    starts.sort(
        key=lambda start: (_number(start), start if _number(start) else 0)
    )  # what is no number first, the oldest then
    starts = [start for start in starts if start is not None]
    yield _age(answers, "audit_age", starts[0] if starts else None, f"{silent}, or has no object to look at")


def _compared(heard: Sequence[Answers], local: Mapping[str, str]) -> Iterator[Trouble]:
    """Yield where ring files and swift.conf differ.

    The servers of a host that tell the same count once; where each has its own files (in containers), each counts.
    local  name of a ring -> MD5 of this host's file
    """
    homes: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}  # (host, what is told) -> a server that tells it
    for answers in heard:
        told = _good(answers, "ringmd5")
        if told is not None:
            named = {path.rpartition("/")[2]: md5 for path, md5 in told.items()}
            homes.setdefault((answers.server.host, repr(sorted(told.items()))), (answers.server.name, named))
    for name in sorted({*local, *(name for _, named in homes.values() for name in named)}):
        sums = [(server, named[name]) for server, named in homes.values() if isinstance(named.get(name), str)]
        for server, text in _unlike(name, sums, local.get(name)):
            yield Trouble("differs", server, text)
        for server, named in homes.values():
            if not named:
                continue
            if name not in named:
                yield Trouble(
                    "lacks", server, f"lacks {name}, which {'this host has' if name in local else 'others have'}"
                )
            elif named[name] is None:
                yield Trouble("lacks", server, f"can't read {name}")
            elif not isinstance(named[name], str):
                yield _unknown(server, name, named[name])
    for server, named in homes.values():
        if not named:
            yield Trouble("lacks", server, "has no ring files")
    if len(homes) == 1 and not local:
        ((server, _),) = homes.values()
        yield Trouble("unknown", server, "its rings are compared with nothing: name more hosts, or --rings DIR")
    yield from _configurations(heard)


def _unlike(name: str, sums: Sequence[tuple[str, str]], local: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield (server, words) for each whose MD5 is not that of the most; this host's file counts, too, and outdoes a tie."""
    known = [md5 for _, md5 in sums]
    right = max(sorted(set(known)), key=known.count, default="")
    if local and known.count(right) <= known.count(local) + 1:
        right = local
    same = known.count(right)
    if local and right != local:
        yield "this host", f"has another {name} than {same} others"
    tie = not local and any(known.count(other) == same for other in set(known) - {right})
    for server, md5 in sums:
        if tie:
            yield server, f"{name} is {md5[:8]}, and none has a majority"
        elif md5 != right:
            yield server, f"{name} differs from {THIS_HOSTS if right == local else f'that of {same} others'}"


def _configurations(heard: Sequence[Answers]) -> Iterator[Trouble]:
    """Yield who has another swift.conf than most; recon looks at /etc/swift/swift.conf, whatever swift_dir says (2.30.1)."""
    homes: dict[tuple[str, str, Any], str] = {}
    for answers in heard:
        for path, md5 in (_good(answers, "swiftconfmd5") or {}).items():
            if isinstance(md5, str):
                homes.setdefault((answers.server.host, path, md5), answers.server.name)
            else:
                yield Trouble("unknown", answers.server.name, f"{path} can't be read there")
    for path in sorted({path for _, path, _ in homes}):
        sums = [(server, md5) for (_, of, md5), server in homes.items() if of == path]
        for server, text in _unlike(path, sums):
            yield Trouble("odd", server, text)


class _Store(NamedTuple):
    """A directory of devices on one host, and every server that tells of it: usually one of each kind."""

    host: str
    directory: str
    tellers: list[Answers]
    listed: set[str]


def _stores(heard: Iterable[Answers]) -> dict[str, _Store]:
    """Return name -> store: the host, with its directory where it has several."""
    found: dict[tuple[str, str], _Store] = {}
    for answers in heard:
        told = _good(answers, "devices")
        for directory, names in (told or {}).items():
            store = found.setdefault(
                (answers.server.host, directory), _Store(answers.server.host, directory, [], set())
            )
            store.tellers.append(answers)
            store.listed.update(map(str, names) if isinstance(names, list) else ())
    hosts = [where for where, _ in found]
    return {where if hosts.count(where) == 1 else f"{where}:{path}": store for (where, path), store in found.items()}


def _asyncs(stores: Mapping[str, _Store]) -> Iterator[Trouble | Measure]:
    """Yield the updates of containers that wait, of each store, and how old their count is."""
    for of, store in stores.items():
        told = next(((one, _good(one, "async")) for one in store.tellers if _good(one, "async") is not None), None)
        if told is None:
            continue
        answers, answer = told
        pending, last = answer.get("async_pending"), answer.get("async_pending_last")
        if pending is None:
            yield Trouble("unknown", of, "pending updates are not counted: swift-recon-cron does not run there")
            continue
        if not _number(pending) or pending < 0:
            yield _unknown(of, "async_pending", pending)
            continue
        yield Measure("async", pending, of)
        if last is not None:  # not told by older releases
            age = _age(answers, "async_age", last, "the time of the count of pending updates is 0")
            yield age._replace(of=of)


def _disks(
    run: Run, stores: Mapping[str, _Store], in_rings: set[tuple[str, str]], known: set[str]
) -> Iterator[Trouble | Measure]:
    """Yield each disk's fill, the disks that fail, and how many are not mounted.

    in_rings  (host, device) of this host's ring files; known: the hosts in them. Directories that no ring names are no disks.
    """
    lost: list[str] = []
    fills: list[float] = []
    looked = False
    for of, store in stores.items():
        disks: dict[str, Any] = {}
        for answers in store.tellers:
            for entry in _good(answers, "diskusage") or _good(answers, "unmounted") or ():
                name = str(entry.get("device", "")) if isinstance(entry, dict) else ""
                if not name:
                    yield _unknown(of, "a disk", entry)
                elif name not in disks or entry.get("mounted") is not True:  # a bad word outlives a good one
                    disks[name] = entry
        told = any(_good(answers, path) is not None for answers in store.tellers for path in ("diskusage", "unmounted"))
        whole = any(_good(answers, "diskusage") is not None for answers in store.tellers)
        expected = {device for answers in store.tellers for device in answers.server.devices} if told else set()
        for name in sorted(expected - store.listed - set(disks)):
            disks[name] = {"device": name, "mounted": None}
        # Recon leaves out what its os.path.isdir denies, and that is so of a disk whose stat fails, as of an XFS shut down.
        for name in sorted(store.listed - set(disks)) if whole else ():
            if name in expected:
                disks[name] = {"device": name, "mounted": SKIPPED}
            elif store.host not in known and not name.startswith("."):
                yield Trouble("unknown", f"{of} {name}", f"is not looked at: {SKIPPED}")
        for name, entry in sorted(disks.items()):
            disk, mounted = f"{of} {name}", entry.get("mounted")
            if store.host in known and (store.host, name) not in in_rings:
                continue
            if any(
                fnmatchcase(disk, glob) for glob in run.exclude
            ):  # --include names servers: all of their disks count
                run.left_out.add(disk)
                continue
            looked = True
            if mounted is False or (mounted is None and "size" not in entry):
                lost.append(disk if mounted is False else f"{disk} (not there)")
            elif isinstance(mounted, str):
                yield Trouble("dying", disk, f"can't be looked at: {mounted[:120]}")
            elif mounted is not True or not (
                _number(entry.get("size")) and _number(entry.get("used")) and entry["size"] > 0
            ):
                yield _unknown(disk, "its state", mounted if mounted is not True else entry.get("size"))
            else:
                fills.append(100.0 * entry["used"] / entry["size"])
                yield Measure("disk_max", fills[-1], disk)
        if whole and not disks and store.host not in known:
            yield Trouble("lacks", of, f"has no devices in {store.directory}")
    if looked:
        yield Measure("unmounted", len(lost), "", _few(lost))
    if len(fills) > 1:
        yield Measure("disk_spread", max(fills) - min(fills))


def _quarantined(
    run: Run, stores: Mapping[str, _Store], asked: Sequence[str], period: float
) -> tuple[list[Trouble | Measure], History]:
    """Return how much lies in quarantine, and how much of it is new; and the history of each store."""
    found: list[Trouble | Measure] = []
    counts: dict[str, float] = {}
    parts = {"objects": 0.0, "containers": 0.0, "accounts": 0.0}
    for of, store in stores.items():
        told = next((answer for one in store.tellers if (answer := _good(one, "quarantined")) is not None), None)
        if told is None:
            continue
        numbers = [told.get(part) for part in parts]
        if not all(_number(number) and number >= 0 for number in numbers):
            found.append(_unknown(of, "its quarantine", told))
            continue
        for part, number in zip(parts, numbers):
            parts[part] += number
        counts[f"{store.host}:{store.directory}"] = sum(numbers)
    # A node that is silent now keeps its last number: what is found meanwhile is told when it is back.
    values = {name: value for name, value in _last(run.before).items() if name.rpartition(":")[0] in asked}
    history = take(run, {**values, **counts}, span=period)
    if counts:
        detail = ", ".join(f"{number:.0f} {part}" for part, number in parts.items() if number)
        found.append(Measure("quarantined", sum(counts.values()), "", detail))
        rises = {name: history.rise(name) for name in counts}
        risen = {name: rise for name, rise in rises.items() if isinstance(rise, (int, float))}
        grown = sorted((-rise, name.rpartition(":")[0]) for name, rise in risen.items() if rise)
        words = _few([f"{host} {-rise:.0f}" for rise, host in grown])
        found.append(Measure("quarantined_new", sum(risen.values()) if risen else COLLECTING, "", words))
    return found, history


def _last(before: Any) -> dict[str, float]:
    """Return the counters of the newest sample that was kept."""
    samples = [entry for entry in before if isinstance(entry, list)] if isinstance(before, list) else []
    values = samples[-1][2] if samples and len(samples[-1]) == 3 else None
    return {name: value for name, value in values.items() if _number(value)} if isinstance(values, dict) else {}
