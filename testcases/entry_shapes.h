/* SPDX-License-Identifier: BSD-2-Clause */
/* Kinds of guests for rows of entry checks (entry_rows.h). */
#ifndef TESTCASES_ENTRY_SHAPES_H
#define TESTCASES_ENTRY_SHAPES_H

#include "testcases/entry_rows.h"

/* CPL 3, in the host's own mode. */
void shape_user(struct entry *t);
/* Protected mode, 32 bits, PAE paging; on i386 as it is anyway. */
void shape_32(struct entry *t);
/* Virtual-8086 mode, 32 bits, PAE paging. */
void shape_v86(struct entry *t);
/* Real-address mode; needs OPT_ept | OPT_unrestricted. */
void shape_real(struct entry *t);

/* Segment registers in the order of the VMCS's fields. */
enum { REG_ES, REG_CS, REG_SS, REG_DS, REG_FS, REG_GS, REG_LDTR, REG_TR };
#define SELECTOR_OF(reg) (VMCS_guest_es_selector + 2 * (reg))
#define BASE_OF(reg) (VMCS_guest_es_base + 2 * (reg))
#define LIMIT_OF(reg) (VMCS_guest_es_limit + 2 * (reg))
#define RIGHTS_OF(reg) (VMCS_guest_es_access_rights + 2 * (reg))

#endif
