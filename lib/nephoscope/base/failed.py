# SPDX-License-Identifier: Apache-2.0
"""The one way in which a probe says that it could not learn something."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

UNREACHABLE = "unreachable"  # refused, no route, no name, cut, silent until its share of the deadline
NOT_ALLOWED = "not-allowed"  # log-in refused, right missing
UNREADABLE = "unreadable"  # an answer that was not understood
ABSENT = "absent"  # nothing of the kind here
LATE = "late"  # our own deadline, through no fault of the target's

_BY_ERRNO = {
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.ENOENT: ABSENT,
    errno.ENOTDIR: ABSENT,
    errno.ENODEV: ABSENT,
    errno.ENXIO: ABSENT,
    errno.ECONNREFUSED: UNREACHABLE,
    errno.ECONNRESET: UNREACHABLE,
    errno.ECONNABORTED: UNREACHABLE,
    errno.EPIPE: UNREACHABLE,
    errno.ETIMEDOUT: UNREACHABLE,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.ENOTCONN: UNREACHABLE,  # a FUSE file system whose server died
    errno.ESTALE: UNREACHABLE,  # an NFS handle that the server no longer knows
    errno.EIO: UNREACHABLE,
}


class Failed(Exception):
    """Something could not be learnt: an exception when a probe asks one thing, a value when it asks several.

    kind   one of the five constants of this module; the frame turns it into a state
    of     the object that could not be looked at (a path, a host, a unit), or ""
    tried  what was asked, as a person would say it ("read /proc/stat", "GET /redfish/v1/Systems")
    error  what came back ("Permission denied", "no answer in 5 s")
    cure   how to grant what is missing, or how to mend it; the frame adds the declared rights by itself
    """

    def __init__(self, kind: str, of: str, tried: str, error: str, cure: str = "") -> None:
        super().__init__(kind, of, tried, error, cure)

    # Read from `args`, which is what is compared, copied and sent through pipes: a second place could say another thing.

    @property
    def kind(self) -> str:
        """One of the five kinds."""
        return str(self.args[0])

    @property
    def of(self) -> str:
        """The object that could not be looked at, or ""."""
        return str(self.args[1])

    @property
    def tried(self) -> str:
        """What was asked."""
        return str(self.args[2])

    @property
    def error(self) -> str:
        """What came back."""
        return str(self.args[3])

    @property
    def cure(self) -> str:
        """How to grant what is missing, or ""."""
        return str(self.args[4])

    @classmethod
    def of_os_error(cls, of: str, tried: str, error: OSError, cure: str = "") -> Failed:
        """Turn an OSError into the kind that its errno stands for; time-outs and name errors are unreachable."""
        kind = _BY_ERRNO.get(error.errno or 0, UNREADABLE)
        # socket.timeout and socket.gaierror are told by name: importing socket for it would cost every start.
        if isinstance(error, TimeoutError) or type(error).__name__ in ("gaierror", "timeout"):
            kind = UNREACHABLE
        return cls(kind, of, tried, error.strerror or str(error) or type(error).__name__, cure)

    def __str__(self) -> str:
        return f"{self.tried}: {self.error}" if self.tried else self.error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


def attempt(ask: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a probe gives for these arguments, or the Failed that it raises: that stands where the facts would."""
    try:
        return ask(*arguments)
    except Failed as failed:
        return failed
