# SPDX-License-Identifier: Apache-2.0
"""Checks of policy and capacity, in the one dialect that several clouds speak."""
