/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks of a VM entry by L1, on VMCS12 as values by index (enum vmcs_index). Pure: no hardware, no globals;
 * host-tested and fuzzed in unit/. SDM: "Checks on VMX Controls and Host-State Area", "Checking and Loading Guest State".
 *
 * Left to the caller, since they need memory: VTPR against the TPR threshold, PDPTEs, the VMCS that the link pointer
 * leads to. No rule for a control that is hidden from L1 (lib/x86/vmx_controls.def): it is a reserved bit that is 0.
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
	bool sgx, rtm;               /* the CPU that L1 sees has SGX, RTM */
	u64 efer_valid, cr4_valid;   /* bits that the CPU lets software set */
	/* Bits of these MSRs that the CPU doesn't let software set; 0: not known, thus not checked. */
	u64 perf_global_reserved, debugctl_reserved;
};

enum check_kind { CHECK_OK, CHECK_CONTROLS, CHECK_HOST, CHECK_GUEST };

struct check_result {
	u8 kind;          /* enum check_kind: VMfailValid(7), VMfailValid(8), or exit reason 33 */
	u8 qualification; /* CHECK_GUEST: SDM "VM-Entry Failures During or After Loading Guest State": 0 or 4 */
	const char *rule; /* id of the first rule that failed (check_rules.h), for logs and tests; NULL if CHECK_OK */
};

/*
 * In the SDM's order (access rights: register by register); the first rule that fails decides. check_host and
 * check_guest expect controls that are good; check_host has the checks related to address-space size too.
 */
struct check_result check_controls(const u64 v[VI_COUNT], const struct check_env *e);
struct check_result check_host(const u64 v[VI_COUNT], const struct check_env *e);
struct check_result check_guest(const u64 v[VI_COUNT], const struct check_env *e);

/* SDM: "Checks on Guest Page-Directory-Pointer-Table Entries": may a PDPTE have this value? Qualification if not: 2. */
bool check_pdpte(u64 pdpte, u32 maxphyaddr);

#endif
