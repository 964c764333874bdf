# SPDX-License-Identifier: BSD-2-Clause
"""What a run tells, and in which forms."""
