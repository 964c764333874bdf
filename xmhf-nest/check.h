/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks of a VM entry by L1, on VMCS12 as values by index (enum vmcs_index). Pure: no hardware, no globals;
 * host-tested and fuzzed in unit/. SDM: "Checks on VMX Controls and Host-State Area", "Checking and Loading Guest State".
 */
#ifndef NEST_CHECK_H
#define NEST_CHECK_H

#include "core/vmcs.h"
#include "core/vmxcap.h"

/* What the checks depend on beside VMCS12. */
struct check_env {
	const struct vmx_caps *caps; /* as L1 reads them, hidden controls taken out */
	u32 maxphyaddr;              /* bits */
	bool cpu64;                  /* the CPU that L1 sees has Intel 64 */
	bool l1_lma;                 /* L1's IA32_EFER.LMA at the entry */
	u64 efer_valid, cr4_valid;   /* bits that the CPU lets software set */
};

enum check_kind { CHECK_OK, CHECK_CONTROLS, CHECK_HOST, CHECK_GUEST };

struct check_result {
	u8 kind;           /* enum check_kind: VMfailValid(7), VMfailValid(8), or exit reason 33 */
	u8 qualification;  /* CHECK_GUEST: SDM "VM-Entry Failures During or After Loading Guest State": 0, 2, 3 or 4 */
	const char *rule;  /* id of the first rule that failed, for logs and tests; NULL if CHECK_OK */
};

/* In the SDM's order; the first rule that fails decides. */
struct check_result check_controls(const u64 v[VI_COUNT], const struct check_env *e);
struct check_result check_host(const u64 v[VI_COUNT], const struct check_env *e);
struct check_result check_guest(const u64 v[VI_COUNT], const struct check_env *e);

#endif
