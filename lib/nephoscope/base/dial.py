# SPDX-License-Identifier: Apache-2.0
"""Connections within the run's deadline, the resolver's silence included: TCP, Unix sockets and TLS, and the words for what
goes wrong with them. Apart from http.client, which costs a start; ssl is imported by who speaks it.
"""

from __future__ import annotations

import _thread
import socket
import time

from nephoscope.base.failed import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed
from nephoscope.base.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

LEAST = 0.01  # seconds: a time-out of 0 would mean "do not wait at all"
CUT = "the connection was cut before the answer was whole"
AUTHORITY = "its authority as --ca-file"
# X509_V_ERR_… of OpenSSL's x509_vfy.h (verify(1)): the certificate is good, and the cure is not another authority.
CURES = {
    9: "this host's right time",  # not yet valid
    10: "a new certificate there",  # expired
    62: "the host by a name of its certificate",
    64: "the host by a name of its certificate",  # an address, which it does not have
}


def host_port(text: str, usual: int) -> tuple[str, int]:
    """Return host and port of HOST, HOST:PORT, an IPv6 address, [IPv6] or [IPv6]:PORT; `usual` where no port is said.

    What is no port stays with the host, as a name that nobody knows.
    """
    host, colon, port = text.rpartition(":")
    whole = ":" not in host or (host.startswith("[") and host.endswith("]"))
    if colon and host and whole and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return host.strip("[]"), int(port)
    return (text[1:-1] if text.startswith("[") and text.endswith("]") else text), usual


def dial(run: Run, host: str, port: int) -> socket.socket:
    """Return a TCP connection; every address of the host is tried, all together within the time that is left.

    Raises OSError: socket.gaierror for a name that is not known, TimeoutError for silence, of a resolver too; UnicodeError
    for what can't be a name.
    """
    addresses = resolve(run, host, port)
    last: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left = run.left()
        if left <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left / (len(addresses) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
    raise last


def unix(run: Run, path: str) -> socket.socket:
    """Return a connection to a Unix socket. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        patience(run, sock)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def resolve(run: Run, host: str, port: int) -> list[Any]:
    """Return socket.getaddrinfo's answer, or raise TimeoutError: the resolver itself knows no deadline of ours."""
    answer: list[Any] = []
    # Of a text Python makes a name by IDNA, whose tables cost a quarter of a bare start: not for an address.
    name = host.encode() if ":" in host or host.replace(".", "").isdigit() else host
    done = _thread.allocate_lock()
    done.acquire()

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.append(error)
        done.release()

    _thread.start_new_thread(ask, ())
    if not done.acquire(timeout=max(LEAST, run.left())):
        raise TimeoutError("timed out")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return list(answer[0])


def patience(run: Run, sock: Any, until: float = float("inf")) -> None:
    """Give a socket's next single wait what is left of the run, or until then (time.monotonic()); nothing: TimeoutError.

    The time-outs of sockets, and of most clients, are per read: a server that drips a byte a second would outlive them.
    """
    left = min(run.left(), until - time.monotonic())
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(max(LEAST, left))


def context(
    of: str, ca_file: str | None, cert: str | None, key: str | None, *, verify: bool = True, named: bool = True
) -> ssl.SSLContext:
    """Return what TLS is to be spoken with; the files are PEM, and without `ca_file` the system's authorities count.

    verify  False: anybody's certificate will do; named: whether it must also be the host's own
    Raises Failed not-allowed for a file that can't be used.
    """
    import ssl

    try:
        # Reading the system's authorities costs as much as all the rest: not for who does not ask them.
        asked = verify or ca_file
        made = ssl.create_default_context(cafile=ca_file or None) if asked else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = verify and named
        if not verify:
            made.verify_mode = ssl.CERT_NONE
        # Certificates that servers make themselves lack what Python 3.13 asks for; chain and name are verified all the same.
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if cert:
            made.load_cert_chain(cert, key or None, lambda: "")  # or OpenSSL would ask a terminal for a passphrase
    except OSError as error:  # SSLError is one
        files = ", ".join(name for name in (ca_file, cert, key) if name)
        said = error.strerror or "not usable"
        if isinstance(error, ssl.SSLError):  # its own text names a line of Python's source
            said = error.reason or "no certificate with its key in PEM, or the key wants a passphrase"
        raise Failed(NOT_ALLOWED, of, f"read {files}", said) from None
    return made


def failure(of: str, tried: str, error: OSError | UnicodeError, seconds: float, authority: str = AUTHORITY) -> Failed:
    """Return the Failed for an OSError of a socket or of TLS, or a UnicodeError of a name; `seconds` were waited for it.

    authority  how to make a certificate known whose signer is not
    """
    # By name: ssl is not ours to import, and in Python 3.9 socket.timeout is no TimeoutError yet.
    kind = type(error).__name__
    if isinstance(error, UnicodeError):
        return Failed(UNREADABLE, of, tried, "that is no name of a host")
    if isinstance(
        error, BlockingIOError
    ):  # of a Unix socket (connect(2)): nobody accepts, and the kernel lets nobody wait
        return Failed(UNREACHABLE, of, tried, "it accepts no connection: its queue is full")
    if isinstance(error, TimeoutError) or kind == "timeout" or "timed out" in str(error):
        return Failed(UNREACHABLE, of, tried, f"no answer in {seconds:.1f} s")
    if kind == "SSLCertVerificationError":
        said = (getattr(error, "verify_message", "") or "it does not verify").rstrip(".")
        cure = CURES.get(getattr(error, "verify_code", 0), authority)
        return Failed(NOT_ALLOWED, of, tried, f"certificate: {said}", cure)
    if kind in ("SSLEOFError", "SSLZeroReturnError"):
        return Failed(UNREACHABLE, of, tried, CUT)
    if kind.startswith("SSL"):
        reason = getattr(error, "reason", None) or "not understood"
        if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):  # the second since OpenSSL 3.2
            return Failed(UNREADABLE, of, tried, "it does not speak TLS")
        if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
            return Failed(NOT_ALLOWED, of, tried, f"TLS: {reason}", "a client certificate (--cert, --key)")
        return Failed(UNREADABLE, of, tried, f"TLS: {reason}")
    return Failed.of_os_error(of, tried, error)
