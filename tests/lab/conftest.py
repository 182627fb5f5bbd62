# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several labs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.support import plugins_installed, private_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a private folder under /tmp, mode 0755, removed after the test."""
    with private_folder() as path:
        yield path


@pytest.fixture(scope="session")
def installed_plugins() -> Iterator[Path]:
    """Give the bin directory of a fresh installation that every user may run; made once a session."""
    with plugins_installed() as path:
        yield path
