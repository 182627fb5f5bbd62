# SPDX-License-Identifier: Apache-2.0
"""How a fact is obtained: one module for each thing that is probed, which knows no limit and no exit code."""
