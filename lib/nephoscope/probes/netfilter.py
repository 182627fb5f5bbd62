# SPDX-License-Identifier: Apache-2.0
"""Rules of iptables and names of IP sets, listed by their own tools with root's rights.

Sources: iptables-save(8) and ipset(8), whose forms are the same since iptables 1.4 and ipset 6; seen for real: 1.8.9, both on
nf_tables and on the old tables, and ipset 7.17. Only IPv4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import as_root

# Not without an argument: a sudoers line without one, written by hand, would let --modprobe and --file through.
SAVE = ("/usr/sbin/iptables-save", "-c")
SETS = ("/usr/sbin/ipset", "list", "-n")


class Tables(NamedTuple):
    """table -> chain -> its rules, each as iptables-save prints it behind `-A CHAIN`."""

    chains: Mapping[str, Mapping[str, tuple[str, ...]]]

    def has(self, table: str, chain: str) -> bool:
        """Return whether a chain is there."""
        return chain in self.chains.get(table, {})

    def leads(self, table: str, chain: str, target: str) -> bool:
        """Return whether a rule of one chain, without any condition, goes to another."""
        return any(rule in (f"-j {target}", f"-g {target}") for rule in self.chains.get(table, {}).get(chain, ()))

    def count(self, *prefixes: str) -> int:
        """Return how many rules stand in chains whose names begin so."""
        return sum(
            len(rules)
            for chains in self.chains.values()
            for chain, rules in chains.items()
            if chain.startswith(prefixes)
        )


def tables(run: Run, seconds: float | None = None, of: str = "iptables") -> Tables:
    """Return all tables that the kernel has loaded.

    Raises Failed: absent (not installed), not-allowed (sudo, or a container without the right), unreachable (no answer in
    time), unreadable.
    """
    answer = as_root.ask(SAVE, run, of=of, seconds=seconds)
    if answer.status:
        raise _failed(of, answer.err, answer.status)
    return parse(answer.out, of)


def sets(run: Run, seconds: float | None = None, of: str = "ipset") -> tuple[str, ...]:
    """Return the names of all IP sets, sorted. Raises Failed as `tables` does."""
    answer = as_root.ask(SETS, run, of=of, seconds=seconds)
    if answer.status:
        raise _failed(of, answer.err, answer.status)
    return tuple(sorted(line.strip() for line in answer.out.splitlines() if line.strip()))


def _failed(of: str, text: str, status: int) -> Failed:
    said = text.strip().splitlines()[-1].strip() if text.strip() else f"it ended with {status}"
    denied = "ermission denied" in said or "not permitted" in said
    return Failed(NOT_ALLOWED if denied else UNREADABLE, of, "", said)


def parse(text: str, of: str = "iptables") -> Tables:
    """Return what iptables-save printed; nothing at all is no table. Raises Failed unreadable."""
    found: dict[str, dict[str, list[str]]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("["):
            line = line.partition("] ")[2]  # packets and bytes
        first, _, rest = line.partition(" ")
        if line.startswith("*"):
            table = line[1:].strip()
            found[table] = {}
        elif line.startswith(":") and table:
            found[table][first[1:]] = []
        elif first == "-A" and table:
            chain, _, rule = rest.partition(" ")
            found[table].setdefault(chain, []).append(rule.strip())
        elif line == "COMMIT":
            table = ""
        elif line.strip() and not line.startswith("#"):
            raise Failed(UNREADABLE, of, "iptables-save", f"not understood: {line[:60]!r}")
    if table:
        raise Failed(UNREADABLE, of, "iptables-save", f"table {table} has no end")
    return Tables({name: {chain: tuple(rules) for chain, rules in chains.items()} for name, chains in found.items()})
