// SPDX-License-Identifier: BSD-2-Clause
/* How VMX instructions end in L1: operands, states of the VMCS, and which of two errors counts. Faults: insn_fault.c. */
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define NO_VMCS (~0ull)
#define VMX_BASIC_32BIT (1ull << 48)

/* A VMCS region with the right revision, cleared. */
static u64 new_vmcs(void)
{
	u64 pa = (ulong)page_alloc();

	*(volatile u32 *)(ulong)pa = (u32)vmx_caps.basic & 0x7fffffff;
	expect_out(vmclear(pa), out_ok());
	return pa;
}

static u64 current_vmcs(void)
{
	u64 pa = 0;

	expect_out(vmptrst(&pa), out_ok());
	return pa;
}

/* Bits that no VMCS pointer may have: above MAXPHYADDR, and above 32 bits where IA32_VMX_BASIC says so. */
static u32 pointer_bits(void)
{
	u32 r[4];

	cpuid_raw(0x80000000, 0, r);
	if (vmx_caps.basic & VMX_BASIC_32BIT)
		return 32;
	if (r[0] < 0x80000008)
		return 36;
	cpuid_raw(0x80000008, 0, r);
	return r[0] & 0xff;
}

/* All kinds of bad pointers near `pa`, and one with two errors. */
static u32 bad_pointers(u64 pa, u64 bad[6])
{
	u32 bits = pointer_bits();

	bad[0] = pa + 1;
	bad[1] = pa + 0x800;
	bad[2] = pa | 1ull << bits;
	bad[3] = pa | 1ull << 63;
	bad[4] = (pa + 8) | 1ull << bits;
	bad[5] = NO_VMCS;
	return 6;
}

/* --- Pointers --- */

TEST(insn, vmclear_operand, .sdm = "VMCLEAR-Clear Virtual-Machine Control Structure",
     .rules = "insn.vmclear.err-2-aligned insn.vmclear.err-2-width insn.vmclear.err-3 insn.vmclear.order "
	      "insn.vmclear.current insn.vmclear.other insn.no-vmcs insn.vmptrst.none")
{
	u64 bad[6], a = new_vmcs(), b = new_vmcs();

	require_out(vmptrld(a), out_ok());
	for (u32 i = 0, n = bad_pointers(a, bad); i < n; i++)
		expect_out(vmclear(bad[i]), out_valid(VMXERR_vmclear_invalid_address));
	/* Near the VMXON pointer, but bad: the address is judged first. */
	for (u32 i = 0, n = bad_pointers(c->vmxon_pa, bad); i < n; i++)
		expect_out(vmclear(bad[i]), out_valid(VMXERR_vmclear_invalid_address));
	expect_out(vmclear(c->vmxon_pa), out_valid(VMXERR_vmclear_vmxon_pointer));
	expect_eq(current_vmcs(), a);
	/* Another one leaves the current one current; the current one goes. */
	expect_out(vmclear(b), out_ok());
	expect_eq(current_vmcs(), a);
	expect_out(vmclear(a), out_ok());
	expect_eq(current_vmcs(), NO_VMCS);
	expect_out(vmclear(a + 1), out_invalid());
	expect_out(vmclear(c->vmxon_pa), out_invalid());
}

TEST(insn, vmptrld_operand, .sdm = "VMPTRLD-Load Pointer to Virtual-Machine Control Structure",
     .rules = "insn.vmptrld.err-9-aligned insn.vmptrld.err-9-width insn.vmptrld.err-10 "
	      "insn.vmptrld.err-11 insn.vmptrld.err-11-shadow insn.vmptrld.keeps-current "
	      "insn.vmptrld.again insn.no-vmcs")
{
	u64 bad[6], a = new_vmcs(), other = (ulong)page_alloc();
	volatile u32 *revision = (volatile u32 *)(ulong)other;
	u32 right = (u32)vmx_caps.basic & 0x7fffffff;

	expect_eq(current_vmcs(), NO_VMCS);
	expect_out(vmptrld(a + 1), out_invalid());
	expect_out(vmptrld(c->vmxon_pa), out_invalid());
	*revision = right + 1;
	expect_out(vmptrld(other), out_invalid());
	require_out(vmptrld(a), out_ok());
	expect_out(vmptrld(a), out_ok());
	for (u32 i = 0, n = bad_pointers(other, bad); i < n; i++)
		expect_out(vmptrld(bad[i]), out_valid(VMXERR_vmptrld_invalid_address));
	expect_out(vmptrld(c->vmxon_pa), out_valid(VMXERR_vmptrld_vmxon_pointer));
	expect_out(vmptrld(other), out_valid(VMXERR_vmptrld_wrong_revision));
	if (!cap_have("VMCS shadowing")) {
		*revision = right | 0x80000000;
		expect_out(vmptrld(other), out_valid(VMXERR_vmptrld_wrong_revision));
	}
	*revision = 0;
	expect_out(vmptrld(other), out_valid(VMXERR_vmptrld_wrong_revision));
	expect_eq(current_vmcs(), a);
	*revision = right;
	expect_out(vmclear(other), out_ok());
	expect_out(vmptrld(other), out_ok());
	expect_eq(current_vmcs(), other);
	expect_out(vmclear(other), out_ok());
	expect_out(vmclear(a), out_ok());
}

/* Nothing is there: all bits read as 1, which is no revision. What L0 maps nowhere mustn't hurt it. */
TEST(insn, vmptrld_no_memory, .sdm = "VMPTRLD-Load Pointer to Virtual-Machine Control Structure",
     .rules = "insn.vmptrld.no-memory insn.vmptrld.err-11 insn.vmptrld.keeps-current")
{
	u64 a = new_vmcs();

	if (pointer_bits() <= 32)
		return result_set(c->judging, VERDICT_SKIP, "environment: physical addresses of 32 bits");
	require_out(vmptrld(a), out_ok());
	expect_out(vmptrld((1ull << pointer_bits()) - PAGE_SIZE), out_valid(VMXERR_vmptrld_wrong_revision));
	expect_eq(current_vmcs(), a);
	expect_out(vmclear(a), out_ok());
}

TEST(insn, vmxon_operand, .sdm = "VMXON-Enter VMX Operation",
     .rules = "insn.vmxon.invalid-aligned insn.vmxon.invalid-width insn.vmxon.invalid-revision "
	      "insn.vmxon.no-current insn.vmxoff.leaves insn.ud-outside")
{
	u64 bad[6], region = (ulong)page_alloc();
	u32 right = (u32)vmx_caps.basic & 0x7fffffff;
	volatile u32 *revision = (volatile u32 *)(ulong)region;

	*revision = right;
	require_out(vmx_off(c), out_ok());
	for (u32 i = 0, n = bad_pointers(region, bad); i < n; i++)
		expect_out(vmxon(bad[i]), out_invalid());
	*revision = right + 1;
	expect_out(vmxon(region), out_invalid());
	*revision = right | 0x80000000;
	expect_out(vmxon(region), out_invalid());
	/* None of them entered VMX operation. */
	expect_out(vmxoff(), out_fault(VEC_UD, 0));
	*revision = right;
	require_out(vmxon(region), out_ok());
	expect_eq(current_vmcs(), NO_VMCS);
	/* This one is the VMXON pointer now, the one before isn't any more. */
	expect_out(vmclear(c->vmxon_pa), out_ok());
	expect_out(vmptrld(c->vmxon_pa), out_ok());
	expect_out(vmclear(region), out_valid(VMXERR_vmclear_vmxon_pointer));
	expect_out(vmclear(c->vmxon_pa), out_ok());
	require_out(vmxoff(), out_ok());
	require_out(vmx_on(c), out_ok());
}

TEST(insn, vmxon_in_root, .sdm = "VMXON-Enter VMX Operation", .rules = "insn.vmxon.err-15")
{
	u64 a = new_vmcs();

	expect_out(vmxon(c->vmxon_pa), out_invalid());
	require_out(vmptrld(a), out_ok());
	expect_out(vmxon(c->vmxon_pa), out_valid(VMXERR_vmxon_in_vmx_root));
	expect_out(vmxon(c->vmxon_pa + 1), out_valid(VMXERR_vmxon_in_vmx_root));
	expect_eq(current_vmcs(), a);
	expect_out(vmclear(a), out_ok());
}

/* KVM once answered a wrong CR0 with #UD (kernel bugzilla 216033). */
TEST(insn, vmxon_control_registers, .sdm = "VMXON-Enter VMX Operation",
     .rules = "insn.vmxon.ud-vmxe insn.vmxon.gp-cr0 insn.vmxon.fault-before-operand insn.vmxon.fixed-bits "
	      "insn.vmxoff.vmxe vmcs.root-cr4-fixed")
{
	ulong cr0 = read_cr0(), cr4 = read_cr4();
	u64 pa = c->vmxon_pa;

	require_out(vmx_off(c), out_ok());
	write_cr0(cr0 & ~(ulong)CR0_NE);
	expect_out(vmxon(pa), out_fault(VEC_GP, 0));
	expect_out(vmxon(pa + 1), out_fault(VEC_GP, 0));
	write_cr4(cr4 & ~(ulong)CR4_VMXE);
	expect_out(vmxon(pa), out_fault(VEC_UD, 0));
	write_cr0(cr0);
	expect_out(vmxon(pa), out_fault(VEC_UD, 0));
	expect_out(vmxon(pa + 1), out_fault(VEC_UD, 0));
	write_cr4(cr4);
	require_out(vmx_on(c), out_ok());
	/* Both are fixed now. */
	expect_out(vmx_outcome(write_cr0_raw(cr0 & ~(ulong)CR0_NE)), out_fault(VEC_GP, 0));
	expect_out(vmx_outcome(write_cr4_raw(cr4 & ~(ulong)CR4_VMXE)), out_fault(VEC_GP, 0));
}

/* --- No VMCS, and the launch state --- */

TEST(insn, no_current_vmcs, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.no-vmcs insn.vmptrst.none")
{
	ulong value = 0x5a;

	expect_eq(current_vmcs(), NO_VMCS);
	expect_out(vmread_raw(VMCS_guest_rip, &value), out_invalid());
	expect_out(vmread_raw(0x6c20, &value), out_invalid());
	expect_eq(value, 0x5a);
	expect_out(vmwrite_raw(VMCS_guest_rip, 0), out_invalid());
	expect_out(vmwrite_raw(VMCS_exit_reason, 0), out_invalid());
	expect_out(vmx_outcome(vmx_launch_raw()), out_invalid());
	expect_out(vmx_outcome(vmx_resume_raw()), out_invalid());
	expect_out(vmx_outcome(vmx_launch_mov_ss_raw()), out_invalid());
	expect_out(vmx_outcome(vmx_resume_mov_ss_raw()), out_invalid());
	if (cap_have("INVEPT"))
		expect_out(invept(0x77, 0, 0), out_invalid());
	if (cap_have("INVVPID"))
		expect_out(invvpid(0x77, 1, 0), out_invalid());
}

static ulong l2_nothing(ulong x)
{
	return x;
}

/* A VMCS whose L2 has run once: launched. */
static bool launch(struct vcpu *v, struct cpu *c)
{
	struct exit e;

	test_vcpu(v, c, 0);
	guest(v, l2_nothing, 1);
	e = enter(v);
	return expect_call(v, e, L2_RETURN);
}

/* Controls that no CPU accepts: entry goes as far as to look at them and no further. */
static void spoil_controls(void)
{
	vmwrite(VMCS_pin_based_controls, 0);
}

TEST(insn, launch_state, .sdm = "VMLAUNCH/VMRESUME-Launch/Resume Virtual Machine",
     .rules = "insn.vmlaunch.err-4 insn.vmresume.err-5 insn.entry.err-7 insn.entry.err-8 "
	      "insn.entry.launch-state-first insn.entry.launched-by-success insn.vmclear.state "
	      "vmcs.launch-state-survives entry.guest.late-launch-state entry.guest.late-reason")
{
	struct vcpu v;
	struct exit e;

	if (!launch(&v, c))
		return;
	spoil_controls();
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_vmlaunch_nonclear_vmcs));
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_entry_invalid_control_fields));
	/* Making another VMCS current and back changes nothing about it. */
	expect_out(vmptrld(new_vmcs()), out_ok());
	expect_out(vmptrld(v.vmcs_pa), out_ok());
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_vmlaunch_nonclear_vmcs));
	require_out(vmclear(v.vmcs_pa), out_ok());
	require_out(vmptrld(v.vmcs_pa), out_ok());
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_vmresume_nonlaunched_vmcs));
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_entry_invalid_control_fields));
	/* That failure wasn't a launch. */
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_vmresume_nonlaunched_vmcs));
	vcpu_write_controls(&v);
	vmwrite(VMCS_host_cr0, read_cr0() & ~(ulong)CR0_NE);
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_entry_invalid_host_state));
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_vmresume_nonlaunched_vmcs));
	vmwrite(VMCS_host_cr0, read_cr0());
	/* Nor is an entry that fails late. */
	v.launched = false;
	guest(&v, l2_nothing, 2);
	vmwrite(VMCS_guest_rflags, 0);
	e = enter_once(&v);
	require(e.entry.kind == OUT_OK);
	require_eq(e.reason, 0x80000000u | EXIT_invalid_guest_state);
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_vmresume_nonlaunched_vmcs));
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_vmlaunch_nonclear_vmcs));
}

/* Blocking by MOV SS is looked at before the launch state and before the controls. */
TEST(insn, entry_blocked_by_mov_ss, .sdm = "VMLAUNCH/VMRESUME-Launch/Resume Virtual Machine",
     .rules = "insn.entry.err-26 insn.entry.mov-ss-first")
{
	struct vcpu v;

	if (!launch(&v, c))
		return;
	spoil_controls();
	for (u32 i = 0; i < 2; i++) {
		expect_out(vmx_outcome(vmx_launch_mov_ss_raw()), out_valid(VMXERR_entry_blocked_by_mov_ss));
		expect_out(vmx_outcome(vmx_resume_mov_ss_raw()), out_valid(VMXERR_entry_blocked_by_mov_ss));
		/* It lasts one instruction. */
		expect_out(vmx_outcome(vmx_resume_raw()),
			   out_valid(i ? VMXERR_vmresume_nonlaunched_vmcs : VMXERR_entry_invalid_control_fields));
		require_out(vmclear(v.vmcs_pa), out_ok());
		require_out(vmptrld(v.vmcs_pa), out_ok());
	}
}

/*
 * Where IA32_SMM_MONITOR_CTL isn't valid or doesn't exist, that is looked at before the launch state. Hosts like to take
 * L1's VMCALL for a call to themselves, so each kind has a test of its own. Outside of VMX operation: insn_fault.c.
 */
static bool smm_monitor(void)
{
	u64 monitor = 0;

	return msr_read_try(MSR_SMM_MONITOR_CTL, &monitor).kind == OUT_OK && monitor & 1;
}

TEST(insn, vmcall_root, .sdm = "VMCALL-Call to VM Monitor", .rules = "insn.vmcall.err-1 insn.vmcall.err-1-before-19")
{
	struct vcpu v;

	require_env(!smm_monitor());
	if (launch(&v, c))
		expect_out(vmx_outcome(vmx_call_raw()), out_valid(VMXERR_vmcall_in_vmx_root));
}

TEST(insn, vmcall_no_vmcs, .sdm = "VMCALL-Call to VM Monitor", .rules = "insn.vmcall.invalid")
{
	require_env(!smm_monitor());
	expect_eq(current_vmcs(), NO_VMCS);
	expect_out(vmx_outcome(vmx_call_raw()), out_invalid());
}

/* --- Flags, and the two instructions that invalidate --- */

TEST(insn, flags, .sdm = "VMX Instruction Reference: Conventions",
     .rules = "insn.flags-succeed insn.flags-invalid insn.flags-valid")
{
	u64 a = new_vmcs(), bad = a + 1;

	expect_eq(vmx_ptrld_flags(&bad, RFLAGS_FIXED | RFLAGS_ARITH), RFLAGS_FIXED | RFLAGS_CF);
	expect_eq(vmx_ptrld_flags(&bad, RFLAGS_FIXED), RFLAGS_FIXED | RFLAGS_CF);
	expect_eq(vmx_ptrld_flags(&a, RFLAGS_FIXED | RFLAGS_ARITH), RFLAGS_FIXED);
	expect_eq(vmx_ptrld_flags(&bad, RFLAGS_FIXED | RFLAGS_ARITH), RFLAGS_FIXED | RFLAGS_ZF);
	expect_eq(vmx_ptrld_flags(&bad, RFLAGS_FIXED), RFLAGS_FIXED | RFLAGS_ZF);
	expect_out(vmclear(a), out_ok());
}

TEST(insn, invept_operand, .sdm = "INVEPT-Invalidate Translations Derived from EPT", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "insn.invept.err-28-type insn.invept.err-28-eptp insn.invept.all")
{
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	expect_out(invept(0, v.eptp, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
	expect_out(invept(3, v.eptp, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
	expect_out(invept(~(ulong)0, v.eptp, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
	if (cap_have("single-context INVEPT")) {
		/* What entry refuses as EPTP is refused here. */
		expect_out(invept(INVEPT_SINGLE, v.eptp ^ 7, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
		expect_out(invept(INVEPT_SINGLE, v.eptp ^ 0x18, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
		expect_out(invept(INVEPT_SINGLE, v.eptp | 0x800, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
		expect_out(invept(INVEPT_SINGLE, v.eptp | 1ull << 62, 0),
			   out_valid(VMXERR_invalid_invept_invvpid_operand));
		expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	}
	if (cap_have("all-context INVEPT"))
		expect_out(invept(INVEPT_ALL, ~0ull, 0), out_ok());
}

#ifdef __x86_64__
/* "In 64-bit mode, it has 64 bits": the type is the whole register. */
TEST(insn, invept_type_64bit, .sdm = "INVEPT-Invalidate Translations Derived from EPT", .needs = "all-context INVEPT",
     .opt = OPT_ept, .flags = TEST_AMD64, .rules = "insn.invept.type-64")
{
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	expect_out(invept(1ull << 32 | INVEPT_ALL, 0, 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
}
#endif

TEST(insn, invvpid_operand, .sdm = "INVVPID-Invalidate Translations Based on VPID", .needs = "INVVPID", .opt = OPT_vpid,
     .rules = "insn.invvpid.err-28-type insn.invvpid.err-28-reserved insn.invvpid.err-28-vpid-zero "
	      "insn.invvpid.err-28-canonical")
{
	static const struct {
		u32 type;
		const char *cap;
	} types[] = {
		{ INVVPID_ADDRESS, "individual-address INVVPID" },
		{ INVVPID_SINGLE, "single-context INVVPID" },
		{ INVVPID_ALL, "all-context INVVPID" },
		{ INVVPID_SINGLE_GLOBALS, "single-context-retaining-globals INVVPID" },
	};
	struct outcome refused = out_valid(VMXERR_invalid_invept_invvpid_operand);
	struct vcpu v;

	test_vcpu(&v, c, OPT_vpid);
	expect_out(invvpid(4, 1, 0), refused);
	for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
		u32 type = types[i].type;
		bool have = cap_have(types[i].cap);

		expect_out(invvpid(type, 1, 0), have ? out_ok() : refused);
		expect_out(invvpid(type, 0x10001, 0), refused);
		expect_out(invvpid(type, 1ull << 63 | 1, 0), refused);
		expect_out(invvpid(type, 0, 0), have && type == INVVPID_ALL ? out_ok() : refused);
	}
	if (!cap_have("individual-address INVVPID") || sizeof(ulong) == 4)
		return;
	expect_out(invvpid(INVVPID_ADDRESS, 1, 0xffff800000000000), out_ok());
	expect_out(invvpid(INVVPID_ADDRESS, 1, 0x00007fffffffffff), out_ok());
	expect_out(invvpid(INVVPID_ADDRESS, 1, 1ull << 63), refused);
}
