// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on VMX Controls": "VM-Exit Control Fields" and "VM-Entry Control Fields": lists of MSRs, events to inject. */
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

/* A list with one MSR whose loading and storing hurts nobody. */
static u64 harmless_list(void)
{
	struct list_entry *e = page_alloc();

	for (u32 i = 0; i < 4; i++)
		e[i].msr = MSR_SYSENTER_CS;
	return (ulong)e;
}

struct list_rules {
	u32 address, count; /* fields */
	const struct where *aligned, *width, *end, *empty;
};

static void rows_list(struct entry *t, const struct list_rules *r, u64 list)
{
	u64 top = 1ull << entry_address_bits();

	for (u32 n = 1; n <= 2; n++) {
		const struct entry_change good[] = { { r->address, '=', list + 16 },
						     { r->count, '=', n },
						     { 0, 0, 0 } };

		entry_row(t, r->aligned, ENTERS, good);
	}
	for (u32 bit = 1; bit < 16; bit <<= 1) {
		const struct entry_change c[] = { { r->address, '=', list | bit }, { r->count, '=', 1 }, { 0, 0, 0 } };

		entry_row(t, r->aligned, FAILS_CONTROL, c);
	}
	for (u32 bit = entry_address_bits(); bit < 64; bit++) {
		const struct entry_change c[] = { { r->address, '=', list | 1ull << bit },
						  { r->count, '=', 1 },
						  { 0, 0, 0 } };

		entry_row(t, r->width, FAILS_CONTROL, c);
	}
	for (u32 n = 1; n <= 8; n++) {
		const struct entry_change c[] = { { r->address, '=', top - 16ull * n },
						  { r->count, '=', n + 1 },
						  { 0, 0, 0 } };

		entry_row(t, r->end, FAILS_CONTROL, c);
	}
	for (u32 i = 0; i < 3; i++) {
		static const u64 any[] = { ~0ull, 1, 1ull << 63 };
		const struct entry_change c[] = { { r->address, '=', any[i] }, { r->count, '=', 0 }, { 0, 0, 0 } };

		entry_row(t, r->empty, ENTERS, c);
	}
}

ENTRY(control_exit_store, .sdm = "VM-Exit Control Fields", .needs = TIMER,
      .rules = "entry.control.exit-store-aligned entry.control.exit-store-width entry.control.exit-store-end "
	       "entry.control.exit-store-empty")
{
	const struct list_rules r = { VMCS_vm_exit_msr_store_address,
				      VMCS_vm_exit_msr_store_count,
				      WHERE("entry.control.exit-store-aligned"),
				      WHERE("entry.control.exit-store-width"),
				      WHERE("entry.control.exit-store-end"),
				      WHERE("entry.control.exit-store-empty") };

	rows_list(t, &r, harmless_list());
}

ENTRY(control_exit_load, .sdm = "VM-Exit Control Fields", .needs = TIMER,
      .rules = "entry.control.exit-load-aligned entry.control.exit-load-width entry.control.exit-load-end "
	       "entry.control.exit-load-empty")
{
	const struct list_rules r = { VMCS_vm_exit_msr_load_address,
				      VMCS_vm_exit_msr_load_count,
				      WHERE("entry.control.exit-load-aligned"),
				      WHERE("entry.control.exit-load-width"),
				      WHERE("entry.control.exit-load-end"),
				      WHERE("entry.control.exit-load-empty") };

	rows_list(t, &r, harmless_list());
}

ENTRY(control_load, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.load-aligned entry.control.load-width entry.control.load-end entry.control.load-empty")
{
	const struct list_rules r = { VMCS_vm_entry_msr_load_address,      VMCS_vm_entry_msr_load_count,
				      WHERE("entry.control.load-aligned"), WHERE("entry.control.load-width"),
				      WHERE("entry.control.load-end"),     WHERE("entry.control.load-empty") };

	rows_list(t, &r, harmless_list());
}

ENTRY(control_save_timer, .sdm = "VM-Exit Control Fields", .needs = TIMER "; save VMX-preemption timer value",
      .rules = "entry.control.exit-save-timer")
{
	ROW(t, "entry.control.exit-save-timer", ENTERS, ADD(vm_exit_controls, VMEXIT_save_preemption_timer));
	ROW(t, "entry.control.exit-save-timer", FAILS_CONTROL, ADD(vm_exit_controls, VMEXIT_save_preemption_timer),
	    CLR(pin_based_controls, PIN_activate_preemption_timer));
}

ENTRY(control_smm, .sdm = "VM-Entry Control Fields", .needs = TIMER, .rules = "entry.control.smm-outside")
{
	ROW(t, "entry.control.smm-outside", FAILS_CONTROL, ADD(vm_entry_controls, VMENTRY_entry_to_smm));
	ROW(t, "entry.control.smm-outside", FAILS_CONTROL, ADD(vm_entry_controls, VMENTRY_deactivate_dual_monitor));
}

/* --- Events to inject --- */

#define VALID 0x80000000u
#define CODE 0x800u
#define TYPE(n) ((u32)(n) << 8)
enum { EXTERNAL = 0, NMI = 2, EXCEPTION = 3, SOFTWARE_INT = 4, PRIVILEGED = 5, SOFTWARE = 6, OTHER = 7 };
#define EVENT(type, vector) SET(vm_entry_interruption_info, VALID | TYPE(type) | (vector))
#define EVENT_CODE(type, vector) SET(vm_entry_interruption_info, VALID | TYPE(type) | CODE | (vector))
#define LENGTH(n) SET(vm_entry_instruction_length, n)
#define IF_ON ADD(guest_rflags, RFLAGS_IF)
/* IA32_VMX_BASIC: hardware exceptions may be injected with or without error code, whatever their vector. */
#define BASIC_ANY_CODE (1ull << 56)
#define MISC_LENGTH_0 (1ull << 30)
#define VEC_MC 18
#define VEC_CP 21

static bool has_code(u32 vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == 17;
}

ENTRY(control_inject_type, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.inject-type-reserved entry.control.inject-vector-nmi "
	       "entry.control.inject-vector-exception entry.control.inject-invalid")
{
	for (u32 vector = 0; vector < 256; vector += 5)
		ROW(t, "entry.control.inject-type-reserved", FAILS_CONTROL, EVENT(1, vector));
	for (u32 vector = 0; vector < 256; vector++)
		if (vector == VEC_NMI || vector < 32 || vector % 16 == 2)
			ROW(t, "entry.control.inject-vector-nmi", vector == VEC_NMI ? ENTERS : FAILS_CONTROL,
			    EVENT(NMI, vector));
	for (u32 vector = 32; vector < 256; vector += 7)
		ROW(t, "entry.control.inject-vector-exception", FAILS_CONTROL, EVENT(EXCEPTION, vector));
	ROW(t, "entry.control.inject-vector-exception", ENTERS, EVENT(EXCEPTION, 31));
	ROW(t, "entry.control.inject-invalid", ENTERS, SET(vm_entry_interruption_info, ~VALID));
	ROW(t, "entry.control.inject-invalid", ENTERS, SET(vm_entry_interruption_info, TYPE(1)));
}

ENTRY(control_inject_other, .sdm = "VM-Entry Control Fields", .needs = TIMER "; monitor trap flag",
      .rules = "entry.control.inject-vector-other")
{
	ROW(t, "entry.control.inject-vector-other", ENTERS, EVENT(OTHER, 0));
	/* 1 and 2 are SYSCALL and SYSENTER where there is FRED. */
	for (u32 vector = 3; vector < 256; vector += 11)
		ROW(t, "entry.control.inject-vector-other", FAILS_CONTROL, EVENT(OTHER, vector));
}

ENTRY(control_inject_code, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.inject-code-wanted entry.control.inject-code-unwanted entry.control.inject-code-type "
	       "entry.control.inject-code-reserved")
{
	static const u8 others[] = { EXTERNAL, NMI, SOFTWARE_INT, PRIVILEGED, SOFTWARE };
	u32 wrong = vmx_caps.basic & BASIC_ANY_CODE ? ENTERS : FAILS_CONTROL;

	vmwrite(VMCS_vm_entry_exception_error_code, 0);
	/* #CP has an error code only where there is CET. */
	for (u32 vector = 0; vector < 32; vector++) {
		if (vector == VEC_NMI || vector == VEC_CP)
			continue;
		if (has_code(vector)) {
			ROW(t, "entry.control.inject-code-wanted", ENTERS, EVENT_CODE(EXCEPTION, vector));
			ROW(t, "entry.control.inject-code-wanted", wrong, EVENT(EXCEPTION, vector));
		} else {
			ROW(t, "entry.control.inject-code-unwanted", ENTERS, EVENT(EXCEPTION, vector));
			ROW(t, "entry.control.inject-code-unwanted", wrong, EVENT_CODE(EXCEPTION, vector));
		}
	}
	for (u32 i = 0; i < ARRAY_SIZE(others); i++)
		ROW(t, "entry.control.inject-code-type", FAILS_CONTROL,
		    EVENT_CODE(others[i], others[i] == NMI ? VEC_NMI : VEC_GP), LENGTH(2), IF_ON);
	for (u32 bit = 16; bit < 32; bit++)
		ROW(t, "entry.control.inject-code-reserved", FAILS_CONTROL, EVENT_CODE(EXCEPTION, VEC_GP),
		    SET(vm_entry_exception_error_code, 1u << bit));
	ROW(t, "entry.control.inject-code-reserved", ENTERS, EVENT_CODE(EXCEPTION, VEC_GP),
	    SET(vm_entry_exception_error_code, 0x7fff));
	ROW(t, "entry.control.inject-code-reserved", ENTERS, EVENT(EXCEPTION, VEC_UD),
	    SET(vm_entry_exception_error_code, ~0u));
}

ENTRY_OF(control_inject_code_real, OPT_ept | OPT_unrestricted, NULL, .sdm = "VM-Entry Control Fields", .needs = TIMER,
	 .opt = OPT_ept | OPT_unrestricted, .rules = "entry.control.inject-code-real")
{
	for (u32 vector = 0; vector < 32; vector++)
		if (has_code(vector))
			ROW(t, "entry.control.inject-code-real", FAILS_CONTROL, EVENT_CODE(EXCEPTION, vector),
			    SET(vm_entry_exception_error_code, 0), CLR(guest_cr0, CR0_PE | CR0_PG));
}

ENTRY(control_inject_reserved, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.inject-reserved")
{
	/* 13: nested exception, where there is FRED. */
	for (u32 bit = 12; bit < 31; bit++)
		if (bit != 13)
			ROW(t, "entry.control.inject-reserved", FAILS_CONTROL,
			    SET(vm_entry_interruption_info, VALID | TYPE(EXCEPTION) | VEC_UD | 1u << bit));
	ROW(t, "entry.control.inject-reserved", ENTERS, EVENT(EXCEPTION, VEC_UD));
}

ENTRY(control_inject_length, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.inject-length entry.control.inject-length-zero entry.control.inject-length-unused")
{
	static const struct {
		u8 type, vector;
	} events[] = { { SOFTWARE_INT, 0x20 }, { SOFTWARE_INT, 0xff }, { PRIVILEGED, VEC_DB }, { SOFTWARE, VEC_BP } };
	u32 zero = vmx_caps.misc & MISC_LENGTH_0 ? ENTERS : FAILS_CONTROL;

	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		u32 type = events[i].type, vector = events[i].vector;

		for (u32 n = 1; n <= 15; n++)
			ROW(t, "entry.control.inject-length", ENTERS, EVENT(type, vector), LENGTH(n));
		ROW(t, "entry.control.inject-length", FAILS_CONTROL, EVENT(type, vector), LENGTH(16));
		ROW(t, "entry.control.inject-length", FAILS_CONTROL, EVENT(type, vector), LENGTH(0x80000001));
		ROW(t, "entry.control.inject-length-zero", zero, EVENT(type, vector), LENGTH(0));
	}
	ROW(t, "entry.control.inject-length-unused", ENTERS, EVENT(EXCEPTION, VEC_UD), LENGTH(16));
	ROW(t, "entry.control.inject-length-unused", ENTERS, EVENT(EXCEPTION, VEC_UD), LENGTH(0));
	ROW(t, "entry.control.inject-length-unused", ENTERS, EVENT(NMI, VEC_NMI), LENGTH(~0u));
	ROW(t, "entry.control.inject-length-unused", ENTERS, EVENT(EXTERNAL, 0x20), LENGTH(16), IF_ON);
}
