# SPDX-License-Identifier: Apache-2.0
"""A Ceph cluster, asked by its own client `ceph` in JSON: what its monitors say, and what its manager counts.

Sources: ceph, src/mon/Monitor.cc (get_cluster_status), src/mon/PGMap.cc (print_summary, overall_recovery_summary, which leave
out what is 0; get_health_checks), src/osd/osd_types.cc (pg_state_string), doc/rados/operations/health-checks.rst and
pg-states.rst; seen for real with 16.2.15. Up to 14 `osdmap` is nested once more and the monitors are listed instead of counted.

`status`, `health detail`, `df` and `versions` are answered by a monitor, out of what the manager told it last: without an
active manager these numbers stand still. `osd df` is answered by the manager, and waits for one without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt, samples
from nephoscope.base.child import Answer, command
from nephoscope.base.run import Collecting
from nephoscope.probes import growth, high_water

SPAN = 86400.0  # seconds over which growth is measured
DETAILS = 3  # of a code, told
SEVERITIES = {"HEALTH_OK": "ok", "HEALTH_WARN": "degraded", "HEALTH_ERR": "failed"}
WORSE = ("ok", "degraded", "unknown", "failed")
# Word of a placement group's state -> health, and the code by which the cluster tells it itself.
PG_WORDS = {
    **dict.fromkeys(("active", "clean", "scrubbing", "deep", "snaptrim", "snaptrim_wait"), ("ok", "")),
    # Data are moved, and all copies are there.
    **dict.fromkeys(("remapped", "backfilling", "backfill_wait", "forced_backfill", "forced_recovery"), ("ok", "")),
    **dict.fromkeys(("degraded", "undersized", "recovering", "recovery_wait"), ("degraded", "PG_DEGRADED")),
    **dict.fromkeys(("repair", "premerge"), ("degraded", "")),
    **dict.fromkeys(("creating", "activating", "peering", "laggy", "wait"), ("degraded", "PG_AVAILABILITY")),
    "backfill_toofull": ("degraded", "PG_BACKFILL_FULL"),
    "recovery_toofull": ("failed", "PG_RECOVERY_FULL"),
    **dict.fromkeys(("peered", "down", "incomplete", "stale"), ("failed", "PG_AVAILABILITY")),
    **dict.fromkeys(("inconsistent", "failed_repair", "snaptrim_error"), ("failed", "PG_DAMAGED")),
    **dict.fromkeys(("recovery_unfound", "backfill_unfound"), ("failed", "PG_DAMAGED")),
    "unknown": ("unknown", "PG_AVAILABILITY"),
}
# I/O stands, data are damaged, or nobody would see it, though the cluster itself may only warn.
STOPS = {
    *("PG_AVAILABILITY", "PG_DAMAGED", "OBJECT_UNFOUND", "OSD_SCRUB_ERRORS", "OSD_FULL", "POOL_FULL", "MON_DISK_CRIT"),
    *("MGR_DOWN", "full", "pauserd", "pausewr"),
}  # fmt: skip
CALM = {"noout", "norebalance", "norecover", "nobackfill", "noscrub", "nodeep-scrub"}  # flags of a maintenance
# Codes that answer the question of another mode, too: a mode asked for alone must not lose what the cluster tells by a code.
CODES = (
    ("pgs", re.compile(r"PG_|OBJECT_|OSD_SCRUB_ERRORS")),
    ("capacity", re.compile(r"\w*FULL$")),
    ("osds", re.compile(r"OSD_(\w+_)?DOWN$")),
    ("monitors", re.compile(r"MON_")),
    ("", re.compile(r"MGR_DOWN$")),
)
KINDS = ("osd", "mon", "mgr", "mds", "rgw")
RATES = {
    "read_rate": "read_bytes_sec",
    "write_rate": "write_bytes_sec",
    "recovery_rate": "recovering_bytes_per_sec",
}
MISSED = {"osd": "osds", "mon": "monitors", "mgr": "monitors", "pool": "capacity"}  # what may vanish -> mode
CAPS = "mon 'allow r' mgr 'allow r'"
_UNTIL = ("%Y-%m-%d", "%Y-%m-%dT%H:%M")


class Trouble(NamedTuple):
    """Something that was looked at, and is not as it should be, or is ("ok").

    mode    the question that it answers: health, osds, capacity, pgs, monitors; "" for all of them
    health  ok, degraded, failed or unknown
    code    the cluster's own word for it, "" where it has none
    age     seconds since the cluster was first not well, with no gap longer than what is degraded must last
    muted   the code is muted in the cluster
    calm    it is what a maintenance does
    more    details, as an addition to the text
    """

    mode: str
    health: str
    of: str
    text: str
    code: str = ""
    age: float = 0.0
    muted: bool = False
    calm: bool = False
    more: str = ""

    def stands(
        self, now: float, ignore: Sequence[tuple[str, float]], maintenance: float, hold: float
    ) -> tuple[str, str]:
        """Return its health with all that is granted to it, and why it differs, or differs no more ("": it does not).

        ignore       codes that do not count, each until a time (seconds since 1970)
        maintenance  until when a maintenance goes on; 0: none does
        hold         seconds that what is degraded must last
        """
        if self.muted:
            return "ok", "muted"
        ends = max((end for code, end in ignore if code == self.code), default=None)
        if ends is not None:
            return ("ok", "ignored") if now < ends else (self.health, "--ignore has ended")
        if self.calm and maintenance:
            return ("ok", "right by --maintenance") if now < maintenance else (self.health, "--maintenance has ended")
        if self.health == "degraded" and self.age < hold:
            return "ok", f"not well for {self.age:.0f} s, counts after {hold:g} s"
        return self.health, ""


class Osd(NamedTuple):
    """An OSD: its state ("up", "down", "destroyed"; "" up to 13), whether it holds data, and its use in % (None: not told)."""

    name: str
    state: str
    inside: bool
    used: float | None


class Number(NamedTuple):
    """A value of a metric (None: not told), of what, and its bounds."""

    name: str
    value: float | Collecting | None
    of: str = ""
    least: float | None = None
    most: float | None = None


class Cluster(NamedTuple):
    """What was learnt.

    at        seconds since 1970
    failures  what could not be asked
    summary   in one line: status, and how many there are
    kept      plain JSON for the next run
    """

    at: float
    troubles: Sequence[Trouble]
    numbers: Sequence[Number]
    failures: Sequence[Failed]
    summary: str
    kept: Mapping[str, Any]

    def asked(self, modes: Sequence[str]) -> Iterator[Trouble]:
        """Yield what belongs to these modes."""
        return (trouble for trouble in self.troubles if _is_asked(trouble.mode, trouble.code, modes))


class Client(NamedTuple):
    """Who asks: the user ("client.nagios"), the file of its key and the configuration, "" for the client's own places."""

    user: str
    keyring: str = ""
    conf: str = ""

    def ask(self, run: Run, *words: str, of: str = "") -> Any:
        """Return the JSON that `ceph WORDS` prints. Raises Failed: of the key it knows no more than the path."""
        # The client waits for a monitor for minutes; what it is told here leaves time to say so.
        seconds = str(max(1, int(run.left() / 2)))
        argv = ["ceph", *words, "--format", "json", "-n", self.user, "--connect-timeout", seconds]
        argv += ["--keyring", self.keyring] if self.keyring else []
        argv += ["--conf", self.conf] if self.conf else []
        try:
            answer = command(argv, run, of=of)
        except Failed as failed:
            raise Failed(failed.kind, of, f"run ceph {' '.join(words)}", failed.error) from None
        if answer.status:
            raise self.failed(answer, of, " ".join(words), seconds)
        return parse(answer.out, of, " ".join(words))

    def failed(self, answer: Answer, of: str, asked: str, seconds: str) -> Failed:
        """Return why the client did not succeed, in words that can hold no key: its messages may."""
        tried, err = f"run ceph {asked}", answer.err
        grant = f"`ceph auth get-or-create {self.user} {CAPS}`"
        path = re.search(r"(?:parsing file|failed to load) ([^\s:]+)", err)
        # The client also looks where its configuration tells it, so the last place is the one that was given.
        where = re.findall(r"unable to find a keyring on (.+?): \((\d+)\)", err)
        places = ", ".join(dict.fromkeys(place.strip(",") for place, _ in where))
        if "conf_read_file" in err:
            name = self.conf or "/etc/ceph/ceph.conf"
            if "ObjectNotFound" in err:
                return Failed(UNREADABLE if self.conf else ABSENT, of, tried, f"there is no {name}")
            if "Permission" in err:
                return Failed(NOT_ALLOWED, of, tried, f"{name} can't be read", f"read on {name}")
            return Failed(UNREADABLE, of, tried, f"{name} is no configuration of Ceph")
        if re.search(r"timed out|\[errno 110\]|ETIMEDOUT", err):
            return Failed(UNREACHABLE, of, tried, f"no monitor answered in {seconds} s")
        if "parsing file" in err or "failed to load" in err or "failed to decode" in err or "setting modifier" in err:
            error = f"the keyring {path[1] if path else self.keyring} is damaged"
            return Failed(NOT_ALLOWED, of, tried, error, f"a key for {self.user}: {grant}")
        barred = next((place for place, number in where if number == "13"), "")
        if barred:
            cure = "read on it, by group, mode 0640"
            return Failed(NOT_ALLOWED, of, tried, f"the keyring {barred} may not be read", cure)
        if "Error EACCES" in err or "Error EPERM" in err:
            error = f"{self.user} may not ask this"
            return Failed(NOT_ALLOWED, of, tried, error, f"`ceph auth caps {self.user} {CAPS}`")
        if where and "handle_auth_bad_method" not in err:
            return Failed(NOT_ALLOWED, of, tried, f"no key for {self.user}: no {places}", f"a key: {grant}")
        if re.search(r"\[errno (1|13|22|95)\]|handle_auth_bad_method|\[errno 2\]", err):
            return Failed(
                NOT_ALLOWED, of, tried, f"the cluster refuses {self.user}: no such user, or another key", grant
            )
        known = re.findall(r"(?m)^(?:\[errno \d+\]|Error E[A-Z]+:).{0,80}$", err)
        return Failed(UNREADABLE, of, tried, f"it ended with {answer.status}: {known[-1] if known else 'no word why'}")


def parse(text: str, of: str, asked: str) -> Any:
    """Return the JSON in what the client printed, be there lines before it. Raises Failed unreadable."""
    start = re.search(r"(?m)^\{", text)
    try:
        # It prints what is no number as C does; the parser's own words for it, as its own manager's modules do.
        plain = re.sub(r"(\"\s*:\s*)[-+]?(?:nan|inf)\b", r"\1null", text[start.start() :] if start else text)
        found = json.loads(plain, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise Failed(UNREADABLE, of, f"run ceph {asked}", f"not its JSON: {text.strip()[:40]!r}") from None
    if not isinstance(found, dict):
        raise Failed(UNREADABLE, of, f"run ceph {asked}", f"not its JSON: {text.strip()[:40]!r}")
    return found


def until(text: str) -> float:
    """Return the end of "YYYY-MM-DD", or the moment "YYYY-MM-DDTHH:MM", both UTC, in seconds since 1970. Raises ValueError."""
    import calendar
    import time

    for form, more in zip(_UNTIL, (86400, 0)):
        try:
            return float(calendar.timegm(time.strptime(text, form))) + more
        except ValueError:
            continue
    raise ValueError(f"'{text}' is no date: write 2026-12-31 or 2026-12-31T18:00, UTC")


def waiver(text: str) -> tuple[str, float]:
    """Return a code, and until when it is waived, from CODE or CODE=DATE. Raises ValueError."""
    code, equals, date = text.partition("=")
    if not re.fullmatch(r"[A-Z][A-Z0-9_]+", code):
        raise ValueError(f"'{code}' is no health code: write it as `ceph health detail` does, OSDMAP_FLAGS")
    return code, until(date) if equals else float("inf")


def wanted(text: str) -> tuple[str, int]:
    """Return kind and number from KIND=N. Raises ValueError."""
    kind, _, number = text.partition("=")
    if kind not in KINDS or not (number.isascii() and number.isdigit()):
        raise ValueError(f"'{text}' is not KIND=N with a kind of {', '.join(KINDS)}")
    return kind, int(number)


def user(text: str) -> str:
    """Return the user's whole name, "client.nagios" of "nagios". Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.@-]*", text):
        raise ValueError(f"'{text}' is no user of Ceph: write client.NAME")
    return text if "." in text else f"client.{text}"


def survey(
    run: Run,
    client: Client,
    modes: Sequence[str],
    *,
    pools: Sequence[str] = (),
    expect: Sequence[tuple[str, int]] = (),
    remember: float = 604800.0,
    versions: bool = False,
    ignore: Sequence[tuple[str, float]] = (),
    maintenance: float = 0.0,
    hold: float = 600.0,
) -> Cluster:
    """Ask the cluster: `status`; `health detail` where there is something to tell; `osd df` for modes osds and capacity.

    pools     pools that are asked for (by `df`), if any
    expect    kinds, and how many of each should work
    remember  seconds for which a thing that went missing is missed
    versions  ask whether all daemons run the same
    ignore, maintenance, hold  as for Trouble.stands: what is granted does not begin a time of not being well
    Raises Failed when the status can't be had.
    """
    said = client.ask(run, "status")
    try:
        granted = (ignore, maintenance)
        return _Reader(run, client, said).read(modes, pools, expect, remember, versions, granted, hold)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failed(UNREADABLE, "", "run ceph status", "not the status of Ceph 12 or later") from None


class _Reader:
    """The making of one Cluster."""

    def __init__(self, run: Run, client: Client, said: Mapping[str, Any]) -> None:
        self.run, self.client, self.said = run, client, said
        self.now = run.clock.time()
        self.before = run.before if isinstance(run.before, dict) else {}
        self.grown = self.before.get("used")
        self.checks: Mapping[str, Any] = said["health"]["checks"]
        self.mutes: Sequence[Mapping[str, Any]] = said["health"].get("mutes") or ()
        self.found: list[Trouble] = []
        self.failures: list[Failed] = []
        self.numbers: list[Number] = []
        osdmap = said["osdmap"]
        self.osdmap = osdmap.get("osdmap", osdmap)
        self.pgmap = said["pgmap"]
        self.active = said["mgrmap"]["available"] is True
        self.works, self.there = self.counts()

    def add(self, mode: str, health: str, of: str, text: str, code: str = "") -> None:
        """Note a trouble, unless the cluster tells it by its code."""
        if not code or code not in self.checks:
            self.found.append(Trouble(mode, health, of, text, code))

    def read(
        self,
        modes: Sequence[str],
        pools: Sequence[str],
        expect: Sequence[tuple[str, int]],
        remember: float,
        versions: bool,
        granted: tuple[Sequence[tuple[str, float]], float],
        hold: float,
    ) -> Cluster:
        works, there = self.works, self.there
        self.health(modes)
        for kind, wanted in expect:
            health = "failed" if works[kind] < wanted else "ok"
            self.add("", health, kind, f"{works[kind]} work, {wanted} are expected")
        used = self.pools(pools) if pools else []
        if versions:
            self.versions()
        osds: Sequence[Osd] = ()
        if self.active and {"osds", "capacity"} & set(modes):
            answer = attempt(self.osd_df)
            if isinstance(answer, Failed):
                self.failures.append(answer)
                # A manager that is gone and not yet missed: what it told last is old.
                self.active = answer.kind != UNREACHABLE
            else:
                osds = answer
        if self.active:
            self.counted()
            self.numbers += used
            self.numbers += [
                Number("osd_used", osd.used, osd.name, 0, 100) for osd in osds if osd.inside and osd.state in ("up", "")
            ]
        else:
            unknown = "are not known: no manager answers"
            self.add("", "unknown", "mgr", f"placement groups, space and slow operations {unknown}")
        self.each_osd(osds)
        self.numbers.append(Number("mons", works["mon"], "", 0, there["mon"]))
        self.failures += [
            Failed(ABSENT, "", "", f"the cluster has no {kind}") for kind in ("OSD", "pool") if not there[kind.lower()]
        ]
        most = self.missed(remember)
        # One time for all: codes and states follow each other, or come and go, while a cluster is not well all the while.
        unwell = any(
            trouble.stands(self.now, *granted, 0.0)[0] != "ok"
            for trouble in self.found
            if _is_asked(trouble.mode, trouble.code, modes)
        )
        spell = _spell(self.before.get("unwell"), unwell, self.now, hold)
        troubles = [trouble._replace(age=self.now - spell[0] if spell else 0.0) for trouble in self.found]
        mutes = [f"mute {row['code']}" for row in self.mutes]
        since = samples.since(self.before.get("since"), mutes, self.now)
        summary = [
            f"{self.said['health']['status']}: {works['osd']} of {there['osd']} OSDs up",
            f"{works['mon']} of {there['mon']} monitors in quorum",
            f"{there['pg']} placement groups" if self.active else "no manager",
        ]
        for row, mark in zip(self.mutes, mutes):
            sticky = row.get("sticky") is True
            ends = "for good" if sticky else f"until {row['ttl'][:16]}" if row.get("ttl") else "until it is gone"
            summary.append(f"{row['code']} is muted {ends}")
            self.numbers.append(Number("muted", self.now - since[mark] if sticky else 0, row["code"]))
        kept = {"since": since, "unwell": spell, "most": most, "used": self.grown}
        return Cluster(self.now, troubles, self.numbers, self.failures, ", ".join(summary), kept)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many of each kind work, and how many there are."""
        monmap, mgrmap, osdmap = self.said["monmap"], self.said["mgrmap"], self.osdmap
        services = (self.said.get("servicemap") or {}).get("services") or {}
        gateways = [name for name in (services.get("rgw") or {}).get("daemons") or () if name != "summary"]
        fsmap = self.said.get("fsmap") or {}
        standbys = mgrmap["num_standbys"] if "num_standbys" in mgrmap else len(mgrmap["standbys"])
        works = {
            "osd": _number(osdmap["num_up_osds"]),
            "mon": len(self.said["quorum"]),
            "mgr": int(self.active) + _number(standbys),
            "mds": len(fsmap.get("by_rank") or ()) + _number(fsmap.get("up:standby", 0)),
            "rgw": len(gateways),
        }
        mons = monmap["num_mons"] if "num_mons" in monmap else len(monmap["mons"])
        pgs = _number(self.pgmap["num_pgs"])
        return works, {
            "osd": _number(osdmap["num_osds"]),
            "mon": _number(mons),
            "pool": _number(self.pgmap["num_pools"]),
            "pg": pgs,
        }

    def health(self, modes: Sequence[str]) -> None:
        """Note the codes of the cluster, and what it should have said by one."""
        status = self.said["health"]["status"]
        details: Mapping[str, Any] = {}
        if any(_is_asked("health", code, modes) for code in self.checks):
            answer = attempt(self.client.ask, self.run, "health", "detail")
            if isinstance(answer, Failed):
                self.failures.append(answer)
            else:
                checks = answer.get("checks")
                details = checks if isinstance(checks, dict) else {}
        worst = "ok"
        for code, row in self.checks.items():
            severity, muted = SEVERITIES.get(row["severity"], "unknown"), row.get("muted") is True
            message = str(row["summary"]["message"])
            flags = set(re.findall(r"[a-z-]+", message.partition(" flag")[0])) if code == "OSDMAP_FLAGS" else set()
            severity = "failed" if STOPS & {code, *flags} and severity == "degraded" else severity
            text = message if severity != "unknown" else f"{message}: severity {row['severity']}"
            more = _shown(details.get(code))
            calm = bool(flags) and flags <= CALM
            self.found.append(Trouble("health", severity, code, text, code, 0, muted, calm, more))
            worst = worst if muted else max(worst, severity, key=WORSE.index)
        said = SEVERITIES.get(status, "unknown")
        if WORSE.index(said) > WORSE.index(worst):
            word = "is a word that is not known" if said == "unknown" else "and no code says why"
            self.add("health", said, "health", f"is {status}, {word}")
        if not self.active:
            self.add("", "failed", "mgr", "none is active", "MGR_DOWN")
        mons, total = self.works["mon"], self.there["mon"]
        if mons < total:
            self.add("monitors", "degraded", "mon", f"{mons} of {total} are in quorum", "MON_DOWN")

    def osd_df(self) -> tuple[Osd, ...]:
        """Return the OSDs, asked of the manager. Raises Failed, also when it lists fewer than there are."""
        answer = self.client.ask(self.run, "osd", "df", of="mgr")
        try:
            rows = [row for row in [*answer["nodes"], *answer["stray"]] if row["type"] == "osd"]
            found = [
                Osd(
                    str(row["name"]),
                    str(row.get("status", "")),
                    row["reweight"] > 0,
                    float(row["utilization"]) if row["kb"] and row["utilization"] is not None else None,
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError):
            raise Failed(UNREADABLE, "mgr", "run ceph osd df", "an answer that is not understood") from None
        if len(found) < self.there["osd"]:
            raise Failed(UNREADABLE, "mgr", "run ceph osd df", f"it lists {len(found)} of {self.there['osd']} OSDs")
        return tuple(found)

    def each_osd(self, osds: Sequence[Osd]) -> None:
        """Note OSDs that are down or out; one that is down and still in is told by the cluster itself."""
        total, up, inside = self.there["osd"], self.works["osd"], _number(self.osdmap["num_in_osds"])
        self.numbers += [Number("osd_up", up, "", 0, total), Number("osd_in", inside, "", 0, total)]
        if total:
            share = 100.0 * (total - up) / total
            together = share if up < total - 1 or not up else 0.0
            self.numbers += [
                Number("osd_down", share, "", 0, 100),
                Number("osds_down_together", together, "", 0, 100),
            ]
        if not osds or not all(osd.state for osd in osds):
            if up < total:
                self.add("osds", "degraded", "osds", f"{total - up} of {total} are down", "OSD_DOWN")
            if inside < total:
                self.add("osds", "degraded", "osds in", f"{total - inside} of {total} are out")
            return
        for osd in osds:
            if osd.state not in ("up", "down", "destroyed"):
                self.add("osds", "unknown", osd.name, f"is {osd.state}")
            elif not osd.inside:
                self.add("osds", "degraded", osd.name, "is out" if osd.state == "up" else f"is {osd.state} and out")
            elif osd.state != "up":
                self.add("osds", "degraded", osd.name, f"is {osd.state}", "OSD_DOWN")

    def counted(self) -> None:
        """Note the states of placement groups, and the numbers that the manager counts."""
        pgmap, bad, seen = self.pgmap, 0, 0
        for row in pgmap["pgs_by_state"]:
            words, count = str(row["state_name"]).split("+"), _number(row["count"])
            seen += count
            health, code = _worst(words)
            bad += 0 if "active" in words and "clean" in words and health == "ok" else count
            if health != "ok":
                self.add("pgs", health, row["state_name"], f"{count} placement groups", code)
        total = self.there["pg"]
        if seen != total:
            self.add("pgs", "unknown", "pgs", f"{seen} of {total} placement groups have a state")
        self.numbers.append(Number("pgs_bad", bad, "", 0, total))
        for name in ("degraded", "misplaced"):
            self.numbers.append(Number(name, 100.0 * pgmap.get(f"{name}_ratio", 0), "", 0, 100))
        if pgmap.get("bytes_total"):
            self.grown = growth.added(self.grown, self.now, pgmap["bytes_used"], SPAN)
            full_in = growth.full_in(pgmap["bytes_avail"], growth.slope(self.grown, SPAN))
            used = 100.0 * pgmap["bytes_used"] / pgmap["bytes_total"]
            self.numbers += [Number("used", used, "", 0, 100), Number("full_in", full_in)]
        elif self.there["osd"]:
            self.numbers.append(Number("used", None))
        self.numbers.append(Number("slow", self.slow()))
        for name, key in RATES.items():
            self.numbers.append(Number(name, pgmap.get(key, 0)))

    def slow(self) -> int | None:
        """Return how many operations are slow: the number that its code's message begins with (14 and later; before, too)."""
        row = self.checks.get("SLOW_OPS") or self.checks.get("REQUEST_SLOW")
        number = re.match(r"\d+", row["summary"]["message"]) if row else None
        return 0 if row is None else int(number[0]) if number else None

    def pools(self, names: Sequence[str]) -> list[Number]:
        """Note whether the pools are there; return the use of each in %, of what its fullest OSD leaves to it."""
        answer = attempt(self.client.ask, self.run, "df")
        if isinstance(answer, Failed):
            self.failures.append(answer)
            return []
        try:
            # Up to 13 in percent, and without "stored"; since then as a share, whatever the name says.
            used = {
                row["name"]: _times(row["stats"].get("percent_used"), 100.0 if "stored" in row["stats"] else 1.0)
                for row in answer["pools"]
            }
        except (KeyError, TypeError, AttributeError):
            self.failures.append(Failed(UNREADABLE, "", "run ceph df", "an answer that is not understood"))
            return []
        for name in names:
            self.add(
                "", "ok" if name in used else "failed", name, f"is {'a' if name in used else 'no'} pool of the cluster"
            )
        return [Number("pool_used", used[name], name, 0, 100) for name in names if name in used]

    def versions(self) -> None:
        answer = attempt(self.client.ask, self.run, "versions")
        if isinstance(answer, Failed):
            self.failures.append(answer)
        elif not isinstance(answer.get("overall"), dict) or not answer["overall"]:
            self.failures.append(Failed(UNREADABLE, "", "run ceph versions", "an answer that is not understood"))
        elif len(answer["overall"]) > 1:
            told = (f"{' '.join(name.split()[2:3])} ({count})" for name, count in sorted(answer["overall"].items()))
            self.add("", "degraded", "versions", f"differ: {', '.join(told)}")

    def missed(self, remember: float) -> dict[str, list[float]]:
        """Note that there are fewer of a kind than an earlier run saw; return the marks to keep."""
        there = {**self.there, "mgr": self.works["mgr"]}
        marks = {}
        for kind, mode in MISSED.items():
            before = self.before.get("most")
            marks[kind] = high_water.mark(before, kind, there[kind], self.now, remember)
            if there[kind] < marks[kind][0]:
                self.add(mode, "degraded", f"{kind}s", f"{there[kind]} are there, {marks[kind][0]:g} were")
        return marks


def _worst(words: Sequence[str]) -> tuple[str, str]:
    """Return the health and the code of a placement group's state."""
    # Two that are to become one are peered and not active, for a moment and by intent.
    counting = [word for word in words if word != "peered" or "premerge" not in words]
    return max((PG_WORDS.get(word, ("unknown", "")) for word in counting), key=lambda found: WORSE.index(found[0]))


def _is_asked(mode: str, code: str, modes: Sequence[str]) -> bool:
    """Return whether a trouble of this mode is told when these modes are asked for."""
    if mode in ("", *modes):
        return True
    other = next((name for name, codes in CODES if codes.match(code)), "health")
    return mode == "health" and other in ("", *modes)


def _spell(before: Any, unwell: bool, now: float, gap: float) -> list[float]:
    """Return since when it was not well, and since when it is again (0: it is not): seconds since 1970; [] when well for long.

    before  what this function returned last time (None at first)
    gap     seconds for which it may be seen well in between; how far apart the runs are does not count
    """
    try:
        first, again = map(float, before or ())
    except (TypeError, ValueError):
        first = again = float("inf")
    known = first <= now and again <= now and (not again or now - again <= gap)
    if unwell:
        return [first if known else now, 0.0]
    return [first, again or now] if known else []


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _shown(check: object) -> str:
    """Return the first of a code's details as an addition to its message; "" where there are none."""
    rows = check.get("detail") if isinstance(check, dict) else ()
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    told = [str(row.get("message", "")).strip() for row in rows[:DETAILS]]
    more = f"; {len(rows) - DETAILS} more" if len(rows) > DETAILS else ""
    return f" ({'; '.join(told)}{more})" if told else ""
