# SPDX-License-Identifier: BSD-2-Clause
"""Disk images for lhv, Bochs' configuration files, and the recipe that builds Bochs."""

from images.common import ImageError

__all__ = ["ImageError"]
