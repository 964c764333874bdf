# SPDX-License-Identifier: BSD-2-Clause
"""What ends a run before it has begun. The texts are for the user."""


class UsageError(Exception):
    """The user asked for something that doesn't exist or isn't allowed: exit 2."""


class EnvironmentProblem(Exception):
    """Something on this machine is missing or broken; nothing is said about any host: exit 3."""
