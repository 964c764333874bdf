// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guests in virtual-8086 mode: with and without unrestricted guest, under 32-bit and 64-bit hosts. SDM: "Checks on Guest
 * Segment Registers", "Virtual-8086 Mode".
 */
#include "core/mem.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define CHECKS "Checks on Guest Segment Registers"
#define RFLAGS_IOPL3 0x3000u
#define INFO_ERROR 0x800u
#define LOW_DATA (SNIP_LOW + PAGE_SIZE)
#define AR_V86 0xf3u
#define CODE(text) (text), sizeof(text) - 1

static void begin(struct snippet *s, struct cpu *c)
{
	judge_begin();
	snippet_begin(s, c, 0);
	snippet_mode(s, SNIP_V86, false);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

TEST(mode, v86, .sdm = CHECKS, .rules = "mode.v86 mode.v86-saved")
{
	struct snippet s;

	begin(&s, c);
	snippet_code(&s, CODE("\x8e\xd8\x89\x1e\x00\x00\x05\x01\x00")); /* MOV DS, AX; MOV [0], BX; ADD AX, 1 */
	s.v.g.ax = LOW_DATA >> 4;
	s.v.g.bx = 0x1234abcd;
	judge_runs(&s, WHERE("mode.v86"));
	JUDGE("mode.v86", *(u32 *)s.data, 0xabcd);
	JUDGE("mode.v86", (u32)s.v.g.ax, (LOW_DATA >> 4) + 1);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_selector), LOW_DATA >> 4);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_base), LOW_DATA);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_limit), 0xffff);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_access_rights), AR_V86);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_rflags) & ~(u64)RFLAGS_ARITH, RFLAGS_FIXED | RFLAGS_VM);
	end(&s);
}

/* The privilege level is 3, and what depends on IOPL is #GP(0) below 3. */
TEST(mode, v86_privilege, .sdm = CHECKS, .rules = "mode.v86-privilege")
{
	static const struct {
		const char *name, *bytes;
		u32 length;
		bool iopl; /* runs with IOPL 3 */
	} rows[] = {
		{ "CLI", CODE("\xfa"), true },
		{ "STI", CODE("\xfb"), true },
		{ "PUSHF; POPF", CODE("\x9c\x9d"), true },
		{ "HLT", CODE("\xf4"), false },
		{ "MOV from CR0", CODE("\x0f\x20\xc0"), false },
		{ "INVD", CODE("\x0f\x08"), false },
		{ "CLTS", CODE("\x0f\x06"), false },
		{ "LMSW", CODE("\x0f\x01\xf0"), false },
		{ "LGDT", CODE("\x0f\x01\x16\x00\x00"), false },
		{ "MOV AX, [FFFFH]", CODE("\xa1\xff\xff"), false },
	};
	struct snippet s;

	begin(&s, c);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		for (u32 iopl = 0; iopl < 2; iopl++) {
			judge_about(rows[i].name, iopl ? "IOPL 3" : "IOPL 0");
			snippet_code(&s, rows[i].bytes, rows[i].length);
			vmwrite(VMCS_guest_rflags, SNIP_FLAGS(&s) | (iopl ? RFLAGS_IOPL3 : 0));
			if (iopl && rows[i].iopl) {
				judge_runs(&s, WHERE("mode.v86-privilege"));
				continue;
			}
			judge_fault(&s, WHERE("mode.v86-privilege"), VEC_GP);
			JUDGE("mode.v86-privilege", vmread(VMCS_exit_interruption_info) & INFO_ERROR, INFO_ERROR);
		}
	}
	end(&s);
}

#ifdef __x86_64__
#define PROTECTED SNIP_32
#else
#define PROTECTED SNIP_NATIVE
#endif

/* A guest in 32-bit mode goes to virtual-8086 mode by IRETD; what the exit from there saves is what a CPU has there. */
TEST(mode, v86_by_iret, .sdm = CHECKS, .rules = "mode.v86-saved")
{
	static const char *const names[] = { "ES", "CS", "SS", "DS", "FS", "GS" };
	/* ES CS SS DS FS GS, as in the VMCS. */
	static const u16 selectors[] = { 0x11, SNIP_LOW >> 4, LOW_DATA >> 4, 0x22, 0x33, 0x44 };
	struct snippet s;
	struct exit e;
	u32 *frame;

	begin(&s, c);
	memcpy(s.code, "\x0f\x01\xc1", 3); /* VMCALL at the beginning of CS */
	snippet_mode(&s, PROTECTED, false);
	snippet_code(&s, CODE("\xcf"));
	frame = (u32 *)s.data;
	frame[0] = 0;
	frame[1] = selectors[1];
	frame[2] = RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IOPL3;
	frame[3] = 0x800;
	frame[4] = selectors[2];
	frame[5] = selectors[0];
	for (u32 i = 0; i < 3; i++)
		frame[6 + i] = selectors[3 + i];
	vmwrite(VMCS_guest_rsp, (ulong)frame);
	e = snippet_run(&s);
	JUDGE("mode.v86-saved", e.entry.kind == OUT_OK ? e.reason : ~0u, EXIT_vmcall);
	JUDGE("mode.v86-saved", e.ip, 0);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_rsp), 0x800);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_rflags), RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IOPL3);
	for (u32 i = 0; i < ARRAY_SIZE(selectors); i++) {
		judge_about(names[i], NULL);
		JUDGE("mode.v86-saved", vmread(VMCS_guest_es_selector + 2 * i), selectors[i]);
		JUDGE("mode.v86-saved", vmread(VMCS_guest_es_base + 2 * i), selectors[i] << 4);
		JUDGE("mode.v86-saved", vmread(VMCS_guest_es_limit + 2 * i), 0xffff);
		JUDGE("mode.v86-saved", vmread(VMCS_guest_es_access_rights + 2 * i), AR_V86);
	}
	/* And it goes on from there. */
	judge_about("entered again", NULL);
	e = snippet_run(&s);
	JUDGE("mode.v86-saved", e.entry.kind == OUT_OK ? e.reason : ~0u, EXIT_vmcall);
	end(&s);
}

/* What exits from other modes exits from real-address mode; in virtual-8086 mode privileged instructions fault instead. */
static const struct exiting {
	const char *name, *bytes;
	u32 length, reason;
	bool privileged;
} exiting[] = {
	{ "CPUID", CODE("\x0f\xa2"), EXIT_cpuid, false }, { "VMCALL", CODE("\x0f\x01\xc1"), EXIT_vmcall, false },
	{ "RDTSC", CODE("\x0f\x31"), EXIT_rdtsc, false }, { "HLT", CODE("\xf4"), EXIT_hlt, true },
	{ "INVD", CODE("\x0f\x08"), EXIT_invd, true },    { "RDMSR", CODE("\x0f\x32"), EXIT_rdmsr, true },
	{ "WRMSR", CODE("\x0f\x30"), EXIT_wrmsr, true },
};

static void judge_exits(struct snippet *s, enum snip_mode mode)
{
	s->v.ctl[CTL_PROC] |= PROC_hlt_exiting | PROC_rdtsc_exiting;
	vcpu_write_controls(&s->v);
	snippet_mode(s, mode, false);
	for (u32 i = 0; i < ARRAY_SIZE(exiting); i++) {
		struct exit e;

		judge_about(exiting[i].name, snippet_name(mode));
		snippet_code(s, exiting[i].bytes, exiting[i].length);
		if (mode == SNIP_V86 && exiting[i].privileged) {
			judge_fault(s, WHERE("exit.cause.fault-first"), VEC_GP);
			continue;
		}
		e = snippet_run(s);
		JUDGE("mode.same-exits", e.entry.kind == OUT_OK ? e.reason : ~0u, exiting[i].reason);
		JUDGE("exit.info.instruction-length", e.length, exiting[i].length);
		JUDGE("exit.save.rip-instruction", e.ip, (ulong)s->code);
	}
}

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define EXITS "mode.same-exits exit.info.instruction-length exit.save.rip-instruction"

TEST(mode, v86_exits, .sdm = CONDITION, .needs = "HLT exiting; RDTSC exiting", .rules = EXITS " exit.cause.fault-first")
{
	struct snippet s;

	begin(&s, c);
	judge_exits(&s, SNIP_V86);
	end(&s);
}

TEST(mode, real_exits, .sdm = CONDITION, .needs = "HLT exiting; RDTSC exiting", .opt = OPT_ept | OPT_unrestricted,
     .rules = EXITS)
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, OPT_ept | OPT_unrestricted);
	judge_exits(&s, SNIP_REAL);
	end(&s);
}

/* An unrestricted guest may be in virtual-8086 mode, too. */
TEST(mode, v86_unrestricted, .sdm = CHECKS, .needs = "HLT exiting; RDTSC exiting", .opt = OPT_ept | OPT_unrestricted,
     .rules = EXITS " exit.cause.fault-first")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, OPT_ept | OPT_unrestricted);
	judge_exits(&s, SNIP_V86);
	end(&s);
}
