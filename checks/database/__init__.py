# SPDX-License-Identifier: Apache-2.0
"""Checks of the databases under a cloud: MySQL, MariaDB with Galera, PostgreSQL."""
