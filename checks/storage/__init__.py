# SPDX-License-Identifier: Apache-2.0
"""Checks of storage: arrays, the paths to them, and what hangs on them."""
