/* SPDX-License-Identifier: BSD-2-Clause */
/* L0's descriptor tables, shared by all CPUs: L0 has one privilege level and switches no stacks. */
#ifndef NEST_TABLES_H
#define NEST_TABLES_H

#include "core/base.h"

void tables_init(void); /* once */
void tables_load(void); /* on each CPU */
ulong tables_gdt(void);
ulong tables_idt(void);
ulong tables_tss(void);

#endif
