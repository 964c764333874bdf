/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_VMXCAP_H
#define CORE_VMXCAP_H

#include "core/base.h"

/* Control words, in the order of vmx_controls.def's words. */
enum ctl_word { CTL_PIN, CTL_PROC, CTL_PROC2, CTL_VMEXIT, CTL_VMENTRY, CTL_WORDS };

/* From lib/x86/vmx_controls.def: enum { PIN_external_interrupt_exiting = 1u << 0, ... } */
enum ctl_bit {
#define CONTROL(word, bit, name, text, nested) word##_##name = (int)(1u << (bit)), /* bit 31 too: an int's sign */
#include "x86/vmx_controls.def"
#undef CONTROL
};

enum ctl_nested { NESTED_PASS, NESTED_VIRT, NESTED_HIDE }; /* see the table */

struct ctl_info {
	u8 word; /* enum ctl_word */
	u8 bit;
	u8 nested;        /* enum ctl_nested */
	const char *name; /* "enable_ept" */
	const char *text; /* the SDM's name: "enable EPT" */
};
extern const struct ctl_info ctl_table[];
extern const u32 ctl_table_count;

/* The VMX capability MSRs, 0x480 to 0x491 (absent ones 0). */
struct vmx_caps {
	u64 basic, misc, cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1, vmcs_enum, ept_vpid, vmfunc;
	/* per control word: low half bits that must be 1, high half bits that may be 1; TRUE MSRs where they exist */
	u64 ctl[CTL_WORDS];
};

/* May this bit of this word be 1? */
bool ctl_allowed(const struct vmx_caps *c, enum ctl_word w, u32 bits);
/*
 * want, plus the bits that must be 1. If a wanted bit isn't allowed, or a bit of forbid must be 1, *missing
 * (if not NULL) is set to the SDM's name of the lowest such bit and the return value still is the best fit;
 * otherwise *missing is NULL.
 */
u32 ctl_adjust(const struct vmx_caps *c, enum ctl_word w, u32 want, u32 forbid, const char **missing);

const char *exit_reason_name(u32 basic_reason); /* from exit_reasons.def; "?" if unknown */
const char *vmx_error_name(u32 number);         /* from vmx_errors.def; "?" if unknown */

/* EXIT_vmcall = 18, ... from lib/x86/exit_reasons.def: REASON(number, name, text) */
enum exit_reason {
#define REASON(number, name, text) EXIT_##name = (number),
#include "x86/exit_reasons.def"
#undef REASON
};
/* VMXERR_vmclear_vmxon_pointer = 3, ... from lib/x86/vmx_errors.def: VMXERR(number, name, text) */
enum vmx_error {
#define VMXERR(number, name, text) VMXERR_##name = (number),
#include "x86/vmx_errors.def"
#undef VMXERR
};

#endif
