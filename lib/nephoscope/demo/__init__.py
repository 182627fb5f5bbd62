# SPDX-License-Identifier: Apache-2.0
"""A simulated cloud in the real wire format, which imports nothing of ours."""
