# SPDX-License-Identifier: Apache-2.0
"""Object storage of Eucalyptus: the gateway, Walrus, and the provider behind the gateway, all without a credential.

Sources: ObjectStorageRESTBinding and its siblings, S3Exceptions.groovy, S3ProviderConfiguration of 4.4; WalrusRESTBinding of
3.4; the wiki's Object-Storage-Recommendations-and-Troubleshooting. `objectstorage` (4.0 and later) is the gateway,
`walrusbackend` what it may have behind it, which answers the system alone; up to 3.4 `walrus` is both. A request without a
signature is let in as anonymous and refused what it asks: 403 AccessDenied says that the front is alive. What stands under
pressure answers 500 or 503 and expects to be asked again. The gateway's own check of its provider is a HEAD that must give one
status, 405 unless the property s3endpointheadresponse says otherwise (200 for Ceph's RGW).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import euca_conf, euca_settings, heartbeat, mounts

KINDS = ("objectstorage", "walrusbackend", "walrus")
FRONTS = {"objectstorage": "/services/objectstorage", "walrus": "/services/Walrus"}
LOCAL = ("space", "heap")
USUAL = (405, 200)
CLIENT = "objectstorage.providerclient"
REFUSALS = (
    "AccessDenied",
    "403 Forbidden",
)  # S3's word, and that of the document for what is refused before any service
_CODE = re.compile(rb"<Code>([^<]{1,60})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,120})</Message>")


class Front(NamedTuple):
    """How the gateway answers who has no key: its path, seconds, and the host that it sends its clients to, "" for none."""

    path: str
    seconds: float
    elsewhere: str = ""


class Provider(NamedTuple):
    """What stands behind the gateway.

    client    value of the property objectstorage.providerclient, "" when unset; None: not asked
    of        "host:port" of the end-point, "" where none is named
    status    of its answer to HEAD, None: not asked
    expected  the statuses that are right
    """

    client: str | None = None
    of: str = ""
    status: int | None = None
    expected: Sequence[int] = USUAL


class Objects(NamedTuple):
    """All that was looked at; None: not asked, a Failed: could not be looked at.

    kinds  component types that count: those that are expected, or else those that are registered on this host
    heap   old generation of the JVM's heap, % of its maximum
    """

    kinds: tuple[str, ...] = ()
    heart: heartbeat.Heartbeat | Failed | None = None
    front: Front | Failed | None = None
    provider: Provider | Failed | None = None
    room: mounts.Room | Failed | None = None
    heap: float | Failed | None = None

    @property
    def trouble(self) -> str:
        """What is wrong with the provider, in words; "" for nothing."""
        provider = self.provider
        if not isinstance(provider, Provider):
            return ""
        if provider.client == "":
            return f"{CLIENT} is not set: the gateway stays BROKEN"
        if provider.status is not None and provider.status not in provider.expected:
            right = " or ".join(map(str, provider.expected))
            return f"{provider.of} answers HEAD with {provider.status} and not {right}: the gateway takes it for dead"
        return ""

    @property
    def said(self) -> str:
        """What is known of a provider that gives no trouble, in words."""
        provider = self.provider if isinstance(self.provider, Provider) else Provider()
        if provider.status is not None:
            return f"{provider.of} answers HEAD with {provider.status}"
        return f"is {provider.client}" if provider.client else "was not looked at (--provider, or --cloud)"


def address(text: str) -> str:
    """Return "http://host:port/path" or https. Raises ValueError for any other, and for one that holds a password."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.password or parts.username:
        raise ValueError("it is not http://HOST[:PORT][/PATH] or https://…, without a user")
    return text


def look(run: Run, options: Any, local: bool) -> Objects:
    """Look at what the modes ask for.

    local  also at this host
    Raises Failed, absent, when the components of this host are asked for and it has no Eucalyptus.
    """

    if local and not options.hostname and "service" in options.mode:
        euca_conf.require(run)
    modes = set(options.mode) if local else set(options.mode) - set(LOCAL)
    room = attempt(_bukkits, run, options) if "space" in modes else None
    heap = attempt(_heap, run, options) if "heap" in modes else None
    heart = attempt(heartbeat.ask, run, options) if modes & {"service", "front"} else None
    kinds = tuple(options.expect)
    front: Any = None
    if isinstance(heart, heartbeat.Heartbeat):
        kinds = kinds or tuple(one.name for one in heart.local if one.name in KINDS)
        kind = next((kind for kind in kinds if kind in FRONTS), "")
        # What the front of a component says that is not enabled here is known: it refuses or sends elsewhere.
        known = "service" in modes and heart.lacks(kind)
        if "front" in modes and kind and not known:
            front = attempt(ask_front, run, options, FRONTS[kind])
    if isinstance(room, Failed) and room.kind == ABSENT and not (options.bukkits or options.mode_given):
        cure = "Walrus is here: say by --bukkits where they are"
        walrus = {"walrus", "walrusbackend"}.intersection(kinds)
        room = Failed(ABSENT, room.of, room.tried, room.error, cure) if walrus else None
    provider = attempt(ask_provider, run, options) if "provider" in modes else None
    return Objects(kinds, heart, front, provider, room, heap)


def _bukkits(run: Run, options: Any) -> mounts.Room:
    """Return the room of Walrus' directory. Raises Failed."""
    path = options.bukkits or euca_conf.directory(euca_conf.read(run), "bukkits")
    return mounts.room_of(run, path, run.left() / 3)


def _heap(run: Run, options: Any) -> float | None:
    """Return what the JVM's own sensors say; None where none does, they are off by default, and nobody asked for it by name."""
    from nephoscope.probes import euca_sensors

    try:
        found = euca_sensors.look(run)
        heap = next((one.value for one in found.values if one.name == "heap"), None)
        if isinstance(heap, (int, float)):
            return float(heap)
        if "heap" in found.missing:
            raise Failed(ABSENT, "heap", "", f"no sensor tells of it: {euca_sensors.SWITCH}")
        raise Failed(UNREADABLE, "heap", "", "its sensor is too old to be believed, or tells no share")
    except Failed as failed:
        if failed.kind == ABSENT and not options.mode_given:
            return None
        raise


def ask_front(run: Run, options: Any, path: str) -> Front:
    """GET the front without a signature.

    Raises Failed: as `http.Session.request` does; unreachable for 5xx, in the server's own words; unreadable for what is no
    refusal of an S3 service.
    """
    from nephoscope.base.http import Session

    begun = run.clock.monotonic()
    with Session.to(run, options, port=heartbeat.PORT, limit=1 << 20) as session:
        response = session.request("GET", path, headers={"Connection": "close"})
        of = session.of
    took, status = run.clock.monotonic() - begun, response.status
    code, message = (
        found[1].decode("utf-8", "replace") if (found := form.search(response.body)) else ""
        for form in (_CODE, _MESSAGE)
    )
    if status == 403 and code in REFUSALS:
        return Front(path, took)
    if status == 307:
        return Front(path, took, urlsplit(response.headers.get("location", "")).netloc or "nowhere")
    said = ": ".join(word for word in (f"HTTP {status}", code, message) if word)
    if status == 503 and not response.body:
        said += ": not enabled on this host, and it knows of no other"
    elif status in (500, 503):
        said += ": under pressure, or its provider is gone"
    raise Failed(UNREACHABLE if status >= 500 else UNREADABLE, of, f"GET {path}", said)


def ask_provider(run: Run, options: Any) -> Provider:
    """Ask the properties, where credentials were given, and the provider by HEAD, where anything names its end-point.

    Raises Failed: as `euca_settings.values` and `http.Session.request` do; unreachable for 5xx; absent where the mode was asked
    for by name and nothing names a provider.
    """
    found = euca_settings.values(run, options, "objectstorage.") if euca_settings.given(options) else {}
    client = found.get(CLIENT) if found else None
    url, right = options.provider, found.get("objectstorage.s3provider.s3endpointheadresponse", "")
    end, tls = (
        found.get("objectstorage.s3provider.s3endpoint", ""),
        found.get("objectstorage.s3provider.s3usehttps", ""),
    )
    if not url and end and client not in ("", "walrus"):
        url = end if "://" in end else f"{'https' if tls.lower() == 'true' else 'http'}://{end}"
    expected: Sequence[int] = (options.provider_status,) if options.provider_status else USUAL
    if right.isdigit() and not options.provider_status:
        expected = (int(right),)
    if not url:
        if client is None and options.mode_given:
            raise Failed(ABSENT, "provider", "", "nothing names it: give --provider URL, or --cloud or --credentials")
        return Provider(client)
    of, status = _head(run, options, url)
    if status >= 500:
        raise Failed(UNREACHABLE, of, "HEAD", f"HTTP {status}")
    return Provider(client, of, status, expected)


def _head(run: Run, options: Any, url: str) -> tuple[str, int]:
    from nephoscope.base.http import Session, trust

    parts = urlsplit(url)
    with Session(run, f"{parts.scheme}://{parts.netloc}", **trust(options)) as session:
        response = session.request("HEAD", parts.path or "/", headers={"Connection": "close"})
        if response.status == 401:
            raise Failed(
                NOT_ALLOWED,
                session.of,
                "HEAD",
                "HTTP 401",
                "an end-point that lets anybody ask: no proxy with a log-in",
            )
        return session.of, response.status
