# SPDX-License-Identifier: Apache-2.0
"""Run-time properties of a Eucalyptus cloud that tell a check of a component what to look at; only with credentials.

Source: DescribeProperties of /services/Properties (clc/modules/configuration of 3.1 to 5.1); `Property.N` is a prefix. An unset
value is empty, or printed as "{}"; hidden ones are "********".
"""

from __future__ import annotations

from typing import Any

from nephoscope.base import NOT_ALLOWED, Failed, Run

UNSET = ("", "{}", "NULL", "<unset>", "unset")


def given(options: Any) -> bool:
    """Return whether the operator gave credentials for this run."""
    return bool(options.cloud or options.credentials)


def values(run: Run, options: Any, prefix: str = "") -> dict[str, str]:
    """Return property -> value, "" for an unset one, of the cloud whose credentials were given; -H does not count here.

    Raises Failed as `euca_api.ask` does; not-allowed, too, when nothing is shown: who lacks the right sees an empty list.
    """
    from nephoscope.probes import euca_api, euca_properties

    # -H names the component's host; properties are asked of the cloud, whose address stands with its credentials.
    cloud = type(options)(**{**vars(options), "hostname": None, "port": None, "signature": "4"})
    words = {"Property.1": prefix} if prefix else {}
    root = euca_api.ask(run, euca_api.access(cloud, run), "properties", "DescribeProperties", words)
    pairs = ((item.findtext("name") or "", (item.findtext("value") or "").strip()) for item in root.iter("item"))
    found = {name: "" if value in UNSET else value for name, value in pairs if name.startswith(prefix)}
    if not found:
        error = f"no property {prefix + '… ' if prefix else ''}is shown"
        raise Failed(NOT_ALLOWED, "properties", "DescribeProperties", error, euca_properties.CURE)
    return found
