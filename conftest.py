# SPDX-License-Identifier: BSD-2-Clause
"""At the root so that pytest finds the options whichever folder it is asked to run."""

pytest_plugins = ["harness.plugin"]
