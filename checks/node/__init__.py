# SPDX-License-Identifier: Apache-2.0
"""Checks of a machine, whatever runs on it."""
