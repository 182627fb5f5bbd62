# SPDX-License-Identifier: Apache-2.0
"""Does the token and session cache answer, keep what it is given, and admit its clients?

One connection, by the text protocol: `stats`, `stats settings`, `version`, in one write; it reads about 4 KiB and locks
nothing. For memcached 1.4 to 1.6, over TCP (-H, -p 11211), TLS (`--tls`, which 1.5.13 and later may speak) or its Unix
socket (`--socket`). No right is needed; where it was started with `-Y FILE`, `--user` and the password of one of its lines.
A server that speaks the binary protocol only (`-S`, `-B binary`) is UNKNOWN. Several caches are several services, one each.
Refused clients are `rejected_connections` (1.4.17 and later) and `listen_disabled_num` together: 1.6 counts in the first
alone. Its limit is one of descriptors, so what its threads hold for themselves (`reserved_fds`) counts as in use. A full
cache is normal and has no limit; evictions and the hit ratio are judged when there is enough of either: `--min-items`,
`--min-gets`. `--mode roundtrip` sets, gets and deletes one key of ours (`nephoscope:` and 24 random digits, which lives for
a minute at most); it writes, and is done only when asked for by name.
"""

from __future__ import annotations

from nephoscope.base import COLLECTING, Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Metric, Threshold, count
from nephoscope.probes import memcached


def options(add):
    memcached.options(add)
    add("--min-gets", type=float, default=1.0, looks=False, help="gets a second that make a hit ratio")
    add("--min-items", type=count, default=1000, looks=False, help="items that make evictions matter")


def probe(options, run):
    return memcached.look(run, options, trial=options.mode_given and "roundtrip" in options.mode)


def judge(cache, options):
    held = "" if cache.items is None else f" with {cache.items} items"
    yield Finding(OK, "", f"memcached {cache.version}{held}")
    yield Metric("answer", cache.seconds)
    if "clients" in options.mode and not cache.accepting:
        yield Finding(CRITICAL, "", "it takes no connections: it has as many as it allows")
    yield Metric("connections", cache.connections)
    yield Metric("refused_rate", cache.rate("refused"), detail=f"{cache.total('refused')} since its start")
    yield from (Metric(name, getattr(cache, name)) for name in ("memory", "items"))
    yield from (Metric(name, cache.total(counter)) for name, counter in memcached.PRINTED.items())
    if "cache" in options.mode:
        gets = cache.rate("cmd_get")
        quiet = isinstance(gets, float) and (gets < options.min_gets or not gets) and f"{gets:.2g} gets a second"
        yield from _enough("hit", cache.hit, quiet, "hits")
        few = cache.items is not None and cache.items < options.min_items and f"{cache.items} items"
        yield from _enough("evictions_rate", cache.rate("evictions"), few, "evictions")
    if isinstance(cache.trial, Failed):
        yield cache.trial
    elif cache.trial and cache.trial.error:
        yield Finding(CRITICAL, "", f"it does not keep what it is given: {cache.trial.step}: {cache.trial.error}")
    elif cache.trial:
        yield Metric("roundtrip", cache.trial.seconds)


def _enough(name, value, few, what):
    """Yield a value, or, where it is one of too few, that it is not judged."""
    if few and isinstance(value, float):
        yield Finding(OK, "", f"{few} are too few to judge {what} by")
        value = COLLECTING
    yield Metric(name, value)


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("tls",),
    signs=("/usr/bin/memcached", "/etc/sysconfig/memcached"),
    keep=lambda cache: cache.history.keep(),
    modes={
        "clients": "its clients are admitted",
        "cache": "it keeps what it is given",
        "roundtrip": "a key of ours is set, got and deleted: only when asked for by name, it writes",
    },
    thresholds=[
        Threshold("answer", "s", "1", "5", help="time to answer"),
        Threshold("connections", "%", "80", "90", mode="clients", main=True, help="connections, of those it allows"),
        Threshold("memory", "%", mode="cache", help="bytes of items, of those it may hold"),
        Threshold("items", mode="cache", help="items in it"),
        Threshold("roundtrip", "s", "0.5", "2", mode="roundtrip", main=True, help="time to set, get and delete a key"),
        Threshold("gets", "c", mode="cache", help="gets, since its start"),
        Threshold("reclaimed", "c", mode="cache", help="items whose room was taken after they had expired"),
        Threshold("refused_rate", "", "0", "1", mode="clients", help="clients refused, per second"),
        Threshold("evictions_rate", "", "10", "100", mode="cache", help="items put out before their time, per second"),
        Threshold("hit", "%", "80:", "50:", mode="cache", main=True, late=True, help="gets that found something"),
    ],
    runbook="""
See it by hand: `printf 'stats\\r\\nquit\\r\\n' | nc HOST 11211`, or `memcached-tool HOST:11211 stats`.
No answer: `systemctl status memcached`; who listens: `ss -ltnp 'sport = :11211'`; a firewall; a process that is stopped.
Clients refused, or connections near the limit: every client goes to the database instead. Find who holds them
(`ss -tn 'sport = :11211' | awk '{print $5}' | cut -d: -f1 | sort | uniq -c`), let its pool be smaller
(memcache_pool_maxsize), or raise the limit (-c in /etc/memcached.conf) and restart: the cache is empty then.
Evictions: it is too small for what must live until it expires (tokens): raise -m. With a good hit ratio it is not urgent.
A low hit ratio: after a restart wait an hour; else keys do not agree between the hosts (another order of servers, another
prefix or hash), entries expire too early, or there are evictions.
A round trip that fails with "out of memory": started with -M, it refuses instead of evicting.
""",
)
main = CHECK.main
