# SPDX-License-Identifier: Apache-2.0
"""Checks of what carries a cloud's messages and remembers its tokens: RabbitMQ and memcached."""
