// SPDX-License-Identifier: BSD-2-Clause
/*
 * VMX instructions in L1 that are none: by a prefix, by a register where memory is wanted, and in modes that have none. For L0
 * this is partly the CPU's work and partly its own: VMCALL exits before its mode is looked at. Real-address mode: insn_real.c.
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "testcases/insn_table.h"
#include "x86/cr.h"

#define CPUID_1_ECX_RDRAND (1u << 30)
#define CPUID_7_EBX_RDSEED (1u << 18)
#define CPUID_7_ECX_RDPID (1u << 22)
#define CPUID_7_EDX_UINTR (1u << 5)

#define FAULTS(l, rule, bytes, length, vector) \
	l1_code_faulted((l), WHERE(rule), l1_code_run((l), (bytes), (length)), (vector), 0)

/* --- Prefixes --- */

L1_TEST(insn, ud_prefix, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.ud-prefix")
{
	static const struct insn_row others[] = {
		{ "VMCALL", { 0x0f, 0x01, 0xc1 }, 3, 0, false, false, NULL },
		{ "VMFUNC", { 0x0f, 0x01, 0xd4 }, 3, 0, false, false, NULL },
	};
	u8 bytes[INSN_BYTES_MAX];

	for_each_row(i)
	{
		insn_prepare(l, i, v->vmcs_pa, 0);
		judge_about(i->name, "LOCK in front");
		FAULTS(l, "insn.ud-prefix", bytes, insn_prefixed(bytes, i, "\xf0", 1), VEC_UD);
		judge_about(i->name, "LOCK behind a segment prefix");
		FAULTS(l, "insn.ud-prefix", bytes, insn_prefixed(bytes, i, "\x3e\xf0", 2), VEC_UD);
	}
	for (u32 k = 0; k < ARRAY_SIZE(others); k++) {
		judge_about(others[k].name, "LOCK in front");
		FAULTS(l, "insn.ud-prefix", bytes, insn_prefixed(bytes, &others[k], "\xf0", 1), VEC_UD);
	}
}

/* The opcode map has nothing where these prefixes lead to; with a register there is something, so these have memory. */
L1_TEST(insn, ud_prefix_other, .sdm = "Instruction Format: Opcode Column", .rules = "insn.ud-prefix-other")
{
	static const struct {
		const char *what;
		u8 bytes[6];
		u8 length;
	} rows[] = {
		{ "VMPTRLD with F2", { 0xf2, 0x0f, 0xc7, 0x37 }, 4 },
		{ "VMPTRST with 66", { 0x66, 0x0f, 0xc7, 0x3f }, 4 },
		{ "VMPTRST with F2", { 0xf2, 0x0f, 0xc7, 0x3f }, 4 },
		{ "VMPTRST with F3", { 0xf3, 0x0f, 0xc7, 0x3f }, 4 },
		{ "VMREAD with 66", { 0x66, 0x0f, 0x78, 0x07 }, 4 },
		{ "VMREAD with F2", { 0xf2, 0x0f, 0x78, 0x07 }, 4 },
		{ "VMREAD with F3", { 0xf3, 0x0f, 0x78, 0x07 }, 4 },
		{ "VMWRITE with 66", { 0x66, 0x0f, 0x79, 0x07 }, 4 },
		{ "VMWRITE with F2", { 0xf2, 0x0f, 0x79, 0x07 }, 4 },
		{ "VMWRITE with F3", { 0xf3, 0x0f, 0x79, 0x07 }, 4 },
		{ "INVEPT without 66", { 0x0f, 0x38, 0x80, 0x07 }, 4 },
		{ "INVVPID without 66", { 0x0f, 0x38, 0x81, 0x07 }, 4 },
	};

	l->in.reg[L1_AX] = VMCS_guest_sysenter_eip;
	for (u32 k = 0; k < ARRAY_SIZE(rows); k++) {
		judge_about(rows[k].what, NULL);
		FAULTS(l, "insn.ud-prefix-other", rows[k].bytes, rows[k].length, VEC_UD);
	}
}

/* --- A register --- */

/* Has the CPU another instruction there? */
static bool other_instruction(const struct insn_row *i)
{
	u32 one[4], seven[4] = { 0 }, max[4];

	cpuid_raw(0, 0, max);
	cpuid_raw(1, 0, one);
	if (max[0] >= 7)
		cpuid_raw(7, 0, seven);
	if (!strcmp(i->name, "VMXON"))
		return seven[3] & CPUID_7_EDX_UINTR;
	if (!strcmp(i->name, "VMCLEAR") || !strcmp(i->name, "VMPTRLD"))
		return one[2] & CPUID_1_ECX_RDRAND;
	if (!strcmp(i->name, "VMPTRST"))
		return seven[1] & CPUID_7_EBX_RDSEED;
	return !strcmp(i->name, "VMREAD") || !strcmp(i->name, "VMWRITE");
}

L1_TEST(insn, ud_register_operand, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.ud-register-operand")
{
	u8 bytes[INSN_BYTES_MAX];

	for_each_row(i)
	{
		if (!i->operand || other_instruction(i))
			continue;
		insn_prepare(l, i, v->vmcs_pa, 0);
		judge_about(i->name, NULL);
		for (u8 reg = 0; reg < 8; reg++)
			FAULTS(l, "insn.ud-register-operand", bytes, insn_encode(bytes, i, 0, 0, 0xc0 | reg, "", 0),
			       VEC_UD);
	}
}

/* --- Modes --- */

static void check_rows(struct l1_code *l, const struct where *rule, u64 vmcs, const char *where)
{
	for_each_row(i)
	{
		insn_prepare(l, i, vmcs, 0);
		judge_about(i->name, where);
		l1_code_faulted(l, rule, l1_code_run(l, i->bytes, i->length), VEC_UD, 0);
	}
}

#ifdef __x86_64__
static void compatibility(struct l1_code *l, const struct where *rule, u64 vmcs)
{
	l->in.cs = SEL_CODE32;
	check_rows(l, rule, vmcs, "32-bit code");
	l->in.cs = L1_SEL_CODE16;
	check_rows(l, rule, vmcs, "16-bit code");
	/* #UD, not #GP. */
	l1_code_user(l);
	l->in.cs = L1_SEL_USER_CODE32 | 3;
	check_rows(l, rule, vmcs, "CPL 3");
	l1_code_reset(l);
}

L1_TEST(insn, ud_compatibility, .sdm = "VMX Instruction Reference: Conventions", .flags = TEST_AMD64,
	.rules = "insn.ud-compatibility insn.vmxon.ud-mode")
{
	compatibility(l, WHERE("insn.ud-compatibility"), v->vmcs_pa);
	vcpu_destroy(v);
	if (expect(vmx_off(c).kind == OUT_OK))
		compatibility(l, WHERE("insn.vmxon.ud-mode"), 0);
	expect(vmx_on(c).kind == OUT_OK);
}

L1_TEST(insn, vmcall_compatibility, .sdm = "VMCALL-Call to VM Monitor", .flags = TEST_AMD64,
	.rules = "insn.vmcall.ud-mode insn.gp-cpl")
{
	judge_about("VMCALL", "compatibility mode");
	l->in.cs = SEL_CODE32;
	FAULTS(l, "insn.vmcall.ud-mode", "\x0f\x01\xc1", 3, VEC_UD);
	l1_code_user(l);
	judge_about("VMCALL", "CPL 3");
	FAULTS(l, "insn.gp-cpl", "\x0f\x01\xc1", 3, VEC_GP);
	judge_about("VMCALL", "CPL 3, compatibility mode");
	l->in.cs = L1_SEL_USER_CODE32 | 3;
	FAULTS(l, "insn.vmcall.ud-mode", "\x0f\x01\xc1", 3, VEC_UD);
}
#else
L1_TEST(insn, ud_v86, .sdm = "VMX Instruction Reference: Conventions", .flags = TEST_I386,
	.rules = "insn.ud-v86 insn.vmxon.ud-mode")
{
	l->in.flags |= FLAGS_VM;
	check_rows(l, WHERE("insn.ud-v86"), v->vmcs_pa, "IOPL 0");
	l->in.flags |= FLAGS_IOPL;
	check_rows(l, WHERE("insn.ud-v86"), v->vmcs_pa, "IOPL 3");
	vcpu_destroy(v);
	if (expect(vmx_off(c).kind == OUT_OK))
		check_rows(l, WHERE("insn.vmxon.ud-mode"), 0, "outside of VMX operation");
	expect(vmx_on(c).kind == OUT_OK);
}

L1_TEST(insn, vmcall_v86, .sdm = "VMCALL-Call to VM Monitor", .flags = TEST_I386,
	.rules = "insn.vmcall.ud-mode insn.gp-cpl")
{
	l1_code_user(l);
	judge_about("VMCALL", "CPL 3");
	FAULTS(l, "insn.gp-cpl", "\x0f\x01\xc1", 3, VEC_GP);
	l1_code_reset(l);
	l->in.flags |= FLAGS_VM;
	judge_about("VMCALL", "virtual-8086 mode");
	FAULTS(l, "insn.vmcall.ud-mode", "\x0f\x01\xc1", 3, VEC_UD);
}
#endif
