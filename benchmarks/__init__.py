# SPDX-License-Identifier: Apache-2.0
"""What a check costs: instructions first, because seconds depend on whatever else the machine does."""
