// SPDX-License-Identifier: BSD-2-Clause
/*
 * Accesses to control registers that exit, and INVLPG: from all modes, by all general registers, and what their exits tell.
 * SDM: "Instructions That Cause VM Exits Conditionally", "Exit Qualification for Control-Register Accesses".
 */
#include "lhv/guest.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define CODE(text) (text), sizeof(text) - 1
#define BASE 0x123u /* of FS: not a multiple of anything */
#define SEGMENT_FS 0x64
#define ADDRESS_SIZE 0x67

struct access {
	const char *name, *cause;
	enum mov_special op;
	u32 number;
	ulong value;  /* of the general register */
	u32 controls; /* without which it doesn't exit */
};

/* Before or behind, one bit of CR0 and one of CR4 belong to L1. */
static void own_bits(void)
{
	vmwrite(VMCS_cr0_guest_host_mask, CR0_MP);
	vmwrite(VMCS_cr0_read_shadow, vmread(VMCS_guest_cr0) & CR0_MP);
	vmwrite(VMCS_cr4_guest_host_mask, CR4_DE);
	vmwrite(VMCS_cr4_read_shadow, vmread(VMCS_guest_cr4) & CR4_DE);
}

static void put(struct snippet *s, const struct access *a, u32 reg)
{
	snippet_mov(s, a->op, a->number, reg);
	if (a->op == TO_CR)
		snippet_set(s, reg, a->value);
}

static void judge_one(struct snippet *s, const struct access *a, u32 reg)
{
	u64 qualification = a->op == TO_CR ? QUAL_TO_CR(a->number) : QUAL_FROM_CR(a->number);

	put(s, a, reg);
	judge_access(s, WHERE(a->cause), EXIT_cr_access, qualification | QUAL_REGISTER(reg));
}

/* mod of ModRM says nothing in these instructions. */
static void judge_mod(struct snippet *s, const struct access *a)
{
	const u8 code[] = { 0x0f, (u8)a->op, (u8)((a->number & 7) << 3 | 3) };

	if (a->number > 7)
		return;
	judge_about(a->name, "mod 0");
	snippet_code(s, code, sizeof(code));
	snippet_set(s, 3, a->value);
	judge_access(s, WHERE(a->cause), EXIT_cr_access,
		     (a->op == TO_CR ? QUAL_TO_CR(a->number) : QUAL_FROM_CR(a->number)) | QUAL_REGISTER(3));
}

/* All registers in the native mode, some in others; at CPL 3 and in virtual-8086 mode it's #GP. */
static void judge_modes(struct snippet *s, const struct access *a)
{
	bool native_only = a->number == 8;

	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_ALL_MODES; mode = snippet_next_of_all(s, mode)) {
		if (native_only && !SNIP_IS_64(mode))
			continue;
		judge_about(a->name, snippet_name(mode));
		snippet_mode(s, mode, false);
		own_bits();
		for (u32 reg = 0; reg < snippet_registers(mode) && mode != SNIP_V86; reg += mode == SNIP_NATIVE ? 1 : 3)
			judge_one(s, a, reg);
		snippet_mode(s, mode, true);
		own_bits();
		put(s, a, 2);
		if (mode == SNIP_REAL)
			continue;
		judge_about(snippet_name(mode), "CPL 3");
		judge_fault(s, WHERE("exit.cause.fault-first"), VEC_GP);
	}
	snippet_mode(s, SNIP_NATIVE, false);
	own_bits();
	judge_mod(s, a);
}

/* Without its control, or with what doesn't change L1's bits, it runs. */
static void judge_quiet(struct snippet *s, const struct access *a, ulong value)
{
	judge_about(a->name, "nothing to exit for");
	put(s, a, 1);
	if (a->op == TO_CR)
		snippet_set(s, 1, value);
	judge_runs(s, WHERE(a->cause));
}

static void begin(struct snippet *s, struct cpu *c, u32 opt, u32 controls)
{
	judge_begin();
	snippet_begin(s, c, opt);
	s->v.ctl[CTL_PROC] |= controls;
	vcpu_write_controls(&s->v);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

static void check_mov(struct cpu *c, const struct access *a, ulong quiet)
{
	struct snippet s;

	begin(&s, c, 0, a->controls);
	judge_modes(&s, a);
	s.v.ctl[CTL_PROC] &= ~a->controls;
	vcpu_write_controls(&s.v);
	/* The first CPUs with VMX have no other way for CR3. */
	if (!((u32)vmread(VMCS_primary_proc_based_controls) & a->controls))
		judge_quiet(&s, a, quiet);
	end(&s);
}

#define FIRST " exit.cause.fault-first exit.info.cr-access" CR_TOLD

TEST(cr, mov_to_cr0, .sdm = CONDITION, .rules = "cr.mov-to-cr0" FIRST)
{
	const ulong cr0 = read_cr0();

	check_mov(c, &(struct access){ "MOV to CR0", "cr.mov-to-cr0", TO_CR, 0, cr0 ^ CR0_MP, 0 }, cr0 ^ CR0_TS);
}

TEST(cr, mov_to_cr4, .sdm = CONDITION, .rules = "cr.mov-to-cr4" FIRST)
{
	const ulong cr4 = read_cr4();

	check_mov(c, &(struct access){ "MOV to CR4", "cr.mov-to-cr4", TO_CR, 4, cr4 ^ CR4_DE, 0 }, cr4 ^ CR4_TSD);
}

TEST(cr, mov_to_cr3, .sdm = CONDITION, .needs = "CR3-load exiting", .rules = "cr.mov-to-cr3" FIRST)
{
	const struct access a = { "MOV to CR3", "cr.mov-to-cr3", TO_CR, 3, read_cr3(), PROC_cr3_load_exiting };

	check_mov(c, &a, read_cr3());
}

TEST(cr, mov_from_cr3, .sdm = CONDITION, .needs = "CR3-store exiting", .rules = "cr.mov-from-cr3" FIRST)
{
	check_mov(c, &(struct access){ "MOV from CR3", "cr.mov-from-cr3", FROM_CR, 3, 0, PROC_cr3_store_exiting }, 0);
}

TEST(cr, mov_to_cr8, .sdm = CONDITION, .needs = "CR8-load exiting", .flags = TEST_AMD64, .rules = "cr.mov-to-cr8" FIRST)
{
	check_mov(c, &(struct access){ "MOV to CR8", "cr.mov-to-cr8", TO_CR, 8, 5, PROC_cr8_load_exiting }, 0);
}

TEST(cr, mov_from_cr8, .sdm = CONDITION, .needs = "CR8-store exiting", .flags = TEST_AMD64,
     .rules = "cr.mov-from-cr8" FIRST)
{
	check_mov(c, &(struct access){ "MOV from CR8", "cr.mov-from-cr8", FROM_CR, 8, 0, PROC_cr8_store_exiting }, 0);
}

/* CR2, and CR0 and CR4 for reading, have nothing that makes them exit. */
TEST(cr, never, .sdm = CONDITION, .rules = "cr.never-exits")
{
	static const struct {
		const char *name;
		enum mov_special op;
		u32 number;
	} rows[] = {
		{ "MOV from CR0", FROM_CR, 0 },
		{ "MOV from CR2", FROM_CR, 2 },
		{ "MOV from CR4", FROM_CR, 4 },
		{ "MOV to CR2", TO_CR, 2 },
	};
	struct snippet s;

	begin(&s, c, 0, 0);
	vmwrite(VMCS_cr0_guest_host_mask, ~0ul);
	vmwrite(VMCS_cr4_guest_host_mask, ~0ul);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		snippet_mode(&s, mode, false);
		for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
			judge_about(rows[i].name, snippet_name(mode));
			snippet_mov(&s, rows[i].op, rows[i].number, 3);
			judge_runs(&s, WHERE("cr.never-exits"));
		}
		judge_about("SMSW", snippet_name(mode));
		snippet_code(&s, CODE("\x0f\x01\xe0"));
		judge_runs(&s, WHERE("cr.never-exits"));
	}
	end(&s);
}

/* Registers that don't exist, and a LOCK prefix: #UD, whatever exits. */
TEST(cr, undefined, .sdm = "Relative Priority of Faults and VM Exits", .needs = "CR3-load exiting; CR3-store exiting",
     .rules = "exit.cause.fault-first")
{
	static const char locked[][5] = { "\xf0\x0f\x22\xc1", "\xf0\x0f\x20\xd9", "\xf0\x0f\x22\xd9",
					  "\xf0\x0f\x22\xe1" };
	const u32 defined = 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8;
	struct snippet s;

	begin(&s, c, 0, PROC_cr3_load_exiting | PROC_cr3_store_exiting);
	vmwrite(VMCS_cr0_guest_host_mask, ~0ul);
	vmwrite(VMCS_cr4_guest_host_mask, ~0ul);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		snippet_mode(&s, mode, false);
		for (u32 number = 0; number < snippet_registers(mode); number++) {
			if (defined >> number & 1)
				continue;
			judge_about("a register that doesn't exist", snippet_name(mode));
			snippet_mov(&s, TO_CR, number, 1);
			judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
			snippet_mov(&s, FROM_CR, number, 1);
			judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
		}
		for (u32 i = 0; i < ARRAY_SIZE(locked); i++) {
			judge_about("LOCK", snippet_name(mode));
			snippet_code(&s, locked[i], 4);
			judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_UD);
		}
	}
	end(&s);
}

/* In real-address mode the privilege level is 0. */
TEST(cr, real_mode, .sdm = CONDITION, .needs = "CR3-load exiting; CR3-store exiting", .opt = UNRESTRICTED,
     .rules = "cr.mov-to-cr0 cr.mov-to-cr3 cr.mov-from-cr3 cr.mov-to-cr4 cr.clts exit.info.cr-access" CR_TOLD)
{
	struct access rows[] = {
		{ "MOV to CR0", "cr.mov-to-cr0", TO_CR, 0, 0, 0 },
		{ "MOV to CR3", "cr.mov-to-cr3", TO_CR, 3, 0x5000, 0 },
		{ "MOV from CR3", "cr.mov-from-cr3", FROM_CR, 3, 0, 0 },
		{ "MOV to CR4", "cr.mov-to-cr4", TO_CR, 4, 0, 0 },
	};
	struct snippet s;

	begin(&s, c, UNRESTRICTED, PROC_cr3_load_exiting | PROC_cr3_store_exiting);
	snippet_mode(&s, SNIP_REAL, false);
	own_bits();
	rows[0].value = (ulong)vmread(VMCS_guest_cr0) ^ CR0_MP;
	rows[3].value = (ulong)vmread(VMCS_guest_cr4) ^ CR4_DE;
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		judge_about(rows[i].name, "real mode");
		for (u32 reg = 0; reg < 8; reg++)
			judge_one(&s, &rows[i], reg);
	}
	judge_about("CLTS", "real mode");
	vmwrite(VMCS_cr0_guest_host_mask, CR0_TS);
	vmwrite(VMCS_cr0_read_shadow, CR0_TS);
	snippet_code(&s, CODE("\x0f\x06"));
	judge_access(&s, WHERE("cr.clts"), EXIT_cr_access, QUAL_CLTS);
	end(&s);
}

TEST(cr, clts, .sdm = CONDITION, .rules = "cr.clts" FIRST)
{
	struct snippet s;

	begin(&s, c, 0, 0);
	vmwrite(VMCS_cr0_guest_host_mask, CR0_TS);
	vmwrite(VMCS_cr0_read_shadow, CR0_TS);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_ALL_MODES; mode = snippet_next_of_all(&s, mode)) {
		for (u32 user = 0; user < 2; user++) {
			judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
			snippet_mode(&s, mode, user);
			snippet_code(&s, CODE("\x0f\x06"));
			if (s.user)
				judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_GP);
			else
				judge_access(&s, WHERE("cr.clts"), EXIT_cr_access, QUAL_CLTS);
		}
	}
	end(&s);
}

/* FS: [BX] of these instructions, whatever the mode's address size is; the bytes' number. */
static u32 memory_operand(const struct snippet *s, u8 *code, u8 opcode, u8 extension)
{
	u32 n = 0;

	if (s->mode == SNIP_16 || s->mode == SNIP_REAL)
		code[n++] = ADDRESS_SIZE;
	code[n++] = SEGMENT_FS;
	code[n++] = 0x0f;
	code[n++] = opcode;
	code[n++] = (u8)(extension << 3 | 3);
	return n;
}

static void lmsw_memory(struct snippet *s, const char *name, u16 source)
{
	u8 code[8];
	const ulong address = (ulong)s->data + 0x40;

	judge_about("LMSW of memory", name);
	*(u16 *)address = source;
	vmwrite(VMCS_guest_fs_base, BASE);
	snippet_code(s, code, memory_operand(s, code, 0x01, 6));
	s->v.g.bx = address - BASE;
	if (judge_access(s, WHERE("cr.lmsw"), EXIT_cr_access, QUAL_LMSW(source) | QUAL_LMSW_MEMORY))
		JUDGE("cr.lmsw-linear", vmread(VMCS_guest_linear_address), address);
}

static void lmsw_register(struct snippet *s, const char *name, u16 source)
{
	judge_about("LMSW", name);
	for (u32 reg = 0; reg < 8; reg += 3) {
		const u8 code[] = { 0x0f, 0x01, (u8)(0xf0 | reg) };

		snippet_code(s, code, sizeof(code));
		snippet_set(s, reg, 0xdead0000u | source);
		judge_access(s, WHERE("cr.lmsw"), EXIT_cr_access, QUAL_LMSW(source));
	}
}

static void check_lmsw(struct snippet *s, enum snip_mode mode)
{
	const u16 source = 0xa5c1 | CR0_MP;

	snippet_mode(s, mode, false);
	vmwrite(VMCS_cr0_guest_host_mask, CR0_MP);
	vmwrite(VMCS_cr0_read_shadow, 0);
	lmsw_register(s, snippet_name(mode), source);
	lmsw_memory(s, snippet_name(mode), source);
}

TEST(cr, lmsw, .sdm = CONDITION, .rules = "cr.lmsw cr.lmsw-linear" FIRST)
{
	struct snippet s;

	begin(&s, c, 0, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		check_lmsw(&s, mode);
		judge_about("LMSW at CPL 3", snippet_name(mode));
		snippet_mode(&s, mode, true);
		snippet_code(&s, CODE("\x0f\x01\xf0"));
		judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_GP);
	}
	end(&s);
}

TEST(cr, lmsw_real, .sdm = CONDITION, .opt = UNRESTRICTED,
     .rules = "cr.lmsw cr.lmsw-linear exit.info.cr-access" CR_TOLD)
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED, 0);
	check_lmsw(&s, SNIP_REAL);
	end(&s);
}

/* The exit depends on the operand, so fetching it comes first. */
TEST(cr, lmsw_operand_fault, .sdm = "Relative Priority of Faults and VM Exits", .rules = "cr.lmsw-operand-first")
{
	struct snippet s;
	struct exit e;

	begin(&s, c, 0, 0);
	vmwrite(VMCS_cr0_guest_host_mask, 0xe);
	vmwrite(VMCS_cr0_read_shadow, 0);
	judge_about("LMSW of an absent page", NULL);
	snippet_code(&s, CODE("\x0f\x01\x33"));
	s.v.g.bx = L2_WINDOW + 0x5008;
	e = snippet_run(&s);
	if (JUDGE("cr.lmsw-operand-first", snippet_faulted(&e, VEC_PF), true))
		JUDGE("cr.lmsw-operand-first", e.qualification, L2_WINDOW + 0x5008);
	end(&s);
}

static void judge_invlpg(struct snippet *s, const char *name, ulong address)
{
	u8 code[8];

	judge_about(name, snippet_name(s->mode));
	vmwrite(VMCS_guest_fs_base, BASE);
	snippet_code(s, code, memory_operand(s, code, 0x01, 7));
	s->v.g.bx = address - BASE;
	judge_access(s, WHERE("cr.invlpg"), EXIT_invlpg, address);
}

/* Nothing needs to be mapped there. */
static void check_invlpg(struct snippet *s, enum snip_mode mode)
{
	snippet_mode(s, mode, false);
	judge_invlpg(s, "INVLPG", mode == SNIP_REAL ? 0x1abc : 0xc0123abc);
	judge_invlpg(s, "INVLPG", 0x1fff);
#ifdef __x86_64__
	if (SNIP_IS_64(mode))
		judge_invlpg(s, "INVLPG, high", 0xffff8123456789abul);
#endif
}

TEST(cr, invlpg, .sdm = CONDITION, .needs = "INVLPG exiting",
     .rules = "cr.invlpg exit.info.invlpg exit.cause.fault-first" CR_TOLD)
{
	struct snippet s;

	begin(&s, c, 0, PROC_invlpg_exiting);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		check_invlpg(&s, mode);
		judge_about("INVLPG at CPL 3", snippet_name(mode));
		snippet_mode(&s, mode, true);
		snippet_code(&s, CODE("\x0f\x01\x3b"));
		judge_fault(&s, WHERE("exit.cause.fault-first"), VEC_GP);
	}
	s.v.ctl[CTL_PROC] &= ~(u32)PROC_invlpg_exiting;
	vcpu_write_controls(&s.v);
	judge_about("INVLPG", "without the control");
	snippet_mode(&s, SNIP_NATIVE, false);
	snippet_code(&s, CODE("\x0f\x01\x3b"));
	judge_runs(&s, WHERE("cr.invlpg"));
	end(&s);
}

TEST(cr, invlpg_real, .sdm = CONDITION, .needs = "INVLPG exiting", .opt = UNRESTRICTED,
     .rules = "cr.invlpg exit.info.invlpg" CR_TOLD)
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED, PROC_invlpg_exiting);
	check_invlpg(&s, SNIP_REAL);
	end(&s);
}
