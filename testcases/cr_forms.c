// SPDX-License-Identifier: BSD-2-Clause
/*
 * Forms of the instructions that access control and debug registers: prefixes, segments of memory operands, and operands that have
 * bits which are reserved. And registers that VM entries and exits leave alone.
 */
#include "lhv/apic.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define FAULTS "Relative Priority of Faults and VM Exits"
#define CODE(text) (text), sizeof(text) - 1
#define APIC_TPR 0x80u
#define DS_BASE 0x321u
#define DR6_FIXED 0xffff0ff0u
#define CR3_NO_FLUSH (1ull << 63)

static void begin(struct snippet *s, struct cpu *c, u32 controls)
{
	judge_begin();
	snippet_begin(s, c, 0);
	s->v.ctl[CTL_PROC] |= controls;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_cr0_guest_host_mask, CR0_TS | CR0_MP);
	vmwrite(VMCS_cr0_read_shadow, CR0_TS | CR0_MP);
	vmwrite(VMCS_cr4_guest_host_mask, CR4_DE);
	vmwrite(VMCS_cr4_read_shadow, read_cr4() ^ CR4_DE);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

#define MOVS (PROC_cr3_load_exiting | PROC_cr3_store_exiting | PROC_mov_dr_exiting)

/* Prefixes that mean nothing count for the length. */
TEST(cr, prefixes, .sdm = CONDITION, .needs = "CR3-load exiting; CR3-store exiting; MOV-DR exiting",
     .rules = "cr.mov-to-cr0 cr.mov-to-cr3 cr.mov-from-cr3 cr.mov-to-cr4 cr.clts cr.lmsw cr.mov-dr exit.info.cr-access "
	      "exit.info.dr-access" CR_TOLD)
{
	static const struct {
		const char *name, *bytes, *rule;
		u32 length, reason;
		u64 qualification;
	} rows[] = {
		{ "66 MOV to CR0", "\x66\x0f\x22\xc1", "cr.mov-to-cr0", 4, EXIT_cr_access, 0x100 },
		{ "2E MOV to CR3", "\x2e\x0f\x22\xd9", "cr.mov-to-cr3", 4, EXIT_cr_access, 0x103 },
		{ "66 MOV from CR3", "\x66\x0f\x20\xd9", "cr.mov-from-cr3", 4, EXIT_cr_access, 0x113 },
		{ "2E 2E MOV to CR4", "\x2e\x2e\x0f\x22\xe1", "cr.mov-to-cr4", 5, EXIT_cr_access, 0x104 },
		{ "67 CLTS", "\x67\x0f\x06", "cr.clts", 3, EXIT_cr_access, QUAL_CLTS },
		{ "66 LMSW", "\x66\x0f\x01\xf1", "cr.lmsw", 4, EXIT_cr_access, QUAL_LMSW(0x1111) },
		{ "67 MOV to DR7", "\x67\x0f\x23\xf9", "cr.mov-dr", 4, EXIT_dr_access, 0x107 },
		{ "2E MOV from DR3", "\x2e\x0f\x21\xd9", "cr.mov-dr", 4, EXIT_dr_access, 0x113 },
	};
	struct snippet s;

	begin(&s, c, MOVS);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		snippet_mode(&s, mode, false);
		for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
			judge_about(rows[i].name, snippet_name(mode));
			snippet_code(&s, rows[i].bytes, rows[i].length);
			s.v.g.cx = 0x1111; /* differs from the shadows of CR0 and CR4 */
			judge_access(&s, WHERE(rows[i].rule), rows[i].reason, rows[i].qualification);
		}
	}
	end(&s);
}

/* [BX], by the data segment, or by the stack's: [BP]. Their bases count but in 64-bit mode. */
static void judge_segment(struct snippet *s, const char *name, const u8 *code, u32 length, bool invlpg)
{
	const ulong offset = (ulong)s->data + 0x80;
	const ulong linear = SNIP_IS_64(s->mode) ? offset : offset + DS_BASE;

	judge_about(name, snippet_name(s->mode));
	*(u16 *)linear = 0x1111;
	snippet_code(s, code, length);
	s->v.g.bx = offset;
	s->v.g.bp = offset;
	if (invlpg)
		judge_access(s, WHERE("cr.invlpg"), EXIT_invlpg, linear);
	else if (judge_access(s, WHERE("cr.lmsw"), EXIT_cr_access, QUAL_LMSW(0x1111) | QUAL_LMSW_MEMORY))
		JUDGE("cr.lmsw-linear", vmread(VMCS_guest_linear_address), linear);
}

TEST(cr, segments, .sdm = CONDITION, .needs = "INVLPG exiting",
     .rules = "cr.invlpg cr.lmsw cr.lmsw-linear exit.info.invlpg exit.info.cr-access" CR_TOLD)
{
	static const u8 code[][4] = {
		{ 0x0f, 0x01, 0x33 }, { 0x0f, 0x01, 0x75, 0 }, { 0x0f, 0x01, 0x3b }, { 0x0f, 0x01, 0x7d, 0 }
	};
	struct snippet s;

	begin(&s, c, PROC_invlpg_exiting);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_16; mode = snippet_next(mode)) {
		snippet_mode(&s, mode, false);
		vmwrite(VMCS_guest_ds_base, DS_BASE);
		vmwrite(VMCS_guest_ss_base, DS_BASE);
		judge_segment(&s, "LMSW by DS", code[0], 3, false);
		judge_segment(&s, "LMSW by SS", code[1], 4, false);
		judge_segment(&s, "INVLPG by DS", code[2], 3, true);
		judge_segment(&s, "INVLPG by SS", code[3], 4, true);
	}
	end(&s);
}

#ifdef __x86_64__
/* Operands that would be #GP exit where an exit is due. SDM: "Relative Priority of Faults and VM Exits". */
TEST(cr, exit_before_gp_64, .sdm = FAULTS, .needs = "CR3-load exiting; CR8-load exiting; MOV-DR exiting",
     .flags = TEST_AMD64, .rules = "cr.exit-before-gp exit.info.cr-access exit.info.dr-access" CR_TOLD)
{
	static const struct {
		const char *name;
		enum mov_special op;
		u32 number;
		u64 value;
	} rows[] = {
		{ "CR3 with a bit beyond physical addresses", TO_CR, 3, 1ull << 62 },
		{ "CR8 with 16", TO_CR, 8, 16 },
		{ "DR6 with bit 32", TO_DR, 6, 1ull << 32 },
		{ "DR7 with bit 63", TO_DR, 7, 1ull << 63 },
	};
	struct snippet s;

	begin(&s, c, PROC_cr3_load_exiting | PROC_cr8_load_exiting | PROC_mov_dr_exiting);
	for (u32 pass = 0; pass < 2; pass++) {
		const bool exiting = pass == 0;

		for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
			judge_about(rows[i].name, exiting ? NULL : "without the controls");
			snippet_mov(&s, rows[i].op, rows[i].number, 1);
			s.v.g.cx = rows[i].value;
			if (exiting)
				judge_access(&s, WHERE("cr.exit-before-gp"),
					     rows[i].op == TO_DR ? EXIT_dr_access : EXIT_cr_access,
					     QUAL_TO_CR(rows[i].number) | QUAL_REGISTER(1));
			else
				judge_fault(&s, WHERE("cr.exit-before-gp"), VEC_GP);
		}
		s.v.ctl[CTL_PROC] = 0;
		vcpu_write_controls(&s.v);
	}
	end(&s);
}

/* Without CR8 exiting and without a TPR shadow, CR8 is the local APIC's TPR, L1's and L2's. */
TEST(cr, cr8_plain, .sdm = "Changes to Instruction Behavior in VMX Non-Root Operation", .flags = TEST_AMD64,
     .rules = "cr.cr8-plain")
{
	volatile u32 *const tpr = (volatile u32 *)(ulong)(APIC_PAGE + APIC_TPR);
	struct snippet s;

	begin(&s, c, 0);
	/* Low enough for nothing to be held back. */
	for (u32 priority = 0; priority < 3; priority++) {
		judge_about("CR8", "from L1");
		*tpr = priority << 4;
		snippet_mov(&s, FROM_CR, 8, 9);
		judge_runs(&s, WHERE("cr.cr8-plain"));
		JUDGE("cr.cr8-plain", snippet_get(&s, 9), priority);
		judge_about("CR8", "from L2");
		snippet_mov(&s, TO_CR, 8, 9);
		snippet_set(&s, 9, priority ^ 1);
		judge_runs(&s, WHERE("cr.cr8-plain"));
		JUDGE("cr.cr8-plain", *tpr, (priority ^ 1) << 4);
	}
	*tpr = 0;
	end(&s);
}

/* With PCIDs, bit 63 of MOV to CR3's operand says that nothing need be invalidated, and isn't part of CR3. */
TEST(cr, cr3_no_flush, .sdm = "Saving Control Registers, Debug Registers, and MSRs", .needs = "CR4.PCIDE",
     .flags = TEST_AMD64, .rules = "cr.cr3-no-flush")
{
	struct snippet s;
	u64 cr3;

	begin(&s, c, 0);
	vmwrite_bits(VMCS_guest_cr4, 0, CR4_PCIDE);
	cr3 = vmread(VMCS_guest_cr3) | 0x5a5;
	for (u32 i = 0; i < 2; i++) {
		judge_about(i ? "with bit 63" : "without bit 63", NULL);
		snippet_code(&s, CODE("\x0f\x22\xd9\x0f\x20\xda")); /* MOV CR3, RCX; MOV RDX, CR3 */
		s.v.g.cx = cr3 | (i ? CR3_NO_FLUSH : 0);
		judge_runs(&s, WHERE("cr.cr3-no-flush"));
		JUDGE("cr.cr3-no-flush", s.v.g.dx, cr3);
		JUDGE("cr.cr3-no-flush", vmread(VMCS_guest_cr3), cr3);
	}
	end(&s);
}
#endif

/* CR2, DR0 to DR3 and DR6 are in no VMCS: L1 and L2 have the same. */
TEST(cr, unswitched, .sdm = "Guest Register State", .rules = "cr.unswitched")
{
	static const struct {
		u32 number;
		ulong (*read)(void);
		void (*write)(ulong value);
		ulong value;
	} registers[] = {
		{ 0, read_dr0, write_dr0, 0x1000 },        { 1, read_dr1, write_dr1, 0x1110 },
		{ 2, read_dr2, write_dr2, 0x1220 },        { 3, read_dr3, write_dr3, 0x1330 },
		{ 6, read_dr6, write_dr6, DR6_FIXED | 5 },
	};
	const ulong cr2 = read_cr2();
	struct snippet s;

	begin(&s, c, 0);
	vmwrite_bits(VMCS_guest_cr4, CR4_DE, 0);
	judge_about("CR2", "from L1");
	write_cr2(0x12345678);
	snippet_mov(&s, FROM_CR, 2, 1);
	judge_runs(&s, WHERE("cr.unswitched"));
	JUDGE("cr.unswitched", s.v.g.cx, 0x12345678);
	judge_about("CR2", "from L2");
	snippet_mov(&s, TO_CR, 2, 1);
	s.v.g.cx = 0x7654321;
	judge_runs(&s, WHERE("cr.unswitched"));
	JUDGE("cr.unswitched", read_cr2(), 0x7654321);
	write_cr2(cr2);
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		const ulong old = registers[i].read();

		judge_about("DR", "from L1");
		registers[i].write(registers[i].value);
		snippet_mov(&s, FROM_DR, registers[i].number, 1);
		judge_runs(&s, WHERE("cr.unswitched"));
		JUDGE("cr.unswitched", s.v.g.cx, registers[i].value);
		judge_about("DR", "from L2");
		snippet_mov(&s, TO_DR, registers[i].number, 1);
		s.v.g.cx = registers[i].value ^ 3;
		judge_runs(&s, WHERE("cr.unswitched"));
		JUDGE("cr.unswitched", registers[i].read(), registers[i].value ^ 3);
		registers[i].write(old);
	}
	end(&s);
}
