// SPDX-License-Identifier: BSD-2-Clause
/*
 * Each exception that an instruction can make, in all modes and at both ends of the privileges: with its bit of the exception bitmap and
 * none else it exits, without its bit and with all others it's the guest's. SDM: "Other Causes of VM Exits",
 * "Information for VM Exits Due to Vectored Events".
 */
#include "core/mem.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define SDM_EXITS "Other Causes of VM Exits"
#define CR0_AM 0x40000u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_INVALID_UNMASKED 0x1f00u
#define FPU_DIVIDE_UNMASKED 0x037bu
#define CR2_BEFORE 0x3a5a5000u

enum {
	IN_64 = 1,
	IN_COMPAT = 2,
	IN_32 = 4,
	IN_16 = 8,
	IN_LEGACY = IN_COMPAT | IN_32 | IN_16,
	IN_WIDE = IN_64 | IN_COMPAT | IN_32, /* addresses have 32 bits at least */
	IN_ALL = IN_64 | IN_LEGACY
};
enum { AT_0 = 1, AT_3 = 2, AT_BOTH = 3 };

struct raiser {
	const char *bytes;
	u32 length;
	u32 at; /* offset of the instruction that raises it */
	u32 modes, cpl;
	u32 vector, type; /* type 0: a hardware exception */
	u32 error;
	u32 told;  /* length of the instruction, where exits tell it */
	bool trap; /* the handler returns behind it */
	u64 cr0, cr4, flags;
	ulong ax, cx;
	bool cx_data, ax_data; /* these registers are addresses in the data page instead, plus the above */
};

#define CODE(text) .bytes = (text), .length = sizeof(text) - 1

static u32 mode_bit(enum snip_mode mode)
{
	if (mode == SNIP_NATIVE)
		return sizeof(ulong) == 8 ? IN_64 : IN_32;
	return mode == SNIP_COMPAT ? IN_COMPAT : mode == SNIP_32 ? IN_32 : IN_16;
}

static void put(struct eguest *g, const struct raiser *r)
{
	snippet_code(&g->s, r->bytes, r->length);
	g->s.v.g.ax = r->ax + (r->ax_data ? (ulong)g->s.data : 0);
	g->s.v.g.cx = r->cx + (r->cx_data ? (ulong)g->s.data : 0);
	vmwrite(VMCS_guest_rflags, SNIP_FLAGS(&g->s) | r->flags);
	vmwrite_bits(VMCS_guest_cr0, 0, r->cr0);
	vmwrite_bits(VMCS_guest_cr4, 0, r->cr4);
	write_cr2(CR2_BEFORE);
}

/* Never in real-address mode. */
static bool pushes_error(const struct eguest *g, const struct raiser *r)
{
	return (!r->type || r->type == TYPE_HARDWARE) && vector_has_error(r->vector) && g->s.mode != SNIP_REAL;
}

static void judge_exit(struct eguest *g, const struct raiser *r)
{
	const u32 type = r->type ? r->type : TYPE_HARDWARE;
	const bool error = pushes_error(g, r);
	struct exit e;

	eguest_exits(g, 1u << r->vector);
	put(g, r);
	e = snippet_run(&g->s);
	if (!JUDGE("event.exception.exits", e.reason, EXIT_exception_or_nmi))
		return;
	JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info),
	      INFO_VALID | type | r->vector | (error ? INFO_HAS_ERROR : 0));
	if (error)
		JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_error_code), r->error);
	JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	JUDGE("exit.info.qualification-zero", e.qualification, 0);
	JUDGE("exit.save.rip-exception", e.ip, (ulong)g->s.code + r->at);
	JUDGE("exit.save.rsp", vmread(VMCS_guest_rsp), SNIP_SP(&g->s));
	if (r->told)
		JUDGE("event.exception.length", e.length, r->told);
	JUDGE("event.exception.cr2-stays", read_cr2(), CR2_BEFORE);
}

static void judge_delivered(struct eguest *g, const struct raiser *r)
{
	const bool error = pushes_error(g, r);
	struct eframe f;
	struct exit e;

	eguest_exits(g, ~(1u << r->vector));
	put(g, r);
	e = snippet_run(&g->s);
	if (!JUDGE("event.exception.delivered", eguest_vector(g, &e), r->vector))
		return;
	f = eguest_frame(g, error);
	JUDGE("event.exception.delivered", f.error, error ? r->error : 0);
	JUDGE("event.exception.delivered", f.ip, (ulong)g->s.code + r->at + (r->trap ? r->told : 0));
	if (g->s.mode != SNIP_REAL) /* 16-bit frames don't have RF */
		JUDGE("event.exception.delivered", f.flags & RFLAGS_RF, r->trap ? 0 : RFLAGS_RF);
	JUDGE("event.exception.delivered", f.cs & 0xffff,
	      g->s.mode > SNIP_MODES ? 0 :
	      g->s.user              ? SEL_USER_CODE :
				       SEL_CODE);
}

static void check_raiser(struct eguest *g, const struct raiser *r)
{
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		if (!(r->modes & mode_bit(mode)))
			continue;
		for (u32 user = 0; user < 2; user++) {
			if (!(r->cpl >> user & 1))
				continue;
			judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
			eguest_mode(g, mode, user);
			judge_exit(g, r);
			eguest_mode(g, mode, user);
			judge_delivered(g, r);
		}
	}
}

/* What the rows left in the FPU and in MXCSR is no longer there. */
static void clean_units(struct eguest *g)
{
	struct exit e;

	eguest_mode(g, SNIP_NATIVE, false);
	eguest_exits(g, ~0u);
	vmwrite_bits(VMCS_guest_cr4, 0, CR4_OSFXSR);
	snippet_code(&g->s, "\xdb\xe3\x0f\xae\x10", 5); /* FNINIT, LDMXCSR [AX] */
	*(u32 *)(ulong)g->s.data = MXCSR_DEFAULT;
	g->s.v.g.ax = (ulong)g->s.data;
	e = snippet_run(&g->s);
	expect(snippet_passed(&g->s, &e));
}

static void check_raisers(struct cpu *c, const struct raiser *r, u32 count, u32 data, bool units)
{
	struct eguest g;
	bool told = false;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (u32 i = 0; i < count; i++) {
		*(u32 *)(ulong)g.s.data = data;
		*(u32 *)(ulong)(g.s.data + 4) = data + 1;
		check_raiser(&g, &r[i]);
		told |= r[i].told != 0;
	}
	if (units)
		clean_units(&g);
	if (!told)
		judge_absent("event.exception.length");
	vcpu_destroy(&g.s.v);
	judge_done();
}

#define RULES                                                                                                   \
	"event.exception.exits event.exception.delivered exit.info.interruption exit.info.idt-vectoring-clear " \
	"exit.info.qualification-zero exit.save.rip-exception exit.save.rsp "                                   \
	"event.exception.length event.exception.cr2-stays"
#define RAISES(name_, data_, units_, ...)                                \
	TEST(event, name_, .sdm = SDM_EXITS, .rules = RULES)             \
	{                                                                \
		const struct raiser rows[] = { __VA_ARGS__ };            \
                                                                         \
		check_raisers(c, rows, ARRAY_SIZE(rows), data_, units_); \
	}

RAISES(divide_error, 0, false,
       { CODE("\x90\xf7\xf1"), .at = 1, .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_DE, .cx = 0 })
RAISES(breakpoint, 0, false,
       { CODE("\xcc"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_BP, .type = TYPE_SOFTWARE, .told = 1,
	 .trap = true },
       { CODE("\x90\x2e\xcc"), .at = 1, .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_BP, .type = TYPE_SOFTWARE,
	 .told = 2, .trap = true })
RAISES(overflow, 0, false,
       { CODE("\x90\xce"), .at = 1, .modes = IN_LEGACY, .cpl = AT_BOTH, .vector = VEC_OF, .type = TYPE_SOFTWARE,
	 .told = 1, .trap = true, .flags = 0x800 })
RAISES(bound_range, 1, false,
       { CODE("\x62\x01"), .modes = IN_COMPAT | IN_32, .cpl = AT_BOTH, .vector = VEC_BR, .ax = 5, .cx_data = true })
RAISES(invalid_opcode, 0, false, { CODE("\x0f\x0b"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_UD },
       { CODE("\x0f\xb9\xc0"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_UD },
       { CODE("\x0f\xff\xc0"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_UD },
       { CODE("\xf0\x90"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_UD },
       { CODE("\xce"), .modes = IN_64, .cpl = AT_BOTH, .vector = VEC_UD })
RAISES(no_fpu, 0, false, { CODE("\xd9\xee"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_NM, .cr0 = CR0_TS },
       { CODE("\x9b"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_NM, .cr0 = CR0_TS | CR0_MP })
RAISES(segment_not_present, 0, false,
       { CODE("\x8e\xd8"), .modes = IN_ALL, .cpl = AT_0, .vector = VEC_NP, .error = ESEL_ABSENT, .ax = ESEL_ABSENT },
       { CODE("\x8e\xe8"), .modes = IN_ALL, .cpl = AT_3, .vector = VEC_NP, .error = ESEL_ABSENT_USER,
	 .ax = ESEL_ABSENT_USER | 3 })
RAISES(stack_fault, 0, false,
       { CODE("\x8e\xd0"), .modes = IN_ALL, .cpl = AT_0, .vector = VEC_SS, .error = ESEL_ABSENT, .ax = ESEL_ABSENT },
       { CODE("\x8e\xd0"), .modes = IN_ALL, .cpl = AT_3, .vector = VEC_SS, .error = ESEL_ABSENT_USER,
	 .ax = ESEL_ABSENT_USER | 3 })
RAISES(general_protection, 0, false,
       { CODE("\x8e\xd8"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_GP, .error = ESEL_BEYOND, .ax = ESEL_BEYOND },
       { CODE("\x8e\xd8"), .modes = IN_ALL, .cpl = AT_BOTH, .vector = VEC_GP, .error = ESEL_BEYOND | 4,
	 .ax = ESEL_BEYOND | 7 },
       { CODE("\xf4"), .modes = IN_ALL, .cpl = AT_3, .vector = VEC_GP })
RAISES(fpu_error, FPU_DIVIDE_UNMASKED, true,
       /* FNINIT, FLDCW, FLD1, FLDZ, FDIVP: the next one that waits has it. */
       { CODE("\xdb\xe3\xd9\x28\xd9\xe8\xd9\xee\xde\xf9\x9b"), .at = 10, .modes = IN_WIDE, .cpl = AT_BOTH,
	 .vector = VEC_MF, .ax_data = true })
RAISES(alignment, 0, false,
       { CODE("\x8b\x01"), .modes = IN_WIDE, .cpl = AT_3, .vector = VEC_AC, .cr0 = CR0_AM, .flags = RFLAGS_AC, .cx = 1,
	 .cx_data = true })
RAISES(simd_error, MXCSR_INVALID_UNMASKED, true,
       { CODE("\x0f\xae\x10\x0f\x57\xc0\x0f\x5e\xc0"), /* LDMXCSR, XORPS, DIVPS */
	 .at = 6, .modes = IN_WIDE, .cpl = AT_BOTH, .vector = VEC_XM, .cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT,
	 .ax_data = true })

/* Faults save RF as 1, others as it was. */
TEST(event, resume_flag, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .rules = "exit.save.resume-flag")
{
	static const struct raiser rows[] = {
		{ CODE("\xf7\xf1"), .modes = IN_ALL, .vector = VEC_DE },
		{ CODE("\xcc"), .modes = IN_ALL, .vector = VEC_BP, .trap = true },
		{ CODE("\xce"), .modes = IN_LEGACY, .vector = VEC_OF, .trap = true, .flags = 0x800 },
		{ CODE("\x0f\x0b"), .modes = IN_ALL, .vector = VEC_UD },
		{ CODE("\xd9\xee"), .modes = IN_ALL, .vector = VEC_NM, .cr0 = CR0_TS },
		{ CODE("\x8e\xd8"), .modes = IN_ALL, .vector = VEC_NP, .ax = ESEL_ABSENT },
		{ CODE("\x8e\xd8"), .modes = IN_ALL, .vector = VEC_GP, .ax = ESEL_BEYOND },
	};
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		judge_about(snippet_name(mode), NULL);
		eguest_mode(&g, mode, false);
		for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
			struct exit e;

			if (!(rows[i].modes & mode_bit(mode)))
				continue;
			eguest_again(&g);
			eguest_exits(&g, ~0u);
			put(&g, &rows[i]);
			e = snippet_run(&g.s);
			if (JUDGE("exit.save.resume-flag", e.reason, EXIT_exception_or_nmi))
				JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF,
				      rows[i].trap ? 0 : RFLAGS_RF);
		}
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

static const struct raiser low_rows[] = {
	{ CODE("\x90\xf7\xf1"), .at = 1, .vector = VEC_DE, .cx = 0 },
	{ CODE("\xcc"), .vector = VEC_BP, .type = TYPE_SOFTWARE, .told = 1, .trap = true },
	{ CODE("\xce"), .vector = VEC_OF, .type = TYPE_SOFTWARE, .told = 1, .trap = true, .flags = 0x800 },
	{ CODE("\x0f\x0b"), .vector = VEC_UD },
	{ CODE("\xd9\xee"), .vector = VEC_NM, .cr0 = CR0_TS },
	{ CODE("\xa1\xff\xff"), .vector = VEC_GP },     /* a word at the limit */
	{ CODE("\x36\xa1\xff\xff"), .vector = VEC_SS }, /* the same in SS */
};

static void check_low(struct cpu *c, enum snip_mode mode, u32 opt)
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, opt);
	judge_about(snippet_name(mode), NULL);
	for (u32 i = 0; i < ARRAY_SIZE(low_rows); i++) {
		eguest_mode(&g, mode, mode == SNIP_V86);
		judge_exit(&g, &low_rows[i]);
		eguest_mode(&g, mode, mode == SNIP_V86);
		judge_delivered(&g, &low_rows[i]);
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

TEST(event, exceptions_v86, .sdm = SDM_EXITS, .rules = RULES)
{
	check_low(c, SNIP_V86, 0);
}

/* There are no error codes. */
TEST(event, exceptions_real_mode, .sdm = "Information for VM Exits Due to Vectored Events",
     .opt = OPT_ept | OPT_unrestricted, .rules = RULES)
{
	check_low(c, SNIP_REAL, OPT_ept | OPT_unrestricted);
}

/* INT n isn't an exception, whatever n is. */
TEST(event, int_n_is_no_exception, .sdm = SDM_EXITS, .rules = "event.exception.int-n")
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		for (u32 n = 0; n < 32; n++) {
			const u8 code[] = { 0xcd, (u8)n };
			struct exit e;

			judge_about(snippet_name(mode), NULL);
			eguest_mode(&g, mode, n & 1);
			eguest_exits(&g, ~0u);
			snippet_code(&g.s, code, 2);
			e = snippet_run(&g.s);
			JUDGE("event.exception.int-n", eguest_vector(&g, &e), n);
			JUDGE("event.exception.int-n", eguest_frame(&g, false).ip, (ulong)g.s.code + 2);
		}
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}
