# SPDX-License-Identifier: Apache-2.0
"""Nephoscope: monitoring plugins for private clouds and everything below them."""

__version__ = "0.1.0"
