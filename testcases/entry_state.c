// SPDX-License-Identifier: BSD-2-Clause
/*
 * SDM: "Checks on Guest Non-Register State", "Checks on Guest Page-Directory-Pointer-Table Entries". Blocking by NMI is tried with
 * virtual NMIs only, or goes with the entry that each test ends with.
 */
#include "lhv/mem.h"
#include "testcases/entry_shapes.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define STATE "Checks on Guest Non-Register State"

enum { ACTIVE, HLT, SHUTDOWN, WAIT_SIPI };
#define BY_STI 1u
#define BY_MOV_SS 2u
#define BY_SMI 4u
#define BY_NMI 8u

#define VALID 0x80000000u
#define EXTERNAL 0u
#define NMI 0x200u
#define EXCEPTION 0x300u
#define SOFTWARE_INT 0x400u
#define OTHER 0x700u
#define VEC_MC 18u
#define INJECT(event) SET(vm_entry_interruption_info, VALID | (event))
#define ACTIVITY(n) SET(guest_activity_state, n)
#define BLOCKED(bits) SET(guest_interruptibility_state, bits)
#define IF_ON ADD(guest_rflags, RFLAGS_IF)
#define LENGTH_2 SET(vm_entry_instruction_length, 2)

#define RFLAGS_TF 0x100u
#define DEBUGCTL_BTF 2u
#define PENDING_BS 0x4000u
#define PENDING_ENABLED 0x1000u

ENTRY(guest_activity, .sdm = STATE, .needs = TIMER,
      .rules = "entry.guest.activity-range entry.guest.activity-supported")
{
	for (u32 n = 4; n < 8; n++)
		ROW(t, "entry.guest.activity-range", FAILS_GUEST, ACTIVITY(n));
	for (u32 bit = 3; bit < 32; bit++)
		ROW(t, "entry.guest.activity-range", FAILS_GUEST, ACTIVITY(1u << bit));
	/* What isn't offered. Where it is, wait-for-SIPI would last until one comes. */
	ROW(t, "entry.guest.activity-supported", ENTERS, ACTIVITY(ACTIVE));
	for (u32 n = HLT; n <= WAIT_SIPI; n++)
		if (!(vmx_caps.misc >> (5 + n) & 1))
			ROW(t, "entry.guest.activity-supported", FAILS_GUEST, ACTIVITY(n));
	if (vmx_caps.misc >> (5 + HLT) & 1)
		ROW(t, "entry.guest.activity-supported", ENTERS, ACTIVITY(HLT));
}

ENTRY(guest_hlt, .sdm = STATE, .needs = TIMER "; activity state HLT", .rules = "entry.guest.activity-blocking")
{
	ROW(t, "entry.guest.activity-blocking", ENTERS, ACTIVITY(HLT));
	ROW(t, "entry.guest.activity-blocking", FAILS_GUEST, ACTIVITY(HLT), BLOCKED(BY_MOV_SS));
	ROW(t, "entry.guest.activity-blocking", FAILS_GUEST, ACTIVITY(HLT), BLOCKED(BY_STI), IF_ON);
}

ENTRY(guest_hlt_event, .sdm = STATE, .needs = TIMER "; activity state HLT", .rules = "entry.guest.activity-hlt-event")
{
	static const struct {
		u32 event, end;
	} events[] = {
		{ EXTERNAL | 0x20, ENTERS },          { NMI | VEC_NMI, ENTERS },
		{ EXCEPTION | VEC_DB, ENTERS },       { EXCEPTION | VEC_MC, ENTERS },
		{ EXCEPTION | VEC_UD, FAILS_GUEST },  { EXCEPTION | VEC_DE, FAILS_GUEST },
		{ SOFTWARE_INT | 0x20, FAILS_GUEST }, { 0x600 | VEC_BP, FAILS_GUEST },
		{ 0x500 | VEC_DB, FAILS_GUEST },
	};

	for (u32 i = 0; i < ARRAY_SIZE(events); i++)
		ROW(t, "entry.guest.activity-hlt-event", events[i].end, ACTIVITY(HLT), INJECT(events[i].event), IF_ON,
		    LENGTH_2);
}

ENTRY_OF(guest_hlt_user, 0, shape_user, .sdm = STATE, .needs = TIMER "; activity state HLT",
	 .rules = "entry.guest.activity-hlt-dpl")
{
	ROW(t, "entry.guest.activity-hlt-dpl", FAILS_GUEST, ACTIVITY(HLT));
}

ENTRY(guest_blocking, .sdm = STATE, .needs = TIMER,
      .rules = "entry.guest.blocking-reserved entry.guest.blocking-both entry.guest.blocking-sti-if "
	       "entry.guest.blocking-smi "
	       "entry.guest.blocking-interrupt entry.guest.blocking-nmi-mov-ss")
{
	/* 4: enclave interruption, where there is SGX. */
	for (u32 bit = 5; bit < 32; bit++)
		ROW(t, "entry.guest.blocking-reserved", FAILS_GUEST, BLOCKED(1u << bit));
	ROW(t, "entry.guest.blocking-both", FAILS_GUEST, BLOCKED(BY_STI | BY_MOV_SS), IF_ON);
	ROW(t, "entry.guest.blocking-both", ENTERS, BLOCKED(BY_MOV_SS), IF_ON);
	ROW(t, "entry.guest.blocking-both", ENTERS, BLOCKED(BY_MOV_SS));
	ROW(t, "entry.guest.blocking-sti-if", FAILS_GUEST, BLOCKED(BY_STI));
	ROW(t, "entry.guest.blocking-sti-if", ENTERS, BLOCKED(BY_STI), IF_ON);
	ROW(t, "entry.guest.blocking-smi", FAILS_GUEST, BLOCKED(BY_SMI));
	ROW(t, "entry.guest.blocking-interrupt", FAILS_GUEST, BLOCKED(BY_STI), IF_ON, INJECT(EXTERNAL | 0x20));
	ROW(t, "entry.guest.blocking-interrupt", FAILS_GUEST, BLOCKED(BY_MOV_SS), IF_ON, INJECT(EXTERNAL | 0x20));
	ROW(t, "entry.guest.blocking-interrupt", ENTERS, IF_ON, INJECT(EXTERNAL | 0x20));
	ROW(t, "entry.guest.blocking-nmi-mov-ss", FAILS_GUEST, BLOCKED(BY_MOV_SS), INJECT(NMI | VEC_NMI));
	ROW(t, "entry.guest.blocking-nmi-mov-ss", ENTERS, BLOCKED(BY_MOV_SS), INJECT(EXCEPTION | VEC_UD));
}

ENTRY(guest_blocking_virtual, .sdm = STATE, .needs = TIMER "; NMI exiting; virtual NMIs",
      .rules = "entry.guest.blocking-virtual-nmi")
{
	vmwrite_bits(VMCS_pin_based_controls, 0, PIN_nmi_exiting | PIN_virtual_nmis);
	ROW(t, "entry.guest.blocking-virtual-nmi", FAILS_GUEST, BLOCKED(BY_NMI), INJECT(NMI | VEC_NMI));
	ROW(t, "entry.guest.blocking-virtual-nmi", ENTERS, BLOCKED(BY_NMI));
	ROW(t, "entry.guest.blocking-virtual-nmi", ENTERS, INJECT(NMI | VEC_NMI));
	ROW(t, "entry.guest.blocking-virtual-nmi", ENTERS, BLOCKED(BY_NMI), INJECT(EXCEPTION | VEC_UD));
}

ENTRY(guest_pending, .sdm = STATE, .needs = TIMER, .rules = "entry.guest.pending-reserved entry.guest.pending-free")
{
	/* 3:0 breakpoints, 11 bus lock, 12 enabled breakpoint, 14 single step, 16 RTM */
	for (u32 bit = 4; bit < 32; bit++)
		if (bit != 11 && bit != 12 && bit != 14 && bit != 16)
			ROW(t, "entry.guest.pending-reserved", FAILS_GUEST,
			    SET(guest_pending_debug_exceptions, 1ull << bit));
	ROW(t, "entry.guest.pending-reserved", ENTERS, SET(guest_pending_debug_exceptions, PENDING_ENABLED | 0xf));
	ROW(t, "entry.guest.pending-free", ENTERS, SET(guest_pending_debug_exceptions, PENDING_BS));
	ROW(t, "entry.guest.pending-free", ENTERS, ADD(guest_rflags, RFLAGS_TF));
}

#ifdef __x86_64__
ENTRY(guest_pending_high, .sdm = STATE, .needs = TIMER, .flags = TEST_AMD64, .rules = "entry.guest.pending-reserved")
{
	for (u32 bit = 32; bit < 64; bit++)
		ROW(t, "entry.guest.pending-reserved", FAILS_GUEST, SET(guest_pending_debug_exceptions, 1ull << bit));
}
#endif

static void rows_step(struct entry *t, u32 blocked, u32 activity)
{
	for (u32 tf = 0; tf < 2; tf++) {
		for (u32 btf = 0; btf < 2; btf++) {
			bool step = tf && !btf;

			for (u32 bs = 0; bs < 2; bs++)
				entry_row(t,
					  step ? WHERE("entry.guest.pending-bs-set") :
						 WHERE("entry.guest.pending-bs-clear"),
					  bs == step ? ENTERS : FAILS_GUEST,
					  (const struct entry_change[]){
						  BLOCKED(blocked),
						  ACTIVITY(activity),
						  ADD(guest_rflags,
						      (tf ? RFLAGS_TF : 0) | (blocked == BY_STI ? RFLAGS_IF : 0)),
						  SET(guest_ia32_debugctl, btf ? DEBUGCTL_BTF : 0),
						  SET(guest_pending_debug_exceptions, bs ? PENDING_BS : 0),
						  { 0, 0, 0 } });
		}
	}
}

ENTRY(guest_pending_step, .sdm = STATE, .needs = TIMER "; load debug controls",
      .rules = "entry.guest.pending-bs-set entry.guest.pending-bs-clear")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_debug_controls);
	rows_step(t, BY_MOV_SS, ACTIVE);
	rows_step(t, BY_STI, ACTIVE);
}

ENTRY(guest_pending_step_hlt, .sdm = STATE, .needs = TIMER "; load debug controls; activity state HLT",
      .rules = "entry.guest.pending-bs-set entry.guest.pending-bs-clear")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_debug_controls);
	rows_step(t, 0, HLT);
}

ENTRY(guest_link, .sdm = STATE, .needs = TIMER,
      .rules = "entry.guest.link-aligned entry.guest.link-width entry.guest.link-revision entry.guest.link-shadow")
{
	u64 page = (ulong)page_alloc();
	volatile u32 *revision = (volatile u32 *)(ulong)page;
	u32 right = (u32)vmx_caps.basic & 0x7fffffff;

	*revision = right;
	for (u32 bit = 0; bit < 12; bit++)
		ROW(t, "entry.guest.link-aligned", FAILS_LINK, SET(vmcs_link_pointer, page | 1u << bit));
	for (u32 bit = entry_address_bits(); bit < 64; bit++)
		ROW(t, "entry.guest.link-width", FAILS_LINK, SET(vmcs_link_pointer, page | 1ull << bit));
	ROW(t, "entry.guest.link-aligned", ENTERS, SET(vmcs_link_pointer, page));
	ROW(t, "entry.guest.link-aligned", ENTERS, SET(vmcs_link_pointer, ~0ull));
	for (u32 bit = 0; bit < 31; bit++) {
		*revision = right ^ 1u << bit;
		ROW(t, "entry.guest.link-revision", FAILS_LINK, SET(vmcs_link_pointer, page));
	}
	/* VMCS shadowing is off. */
	*revision = right | 0x80000000;
	ROW(t, "entry.guest.link-shadow", FAILS_LINK, SET(vmcs_link_pointer, page));
}

ENTRY(guest_link_current, .sdm = STATE, .needs = TIMER, .rules = "entry.guest.link-current")
{
	ROW(t, "entry.guest.link-current", FAILS_LINK, SET(vmcs_link_pointer, t->v.vmcs_pa));
}

/* --- PDPTEs --- */

#define PDPTES "Checks on Guest Page-Directory-Pointer-Table Entries"
/* 2:1 and 8:5 */
#define PDPTE_RESERVED 0x1e6u

ENTRY_OF(guest_pdpte_vmcs, OPT_ept, shape_32, .sdm = PDPTES, .needs = TIMER, .opt = OPT_ept,
	 .rules = "entry.guest.pdpte-reserved entry.guest.pdpte-vmcs entry.guest.pdpte-absent")
{
	for (u32 field = VMCS_guest_pdpte0; field <= VMCS_guest_pdpte3; field += 2) {
		for (u32 bit = 1; bit < 64; bit++) {
			bool reserved = bit >= entry_address_bits() || PDPTE_RESERVED >> (bit & 31) & (bit < 32);
			const struct entry_change present[] = { { field, '=', 1 | 1ull << bit }, { 0, 0, 0 } };
			const struct entry_change absent[] = { { field, '=', 1ull << bit }, { 0, 0, 0 } };

			if (reserved) {
				entry_row(t, WHERE("entry.guest.pdpte-vmcs"), FAILS_PDPTE, present);
				entry_row(t, WHERE("entry.guest.pdpte-absent"), ENTERS, absent);
			} else if (bit >= 9) {
				entry_row(t, WHERE("entry.guest.pdpte-reserved"), ENTERS, present);
			}
		}
	}
}

ENTRY_OF(guest_pdpte_memory, 0, shape_32, .sdm = PDPTES, .needs = TIMER,
	 .rules = "entry.guest.pdpte-reserved entry.guest.pdpte-memory entry.guest.pdpte-absent")
{
	u64 *table = page_alloc();

	for (u32 i = 0; i < 4; i++) {
		const u64 *real = (const u64 *)(ulong)vmread(VMCS_guest_cr3);

		for (u32 bit = 1; bit < 64; bit++) {
			bool reserved = bit >= entry_address_bits() || PDPTE_RESERVED >> (bit & 31) & (bit < 32);

			for (u32 k = 0; k < 4; k++)
				table[k] = real[k];
			table[i] = 1 | 1ull << bit;
			if (reserved)
				ROW(t, "entry.guest.pdpte-memory", FAILS_PDPTE, SET(guest_cr3, (ulong)table));
			else if (bit >= 9)
				ROW(t, "entry.guest.pdpte-reserved", ENTERS, SET(guest_cr3, (ulong)table));
			table[i] &= ~1ull;
			if (reserved)
				ROW(t, "entry.guest.pdpte-absent", ENTERS, SET(guest_cr3, (ulong)table));
		}
	}
}

#ifdef __x86_64__
ENTRY_OF(guest_pdpte_unused, OPT_ept, NULL, .sdm = PDPTES, .needs = TIMER, .opt = OPT_ept, .flags = TEST_AMD64,
	 .rules = "entry.guest.pdpte-unused")
{
	ROW(t, "entry.guest.pdpte-unused", ENTERS, SET(guest_pdpte0, ~0ull), SET(guest_pdpte3, ~0ull));
}
#endif
