// SPDX-License-Identifier: BSD-2-Clause
/*
 * The VMCS over many trips: what L1 wrote is what L1 reads, and what L2 did shows, however the host keeps the fields (an L0
 * that nests copies them about, and changes its ways when it sees many accesses).
 */
#include "core/rng.h"
#include "lhv/guest.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define TRIPS 700u
#define RFLAGS_ID (1u << 21) /* nobody looks at it */
#define MISC_VMWRITE_ANY (1ull << 29)
#define ENTRY_FAILURE (1u << 31)

/* Counts in DX, with the lowest bit in CR4.TSD; the flags are L1's to change. */
static __attribute__((noreturn)) ulong l2_counts(ulong count)
{
	for (;; count++) {
		write_cr4((read_cr4() & ~(ulong)CR4_TSD) | (count & 1 ? CR4_TSD : 0));
		l2_call(L2_STEP, count);
	}
}

/* Fields that L1 may write to anything while nothing is injected. */
struct model {
	ulong error_code, length, flags, controls;
};

static void write_all(const struct model *m)
{
	vmwrite(VMCS_vm_entry_exception_error_code, m->error_code);
	vmwrite(VMCS_vm_entry_instruction_length, m->length);
	vmwrite(VMCS_guest_rflags, m->flags);
	vmwrite(VMCS_primary_proc_based_controls, m->controls);
}

static void check_all(const struct model *m)
{
	expect_eq(vmread(VMCS_vm_entry_exception_error_code), m->error_code);
	expect_eq(vmread(VMCS_vm_entry_instruction_length), m->length);
	expect_eq(vmread(VMCS_guest_rflags) & RFLAGS_ID, m->flags & RFLAGS_ID);
	expect_eq(vmread(VMCS_primary_proc_based_controls), m->controls);
}

static void change(struct model *m, struct rng *r)
{
	m->error_code = (u32)rng_next(r);
	m->length = rng_below(r, 16);
	m->flags = (m->flags & ~(ulong)RFLAGS_ID) | (rng_below(r, 2) ? RFLAGS_ID : 0);
	m->controls ^= (ulong)PROC_rdpmc_exiting;
}

/* VMCLEAR, then VMPTRLD: the next entry is a VMLAUNCH. */
static void reload(struct vcpu *v)
{
	expect_eq(vmx_clear_raw(&v->vmcs_pa), 0);
	expect_eq(vmx_ptrld_raw(&v->vmcs_pa), 0);
	v->launched = false;
}

/* Read-only fields keep what VMWRITE put there, until the next exit. */
static void write_exit_information(struct rng *r)
{
	ulong value = (u32)rng_next(r);

	vmwrite(VMCS_exit_qualification, value);
	vmwrite(VMCS_guest_linear_address, ~value);
	expect_eq(vmread(VMCS_exit_qualification), value);
	expect_eq(vmread(VMCS_guest_linear_address), ~value);
}

/* Another VMCS for a while; the one of v is as it was. */
static void visit(struct vcpu *v, u64 other, struct model *m, struct rng *r)
{
	expect_eq(vmx_ptrld_raw(&other), 0);
	check_all(m);
	change(m, r);
	write_all(m);
	expect_eq(vmx_ptrld_raw(&v->vmcs_pa), 0);
}

/* An entry that fails for guest state: its exit information shows, L2's state is as it was. */
static void fail(struct vcpu *v)
{
	ulong flags = vmread(VMCS_guest_rflags);
	struct exit e;

	vmwrite(VMCS_guest_rflags, flags & ~(ulong)RFLAGS_FIXED);
	e = enter_once(v);
	expect(e.entry.kind == OUT_OK);
	expect_eq(e.reason, EXIT_invalid_guest_state | ENTRY_FAILURE);
	expect_eq(vmread(VMCS_exit_qualification), 0);
	expect_eq(vmread(VMCS_guest_rflags), flags & ~(ulong)RFLAGS_FIXED);
	vmwrite(VMCS_guest_rflags, flags);
}

TEST(vmx, fields_through_trips, .sdm = "Software Use of Virtual-Machine Control Structures",
     .rules = "vmcs.fields-survive vmcs.active-several")
{
	struct vcpu other, v;
	struct model mine, theirs;
	struct rng r;

	rng_seed(&r, 3);
	test_vcpu(&other, c, 0);
	theirs = (struct model){ .flags = vmread(VMCS_guest_rflags),
				 .controls = vmread(VMCS_primary_proc_based_controls) };
	change(&theirs, &r);
	write_all(&theirs);
	test_vcpu(&v, c, 0);
	guest(&v, l2_counts, 1);
	mine = (struct model){ .flags = RFLAGS_FIXED, .controls = vmread(VMCS_primary_proc_based_controls) };
	for (u32 i = 1; i <= TRIPS; i++) {
		struct exit e = enter(&v);

		require_call(&v, e, L2_STEP);
		require_eq(v.g.dx, i);
		expect_eq(!!(vmread(VMCS_guest_cr4) & CR4_TSD), i & 1);
		if (i > 1)
			check_all(&mine);
		mine.flags = vmread(VMCS_guest_rflags);
		change(&mine, &r);
		write_all(&mine);
		if (i % 5 == 0 && vmx_caps.misc & MISC_VMWRITE_ANY)
			write_exit_information(&r);
		if (i % 7 == 0)
			visit(&v, other.vmcs_pa, &theirs, &r);
		if (i % 31 == 0)
			fail(&v);
		if (i % 61 == 0)
			reload(&v);
		check_all(&mine);
	}
}
