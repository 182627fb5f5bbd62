# SPDX-License-Identifier: Apache-2.0
"""Ask a simulated cloud by a check, and compare first lines whatever its addresses are."""

from __future__ import annotations

from nephoscope.base import Clock


class Asked:
    """A simulated cloud and a folder for credentials and state."""

    def __init__(self, demo, folder):
        self.demo, self.folder = demo, folder

    def run(self, check, *argv, user="admin", shift=0):
        """Return the outcome of a check of this cloud by one of its users, `shift` seconds from now."""
        path = self.folder / f"{user}.ini"
        self.demo.credentials(path, user=user)
        words = ["--dialect", "eucalyptus", "--credentials", str(path), "--state-dir", str(self.folder / "state")]
        return check.run([*words, *argv], clock=Clock(shift))

    def line(self, check, *argv, **more):
        """Return the first line without perfdata, PLACE for the address of the cloud."""
        return self.plain(self.run(check, *argv, **more).line).partition(" | ")[0]

    def plain(self, text):
        for host in self.demo.cloud.hosts.values():
            text = text.replace(f"{host.address}:8773", "PLACE")
        return text.replace(str(self.folder), "FOLDER")

    def actions(self):
        """Return the actions that were asked for since the last time."""
        found = [seen.action for seen in self.demo.requests]
        new = found[getattr(self, "_told", 0) :]
        self._told = len(found)
        return new
