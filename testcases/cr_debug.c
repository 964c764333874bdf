// SPDX-License-Identifier: BSD-2-Clause
/*
 * Accesses to debug registers: exits, what they tell, and in what order faults come. SDM: "Instructions That Cause VM Exits
 * Conditionally", whose exit comes before #GP by privilege and #UD by CR4.DE.
 */
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define DR7_GD 0x2000u
#define DR7_RW0 0x10000u
#define DR6_BD 0x2000u
#define DR6_FIXED 0xffff0ff0u
#define TOLD " exit.info.dr-access" CR_TOLD

static void begin(struct snippet *s, struct cpu *c, u32 opt, bool exiting)
{
	judge_begin();
	snippet_begin(s, c, opt);
	s->v.ctl[CTL_PROC] |= exiting ? PROC_mov_dr_exiting : 0;
	vcpu_write_controls(&s->v);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

static void judge_dr(struct snippet *s, const char *rule, u32 number, u32 reg)
{
	judge_about("MOV to DR", snippet_name(s->mode));
	snippet_mov(s, TO_DR, number, reg);
	judge_access(s, WHERE(rule), EXIT_dr_access, QUAL_TO_DR(number) | QUAL_REGISTER(reg));
	judge_about("MOV from DR", snippet_name(s->mode));
	snippet_mov(s, FROM_DR, number, reg);
	judge_access(s, WHERE(rule), EXIT_dr_access, QUAL_FROM_DR(number) | QUAL_REGISTER(reg));
}

static void judge_mode(struct snippet *s, enum snip_mode mode)
{
	snippet_mode(s, mode, false);
	vmwrite_bits(VMCS_guest_cr4, CR4_DE, 0);
	for (u32 number = 0; number < 8; number++)
		judge_dr(s, "cr.mov-dr", number, number ^ 3);
	for (u32 reg = 0; reg < snippet_registers(mode); reg += mode == SNIP_NATIVE ? 1 : 5)
		judge_dr(s, "cr.mov-dr", 7, reg);
}

TEST(cr, mov_dr, .sdm = CONDITION, .needs = "MOV-DR exiting", .rules = "cr.mov-dr" TOLD)
{
	struct snippet s;

	begin(&s, c, 0, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		judge_mode(&s, mode);
	end(&s);
}

TEST(cr, mov_dr_real, .sdm = CONDITION, .needs = "MOV-DR exiting", .opt = UNRESTRICTED, .rules = "cr.mov-dr" TOLD)
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED, true);
	judge_mode(&s, SNIP_REAL);
	end(&s);
}

/* Unlike other exits this one comes before #GP by the privilege level and before #UD by CR4.DE. */
TEST(cr, mov_dr_before_faults, .sdm = CONDITION, .needs = "MOV-DR exiting", .rules = "cr.mov-dr-first" TOLD)
{
	struct snippet s;

	begin(&s, c, 0, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_ALL_MODES; mode = snippet_next_of_all(&s, mode)) {
		snippet_mode(&s, mode, true);
		judge_dr(&s, "cr.mov-dr-first", 0, 1);
		judge_dr(&s, "cr.mov-dr-first", 7, 2);
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_DE);
		judge_dr(&s, "cr.mov-dr-first", 4, 2);
		snippet_mode(&s, mode, false);
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_DE);
		judge_dr(&s, "cr.mov-dr-first", 4, 1);
		judge_dr(&s, "cr.mov-dr-first", 5, 1);
	}
	end(&s);
}

/* The SDM doesn't say whether the exit or #DB by DR7.GD comes first: told, not judged. */
TEST(cr, mov_dr_general_detect, .sdm = "Relative Priority of Faults and VM Exits",
     .needs = "MOV-DR exiting; load debug controls", .rules = "cr.mov-dr-gd")
{
	struct snippet s;
	struct exit e;

	begin(&s, c, 0, true);
	s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_guest_dr7, DR7_FIXED | DR7_GD);
	snippet_mov(&s, FROM_DR, 0, 1);
	e = snippet_run(&s);
	JUDGE("cr.mov-dr-gd", e.reason == EXIT_dr_access || snippet_faulted(&e, VEC_DB), true);
	say_note("with DR7.GD, %s comes first", e.reason == EXIT_dr_access ? "the exit by MOV DR" : "#DB");
	end(&s);
}

/* A number of a debug register that doesn't exist is #UD before all. */
TEST(cr, mov_dr_undefined, .sdm = "Relative Priority of Faults and VM Exits", .needs = "MOV-DR exiting",
     .flags = TEST_AMD64, .rules = "exit.cause.fault-first")
{
	struct snippet s;

	begin(&s, c, 0, false);
	for (u32 number = 0; number < 16; number++) {
		if (number == 8)
			s.v.ctl[CTL_PROC] |= PROC_mov_dr_exiting;
		vcpu_write_controls(&s.v);
		judge_about("DR8 to DR15", number < 8 ? "without the control" : "MOV-DR exiting");
		snippet_mov(&s, TO_DR, number | 8, 1);
		judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
		snippet_mov(&s, FROM_DR, number | 8, 1);
		judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
	}
	end(&s);
}

/* L2's MOV to DRn and back: DRs are L2's and L1's alike, but for DR7. */
static void judge_round(struct snippet *s, u32 to, u32 from, ulong value, ulong want)
{
	const u8 code[] = { 0x0f, TO_DR, (u8)(0xc1 | to << 3), 0x0f, FROM_DR, (u8)(0xc2 | from << 3) };

	snippet_code(s, code, sizeof(code)); /* from CX, to DX */
	s->v.g.cx = value;
	if (judge_runs(s, WHERE("cr.mov-dr-plain")))
		JUDGE("cr.mov-dr-plain", s->v.g.dx, want);
}

TEST(cr, mov_dr_plain, .sdm = CONDITION, .rules = "cr.mov-dr-plain exit.cause.fault-first")
{
	struct snippet s;

	begin(&s, c, 0, false);
	judge_about("MOV DR", "without the control");
	vmwrite_bits(VMCS_guest_cr4, CR4_DE, 0);
	for (u32 number = 0; number < 4; number++) {
		judge_round(&s, number, number, 0x12345670 + number, 0x12345670 + number);
		judge_round(&s, number, number, 0, 0);
	}
	judge_round(&s, 6, 6, DR6_FIXED | 1, DR6_FIXED | 1);
	judge_about("DR4 is DR6", NULL);
	judge_round(&s, 4, 6, DR6_FIXED, DR6_FIXED);
	judge_about("DR5 is DR7", NULL);
	judge_round(&s, 7, 7, DR7_FIXED | DR7_RW0, DR7_FIXED | DR7_RW0);
	judge_round(&s, 5, 7, DR7_FIXED, DR7_FIXED);
	judge_about("MOV to DR4", "with CR4.DE");
	vmwrite_bits(VMCS_guest_cr4, 0, CR4_DE);
	snippet_mov(&s, TO_DR, 4, 1);
	judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
	judge_about("MOV from DR0", "CPL 3");
	snippet_mode(&s, SNIP_NATIVE, true);
	snippet_mov(&s, FROM_DR, 0, 1);
	judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_GP);
	end(&s);
}

/* #DB by DR7.GD, which exits as an exception: DR6.BD is in the qualification. */
TEST(cr, general_detect, .sdm = "Exit Qualification for Debug Exceptions", .needs = "load debug controls",
     .rules = "cr.general-detect")
{
	struct snippet s;
	struct exit e;

	begin(&s, c, 0, false);
	s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	vcpu_write_controls(&s.v);
	for (u32 number = 0; number < 8; number++) {
		snippet_mode(&s, SNIP_NATIVE, false);
		vmwrite_bits(VMCS_guest_cr4, CR4_DE, 0);
		vmwrite(VMCS_guest_dr7, DR7_FIXED | DR7_GD);
		snippet_mov(&s, number & 1 ? FROM_DR : TO_DR, number, 1);
		e = snippet_run(&s);
		if (!JUDGE("cr.general-detect", snippet_faulted(&e, VEC_DB), true))
			continue;
		JUDGE("cr.general-detect", e.qualification, DR6_BD);
		JUDGE("cr.general-detect", e.ip, (ulong)s.code);
	}
	end(&s);
}
