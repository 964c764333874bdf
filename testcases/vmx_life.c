// SPDX-License-Identifier: BSD-2-Clause
/* Into VMX operation and out of it: what VMXON asks of the registers, what is fixed then, and what outlives VMXOFF. */
#include "core/fmt.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/insn_table.h"
#include "testcases/judge.h"
#include "testcases/l1_window.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define OUTCOME(o) ((u64)(o).kind << 48 | (u64)(o).vector << 32 | (o).number)
#define FAULT_GP OUTCOME(out_fault(VEC_GP, 0))

/* Bits that a test can change without being lost: not protection, nor the kind of paging, nor caches or user pages closed. */
#define CR0_HARMLESS (~(CR0_PE | CR0_PG | CR0_CD | CR0_NW | CR0_ET))
#define CR4_HARMLESS (~(CR4_PAE | CR4_SMAP | CR4_SMEP | CR4_LA57 | CR4_CET | CR4_PCIDE | CR4_PSE))

/* MOV to CR, outside of VMX operation: false if the CPU doesn't take the value. */
static bool set_cr0(ulong value)
{
	return !write_cr0_raw(value) && read_cr0() == value;
}

static bool set_cr4(ulong value)
{
	return !write_cr4_raw(value) && read_cr4() == value;
}

/* VMXON, and VMXOFF again if it succeeded. */
static struct outcome try_vmxon(struct cpu *c)
{
	struct outcome o = vmxon(c->vmxon_pa);

	if (o.kind == OUT_OK)
		vmxoff();
	return o;
}

/* --- CR0 and CR4 at VMXON --- */

TEST(vmx, vmxon_cr0_bits, .sdm = "VMX-Fixed Bits in CR0",
     .rules = "insn.vmxon.gp-cr0 insn.vmxon.cr0-free insn.vmxon.fault-before-operand")
{
	static char name[8];
	const ulong cr0 = read_cr0();

	judge_begin();
	expect_out(vmx_off(c), out_ok());
	for (u32 bit = 0; bit < 32; bit++) {
		const ulong flipped = cr0 ^ 1ul << bit, fixed0 = (ulong)vmx_caps.cr0_fixed0,
			    fixed1 = (ulong)vmx_caps.cr0_fixed1;
		bool legal = (flipped & fixed0) == fixed0 && !(flipped & ~fixed1);

		if (!(CR0_HARMLESS >> bit & 1) || !set_cr0(flipped))
			continue;
		fmt(name, sizeof(name), "bit %u", bit);
		judge_about("CR0", name);
		if (legal) {
			JUDGE("insn.vmxon.cr0-free", OUTCOME(try_vmxon(c)), OUTCOME(out_ok()));
		} else {
			JUDGE("insn.vmxon.gp-cr0", OUTCOME(try_vmxon(c)), FAULT_GP);
			JUDGE("insn.vmxon.fault-before-operand", OUTCOME(vmxon(1)), FAULT_GP);
		}
		write_cr0(cr0);
	}
	expect_out(vmx_on(c), out_ok());
	judge_done();
}

/* A bit that VMX operation doesn't know but the CPU lets be set: there may be none. Those that it knows may be set. */
TEST(vmx, vmxon_cr4_bits, .sdm = "VMX-Fixed Bits in CR4",
     .rules = "insn.vmxon.gp-cr4 insn.vmxon.cr4-free insn.vmxon.ud-vmxe")
{
	static char name[8];
	const ulong cr4 = read_cr4();

	judge_begin();
	judge_absent("insn.vmxon.gp-cr4");
	expect_out(vmx_off(c), out_ok());
	for (u32 bit = 0; bit < 32; bit++) {
		const ulong flipped = cr4 ^ 1ul << bit;

		if (!(CR4_HARMLESS >> bit & 1) || !set_cr4(flipped))
			continue;
		fmt(name, sizeof(name), "bit %u", bit);
		judge_about("CR4", name);
		if (flipped & ~(ulong)vmx_caps.cr4_fixed1)
			JUDGE("insn.vmxon.gp-cr4", OUTCOME(try_vmxon(c)), FAULT_GP);
		else if (flipped & CR4_VMXE)
			JUDGE("insn.vmxon.cr4-free", OUTCOME(try_vmxon(c)), OUTCOME(out_ok()));
		else
			JUDGE("insn.vmxon.ud-vmxe", OUTCOME(try_vmxon(c)), OUTCOME(out_fault(VEC_UD, 0)));
		write_cr4(cr4);
	}
	expect_out(vmx_on(c), out_ok());
	judge_done();
}

/*
 * NE and VMXE are free outside of VMX operation, where an L0 has to keep them at 1 all the same: it sees such a MOV, and must
 * judge all of the value.
 */
TEST(vmx, outside_wrong_values, .sdm = "MOV-Move to/from Control Registers", .rules = "vmcs.outside-judged")
{
	static char name[8];
	const ulong cr0 = read_cr0(), cr4 = read_cr4();
	ulong wrong[] = {
		(cr0 & ~(ulong)CR0_PE) | CR0_PG,
		cr0 | CR0_NW,
#ifdef __x86_64__
		cr0 | 1ul << 32,
		cr0 | 1ul << 63,
#endif
	};

	judge_begin();
	expect_out(vmx_off(c), out_ok());
	for (u32 n = 0; n < ARRAY_SIZE(wrong); n++) {
		judge_about("CR0.NE changes", "with a wrong value of the rest");
		JUDGE("vmcs.outside-judged", OUTCOME(vmx_outcome(write_cr0_raw(wrong[n] & ~(ulong)CR0_NE))), FAULT_GP);
		JUDGE("vmcs.outside-judged", read_cr0(), cr0);
	}
	for (u32 bit = 0; bit < 8 * sizeof(ulong); bit++) {
		bool other = bit < 32 && !(CR4_HARMLESS >> bit & 1);

		if (other || bit == 13 || set_cr4(cr4 | 1ul << bit)) {
			write_cr4(cr4);
			continue;
		}
		fmt(name, sizeof(name), "bit %u", bit);
		judge_about("CR4.VMXE changes", name);
		JUDGE("vmcs.outside-judged", OUTCOME(vmx_outcome(write_cr4_raw((cr4 & ~(ulong)CR4_VMXE) | 1ul << bit))),
		      FAULT_GP);
		JUDGE("vmcs.outside-judged", read_cr4(), cr4);
	}
	expect_out(vmx_on(c), out_ok());
	judge_done();
}

#ifndef __x86_64__
/* L1 without paging: its memory is mapped to itself, so nothing else changes. */
static struct outcome without_paging(struct cpu *c, bool vmxe)
{
	const ulong cr0 = read_cr0(), cr4 = read_cr4();
	struct outcome o;

	write_cr0(cr0 & ~(ulong)CR0_PG);
	if (!vmxe)
		write_cr4(cr4 & ~(ulong)CR4_VMXE);
	o = try_vmxon(c);
	write_cr4(cr4);
	write_cr0(cr0);
	return o;
}

TEST(vmx, vmxon_no_paging, .sdm = "VMX-Fixed Bits in CR0", .flags = TEST_I386,
     .rules = "insn.vmxon.gp-cr0 insn.vmxon.ud-vmxe")
{
	judge_begin();
	expect_out(vmx_off(c), out_ok());
	judge_about("CR0.PG = 0", "CR4.VMXE = 1");
	JUDGE("insn.vmxon.gp-cr0", OUTCOME(without_paging(c, true)), FAULT_GP);
	judge_about("CR0.PG = 0", "CR4.VMXE = 0");
	JUDGE("insn.vmxon.ud-vmxe", OUTCOME(without_paging(c, false)), OUTCOME(out_fault(VEC_UD, 0)));
	expect_out(vmx_on(c), out_ok());
	judge_done();
}
#endif

/* --- In VMX root operation --- */

TEST(vmx, root_cr0_bits, .sdm = "Restrictions on VMX Operation", .rules = "vmcs.root-cr0-fixed vmcs.root-cr0-free")
{
	static char name[8];
	const ulong cr0 = read_cr0();

	judge_begin();
	for (u32 bit = 0; bit < 32; bit++) {
		const ulong flipped = cr0 ^ 1ul << bit, fixed0 = (ulong)vmx_caps.cr0_fixed0;
		bool legal = (flipped & fixed0) == fixed0;

		/* PE and PG: vmx.c, where the image allows it. Reserved bits that aren't fixed aren't VMX's. */
		if (!(CR0_HARMLESS >> bit & 1) || (flipped & 1ul << bit && legal && bit > 5 && bit != 16 && bit != 18))
			continue;
		fmt(name, sizeof(name), "bit %u", bit);
		judge_about("CR0", name);
		if (legal) {
			JUDGE("vmcs.root-cr0-free", OUTCOME(vmx_outcome(write_cr0_raw(flipped))), OUTCOME(out_ok()));
			JUDGE("vmcs.root-cr0-free", read_cr0(), flipped);
		} else {
			JUDGE("vmcs.root-cr0-fixed", OUTCOME(vmx_outcome(write_cr0_raw(flipped))), FAULT_GP);
			JUDGE("vmcs.root-cr0-fixed", read_cr0(), cr0);
		}
		write_cr0(cr0);
	}
	judge_done();
}

TEST(vmx, root_cr4_bits, .sdm = "Restrictions on VMX Operation", .rules = "vmcs.root-cr4-fixed vmcs.root-cr4-free")
{
	static char name[8];
	const ulong cr4 = read_cr4();

	judge_begin();
	for (u32 bit = 0; bit < 32; bit++) {
		const ulong flipped = cr4 ^ 1ul << bit;
		bool legal = flipped & CR4_VMXE && !(flipped & ~(ulong)vmx_caps.cr4_fixed1);

		if (!(CR4_HARMLESS >> bit & 1))
			continue;
		fmt(name, sizeof(name), "bit %u", bit);
		judge_about("CR4", name);
		if (legal) {
			JUDGE("vmcs.root-cr4-free", OUTCOME(vmx_outcome(write_cr4_raw(flipped))), OUTCOME(out_ok()));
			JUDGE("vmcs.root-cr4-free", read_cr4(), flipped);
		} else {
			JUDGE("vmcs.root-cr4-fixed", OUTCOME(vmx_outcome(write_cr4_raw(flipped))), FAULT_GP);
			JUDGE("vmcs.root-cr4-fixed", read_cr4(), cr4);
		}
		write_cr4(cr4);
	}
	judge_done();
}

/* LMSW and CLTS write CR0 as well; neither can clear a fixed bit, and both must do the rest. */
TEST(vmx, root_lmsw_clts, .sdm = "Restrictions on VMX Operation", .rules = "vmcs.root-cr0-free")
{
	const ulong cr0 = read_cr0();
	struct l1_code l;

	judge_begin();
	l1_code_begin(&l, c);
	/* They leave the flags, which say OK then. */
	l.in.flags = RFLAGS_FIXED;
	for (u32 value = 0; value < 16; value += 2) {
		/* PE stays. LMSW AX */
		l.in.reg[L1_AX] = value;
		judge_about("LMSW", NULL);
		JUDGE("vmcs.root-cr0-free", OUTCOME(l1_code_run(&l, "\x0f\x01\xf0", 3)), OUTCOME(out_ok()));
		JUDGE("vmcs.root-cr0-free", read_cr0(), (cr0 & ~0xeul) | value);
		judge_about("CLTS", NULL);
		JUDGE("vmcs.root-cr0-free", OUTCOME(l1_code_run(&l, "\x0f\x06", 2)), OUTCOME(out_ok()));
		JUDGE("vmcs.root-cr0-free", read_cr0(), (cr0 & ~0xeul) | (value & ~0x8ul));
		write_cr0(cr0);
	}
	l1_code_end(&l);
	judge_done();
}

/* --- MSRs --- */

/* What firmware has locked stays. lhv locks it itself if need be, so it is locked here. */
TEST(vmx, feature_control_locked, .sdm = "Architectural MSRs", .rules = "vmcs.feature-control-locked")
{
	const u64 value = msr_read(MSR_FEATURE_CONTROL);

	judge_begin();
	judge_about("IA32_FEATURE_CONTROL", NULL);
	JUDGE("vmcs.feature-control-locked", value & (FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX),
	      FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	for (u32 bit = 0; bit < 16; bit++) {
		JUDGE("vmcs.feature-control-locked", OUTCOME(msr_write_try(MSR_FEATURE_CONTROL, value ^ 1ull << bit)),
		      FAULT_GP);
		JUDGE("vmcs.feature-control-locked", msr_read(MSR_FEATURE_CONTROL), value);
	}
	JUDGE("vmcs.feature-control-locked", OUTCOME(msr_write_try(MSR_FEATURE_CONTROL, value)), FAULT_GP);
	judge_done();
}

TEST(vmx, capability_msrs_read_only, .sdm = "VMX Capability Reporting Facility",
     .rules = "vmcs.capability-msrs vmcs.capability-basic")
{
	static char name[8];
	u32 last = vmx_caps.basic & VMX_BASIC_TRUE_CTLS ? MSR_VMX_TRUE_ENTRY_CTLS : MSR_VMX_VMCS_ENUM;

	judge_begin();
	for (u32 msr = MSR_VMX_BASIC; msr <= last; msr++) {
		u64 value = 0;

		if ((msr == MSR_VMX_PROCBASED_CTLS2 && !cap_have("activate secondary controls")) ||
		    (msr == MSR_VMX_EPT_VPID_CAP && !cap_have("enable EPT") && !cap_have("enable VPID")))
			continue;
		fmt(name, sizeof(name), "0x%x", msr);
		judge_about("MSR", name);
		JUDGE("vmcs.capability-msrs", OUTCOME(msr_read_try(msr, &value)), OUTCOME(out_ok()));
		JUDGE("vmcs.capability-msrs", OUTCOME(msr_write_try(msr, value)), FAULT_GP);
		JUDGE("vmcs.capability-msrs", OUTCOME(msr_write_try(msr, 0)), FAULT_GP);
		JUDGE("vmcs.capability-msrs", msr_read(msr), value);
	}
	judge_about("IA32_VMX_BASIC", NULL);
	JUDGE("vmcs.capability-basic", vmx_caps.basic >> 31 & 1, 0);
	JUDGE("vmcs.capability-basic", (vmx_caps.basic >> 32 & 0x1fff) - 1 < PAGE_SIZE, true);
	/* "This bit is always 0 for processors that support Intel 64 architecture." */
	if (sizeof(ulong) == 8)
		JUDGE("vmcs.capability-basic", vmx_caps.basic >> 48 & 1, 0);
	judge_done();
}

/* --- VMXOFF --- */

static ulong l2_nothing(ulong x)
{
	return x;
}

static bool run_once(struct vcpu *v)
{
	struct exit e;

	guest(v, l2_nothing, 1);
	e = enter(v);
	return expect_call(v, e, L2_RETURN);
}

/* A VMCS that was active at VMXOFF may be lost. What is left of it is open, but not what may come of trying. */
TEST(vmx, resume_after_vmxoff, .sdm = "VM-Instruction Error Numbers", .rules = "insn.vmresume.err-6")
{
	struct outcome o;
	struct vcpu v;

	judge_begin();
	test_vcpu(&v, c, 0);
	run_once(&v);
	expect_out(vmx_off(c), out_ok());
	expect_out(vmx_on(c), out_ok());
	expect_out(vmptrld(v.vmcs_pa), out_ok());
	vmwrite(VMCS_pin_based_controls, 0);
	o = vmx_outcome(vmx_resume_raw());
	say_note("VMRESUME after VMXOFF: error %u", o.number);
	judge_about("VMRESUME", "launched before VMXOFF");
	JUDGE("insn.vmresume.err-6", o.kind, OUT_FAIL_VALID);
	JUDGE("insn.vmresume.err-6",
	      o.number == VMXERR_vmresume_nonlaunched_vmcs || o.number == VMXERR_vmresume_after_vmxoff ||
		      o.number == VMXERR_entry_invalid_control_fields,
	      true);
	expect_out(vmclear(v.vmcs_pa), out_ok());
	judge_done();
}

/* What was cleared before VMXOFF is there afterwards: all fields, clear. */
TEST(vmx, vmcs_over_vmxoff, .sdm = "Software Use of Virtual-Machine Control Structures",
     .rules = "insn.vmxoff.keeps-cleared insn.vmxon.no-current insn.vmxoff.registers")
{
	const ulong cr0 = read_cr0(), cr4 = read_cr4();
	struct vcpu v;
	u64 pa = 0;

	judge_begin();
	test_vcpu(&v, c, 0);
	run_once(&v);
	vmwrite(VMCS_guest_sysenter_eip, 0x13579bdf);
	expect_out(vmclear(v.vmcs_pa), out_ok());
	for (u32 n = 0; n < 3; n++) {
		expect_out(vmx_off(c), out_ok());
		judge_about("VMXOFF", NULL);
		JUDGE("insn.vmxoff.registers", read_cr0(), cr0);
		JUDGE("insn.vmxoff.registers", read_cr4(), cr4);
		JUDGE("insn.vmxoff.registers", OUTCOME(vmxoff()), OUTCOME(out_fault(VEC_UD, 0)));
		expect_out(vmx_on(c), out_ok());
		judge_about("VMXON", NULL);
		expect_out(vmptrst(&pa), out_ok());
		JUDGE("insn.vmxon.no-current", pa, ~0ull);
	}
	judge_about("VMPTRLD afterwards", NULL);
	JUDGE("insn.vmxoff.keeps-cleared", OUTCOME(vmptrld(v.vmcs_pa)), OUTCOME(out_ok()));
	JUDGE("insn.vmxoff.keeps-cleared", vmread(VMCS_guest_sysenter_eip), 0x13579bdf);
	JUDGE("insn.vmxoff.keeps-cleared", OUTCOME(vmx_outcome(vmx_resume_raw())),
	      OUTCOME(out_valid(VMXERR_vmresume_nonlaunched_vmcs)));
	v.launched = false;
	JUDGE("insn.vmxoff.keeps-cleared", run_once(&v), true);
	vcpu_destroy(&v);
	judge_done();
}

/* VMXON's operand is as other operands are; in VMX operation nobody looks at it. */
TEST(vmx, vmxon_operand_memory, .sdm = "VMXON-Enter VMX Operation",
     .rules = "insn.operand-page-fault insn.vmxon.err-15 insn.vmxon.invalid-revision")
{
	static const u8 vmxon_bytes[] = { 0xf3, 0x0f, 0xc7, 0x37 };
	struct l1_code l;
	struct window w;

	judge_begin();
	l1_code_begin(&l, c);
	window_open(&w);
	l.in.reg[L1_DI] = FAULT_WINDOW + WINDOW_BYTES - 4;
	judge_about("VMXON", "in VMX operation, the operand absent");
	JUDGE("insn.vmxon.err-15", OUTCOME(l1_code_run(&l, vmxon_bytes, 4)), OUTCOME(out_invalid()));
	expect_out(vmx_off(c), out_ok());
	judge_about("VMXON", "second half absent");
	JUDGE("insn.operand-page-fault", OUTCOME(l1_code_run(&l, vmxon_bytes, 4)), OUTCOME(out_fault(VEC_PF, 0)));
	JUDGE("insn.operand-page-fault", l.cr2, FAULT_WINDOW + WINDOW_BYTES);
	JUDGE("insn.operand-page-fault", l1_code_untouched(&l), true);
	/* The region where there is no memory has no revision. */
	judge_about("VMXON", "of a region where there is nothing");
	JUDGE("insn.vmxon.invalid-revision", OUTCOME(vmxon(0xd0000000)), OUTCOME(out_invalid()));
	window_close(&w);
	expect_out(vmx_on(c), out_ok());
	l1_code_end(&l);
	judge_done();
}
