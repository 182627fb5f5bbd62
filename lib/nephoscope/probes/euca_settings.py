# SPDX-License-Identifier: Apache-2.0
"""Run-time properties of a Eucalyptus cloud that tell a check of a component what to look at; only with credentials.

Source: DescribeProperties of /services/Properties (clc/modules/configuration of 3.1 to 5.1); `Property.N` is a prefix. An unset
value is empty, or printed as "{}"; hidden ones are "********".
"""

from __future__ import annotations

from typing import Any

from nephoscope.base import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes import euca_api

UNSET = ("", "{}", "NULL", "<unset>", "unset")


def given(options: Any) -> bool:
    """Return whether the operator gave credentials for this run."""
    return bool(options.cloud or options.credentials)


def values(run: Run, options: Any, prefix: str = "") -> dict[str, str]:
    """Return property -> value, "" for an unset one, of the cloud whose credentials were given; -H does not count here.

    Raises Failed as `euca_properties.described` does.
    """
    from nephoscope.probes import euca_api

    # -H names the component's host; properties are asked of the cloud, whose address stands with its credentials.
    cloud = type(options)(**{**vars(options), "hostname": None, "port": None, "signature": "4"})
    return of(run, euca_api.access(cloud, run), prefix)


def of(run: Run, access: euca_api.Access, prefix: str = "") -> dict[str, str]:
    """Return the same of the cloud that an access is to. One request. Raises Failed as `euca_properties.described` does."""
    from nephoscope.probes import euca_properties

    found = euca_properties.described(run, access, prefix)
    return {name: "" if value.strip() in UNSET else value.strip() for name, value in found.items()}
