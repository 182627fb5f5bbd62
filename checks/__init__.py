# SPDX-License-Identifier: Apache-2.0
"""What people run: one file is one plugin that answers one question."""
