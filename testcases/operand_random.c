// SPDX-License-Identifier: BSD-2-Clause
/* RDRAND, RDSEED: exits that tell a destination. VMFUNC, whose operand is EAX. */
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "core/mem.h"
#include "x86/cr.h"

#define INFORMATION "Information for VM Exits Due to Instruction Execution"
#define SIZE_16 0u
#define SIZE_32 1u
#define SIZE_64 2u

struct random {
	u8 reg; /* of ModRM */
	u32 reason, control;
};

/* RDRAND or RDSEED of this register; REX.W, or an operand-size prefix. The length. */
static u32 encode(const struct random *i, u32 n, bool rex_w, bool other_size, u8 *code)
{
	u32 length = 0, rex = (rex_w ? 8 : 0) | n >> 3;

	if (other_size)
		code[length++] = 0x66;
	if (rex)
		code[length++] = (u8)(0x40 | rex);
	code[length++] = 0x0f;
	code[length++] = 0xc7;
	code[length++] = (u8)(0xc0 | i->reg << 3 | (n & 7));
	return length;
}

static void judge_exit(struct snippet *s, const char *cause, const struct random *i, u32 n, u32 length)
{
	struct gregs before = s->v.g;
	struct exit e = snippet_run(s);

	if (!judge_equal(WHERE(cause), "reason", e.reason, i->reason))
		return;
	JUDGE("exit.operand.register", vmread(VMCS_exit_instruction_info) >> 3 & 15, n);
	JUDGE("exit.operand.length", e.length, length);
	JUDGE("exit.operand.no-effect", memcmp(&before, &s->v.g, sizeof(before)), 0);
	JUDGE("exit.operand.no-effect", e.ip, (ulong)s->code);
}

static void judge_mode(struct snippet *s, const char *cause, const struct random *i, enum snip_mode mode, bool user)
{
	u8 code[8];

	judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
	snippet_mode(s, mode, user);
	for (u32 n = 0; n < (SNIP_IS_64(mode) ? 16 : 8); n++) {
		for (u32 k = 0; k < (SNIP_IS_64(mode) ? 3 : 2); k++) {
			u32 length = encode(i, n, k == 2, k == 1, code);

			snippet_code(s, code, length);
			judge_exit(s, cause, i, n, length);
		}
	}
}

static void check_random(struct cpu *c, const char *cause, const struct random *i)
{
	struct snippet s;
	struct exit e;
	u8 code[8] = { 0xf0 };

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC2] = i->control;
	vcpu_write_controls(&s.v);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		judge_mode(&s, cause, i, mode, false);
		judge_mode(&s, cause, i, mode, true);
		judge_about(snippet_name(mode), "LOCK");
		snippet_code(&s, code, 1 + encode(i, 3, false, false, code + 1));
		e = snippet_run(&s);
		JUDGE("exit.operand.fault-first", snippet_faulted(&e, VEC_UD), true);
	}
	judge_about("without the control", NULL);
	s.v.ctl[CTL_PROC2] = 0;
	vcpu_write_controls(&s.v);
	snippet_mode(&s, SNIP_NATIVE, false);
	snippet_code(&s, code, encode(i, 3, false, false, code));
	e = snippet_run(&s);
	judge_equal(WHERE(cause), "passed", snippet_passed(&s, &e), true);
	judge_done();
}

static const struct random rdrand = { 6, EXIT_rdrand, PROC2_rdrand_exiting };
static const struct random rdseed = { 7, EXIT_rdseed, PROC2_rdseed_exiting };
#define TOLD " exit.operand.register exit.operand.length exit.operand.no-effect exit.operand.fault-first"

TEST(operand, rdrand, .sdm = INFORMATION, .needs = "RDRAND exiting", .rules = "exit.operand.rdrand" TOLD)
{
	check_random(c, "exit.operand.rdrand", &rdrand);
}

TEST(operand, rdseed, .sdm = INFORMATION, .needs = "RDSEED exiting", .rules = "exit.operand.rdseed" TOLD)
{
	check_random(c, "exit.operand.rdseed", &rdseed);
}

/* The size that the exit tells must be the operand's, whatever the address size is. */
static void check_size(struct cpu *c, const struct random *i)
{
	struct snippet s;
	struct exit e;
	u8 code[9] = { 0x67 };

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC2] = i->control;
	vcpu_write_controls(&s.v);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		snippet_mode(&s, mode, false);
		for (u32 k = 0; k < (SNIP_IS_64(mode) ? 6 : 4); k++) {
			u32 size = k / 2 == 2 ? SIZE_64 : (mode == SNIP_16) == (k / 2 == 1) ? SIZE_32 : SIZE_16;
			u32 length = encode(i, 3, k / 2 == 2, k / 2 == 1, code + 1);

			judge_about(snippet_name(mode), k & 1 ? "address-size prefix" : NULL);
			snippet_code(&s, code + !(k & 1), length + (k & 1));
			e = snippet_run(&s);
			if (expect_eq(e.reason, i->reason))
				JUDGE("exit.operand.operand-size", vmread(VMCS_exit_instruction_info) >> 11 & 3, size);
		}
	}
	judge_done();
}

TEST(operand, rdrand_size, .sdm = INFORMATION, .needs = "RDRAND exiting", .rules = "exit.operand.operand-size")
{
	check_size(c, &rdrand);
}

TEST(operand, rdseed_size, .sdm = INFORMATION, .needs = "RDSEED exiting", .rules = "exit.operand.operand-size")
{
	check_size(c, &rdseed);
}

/* --- VMFUNC --- */

static struct exit vmfunc(struct snippet *s, u32 ax)
{
	snippet_code(s, "\x0f\x01\xd4", 3);
	s->v.g.ax = ax;
	return snippet_run(s);
}

/* No function is enabled. */
TEST(operand, vmfunc, .sdm = "VM Functions", .needs = "enable VM functions",
     .rules = "exit.operand.vmfunc exit.operand.vmfunc-ud exit.operand.length exit.operand.no-effect")
{
	static const u32 functions[] = { 0, 1, 63 }, invalid[] = { 64, 0x80000000 };
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC2] = PROC2_enable_vm_functions;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_vm_function_controls, 0);
	for (u32 n = 0; n < SNIP_MODES * 2; n++) {
		if (sizeof(ulong) == 4 && n / 2 == SNIP_COMPAT)
			continue;
		judge_about(snippet_name(n / 2), n & 1 ? "CPL 3" : "CPL 0");
		snippet_mode(&s, n / 2, n & 1);
		for (u32 k = 0; k < ARRAY_SIZE(functions); k++) {
			e = vmfunc(&s, functions[k]);
			if (!JUDGE("exit.operand.vmfunc", e.reason, EXIT_vmfunc))
				continue;
			JUDGE("exit.operand.length", e.length, 3);
			JUDGE("exit.operand.no-effect", s.v.g.ax, functions[k]);
			JUDGE("exit.operand.no-effect", e.ip, (ulong)s.code);
		}
		for (u32 k = 0; k < ARRAY_SIZE(invalid); k++) {
			e = vmfunc(&s, invalid[k]);
			JUDGE("exit.operand.vmfunc-ud", snippet_faulted(&e, VEC_UD), true);
		}
	}
	judge_about("not enabled", NULL);
	s.v.ctl[CTL_PROC2] = 0;
	vcpu_write_controls(&s.v);
	snippet_mode(&s, SNIP_NATIVE, false);
	e = vmfunc(&s, 0);
	JUDGE("exit.operand.vmfunc-ud", snippet_faulted(&e, VEC_UD), true);
	judge_done();
}
