# SPDX-License-Identifier: Apache-2.0
"""Blocks of a `*-fault.log`, as the C code and as the Java code write them.

Form: util/fault.c (format_eucafault) and component/fault/Fault.java of github eucalyptus/eucalyptus 4.4.2. Both print 72
stars, the header, an empty line, five labels right-aligned to the longest one, 72 stars, an empty line. The C header
has a `Z` behind a time that is local all the same; the Java one has none. Messages, conditions and causes are those of
util/faults/en_US/*.xml; the cures are shortened, with their shape (several lines, indented, a line of blanks at the end).
1010, 1011 and 1012 are of 3.x; their texts are UNCONFIRMED.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

STARS = "*" * 72
LABELS = ("Condition", "Cause", "Initiator", "Location", "Resolution")
UNKNOWN = "unknown"

_Text = tuple[str, str, str, str, str, tuple[str, ...]]

TEXTS: dict[str, _Text] = {
    "1002": ("ESX(i) host ${hostIp} is no longer accessible", "Can't issue requests for host ${hostIp}",
             UNKNOWN, "${component}", "host ${hostIp}", ("1) Check the network to the host",)),
    "1003": ("Running very low on disk space.", "Running very low on disk space.", "Not enough disk space.",
             "${component}", "Disk partition that hosts ${file}",
             ("1) Delete unnecessary files on partition that hosts ${file}",
              "2) Allocate more disk space on the partition that hosts ${file}")),
    "1004": ("Java is running very low on heap space memory.", "Running very low on heap space memory in Java.",
             "Java garbage collection is not able to reclaim enough memory.", "${component}", "Cloud",
             ("1) Increase the value of -Xmx in CLOUD_OPTS", "2) Restart the cloud application.")),
    "1005": ("Java is running very low on perm-gen memory.", "Running very low on perm-gen memory in Java.",
             "Too much perm-gen memory in use: too many class/objects may be defined.", "${component}",
             "Perm-gen memory", ("1) Increase the value of -XX:MaxPermSize in CLOUD_OPTS",)),
    "1006": ("Running very low db connections in db pool ${alias}", "Running very low db connections in db pool ${alias}",
             "Not enough db connections on db ${alias}. (Using ${activeConnections} out of ${maxConnections})",
             "${component}", "DB pool ${alias}", ("1) Edit the file ${scriptsDir}/setup_dbpool.groovy",
                                                  "2) Restart the cloud controller.")),
    "1008": ("${daemon} is not running", "Can't find running ${daemon} process", UNKNOWN, "${component}",
             "${daemon} daemon on localhost", ("1) Install ${daemon}", "2) Run ${daemon}")),
    "1009": ("Mismatched cryptographical keys.",
             "An incoming message was signed with a key that differs from key on disk.",
             "Keys are not synchronized between communicating components.", "${sender}", "localhost",
             ("1) Ensure that the keys (.pem files) in", "", "    ${keys_dir}", "",
              "   are the same on ${sender} and ${receiver}.")),
    "1010": ("Database lock file is present.", "The file ${file} exists", UNKNOWN, "${component}", "${file}",
             ("1) Find out which cloud controller has the newer database",)),
    "1011": ("Cloud controller was in a partition.", "The database may be inconsistent", UNKNOWN, "${component}",
             "database", ("1) Find out which cloud controller has the newer database",)),
    "1012": ("Invalid VNET_MODE.", "VNET_MODE in eucalyptus.conf is not known", UNKNOWN, "${component}",
             "eucalyptus.conf", ("1) Correct VNET_MODE",)),
    "1013": ("no virtualization support on host.", "The check for virtualization extensions has failed.",
             "CPU virtualization extensions are disabled in the BIOS.", "${component}",
             "CPU capabilities on ${component}", ("1) Check your CPU supports vendor virtualization extensions.",)),
    "1014": ("Load balancer image not configured.  LoadBalancing service will not be available.",
             "Unable to launch load balancer instances", "Load balancer image not configured", "LoadBalancing",
             "LoadBalancing", ("1) Install the service image package",)),
    "1015": ("Imaging worker image not configured.  Imaging service will not be available.",
             "Unable to launch imaging worker instance", "Imaging worker image not configured", "Imaging", "Imaging",
             ("1) Install the service image package",)),
    "1016": ("Unable to apply network information.  Network connectivity for instances may be impacted.",
             "Network information not updated in midonet", "eucanetd service not running or failing", "Eucalyptus",
             "Eucalyptus", ("1) Ensure eucanetd service running on cloud controller",)),
    "1017": ("Invalid network configuration. Networking for instances not operational.",
             "Unable to apply network configuration", "Managed networking modes are no longer supported", "Eucalyptus",
             "Eucalyptus", ("Use a supported networking mode [ EDGE | VPCMIDO ]",)),
    "1500": ("CloudWatch service has been disabled.  This means alarms will not be evaluated, and new data and alarms "
             "will not be added.  Existing data and alarms can be queried.",
             "Property cloudwatch.disable_cloudwatch_service=true",
             "Property cloudwatch.disable_cloudwatch_service=true", "CloudWatch", "CloudWatch",
             ("Run euca-modify-property -p cloudwatch.disable_cloudwatch_service=false",)),
    "1501": ("Reporting service data collection has been disabled.  This means no new reporting data will be "
             "populated.  Existing data can still be queried.", "Property reporting.data_collection_enabled=false",
             "Property reporting.data_collection_enabled=false", "Reporting", "Reporting",
             ("Run euca-modify-property -p reporting.data_collection_enabled=true",)),
    "2000": ("tgtadm (Linux SCSI target administrator utility) is unresponsive",
             "${component} operation timed out after waiting for ${timeout} milliseconds for a response from tgtadm command",
             "tgt daemon on ${component} is unresponsive", "${component}", "tgt daemon on ${component}",
             ("1) Run 'ps -ef | grep tgtd', look for the process-ID of tgtd.", "",
              "2) Kill the tgtd process with 'kill process-ID'.")),
    "2001": ("iscsiadm command is failing", "Volume operation (attach/detach/snapshot) failed to complete",
             "iSCSI driver not found", "${component}", "open iSCSI on ${component}",
             ("1) Ensure all iSCSI kernel modules are loaded", "2) Restart iscsid service")),
    "2002": ("tgt service (Linux SCSI target daemon) is responding with errors",
             "'${operation}' failed with error '${error}'", "tgt service on ${component} is in an incorrect state",
             "${component}", "tgt daemon on ${component}", ("1) Run 'service tgtd status', check the service status",)),
    "2003": ("Unable to login to storage target", "Volume operation (attach/detach/snapshot) failed to complete",
             "Failed to login to storage target as the following command returned an error: ${command} ${error}",
             "${component}", "open iSCSI on ${component}",
             ("1. If the initiator timed out during the login process, check the network path to the storage target",)),
}  # fmt: skip
"""Fault id -> message, condition, cause, initiator, location, lines of the cure. 1001 has no text in 4.4."""

OF_NODES = ("1008", "1009", "1013", "2001", "2003")
"""Faults that the C code of a node or cluster controller raises; all others come from a JVM."""


def block(number: str, moment: float, variables: Mapping[str, str], in_c: bool) -> str:
    """Return the block of a fault as the log file has it, border to border with the empty line behind.

    `moment` is Unix time. A variable that nobody gave stays as it stands, as `${daemon}`. An id without a text is a
    KeyError: the real code logs nothing in its file then ("could not find fault id in registry").
    """
    message, *parts, cure = TEXTS[number]
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + ("Z" if in_c else "")
    known = {"component": "eucalyptus", **variables}
    lines = [STARS, f"  ERR-{number} {stamp} {_filled(message, known)}", ""]
    body = "\n" + "".join(f"        {line}\n" if line else "\n" for line in cure) + "      "
    for label, text in zip(LABELS, (*parts, body)):
        lines.append(f"  {label:>10}: {_filled(text, known)}")
    return "\n".join([*lines, STARS, "", ""])


def _filled(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = text.replace("${" + name + "}", str(value))
    return text
