# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's streaming replication, seen from the primary (its standbys and slots) and from a standby.

For PostgreSQL 10 to 18. Sources: its manual, "The Cumulative Statistics System" (pg_stat_replication, pg_stat_wal_receiver),
"Recovery Information Functions", "pg_replication_slots"; and a PostgreSQL 15 with a replica. What tells wrong tales:

* Without pg_read_all_stats (or pg_monitor) the rows of pg_stat_replication and pg_stat_wal_receiver are there with everything
  NULL but the process's number.
* replay_lag is NULL as soon as the standby is idle and in step, and until it has replayed a first commit; while replay stands
  still it may go on to show what was measured last. So how long a position does not move counts, too.
* now() - pg_last_xact_replay_timestamp() grows on an idle primary, and while a long transaction is replayed, which has not
  committed: it is a lag only while something stays not replayed. What nobody waits for is written to disk, and sent, page by
  page: the last record may have begun and its rest not be there.
* A standby whose receiver is gone, or is slow, has replayed all that it received, so that difference is 0. Its primary's end of
  WAL is latest_end_lsn, which comes with each message.
* An idle primary says something only when it is asked for a sign, each half of wal_receiver_timeout.
* pg_receivewal replays nothing, and flushes a segment when it is full; pg_basebackup streams beside its copy, for as long.
* safe_wal_size, wal_status, conflicting and invalidation_reason came with versions; to_jsonb gives what there is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run

OLDEST = (10,)
STREAMING = "streaming"
STATES = {
    "startup": "catching_up",
    "catchup": "catching_up",
    STREAMING: "serves",
    "backup": "serves",
    "stopping": "stopped",
}
RECEIVER = {"starting": "catching_up", STREAMING: "serves", "waiting": "stopped", "restarting": "stopped",
            "stopping": "stopped", "stopped": "stopped", "connecting": "reconnecting"}  # fmt: skip
WAL = {"reserved": "serves", "extended": "serves", "unreserved": "unreserved", "lost": "lost"}
RIGHT = "GRANT pg_monitor TO the account"
BASE_BACKUP = "pg_basebackup_"  # begins the name of the slot that a backup has for as long as it takes
PAGE, RECORD = 8192, 4 * 8192  # bytes of a page of WAL (XLOG_BLCKSZ), and of a record that is not small
SURELY = 1.0  # seconds up to which the age of a commit needs no proof to be a lag
LOOKS, BETWEEN = 3, 0.2  # looks at a position that may be reached in a moment, and the seconds before each
SHOWN = 80  # characters of a list of standbys
YET = Collecting("has not told yet how far it is")
PATIENCE = 60.0  # seconds for which that is no trouble: pg_receivewal tells each ten
QUERY = """
SELECT pg_is_in_recovery() AS recovering,
  pg_has_role(current_user, 'pg_read_all_stats', 'usage') AS sees,
  pg_has_role(current_user, 'pg_read_all_settings', 'usage') AS sees_settings,
  (SELECT system_identifier::text FROM pg_control_system()) AS system,
  CASE WHEN NOT pg_is_in_recovery() AND current_setting('synchronous_commit') NOT IN ('off', 'local')
    THEN current_setting('synchronous_standby_names') ELSE '' END AS waits_for,
  (SELECT coalesce(json_agg(s), '[]') FROM (
    SELECT r.pid, coalesce(application_name, '') AS name, coalesce(host(client_addr), '') AS address, state, sync_state,
      (SELECT slot_name FROM pg_replication_slots WHERE active_pid = r.pid LIMIT 1) AS slot,
      coalesce(replay_lsn, write_lsn)::text AS reached,
      pg_wal_lsn_diff(here.lsn, coalesce(replay_lsn, write_lsn))::float8 AS behind,
      extract(epoch FROM replay_lag)::float8 AS lag
    FROM pg_stat_replication r, here ORDER BY 2, 3, 1 LIMIT 1000) s)::text AS standbys,
  (SELECT coalesce(json_agg(s), '[]') FROM (
    SELECT slot_name AS name, slot_type AS type, active, temporary,
      pg_wal_lsn_diff(here.lsn, restart_lsn)::float8 AS retained,
      to_jsonb(p) ->> 'wal_status' AS wal_status,
      to_jsonb(p) ->> 'invalidation_reason' AS invalid
    FROM pg_replication_slots p, here ORDER BY 1 LIMIT 1000) s)::text AS slots,
  (SELECT to_json(s) FROM (
    SELECT status, sender_host AS host, sender_port AS port,
      extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 AS silent
    FROM (SELECT to_jsonb(w) ->> 'sender_host' AS sender_host, to_jsonb(w) ->> 'sender_port' AS sender_port,
          status, last_msg_receipt_time FROM pg_stat_wal_receiver w) w LIMIT 1) s)::text AS receiver,
  CASE WHEN pg_is_in_recovery() THEN
    (SELECT to_json(s) FROM (
      SELECT pg_is_wal_replay_paused() AS paused, pg_last_wal_replay_lsn()::text AS reached,
        until.lsn::text AS until, pg_wal_lsn_diff(until.lsn, pg_last_wal_replay_lsn())::float8 AS behind,
        extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age,
        (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay') AS delay,
        (SELECT setting::float8 / 2000 FROM pg_settings WHERE name = 'wal_receiver_timeout') AS asks,
        (SELECT setting FROM pg_settings WHERE name = 'primary_conninfo') <> '' AS follows
      FROM (SELECT greatest(pg_last_wal_receive_lsn(),
        (SELECT latest_end_lsn FROM pg_stat_wal_receiver)) AS lsn) until) s)::text
  END AS standby
FROM here
"""
HERE = """WITH here AS (SELECT CASE WHEN pg_is_in_recovery()
  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END AS lsn)"""
PASSED = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"


class Follower(NamedTuple):
    """A process of the primary that sends WAL: to a standby, a subscriber, an archive (pg_receivewal) or a backup.

    name     application_name; with the address behind it where several have that name, and a number where that is one, too
    names    what it may be expected by: application_name, slot, address, and the first and the last together
    state    startup, catchup, streaming, backup (whatever a backup needs), stopping
    behind   bytes that it has not replayed (written, where it replays nothing); None: not told yet
    seconds  replay_lag; None while it is idle, or has not told
    reached  how far it has replayed (an LSN); stuck: seconds for which that was seen not to move, though there is more
    """

    name: str
    names: tuple[str, ...]
    state: str
    sync: str = "async"
    behind: float | None = None
    seconds: float | None = None
    reached: str = ""
    stuck: float = 0.0

    @property
    def lag(self) -> float | None:
        """Seconds behind, 0 while it has replayed everything; None: not known."""
        if not self.behind:
            return self.behind
        return max(self.seconds or 0.0, self.stuck) if self.seconds is not None or self.stuck else None


class Slot(NamedTuple):
    """A replication slot.

    retained   bytes of WAL kept for it; None: it keeps none (yet, or no more)
    wal        wal_status, "" before PostgreSQL 13
    invalid    why it can't be used any more (since 17), ""
    """

    name: str
    type: str
    active: bool
    retained: float | None
    wal: str = ""
    invalid: str = ""


class Standby(NamedTuple):
    """A server in recovery.

    receiver   status of its WAL receiver, "" when there is none
    source     host:port that it receives from, "" when not told
    silent     seconds since the primary last said anything, None without a receiver
    asks       seconds after which it is asked for a sign, 0: never
    follows    whether a primary is configured (else WAL comes from an archive); None: not told
    paused     whether replay is paused
    behind     bytes that the primary has and that are not replayed; None when it never received any by streaming
    until      the position (an LSN) where there is no more to replay
    age        seconds since the last commit that was replayed happened, or less where that is known; None: not told
    delay      seconds that it stays behind on purpose
    reached, stuck  as of a Follower
    """

    receiver: str = ""
    source: str = ""
    silent: float | None = None
    asks: float = 30.0
    follows: bool | None = True
    paused: bool = False
    behind: float | None = 0.0
    age: float | None = None
    delay: float = 0.0
    reached: str = ""
    until: str = ""
    stuck: float = 0.0

    @property
    def begun(self) -> bool:
        """Whether nothing but the beginning of a record is left to replay, whose rest the primary did not send yet."""
        inside = int(self.until.partition("/")[2] or "1", 16) % PAGE
        return self.behind is not None and self.behind < RECORD and not inside

    @property
    def lag(self) -> float | None:
        """Seconds behind, 0 while all that there is is replayed; None: not known."""
        if self.behind == 0 or self.begun:
            return 0.0
        age = self.age if self.age is not None else self.stuck or None
        return None if age is None else max(0.0, age - self.delay)

    def standings(self) -> Iterator[tuple[str, str]]:
        """Yield how it stands, a word of the suite's and it in words."""
        whence = f" from {self.source}" if self.source else ""
        if self.receiver:
            word = RECEIVER.get(self.receiver, "unknown")
            how = "is not understood: " if word == "unknown" else ""
            yield word, f"WAL receiver{whence} {how or 'is '}{self.receiver}"
        elif self.follows is False:
            yield "serves", "WAL comes from an archive, no primary is configured"
        else:
            yield "stopped", "is connected to no primary: no WAL receiver runs"
        if self.paused:
            yield "paused", "replay is paused"


class Server(NamedTuple):
    """One PostgreSQL server. `system` is what a primary and its standbys have in common, "" when not looked."""

    system: str = ""
    recovering: bool = False
    standby: Standby | None = None
    standbys: tuple[Follower, ...] = ()
    slots: tuple[Slot, ...] = ()
    looks: tuple[str, ...] = ()
    waits_for: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing replicates here."""
        return not (self.recovering or self.followers or self.slots)

    @property
    def followers(self) -> tuple[Follower, ...]:
        """Those that are here to stay, and no backup."""
        return tuple(each for each in self.standbys if each.state != "backup")

    @property
    def said(self) -> str:
        """What it is, for an OK."""
        parts = ["a standby" if self.recovering else "a primary"]
        if self.standby and self.standby.source:
            parts[0] += f" of {self.standby.source}"
        if "primary" in self.looks and (self.followers or not self.recovering):
            parts.append(f"{len(self.followers)} standby{'s' * (len(self.followers) != 1)}")
        if self.slots:
            parts.append(f"{len(self.slots)} slot{'s' * (len(self.slots) != 1)}")
        return ", ".join(parts)

    def positions(self) -> Iterator[str]:
        """Yield who stands where, of those that have something before them or did not tell: `since` tells for how long."""
        if self.standby and self.standby.behind:
            yield f"here {self.standby.reached}"
        yield from (f"{each.name} {each.reached}" for each in self.followers if each.behind != 0)

    def timed(self, ages: Mapping[str, float]) -> Server:
        """Return the same with what `positions` yielded and how many seconds each has been so."""
        standby = self.standby and self.standby._replace(stuck=ages.get(f"here {self.standby.reached}", 0.0))
        return self._replace(
            standby=standby,
            standbys=tuple(e._replace(stuck=ages.get(f"{e.name} {e.reached}", 0.0)) for e in self.standbys),
        )

    def unlike(self, wanted: Iterable[str]) -> Iterator[tuple[str, str] | Failed]:
        """Yield where it is not what the modes asked for by name say: a word and text, or a Failed: no such thing here."""
        if "standby" in wanted and not self.recovering:
            yield "wrong_role", "is a primary and no standby: it was promoted, or never followed"
        if "primary" in wanted and "standby" not in wanted and self.recovering:
            yield "wrong_role", "is a standby and no primary"
        if "primary" in wanted and not self.followers and ("standby" in wanted or not self.recovering):
            yield Failed(ABSENT, "", "", "no standby is connected")
        if "slots" in wanted and not self.slots:
            yield Failed(ABSENT, "", "", "there is no replication slot")

    def standings(self) -> Iterator[tuple[str, str, str]]:
        """Yield how each thing stands: object, a word of the suite's, and it in words."""
        if self.standby:
            yield from (("", word, text) for word, text in self.standby.standings())
        names, ready = self.waits_for, sum(each.sync in ("sync", "quorum") for each in self.standbys)
        least = re.match(r"(?i)\s*(?:first\s|any\s)?\s*(\d+)\s*\(", names)
        if names and "primary" in self.looks and ready < int(least[1] if least else 1):
            who = f"synchronous_standby_names is {names[:SHOWN]}"
            yield "", "hangs", f"every commit waits: {ready} of {least[1] if least else 1} synchronous standbys; {who}"
        for each in self.standbys:
            word = STATES.get(each.state, "unknown")
            told = "is in a state that is not understood:" if word == "unknown" else "is"
            yield each.name, word, f"{told} {each.state}"
        for slot in self.slots:
            word = "lost" if slot.invalid else WAL.get(slot.wal, "unknown") if slot.wal else "serves"
            text = {
                "serves": "slot is used" if slot.active else "slot is used by nobody",
                "unreserved": "slot is about to lose its WAL: wal_status unreserved",
                "lost": f"slot is lost, what follows it must be made anew: {slot.invalid or 'its WAL is gone'}",
                "unknown": f"slot has a wal_status that is not understood: {slot.wal}",
            }[word]
            yield slot.name, word, text

    def values(self) -> Iterator[tuple[str, Any, str, str]]:
        """Yield what is measured: name, value, object, detail."""
        if self.standby and self.standby.receiver:
            yield "lag", self.standby.lag, "", "replay is paused" * self.standby.paused
            yield "behind", self.standby.behind, "", ""
            asks = self.standby.asks
            told = f"an idle primary is asked for a sign after {asks:g} s" if asks else "an idle primary looks the same"
            yield "silent", self.standby.silent, "", told
        elif self.standby and self.standby.follows is False:
            yield "lag", self.standby.lag, "", "an idle primary looks the same"
        if "primary" in self.looks and (self.followers or not self.recovering):
            yield "standbys", sum(each.state == STREAMING for each in self.standbys), "", ""
        for each in self.followers:
            if each.behind is not None or each.state == STREAMING:
                yet = YET if each.stuck < PATIENCE else None
                yield "behind", yet if each.behind is None else each.behind, each.name, ""
            if each.lag is not None:
                yield "lag", each.lag, each.name, ""
        for slot in self.slots:
            if slot.retained is not None:
                yield "retained", max(0.0, slot.retained), slot.name, "" if slot.active else "nobody uses the slot"


def look(run: Run, db: Any, of: str, modes: Iterable[str]) -> Server:
    """Return what replicates on a PostgreSQL server (sql.Connection), in one statement; a busy standby is asked again.

    of     its name for failures; modes  "standby", "primary", "slots": what is wanted of it
    Raises Failed: not-allowed when there is something to see that the account may not; unreadable: too old.
    """
    if db.version < OLDEST:
        raise Failed(UNREADABLE, of, "", f"{db.text} is older than what is known here: PostgreSQL 10")
    found = parse(of, db.row(HERE + QUERY), tuple(modes))
    return found._replace(standby=found.standby and proven(run, db, found.standby))


def proven(run: Run, db: Any, standby: Standby) -> Standby:
    """Return it with the age that is a lag: at most the time in which it replays all that there was at the first look."""
    waited = 0.0
    for _ in range(LOOKS):
        late = standby.lag is None or standby.lag > SURELY
        if not (standby.behind and late) or standby.paused or run.left() < 3 * BETWEEN:
            break
        time.sleep(BETWEEN)
        waited += BETWEEN
        if db.value(PASSED, (standby.until,)):
            return standby._replace(age=waited + standby.delay)
    return standby


def parse(of: str, row: Mapping[str, Any], modes: tuple[str, ...]) -> Server:
    """Return the server from the one row of the query. Raises Failed as `look` does."""
    try:
        parts = {name: json.loads(row[name] or "null") for name in ("standbys", "slots", "receiver", "standby")}
        recovering = bool(row["recovering"])
        followers = parts["standbys"] if "primary" in modes else []
        receiver = parts["receiver"] if "standby" in modes else None
        if not row["sees"] and (followers or receiver):
            view = "pg_stat_replication" if followers else "pg_stat_wal_receiver"
            raise Failed(NOT_ALLOWED, of, f"ask {view}", "the account may not see other sessions", RIGHT)
        standbys = tuple(_followers(followers))
        slots = tuple(
            Slot(s["name"], s["type"], bool(s["active"]), s["retained"], s["wal_status"] or "", s["invalid"] or "")
            for s in (parts["slots"] if "slots" in modes else ())
            if not s["temporary"]
        )
        standby = None
        if recovering and "standby" in modes:
            told, link = parts["standby"], receiver or {}
            source = f"{link['host']}:{link['port']}" if link.get("host") else ""
            standby = Standby(
                receiver=link.get("status") or "",
                source=source,
                silent=_least(link.get("silent")),
                asks=told["asks"] or 0.0,
                follows=told["follows"] if row["sees_settings"] else None,
                paused=bool(told["paused"]),
                behind=_least(told["behind"]),
                age=told["age"],
                delay=told["delay"] or 0.0,
                reached=told["reached"] or "",
                until=told["until"] or "",
            )
        return Server(
            str(row["system"] or ""), recovering, standby, standbys, slots, modes, str(row["waits_for"] or "")
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Failed(UNREADABLE, of, "ask for replication", f"the answer is not understood: {error!r}") from None


def _followers(rows: list[Any]) -> Iterator[Follower]:
    """Yield the senders of WAL; one that a backup has beside its copy, of its name or with its slot, is in state backup."""
    places = [(row["name"], row["address"]) for row in rows]
    backups = {place for place, row in zip(places, rows) if row["state"] == "backup"}
    for number, (row, place) in enumerate(zip(rows, places)):
        name = place[0]
        if sum(name == other for other, _ in places) > 1:
            name = f"{name} {place[1] or 'local'}" + f" {places[: number + 1].count(place)}" * (places.count(place) > 1)
        passing = place in backups or (row["slot"] or "").startswith(BASE_BACKUP)
        yield Follower(
            name,
            tuple(filter(None, (place[0], row["slot"], place[1], " ".join(place).strip()))),
            "backup" if passing else row["state"] or "",
            row["sync_state"] or "",
            _least(row["behind"]),
            row["lag"],
            row["reached"] or "",
        )


def _least(difference: float | None) -> float | None:
    """Return a difference that is not below 0: a standby that starts has replayed more of its own WAL than it has received."""
    return None if difference is None else max(0.0, difference)


def twins(servers: Mapping[str, Server]) -> Iterator[tuple[str, str]]:
    """Yield where two servers that have one origin both take writes: a standby was promoted, its primary lives on."""
    writing: dict[str, list[str]] = {}
    for of, server in servers.items():
        if server.system and not server.recovering:
            writing.setdefault(server.system, []).append(of)
    for ofs in writing.values():
        if len(ofs) > 1:
            yield "split", f"{len(ofs)} primaries of one origin take writes, their data part: {', '.join(ofs)}"
