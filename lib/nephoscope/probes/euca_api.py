# SPDX-License-Identifier: Apache-2.0
"""The signed services of a Eucalyptus cloud: its own administration, and the dialects of EC2, IAM, S3, CloudWatch, AutoScaling.

botocore signs every request, and for the dialects of AWS writes it and reads the answer too; the bytes themselves go
through the suite's HTTP, under the one deadline and cap of the run. Signature version 4 by POST, as euca2ools 3 does it;
version 2 for 3.0 and older end points. Sources: Eucalyptus 3.4 to 5.1 (HmacHandler, QueryTimestampHandler,
Handlers.sendRedirect, Binding.createRestFault).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from nephoscope.base.http import Response

REGION = "eucalyptus"  # in the credential scope; the server does not hold it against its own name
MOVES = 2  # redirects to the host where a service is enabled; each is signed anew
SAID = 160  # characters of a server's message that are told
TAGS = 6_000_000  # in one answer: each costs memory, and 64 MiB of empty elements would cost a GiB and more


class Service(NamedTuple):
    """A service: its path, its name in the credential scope, the version it is asked in, and its path before 4.0 if another."""

    path: str
    scope: str
    version: str
    old: str = ""


SERVICES = {
    "bootstrap": Service("/services/Empyrean", "bootstrap", "eucalyptus"),
    "properties": Service("/services/Properties", "properties", "eucalyptus"),
    "configuration": Service("/services/Configuration", "configuration", "eucalyptus"),
    "compute": Service("/services/compute", "ec2", "2014-09-01", "/services/Eucalyptus"),
    "euare": Service("/services/Euare", "iam", "2010-05-08"),
    "s3": Service("/services/objectstorage", "s3", "2006-03-01", "/services/Walrus"),
    "cloudwatch": Service("/services/CloudWatch", "monitoring", "2010-08-01"),
    "autoscaling": Service("/services/AutoScaling", "autoscaling", "2011-01-01"),
    "tokens": Service("/services/Tokens", "sts", "2011-06-15"),
}
CLIENTS = {
    "ec2": "compute",
    "iam": "euare",
    "s3": "s3",
    "cloudwatch": "cloudwatch",
    "autoscaling": "autoscaling",
    "sts": "tokens",
}


class Access(NamedTuple):
    """Where, as whom, and how far to trust.

    base       "http://host:port" for services whose address nothing names; "" when there is none
    profile    keys, and the addresses that its file names (not followed when -H was given)
    trust      words of http.Session about certificates
    signature  4 or 2
    session    under what the keys of a role's session lie in the token cache, or ""
    moves      how many redirects are followed
    """

    base: str
    profile: euca_profile.Profile
    trust: Mapping[str, Any]
    signature: int = 4
    session: str = ""
    moves: int = MOVES

    def url(self, service: str) -> str:
        """Return the address of a service. Raises Failed, unreadable, when nothing names it, or what names it is none."""
        urls = self.profile.urls
        url = self.base or urls.get(service) or next(iter(urls.values()), "")
        if not url:
            error = f"no address: give -H, or a region with addresses in {self.profile.source}"
            raise Failed(UNREADABLE, "", "", error)
        if not place(url):
            whose, shown = "-H" if self.base else self.profile.source, url.rpartition("@")[2][:80]
            raise Failed(UNREADABLE, "", "", f"{whose}: '{shown}' is no http://HOST:PORT/PATH without a log-in")
        parts = urlsplit(url)
        if len(parts.path) > 1 and url == urls.get(service):
            return url.rstrip("/")
        return f"{parts.scheme}://{parts.netloc}{SERVICES[service].path}"


def place(url: str) -> str:
    """Return "host:port" of an address; "" for one that is none, or that has a log-in in it."""
    import re

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # a port out of range, an open bracket
        return ""
    host = r"(\[[0-9A-Fa-f:.]+\]|[\w-]{1,63}(\.[\w-]{1,63})*\.?)(:\d+)?"
    return parts.netloc if good and re.fullmatch(host, parts.netloc) else ""


def options(add: Callable[..., None]) -> None:
    """Declare the option that a check of a signed service has besides those of the groups "http" and "cloud"."""
    add(
        "--signature",
        choices=("4", "2"),
        default="4",
        help="version of the signature: 2 for clouds before 3.1",
        looks=False,
    )


def access(options: Any, run: Run) -> Access:
    """Return where and as whom to ask: -H, -p and --tls (and all that asks for TLS) before the profile's addresses.

    Raises Failed: not-allowed (no key; a file of keys that others can read, or that we can't), unreadable.
    """
    from nephoscope.base.http import base_of, trust

    run.stage("find the credentials")
    profile = euca_profile.find(options.cloud, options.credentials)
    base = base_of(options, options.hostname, options.port or 8773) if options.hostname else ""
    if not base:
        profile = profile._replace(urls={service: _as_asked(options, url) for service, url in profile.urls.items()})
    there = Access(base, profile, trust(options), int(options.signature))
    return _as_role(run, there) if profile.role else there


def _as_asked(options: Any, url: str) -> str:
    """Return an address of a profile with the port of -p, and by TLS where that, or anything about certificates, is asked."""
    from nephoscope.base.http import base_of

    if not place(url):  # refused when it is used
        return url
    parts = urlsplit(url)
    asked = urlsplit(base_of(options, parts.hostname or "", options.port or 0))
    netloc = asked.netloc if options.port else parts.netloc
    return parts._replace(scheme=max(asked.scheme, parts.scheme), netloc=netloc).geturl()


def _as_role(run: Run, there: Access) -> Access:
    """Return the access of a role's session: from the token cache, else by AssumeRole (4.0+) with the keys of the profile."""
    mine = there.profile
    name = f"eucalyptus {there.url('tokens')} {mine.key} {mine.role}"
    keys = run.cache.get(name)
    if not isinstance(keys, list) or len(keys) != 3:
        words = {"RoleArn": mine.role, "RoleSessionName": "nephoscope", "DurationSeconds": 3600}
        try:
            given = call(run, client(run, there, "sts"), "assume_role", **words)["Credentials"]
            keys = [given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]]
            run.cache.put(name, keys, given["Expiration"].timestamp())
        except (KeyError, OverflowError) as error:
            raise Failed(UNREADABLE, "", "AssumeRole", f"the answer has no {error}") from None
        except Failed as failed:
            cure = f"{mine.role}, with a trust policy that names this user"
            if failed.kind == NOT_ALLOWED and not failed.cure:
                raise Failed(failed.kind, "", failed.tried, failed.error, cure) from None
            raise
    key, secret, token = keys
    return there._replace(profile=mine._replace(key=key, secret=secret, token=token), session=name)


def right(*actions: str) -> str:
    """Return in words who may call these actions ("ec2:Describe*") for all accounts.

    Policies are not asked for users of the account eucalyptus, who may do all in every version; for its roles they are
    (PolicyEngineImpl.java and Context.isAdministrator of 3.1 to 5.1).
    """
    named = ",".join(f'"{action}"' for action in actions)
    named = f"[{named}]" if len(actions) > 1 else named
    statement = f'{{"Effect":"Allow","Action":{named},"Resource":"*"}}'
    return f"a user of account eucalyptus, or a role of it (4.0+) with {statement}"


def at(there: Access, host: str, port: int = 8773) -> Access:
    """Return the same access to another host, which has to answer itself: each host of a cloud has a view of its own."""
    scheme = urlsplit(there.url("bootstrap")).scheme
    name = f"[{host}]" if ":" in host else host
    return there._replace(base=f"{scheme}://{name}:{port}", moves=0)


def ask(
    run: Run, there: Access, service: str, action: str, params: Mapping[str, str] | None = None, of: str = ""
) -> Element:
    """Make one query and return the root of its answer, every tag by its local name alone.

    Raises Failed: as `Access.url`, `http.Session.request` and `refusal` do; unreadable for what is not the XML of this action.
    """
    words = {"Action": action, "Version": SERVICES[service].version, **(params or {})}
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Accept": "application/xml"}
    url = there.url(service)
    try:
        response = _send(run, there, service, action, "POST", url, headers, urlencode(words), of)
        return parsed(response.body, of, action, f"{action}Response")
    except Failed as failed:
        raise _told(failed, url) from None


def _told(failed: Failed, url: str) -> Failed:
    """Return a failure that names the host and is no object: --include and --exclude choose among what is in the cloud."""
    if failed.of:
        return failed
    return Failed(failed.kind, "", failed.tried, f"{place(url)}: {failed.error}", failed.cure)


def parsed(body: bytes, of: str, tried: str, root: str) -> Element:
    """Return the root of a document, which is called `root` or `root`Type, without any name space. Raises Failed unreadable."""
    from xml.etree import ElementTree

    safe(body, of, tried, root)
    found = ElementTree.fromstring(body)  # noqa: S314 - what could hurt is refused by safe()
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    return found


def safe(body: bytes, of: str, tried: str, root: str = "") -> None:
    """Refuse what no service sends: HTML, what is cut or no XML, a document type (entities, bombs), another root, a flood.

    Raises Failed, unreadable. Read once without keeping anything; what comes after may then parse it without fear.
    """
    from xml.parsers import expat

    def refuse(*_: Any) -> None:
        raise Failed(UNREADABLE, of, tried, "the answer has a document type or entities: refused")

    def first(name: str, _: Any) -> None:
        parser.StartElementHandler = None
        name = name.rpartition(":")[2]
        if root and name not in (root, f"{root}Type"):
            raise Failed(UNREADABLE, of, tried, f"the answer is a <{name[:60]}>, not a <{root}>")

    if body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise Failed(UNREADABLE, of, tried, "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it")
    if not body:
        raise Failed(UNREADABLE, of, tried, "the answer is empty")
    if body.count(b"<") > TAGS:
        raise Failed(UNREADABLE, of, tried, f"the answer has more than {TAGS} tags")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = first
    try:
        parser.Parse(body, True)
    except (
        expat.ExpatError,
        LookupError,
        ValueError,
    ) as error:  # the last two for an encoding that Python does not know
        raise Failed(UNREADABLE, of, tried, f"the answer is cut or no XML: {error}") from None


def client(run: Run, there: Access, name: str, version: str | None = None) -> Any:
    """Return a client of botocore: "ec2", "iam", "s3", "cloudwatch", "autoscaling" or "sts".

    Its requests are signed, sent and refused as those of `ask`; what goes wrong is a Failed. `version` of the dialect:
    EC2 is asked in that of 2014, which all versions since 4.0 have.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    service = CLIENTS[name]
    url = there.url(service)
    words: dict[str, Any] = {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "s3": {"addressing_style": "path"},
    }
    for sums in ("request_checksum_calculation", "response_checksum_validation"):
        words[sums] = "when_required"  # a stream with a trailer is more than Eucalyptus understands
    config = Config(signature_version=UNSIGNED, **words)
    if version is None and name == "ec2":
        version = SERVICES[service].version
    try:
        made = _session().create_client(name, REGION, api_version=version, endpoint_url=url, config=config)
    except ValueError:
        raise Failed(UNREADABLE, "", "", f"{place(url)}: no name that a host can have") from None
    made.meta.events.register("before-send", _transport(run, there, service))
    return made


@cache
def _session() -> Any:
    """Return the one session of botocore: what it loads for a client is there for the next one.

    It is kept to the query protocol where a service has several: CloudWatch's newer ones are unknown to Eucalyptus.
    """
    import botocore.session
    from botocore import configprovider

    session = botocore.session.Session()
    # What an operator set for AWS, in files or the environment (profile, end points, modes, metrics), is not for this cloud.
    known = configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES
    plain = {variable: configprovider.ConstantProvider(words[2]) for variable, words in known.items()}
    session.register_component("config_store", configprovider.ConfigValueStore(plain))
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def only_query(*args: Any, **words: Any) -> Any:
        model = load(*args, **words)
        if "query" in model.get("metadata", {}).get("protocols", ()):
            model = {**model, "metadata": {**model["metadata"], "protocols": ["query"], "protocol": "query"}}
        return model

    loader.load_service_model = only_query
    return session


def call(run: Run, client: Any, operation: str, **words: Any) -> dict[str, Any]:
    """Return the answer to one call of a client, as plain data. Raises Failed; unreadable for what botocore can't read."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    action = client.meta.method_to_api_mapping.get(operation, operation)
    run.stage(f"ask for {action}")
    try:
        answer: dict[str, Any] = getattr(client, operation)(**words)
    except (ResponseParserError, BotoCoreError, ClientError, ValueError, TypeError, KeyError) as error:
        # Behind its first sentence the message may carry the whole answer.
        text = str(error).partition(", invalid XML")[0].partition("\n")[0][:120]
        raise Failed(UNREADABLE, "", action, f"the answer is not understood: {text}") from None
    return answer


def _transport(run: Run, there: Access, service: str) -> Callable[..., Any]:
    """Return what takes the place of botocore's own way to the network."""
    from botocore.awsrequest import AWSResponse

    def send(request: Any, **_: Any) -> Any:
        headers = {name: value if isinstance(value, str) else value.decode() for name, value in request.headers.items()}
        body = request.body if isinstance(request.body, (str, bytes)) else request.body.read() if request.body else ""
        action = (
            dict(parse_qsl(body if isinstance(body, str) else "")).get("Action")
            or f"{request.method} {urlsplit(request.url).path}"
        )
        try:
            response = _send(run, there, service, action, request.method, request.url, headers, body, "")
            if service != "s3":
                safe(response.body, "", action, f"{action}Response")
            elif "xml" in response.headers.get("content-type", ""):
                safe(response.body, "", action)
        except Failed as failed:
            raise _told(failed, request.url) from None
        return AWSResponse(request.url, response.status, response.headers, _Body(response.body))

    return send


class _Body:
    """A whole answer, as botocore wants to read it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        data, self._data = self._data, b""
        yield data

    def read(self, *_: Any) -> bytes:
        data, self._data = self._data, b""
        return data

    def close(self) -> None:
        """There is nothing to close."""


def _send(
    run: Run,
    there: Access,
    service: str,
    action: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: str | bytes,
    of: str,
) -> Response:
    """Sign and send; follow to the host where the service is enabled; return a good answer. Raises Failed."""
    from nephoscope.base.http import Session

    moves, old = 0, SERVICES[service].old
    while True:
        signed = _signed(there, service, method, url, headers, body)
        parts = urlsplit(signed.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {**dict(signed.headers.items()), "Connection": "close"}
        data = signed.body.encode() if isinstance(signed.body, str) else signed.body
        with Session(run, f"{parts.scheme}://{parts.netloc}", **there.trust) as session:
            try:
                response = session.request(
                    method, target, data, {k: v if isinstance(v, str) else v.decode() for k, v in sent.items()}
                )
            except Failed as failed:
                error = f"sends on to {parts.netloc}: {failed.error}" if moves else failed.error
                raise Failed(failed.kind, of, action, error, failed.cure) from None
        where = _elsewhere(url, response)
        if where and moves < there.moves:
            moves, url = moves + 1, where.partition("?")[0] if method == "POST" else where
            continue
        if where:
            error = "has no answer of its own" if not there.moves else "and that one sends on again"
            raise Failed(UNREADABLE, of, action, f"HTTP 307: sends on to {place(where)}, {error}")
        if response.status == 404 and old and SERVICES[service].path in url:
            url, old = url.replace(SERVICES[service].path, old, 1), ""
            continue
        if response.status in (401, 403) and there.session:
            run.cache.drop(there.session)  # the next run takes a new one
        if response.status >= 300:
            raise refusal(response, of, action, run)
        return response


def _elsewhere(url: str, response: Response) -> str:
    """Return where a service is enabled that is not on the host that was asked; "" when the answer is no such redirect.

    Eucalyptus names it as http:// even to who came by TLS; the port serves both, and what began with TLS goes on with it. That
    any host may be named does no harm: the signature names the host, so each gets its own, and none learns the secret.
    """
    if response.status != 307:
        return ""
    try:
        where = urljoin(url, response.headers.get("location", ""))
    except ValueError:
        return ""
    if not place(where):
        return ""
    return "https:" + where.partition(":")[2] if url.startswith("https:") else where


def _signed(there: Access, service: str, method: str, url: str, headers: Mapping[str, str], body: str | bytes) -> Any:
    """Return the request with its signature, prepared."""
    from botocore import auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    profile = there.profile
    credentials = Credentials(profile.key, profile.secret, profile.token or None)
    # "expect" would make a server wait that does not answer it.
    kept = {name: value for name, value in headers.items() if name.lower() not in ("expect", "content-length")}
    request = AWSRequest(method, url, headers=kept, data=body)
    if there.signature == 2 and service == "s3":
        auth.HmacV1Auth(credentials).add_auth(request)
    elif there.signature == 2:
        request.data = dict(parse_qsl(body if isinstance(body, str) else body.decode(), keep_blank_values=True))
        auth.SigV2Auth(credentials).add_auth(request)
    else:
        signer = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
        signer(credentials, SERVICES[service].scope, REGION).add_auth(request)
    return request.prepare()


def refusal(response: Response, of: str, tried: str, run: Run) -> Failed:
    """Return what an answer that is none means, with what the server said about it.

    not-allowed: 401, 403 (key, signature, right, and clocks that differ, which are named); unreachable: 5xx and 408;
    unreadable: everything else: redirects, an unknown path, a request that the server does not understand.
    """
    code, message = _said(response.body)
    again = code == message or code.startswith(str(response.status))  # "403 Forbidden" says the status once more
    # These words say what the code says, and take the room of the cure on line 1.
    told = "" if code and message.startswith("You are not authorized") else message
    said = ": ".join(part for part in (f"HTTP {response.status}", "" if again else code, told) if part)
    status = response.status
    if status in (401, 403) or code in ("AuthFailure", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"):
        return _not_allowed(response, of, tried, said, message, run)
    if 300 <= status < 400:
        where = response.headers.get("location", "").partition("?")[0].rpartition("@")[2][:100]
        return Failed(
            UNREADABLE, of, tried, f"HTTP {status}: redirected to {where or 'nowhere'}, which is no service of a cloud"
        )
    if status == 503 and not message:
        return Failed(
            UNREACHABLE, of, tried, "HTTP 503: the service is not enabled on this host, and it knows of no other"
        )
    if status >= 500 or status == 408:
        return Failed(UNREACHABLE, of, tried, said)
    if status == 404:
        return Failed(UNREADABLE, of, tried, f"{said}: no such service there")
    return Failed(UNREADABLE, of, tried, said)


def _not_allowed(response: Response, of: str, tried: str, said: str, message: str, run: Run) -> Failed:
    if "generated in the future" in message or "Message has expired" in message:
        offset = _offset(response, run)
        ahead = "ahead of" if offset > 0 else "behind"
        ours = f"this host's is about {abs(offset):.0f} s {ahead} the server's" if offset else ""
        error = f"the clocks differ: {ours or message}"
        return Failed(NOT_ALLOWED, of, tried, error, "clocks that agree within 20 s (check_clock); the key may be good")
    if "Signature validation failed" in message or "SignatureDoesNotMatch" in said or "InvalidClientTokenId" in said:
        return Failed(NOT_ALLOWED, of, tried, said, "the secret key that belongs to it")
    if "Invalid access key" in message or "InvalidAccessKeyId" in said:
        return Failed(NOT_ALLOWED, of, tried, said, "an access key that is known and in force")
    return Failed(NOT_ALLOWED, of, tried, said)  # the right that it takes is what the check declares


def _offset(response: Response, run: Run) -> float:
    """Return by how many seconds our clock is ahead of the server's Date; 0 when it told none."""
    from email.utils import parsedate_to_datetime

    try:
        # The header has whole seconds, cut off: half of one is the best guess for the rest.
        return run.clock.time() - parsedate_to_datetime(response.headers["date"]).timestamp() - 0.5
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return 0.0


def _said(body: bytes) -> tuple[str, str]:
    """Return code and message of an error document. By pattern: only < and > are escaped in it, so it may be no XML."""
    import re

    def field(name: bytes) -> str:
        found = re.search(b"<(?:[A-Za-z]+:)?" + name + b">([^<]*)", body[:65536])
        text = found.group(1).decode("utf-8", "replace") if found else ""
        for mark, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
            text = text.replace(mark, letter)
        return " ".join(text.split())[:SAID]

    return field(b"Code"), field(b"Message")
