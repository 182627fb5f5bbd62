# SPDX-License-Identifier: Apache-2.0
"""Sensors and the event log of a management controller (BMC), by FreeIPMI, or by ipmitool where that is not installed.

Source: ipmi-sensors(8), ipmi-sel(8), freeipmi.conf(5) of FreeIPMI 1.6.10 and ipmitool(1) 1.8.19, in their comma-separated
output; both held against ipmi_sim of OpenIPMI 2.0.33. The password goes to FreeIPMI on its standard input (as its configuration
file) and to ipmitool in its environment: never in argv, never in a file of ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes.parts import Part, distinct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.child import Answer

TAIL = 64  # events read at most: a slow BMC gives about twenty a second
RECORD = 16  # bytes of one event (IPMI 2.0, 32.1)
DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
_COMMON = ("--quiet-cache", "--sdr-cache-recreate", "--no-header-output", "--comma-separated-output")
_SENSORS = (*_COMMON, "--output-sensor-state", "--output-sensor-thresholds")
_EVENTS = (*_COMMON, "--output-event-state", f"--tail={TAIL}")
_LOCAL = "--driver-type=OPENIPMI"
# The exact lines of a local run: what sudoers must allow.
LOCAL = (
    ("/usr/sbin/ipmi-sensors", _LOCAL, *_SENSORS),
    ("/usr/sbin/ipmi-sel", _LOCAL, *_EVENTS),
    ("/usr/sbin/ipmi-sel", _LOCAL, "--info"),
)
LOCAL_IPMITOOL = (
    ("/usr/bin/ipmitool", "-I", "open", "-c", "sdr", "elist", "all"),
    ("/usr/bin/ipmitool", "-I", "open", "-c", "sel", "elist", "last", str(TAIL)),
    ("/usr/bin/ipmitool", "-I", "open", "sel", "info"),
)
LINES = (*LOCAL, *LOCAL_IPMITOOL)

# FreeIPMI's three words (freeipmi_interpret_sensor.conf(5)); N/A is no opinion.
STATES = {"Nominal": "ok", "Warning": "degraded", "Critical": "failed", "N/A": ""}
# ipmitool(1): with `sdr elist` two letters, in CSV mode with the side of the limit before them.
SHORT = {"ok": "ok", "ns": "absent", "nc": "degraded", "cr": "failed", "nr": "failed"}
SHORT.update({side + word: SHORT[word] for side in "ul" for word in ("nc", "cr", "nr")})
# ipmitool judges no discrete sensor. Its words are those of IPMI 2.0 table 42-3 (lib/ipmi_sel.c).
BAD = (
    "failure detected", "ac lost", "out-of-range", "input lost", "redundancy lost", "non-redundant", "uncorrectable",
    "ierr", "thermal trip", "config error", "configuration error", "fault", "over-temperature", "in failed array",
    "power off/down", "soft-power control failure", "bus fatal",
)  # fmt: skip
POOR = (
    "predictive failure", "redundancy degraded", "correctable ecc", "in critical array", "rebuild", "throttled",
    "disabled", "log area reset", "sel full", "sel almost full", "battery low", "battery failed", "chassis intrusion",
    "general chassis intrusion",
)  # fmt: skip
GOOD = (
    "", "presence detected", "device present", "drive present", "fully redundant", "state deasserted", "s0/g0: working",
    "processor presence detected", "transition to ok", "limit not exceeded", "performance met", "device enabled", "connected",
)  # fmt: skip
# The words of failed commands (libfreeipmi/api/ipmi-api.c, ipmitool's lanplus plugin).
REFUSED = (
    "password", "username", "unauthorized", "privilege level", "permission denied", "rakp 2", "authentication type", "k_g",
)  # fmt: skip
SILENT = (
    "timeout", "busy", "refused", "unreachable", "no route", "hostname", "lookup", "unable to establish",
    "auth capabilities",
)  # fmt: skip
UNITS = {"degrees C": "C", "RPM": "RPM", "Volts": "V", "Amps": "A", "Watts": "W", "percent": "%", "C": "C"}
KIND_OF_UNIT = {"C": "temperature", "RPM": "fan", "V": "voltage", "A": "current", "W": "power"}


class Bmc(NamedTuple):
    """A management controller: this machine's own when host is "", else one on the network.

    config       FreeIPMI's configuration file with the credentials, instead of user and password
    cipher       RMCP+ cipher suite, 3 or 17
    workarounds  FreeIPMI workaround flags, "opensesspriv"
    """

    host: str = ""
    port: int = 623
    user: str = ""
    password: str = ""
    config: str = ""
    cipher: int = 3
    workarounds: Sequence[str] = ()


class Event(NamedTuple):
    """An entry of the event log: `key` tells it from others, `at` is the BMC's own word for when, severity one of HEALTH."""

    key: str
    at: str
    severity: str
    text: str


class Log(NamedTuple):
    """The last events, oldest first; how full the log is in % (None: not told); whether it dropped any."""

    events: Sequence[Event]
    used: float | None
    overflow: bool


def sensors(run: Run, bmc: Bmc) -> list[Part]:
    """Return every sensor that the BMC lists.

    Raises Failed: absent (no BMC, no sensor, no tool), not-allowed (log-in, sudo), unreachable, unreadable.
    """
    answer, freeipmi = _ask(run, bmc, 0)
    lines = [line for line in answer.out.splitlines() if line.strip()]
    parts = distinct((_freeipmi_sensor if freeipmi else _ipmitool_sensor)(line, _of(bmc)) for line in lines)
    if not parts:
        raise Failed(ABSENT, _of(bmc), "list the sensors", "the BMC lists no sensor")
    return parts


def log(run: Run, bmc: Bmc) -> Log:
    """Return the tail of the event log and how full it is. Raises Failed as `sensors` does."""
    answer, freeipmi = _ask(run, bmc, 1)
    lines = [line for line in answer.out.splitlines() if line.strip()]
    events = [(_freeipmi_event if freeipmi else _ipmitool_event)(line, _of(bmc)) for line in lines]
    info, _ = _ask(run, bmc, 2)
    fields = {}
    for line in info.out.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    count, free = fields.get("Number of log entries", fields.get("Entries", "")), ""
    match = re.match(r"(\d+) bytes(?! or more)", fields.get("Free space remaining", fields.get("Free Space", "")))
    if match:
        free = match[1]
    used = None
    if count.isdigit() and free and int(count) * RECORD + int(free):
        used = 100.0 * int(count) * RECORD / (int(count) * RECORD + int(free))
    dropped = fields.get("Events dropped due to lack of space", fields.get("Overflow", "")).lower() in ("yes", "true")
    return Log(events, used, dropped)


def _of(bmc: Bmc) -> str:
    return f"ipmi {bmc.host}".strip()


def _ask(run: Run, bmc: Bmc, question: int) -> tuple[Answer, bool]:
    """Put question 0 (sensors), 1 (events) or 2 (the log's size); return the answer, and whether it is FreeIPMI's."""
    from nephoscope.base import child

    freeipmi = child.find(LOCAL[question][0]) is not None
    line = (LOCAL if freeipmi else LOCAL_IPMITOOL)[question]
    if not freeipmi and child.find(line[0]) is None:
        raise Failed(ABSENT, _of(bmc), "", "neither FreeIPMI (package freeipmi-tools) nor ipmitool is installed")
    if not bmc.host:
        import os

        if not any(os.path.exists(run.path(device)) for device in DEVICES):
            text = "no BMC, or its driver is not loaded (ipmi_si, ipmi_devintf)"
            raise Failed(ABSENT, "ipmi", f"look for {DEVICES[0]}", text)
        try:
            answer = child.command(line, run, of="ipmi", sudo=True)
        except Failed as failed:
            cure = "its sudoers line (nephoscope export sudoers)" if failed.kind == NOT_ALLOWED else failed.cure
            raise Failed(failed.kind, failed.of, failed.tried, failed.error, cure) from None
    elif freeipmi:
        answer = _freeipmi(run, bmc, line)
    else:
        answer = _ipmitool(run, bmc, line)
    if answer.status:
        raise _refusal(answer, _of(bmc), f"run {line[0]}")
    return answer, freeipmi


def _freeipmi(run: Run, bmc: Bmc, line: Sequence[str]) -> Answer:
    import os

    from nephoscope.base import child

    if any(sign in bmc.host for sign in ",[ "):  # FreeIPMI would take it for a list of hosts
        raise Failed(UNREADABLE, _of(bmc), "", f"'{bmc.host}' is not one host")
    if not (bmc.user + bmc.password).isprintable():
        raise Failed(NOT_ALLOWED, _of(bmc), "", "user or password holds a control character")
    folder = os.path.join(run.cache.directory, "sdr")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
    except OSError as error:
        raise Failed.of_os_error(_of(bmc), f"make {folder}", error) from None
    secret = b""
    if bmc.config:
        _private(run, bmc)
        source = run.path(bmc.config)
    else:
        source = "/dev/stdin"
        words = {"username": bmc.user, "password": bmc.password, "privilege-level": "USER"}
        lines = (f"{name} {_quoted(word)}\n" for name, word in words.items() if word)
        secret = "".join(lines).encode()
    wait = max(400, int(run.left() * 900))  # ms: it is to give up by itself, and say so, before it is given up
    host = f"[{bmc.host}]" if ":" in bmc.host else bmc.host
    argv = [
        line[0], f"--config-file={source}", "--driver-type=LAN_2_0", f"--hostname={host}:{bmc.port}",
        f"--cipher-suite-id={bmc.cipher}", f"--sdr-cache-directory={folder}",
        f"--session-timeout={wait}", f"--retransmission-timeout={min(1000, wait // 4)}",
    ]  # fmt: skip
    if bmc.workarounds:
        argv.append(f"--workaround-flags={','.join(bmc.workarounds)}")
    return child.command([*argv, *line[2:]], run, of=_of(bmc), stdin=secret)


def _quoted(word: str) -> str:
    # libfreeipmi's reader of configuration files takes #, quotes and backslashes literally only behind a backslash.
    return '"' + re.sub(r'([#"\\])', r"\\\1", word) + '"'


def _private(run: Run, bmc: Bmc) -> None:
    """Refuse a file with a password that others may read."""
    import os

    try:
        mode = os.stat(run.path(bmc.config)).st_mode
    except OSError as error:
        raise Failed.of_os_error(_of(bmc), f"read {bmc.config}", error) from None
    if mode & 0o077:
        text = f"its mode is {mode & 0o7777:04o}: others may read the password in it"
        raise Failed(NOT_ALLOWED, _of(bmc), f"read {bmc.config}", text, f"chmod 600 {bmc.config}")


def _ipmitool(run: Run, bmc: Bmc, line: Sequence[str]) -> Answer:
    from nephoscope.base import child

    if bmc.config:
        text = f"{bmc.config} is for FreeIPMI, which is not installed"
        raise Failed(ABSENT, _of(bmc), "", text, "install freeipmi-tools, or give --user and the password")
    lan = [
        "-I", "lanplus", "-C", str(bmc.cipher), "-H", bmc.host, "-p", str(bmc.port), "-U", bmc.user, "-E", "-L", "USER",
        "-N", "1", "-R", "3",
    ]  # fmt: skip
    env = {"IPMI_PASSWORD": bmc.password}
    answer = child.command([line[0], *lan, *line[3:]], run, of=_of(bmc), env=env)
    if answer.status and "Unable to establish" in answer.err and "lookup" not in answer.err:
        # The same words for a wrong password and for silence; only the talkative mode tells which.
        talk = child.command([line[0], "-v", *lan, "mc", "info"], run, of=_of(bmc), env=env)
        return answer._replace(err=talk.err + answer.err)
    return answer


def _refusal(answer: Answer, of: str, tried: str) -> Failed:
    """Turn the words of a failed command into the kind of failure they stand for."""
    lines = [line.strip() for line in (answer.err + answer.out).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Loading IANA", "Get HPM", "Try `"))]
    text = said[-1] if said else f"exit status {answer.status}"
    whole = "\n".join(said).lower()
    if any(word in whole for word in REFUSED) and "verification timeout" not in whole:
        text = next(line for line in said if any(word in line.lower() for word in REFUSED))
        cure = "an account of privilege USER on the BMC" if of != "ipmi" else ""
        return Failed(NOT_ALLOWED, of, tried, text, cure)
    if any(word in whole for word in ("inband device", "could not open device", "no such device", "device not found")):
        return Failed(ABSENT, of, tried, text)
    if any(word in whole for word in SILENT):
        return Failed(UNREACHABLE, of, tried, text)
    return Failed(UNREADABLE, of, tried, text)


def _freeipmi_sensor(line: str, of: str) -> Part:
    """ID,Name,Type,State,Reading,Units,LNR,LC,LNC,UNC,UC,UNR,'Event' …"""
    fields = line.split(",")
    # Nothing is quoted: only a name or an event may hold a comma, so the state is looked for from the name on.
    at = next((i for i in range(3, len(fields) - 9) if fields[i] in STATES and _numbers(fields[i + 3 : i + 9])), None)
    if at is None:
        at = 3 if len(fields) >= 13 and _numbers(fields[6:12]) else None
    if at is None or not fields[0].isdigit():
        raise Failed(UNREADABLE, of, "read ipmi-sensors' answer", f"not understood: {line[:60]!r}")
    name, word, event = ",".join(fields[1 : at - 1]), fields[at], ",".join(fields[at + 9 :])
    reading, unit = _float(fields[at + 1]), UNITS.get(fields[at + 2], fields[at + 2])
    lc, lnc, unc, uc = (_float(field) for field in fields[at + 4 : at + 8])
    health = STATES.get(word, "unknown")
    text = event.strip().strip("'").replace("' '", ", ")
    if health == "unknown":
        text = f"state '{word}'"
    elif not health and reading is None and text in ("N/A", ""):
        health, text = "absent", "gives no reading"
    return Part(
        "ipmi", name, fields[at - 1].lower(), health, text if text != "OK" else "", reading,
        unit if reading is not None else "", lc, lnc, unc, uc,
    )  # fmt: skip


def _numbers(fields: Sequence[str]) -> bool:
    return all(field == "N/A" or _float(field) is not None for field in fields)


def _ipmitool_sensor(line: str, of: str) -> Part:
    """Name,reading,unit,state, or of a discrete sensor: Name,xxh,state,entity,words."""
    fields = line.split(",")
    discrete = next((i for i in range(1, len(fields)) if re.fullmatch(r"[0-9A-Fa-f]{2}h", fields[i])), None)
    if discrete is not None and len(fields) > discrete + 1:
        words = [word.strip() for word in fields[discrete + 3 :]]
        health = SHORT.get(fields[discrete + 1], "unknown")
        if health == "ok":
            health = _words(words)
        text = ", ".join(word for word in words if word) if health != "unknown" else f"state '{fields[discrete + 1]}'"
        return Part("ipmi", ",".join(fields[:discrete]), "discrete", health, text)
    if len(fields) < 4:
        raise Failed(UNREADABLE, of, "read ipmitool's answer", f"not understood: {line[:60]!r}")
    name, reading, unit, state = ",".join(fields[:-3]), _float(fields[-3]), fields[-2], fields[-1]
    health = SHORT.get(state, "unknown")
    unit = UNITS.get(unit, unit)
    text = "" if health == "ok" else f"state {state}"
    if reading is None and health == "ok":
        health, text = "", "gives no reading"
    kind = KIND_OF_UNIT.get(unit, "other")
    return Part("ipmi", name, kind, health, text, reading, unit if reading is not None else "")


def _words(words: Sequence[str]) -> str:
    small = [word.lower() for word in words]
    if any(bad in word for word in small for bad in BAD):
        return "failed"
    if any(poor in word for word in small for poor in POOR):
        return "degraded"
    return "ok" if all(word in GOOD for word in small) else ""


def _freeipmi_event(line: str, of: str) -> Event:
    """ID,Date,Time,Name,Type,State,Event."""
    fields = line.split(",")
    at = next((i for i in range(5, len(fields)) if fields[i] in STATES), None)
    if at is None:
        raise Failed(UNREADABLE, of, "read ipmi-sel's answer", f"not understood: {line[:60]!r}")
    text = f"{','.join(fields[3 : at - 1])}: {','.join(fields[at + 1 :])}"
    return Event(" ".join(fields[:3]), f"{fields[1]} {fields[2]}", STATES[fields[at]], text)


def _ipmitool_event(line: str, of: str) -> Event:
    """ID,date,time,sensor,event,Asserted[,reading]: no severity, so what is asserted is a warning."""
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < 5:
        raise Failed(UNREADABLE, of, "read ipmitool's answer", f"not understood: {line[:60]!r}")
    severity = "ok" if "Deasserted" in fields or fields[4].lower() in GOOD else "degraded"
    return Event(" ".join(fields[:3]), f"{fields[1]} {fields[2]}", severity, f"{fields[3]}: {fields[4]}")


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None
