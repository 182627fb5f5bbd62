# SPDX-License-Identifier: Apache-2.0
"""Disks as sysfs, smartctl and storcli tell of them, hand-made from documented forms.

sysfs: Documentation/admin-guide/md.rst, drivers/md/md.c, drivers/scsi/scsi_sysfs.c (Linux 6.1). smartctl: ataprint.cpp,
scsiprint.cpp and nvmeprint.cpp of smartmontools 7.0 to 7.4, and outputs of these releases in public test data of exporters.
storcli: the legends that 7.1211 to 7.2309 print, outputs in public reports.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

PCI = "../devices/pci0000:00/0000:00:1f.2"


def put(root, path, text):
    file = Path(root, path.lstrip("/"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def kernel(root):
    """A kernel without disks; its boot has a name."""
    Path(root, "sys/block").mkdir(parents=True, exist_ok=True)
    return str(root)


def md(root, name="md0", level="raid1", disks=2, members=None, **words):
    """An array; `members` are devices and their states."""
    home = f"/sys/block/{name}/md"
    known = {"array_state": "clean", "level": level, "raid_disks": disks, "metadata_version": "1.2"}
    if level not in ("raid0", "linear"):
        known.update(degraded=0, sync_action="idle", sync_completed="none", mismatch_cnt=0)
    for file, text in {**known, **words}.items():
        if text is not None:
            put(root, f"{home}/{file}", text)
    for device, state in (members or {"sda1": "in_sync", "sdb1": "in_sync"}).items():
        put(root, f"{home}/dev-{device}/state", state)
    return kernel(root)


def scsi(
    root,
    name,
    driver="ahci",
    vendor="ATA",
    host=0,
    way=f"{PCI}/ata1",
    where="target{0}:0:0/{0}:0:0:0",
    state="running",
    removable=0,
):
    """A SCSI disk and the host that it hangs on."""
    home = f"{way}/host{host}/{where.format(host)}/block/{name}"
    real = Path(kernel(root), "sys/block", home)
    real.mkdir(parents=True, exist_ok=True)
    os.symlink(home, Path(root, "sys/block", name))
    put(root, f"/sys/block/{home}/device/vendor", f"{vendor:8}")
    put(root, f"/sys/block/{home}/device/state", state)
    put(root, f"/sys/block/{home}/removable", removable)
    put(root, f"/sys/class/scsi_host/host{host}/proc_name", driver)
    return str(root)


def nvme(root, name="nvme0", transport="pcie", state="live"):
    """An NVMe controller with one namespace."""
    put(kernel(root), f"/sys/class/nvme/{name}/transport", transport)
    put(root, f"/sys/class/nvme/{name}/state", state)
    Path(root, f"sys/block/{name}n1").mkdir()
    return str(root)


def asked(device, kind="", status=0, version=(7, 3), messages=()):
    """What smartctl says of its own run."""
    argv = ["smartctl", "--json=c", "-i", "-H", "-A", "-l", "error", "-l", "selftest", "-n", "standby"]
    ran = {"version": list(version), "argv": [*argv, *(["-d", kind] if kind else []), device], "exit_status": status}
    if messages:
        ran["messages"] = [{"string": text, "severity": severity} for text, severity in messages]
    return {"json_format_version": [1, 0], "smartctl": ran}


def attribute(number, name, count=0, value=100, worst=100, thresh=0, when="", prefailure=False, text=None):
    """A row of the table of attributes."""
    return {
        "id": number, "name": name, "value": value, "worst": worst, "thresh": thresh, "when_failed": when,
        "flags": {"value": 51, "string": "PO--CK ", "prefailure": prefailure},
        "raw": {"value": count, "string": text or str(count)},
    }  # fmt: skip


def ata(device="/dev/sda", serial="WD-1", rows=(), passed=True, status=0, **words):
    """A SATA disk, 7.3; `rows` replace or add attributes."""
    table = {
        row["id"]: row
        for row in [
            attribute(5, "Reallocated_Sector_Ct", thresh=10, prefailure=True),
            attribute(187, "Reported_Uncorrect"),
            attribute(194, "Temperature_Celsius", 137440395293, text="29 (Min/Max 22/32)"),
            attribute(197, "Current_Pending_Sector"),
            attribute(198, "Offline_Uncorrectable"),
            attribute(199, "UDMA_CRC_Error_Count"),
            *rows,
        ]
    }
    return {
        **asked(device, status=status),
        "device": {"name": device, "info_name": f"{device} [SAT]", "type": "sat", "protocol": "ATA"},
        "model_name": "HGST HUS726T4TALE6L4", "serial_number": serial, "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": passed}, "ata_smart_attributes": {"revision": 16, "table": list(table.values())},
        "ata_smart_error_log": {"summary": {"revision": 1, "count": 0}},
        "ata_smart_self_test_log": {"standard": {"revision": 1, "count": 0}}, "temperature": {"current": 29}, **words,
    }  # fmt: skip


def sas(device="/dev/bus/0", kind="megaraid,8", serial="Z1", passed=True, grown=0, uncorrected=0, status=0, **words):
    """A SAS disk, here behind a MegaRAID controller, 7.4."""
    rows = {name: {"total_errors_corrected": 4, "total_uncorrected_errors": uncorrected} for name in ("read", "write")}
    return {
        **asked(device, kind, status=status, version=(7, 4)),
        "device": {"name": device, "info_name": f"{device} [megaraid_disk_08]", "type": kind, "protocol": "SCSI"},
        "scsi_vendor": "TOSHIBA", "scsi_model_name": "TOSHIBA AL15SEB24EQY", "scsi_version": "SPC-4",
        "serial_number": serial, "smart_support": {"available": True, "enabled": True}, "smart_status": {"passed": passed},
        "scsi_grown_defect_list": grown, "scsi_error_counter_log": rows, "temperature": {"current": 32, "drive_trip": 65},
        **words,
    }  # fmt: skip


def flash(device="/dev/nvme0", serial="S4", warning=0, spare=100, limit=10, used=3, media=0, version=(7, 0)):
    """An NVMe disk, 7.0."""
    return {
        **asked(device, status=8 if warning else 0, version=version),
        "device": {"name": device, "info_name": device, "type": "nvme", "protocol": "NVMe"},
        "model_name": "Micron_7300_MTFDHBE1T6TDG", "serial_number": serial,
        "smart_status": {"passed": not warning, "nvme": {"value": warning}},
        "nvme_smart_health_information_log": {
            "critical_warning": warning, "temperature": 22, "available_spare": spare, "available_spare_threshold": limit,
            "percentage_used": used, "unsafe_shutdowns": 2, "media_errors": media, "num_err_log_entries": 77,
        },
        "temperature": {"current": 22},
    }  # fmt: skip


def sleeping(device="/dev/sdb", word="STANDBY"):
    """A disk that `-n standby` leaves alone."""
    return asked(device, status=2, messages=[(f"Device is in {word} mode, exit(2)", "information")])


def unopened(device="/dev/sdb", kind="", text="", status=2):
    """A disk that can't be opened."""
    text = text or f"Smartctl open device: {device} failed: No such device"
    return asked(device, kind, status=status, messages=[(text, "error")])


def late(device="/dev/sdb", kind="", why="no answer in time"):
    """What the wrapper says of one that gave no answer."""
    return {"nephoscope": why, "device": device, "type": kind}


def stream(*documents):
    """What the wrapper prints."""
    return "\n".join(json.dumps(document, separators=(",", ":")) for document in (*documents, {"nephoscope": "end"}))


def controllers(*data, status="Success", said="None"):
    """An answer of storcli with the data of each controller."""
    rows = []
    for number, response in enumerate(data):
        rows.append(
            {
                "Command Status": {
                    "CLI Version": "007.1211.0000.0000 Nov 07, 2019", "Operating system": "Linux 5.10.0",
                    "Controller": number, "Status": status, "Description": said,
                },
                "Response Data": response,
            }
        )  # fmt: skip
    return {"Controllers": rows}


NONE = {
    "Controllers": [
        {
            "Command Status": {
                "CLI Version": "007.1211.0000.0000 Nov 07, 2019", "Operating system": "Linux 5.10.0", "Status Code": 0,
                "Status": "Failure", "Description": "No Controller found",
            }
        }
    ]
}  # fmt: skip


def virtual(state="Optl", number=0, group=0, kind="RAID5", access="RW", cache="RWBD"):
    """A row of VD LIST."""
    return {
        "DG/VD": f"{group}/{number}", "TYPE": kind, "State": state, "Access": access, "Consist": "Yes", "Cache": cache,
        "Cac": "-", "sCC": "ON", "Size": "5.457 TB", "Name": "data",
    }  # fmt: skip


def drive(state="Onln", slot=0, group=0, spun="U"):
    """A row of PD LIST."""
    return {
        "EID:Slt": f"252:{slot}", "DID": slot, "State": state, "DG": group, "Size": "1.818 TB", "Intf": "SAS", "Med": "HDD",
        "SED": "N", "PI": "N", "SeSz": "512B", "Model": "ST2000NM0135", "Sp": spun, "Type": "-",
    }  # fmt: skip


def controller(state="Optimal", volumes=None, drives=None, **more):
    """What `/c0 show all` answers; a virtual drive of two disks unless said."""
    volumes = [virtual()] if volumes is None else volumes
    drives = [drive(), drive(slot=1)] if drives is None else drives
    return {
        "Basics": {"Model": "MegaRAID SAS 9361-8i"}, "Status": {"Controller Status": state, "BBU Status": 0},
        "Virtual Drives": len(volumes), "VD LIST": list(volumes), "Physical Drives": len(drives), "PD LIST": list(drives),
        "Cachevault_Info": [{"Model": "CVPM02", "State": "Optimal", "Temp": "28C", "Mode": "-", "MfgDate": "2018/01/01"}],
        **more,
    }  # fmt: skip


def details(*slots, media=0, predicted=0, alert="No", number=0):
    """What `/c0/eall/sall show all` answers."""
    found = {}
    for slot in slots:
        path = f"Drive /c{number}/e252/s{slot}"
        found[path] = [drive(slot=slot)]
        found[f"{path} - Detailed Information"] = {
            f"{path} State": {
                "Shield Counter": 0, "Media Error Count": media, "Other Error Count": 0, "Drive Temperature": " 33C (91.40 F)",
                "Predictive Failure Count": predicted, "S.M.A.R.T alert flagged by drive": alert,
            },
            f"{path} Device attributes": {"SN": f"        Z{slot}", "Manufacturer Id": "SEAGATE "},
        }  # fmt: skip
    return found


def properties(setting="WriteBack", number=0):
    """What `/c0/vall show all` answers."""
    return {f"/c0/v{number}": [virtual()], f"VD{number} Properties": {"Write Cache(initial setting)": setting}}


def rebuild(percent=24, slot=1):
    """What `/c0/eall/sall show rebuild` answers."""
    return [
        {"Drive-ID": "/c0/e252/s0", "Progress%": "-", "Status": "Not in progress", "Estimated Time Left": "-"},
        {
            "Drive-ID": f"/c0/e252/s{slot}",
            "Progress%": percent,
            "Status": "In progress",
            "Estimated Time Left": "2 Hours",
        },
    ]


def storcli(everything, drives=None, volumes=None, rebuilds=None):
    """A script that answers the four questions as storcli64 does."""
    answers = {"show rebuild": rebuilds, "/call/eall/sall show all": drives, "/call/vall show all": volumes}
    script = ""
    for question, answer in {**answers, "/call show all": everything}.items():
        text = answer if isinstance(answer, str) else json.dumps(answer)
        script += f"case \"$*\" in *'{question} J nolog') cat <<'END'\n{text}\nEND\nexit 0;; esac\n"
    return script + "exit 9"
