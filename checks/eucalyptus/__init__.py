# SPDX-License-Identifier: Apache-2.0
"""Checks of a Eucalyptus cloud: its components, and what they say about themselves."""
