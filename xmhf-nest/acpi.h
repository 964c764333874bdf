/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NEST_ACPI_H
#define NEST_ACPI_H

#include "core/base.h"

/* Number of usable CPUs that the firmware's ACPI tables list; 0 if there are none (SDM; ACPI: "Multiple APIC Description Table"). */
u32 acpi_cpu_count(void);

#endif
