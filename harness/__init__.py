# SPDX-License-Identifier: BSD-2-Clause
"""Boots lhv (or somebody else's kernel) on stacks of hypervisors and judges what comes out."""
