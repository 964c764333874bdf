# SPDX-License-Identifier: BSD-2-Clause
"""The appliance: Linux with KVM inside of Bochs, as an L0."""
