// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every type of event that an entry injects, into every mode at both privilege levels: which handler runs and what it finds.
 * SDM: "Details of Vectored-Event Injection".
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define VECTORED "Details of Vectored-Event Injection"
#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define ERROR_CODE 0x2468u
#define CR2_BEFORE 0x3a5a5000u
#define MISC_LENGTH_0 (1ull << 30)
#define INSN_MAX 15u
#define WATCHDOG "activate VMX-preemption timer"
#define WATCHDOG_TICKS 0x100000u
#define FLAGS_KEPT (RFLAGS_RF | RFLAGS_TF | RFLAGS_IF | RFLAGS_ARITH)
#define RFLAGS_VIF 0x80000u

struct injection {
	u32 info;   /* without the error code's bit */
	u32 length; /* that the pushed RIP is further on */
	u64 cr4;
};

static bool pushes_error(const struct eguest *g, const struct injection *i)
{
	return (i->info & INFO_TYPE) == TYPE_HARDWARE && g->s.mode != SNIP_REAL && vector_has_error(i->info & 0xff);
}

static struct exit inject(struct eguest *g, const struct injection *i, u32 flags)
{
	const bool error = pushes_error(g, i);

	eguest_again(g);
	snippet_code(&g->s, "\x0f\x0b", 2);
	vmwrite(VMCS_guest_rflags, SNIP_FLAGS(&g->s) | flags);
	vmwrite_bits(VMCS_guest_cr4, 0, i->cr4);
	eguest_exits(g, ~0u);
	eguest_inject(i->info | (error ? INFO_HAS_ERROR : 0), error ? ERROR_CODE : 0, i->length);
	write_cr2(CR2_BEFORE);
	return snippet_run(&g->s);
}

static void judge_stack(struct eguest *g, const struct eframe *f)
{
	const bool v86 = g->s.mode == SNIP_V86, user = g->s.user;

	/* Where the stack doesn't change, only 64-bit handlers find RSP and SS. */
	if (user || (sizeof(ulong) == 8 && (g->s.mode == SNIP_NATIVE || g->s.mode == SNIP_COMPAT))) {
		JUDGE("inject.frame", f->sp, SNIP_SP(&g->s));
		JUDGE("inject.frame", f->ss & 0xffff, v86 ? 0 : user ? SEL_USER_DATA : SEL_DATA);
	}
	JUDGE("inject.frame", f->cs & 0xffff, v86 || g->s.mode == SNIP_REAL ? 0 : user ? SEL_USER_CODE : SEL_CODE);
	if (user)
		JUDGE("inject.stack-tss", vmread(VMCS_guest_rsp) >> PAGE_SHIFT, (ulong)g->stack >> PAGE_SHIFT);
}

static void judge_flags(struct eguest *g, const struct eframe *f, u32 flags)
{
	/* RF is pushed as it is, whatever the event. 16-bit frames don't have it. */
	u32 kept = g->s.mode == SNIP_REAL ? FLAGS_KEPT & 0xffff : FLAGS_KEPT;

	JUDGE("inject.flags", f->flags & kept, flags & kept);
	JUDGE("inject.flags", vmread(VMCS_guest_rflags) & (RFLAGS_RF | RFLAGS_TF | RFLAGS_IF | RFLAGS_VM), 0);
}

static void judge_injection(struct eguest *g, const char *rule, const struct injection *i, u32 flags)
{
	const bool software = (i->info & INFO_TYPE) >= TYPE_SOFTWARE_INTERRUPT;
	struct gregs before;
	struct eframe f;
	struct exit e;

	e = inject(g, i, flags);
	before = g->s.v.g;
	if (!judge_equal(WHERE(rule), "vector of the handler", eguest_vector(g, &e), i->info & 0xff))
		return;
	f = eguest_frame(g, pushes_error(g, i));
	judge_equal(WHERE(rule), "pushed IP", f.ip, (ulong)g->s.code + (software ? i->length : 0));
	if (pushes_error(g, i))
		judge_equal(WHERE(rule), "pushed error code", f.error, ERROR_CODE);
	judge_stack(g, &f);
	judge_flags(g, &f, flags);
	JUDGE("inject.registers", before.ax == SNIP_REGISTER(0) && before.di == SNIP_REGISTER(6), true);
	JUDGE("inject.page-fault-cr2", read_cr2(), CR2_BEFORE);
	JUDGE("inject.once", vmread(VMCS_vm_entry_interruption_info) & INFO_VALID, 0);
}

/* In the mode that is set; in virtual-8086 mode with the privilege for INT n, see inject/v86_iopl. */
static void judge_types(struct eguest *g)
{
	const u32 iopl = g->s.mode == SNIP_V86 ? RFLAGS_IOPL3 : 0;
	static const u8 external[] = { 0x00, 0x0d, 0x1f, 0x20, 0x41, 0x80, 0xff };
	static const u8 software[] = { 0x00, 0x03, 0x0d, 0x21, 0x80, 0xff };

	for (u32 k = 0; k < ARRAY_SIZE(external); k++) {
		const struct injection i = { TYPE_EXTERNAL | external[k], 0, 0 };

		judge_injection(g, "inject.external", &i, RFLAGS_IF);
	}
	for (u32 v = 0; v < 32; v++) {
		const struct injection i = { TYPE_HARDWARE | v, 0, 0 };

		/* 2 isn't an exception's; whether 21 has an error code depends on the CPU. */
		if (v != VEC_NMI && v != 21)
			judge_injection(g, "inject.hardware-exception", &i, v & 1 ? RFLAGS_RF | RFLAGS_CF : RFLAGS_IF);
	}
	judge_injection(g, "inject.nmi", &(const struct injection){ TYPE_NMI | VEC_NMI, 0, 0 }, RFLAGS_RF);
	for (u32 k = 0; k < ARRAY_SIZE(software); k++) {
		const struct injection i = { TYPE_SOFTWARE_INTERRUPT | software[k], 2, 0 };

		judge_injection(g, "inject.software", &i, iopl | (k & 1 ? RFLAGS_RF : RFLAGS_IF | RFLAGS_TF));
	}
	for (u32 length = vmx_caps.misc & MISC_LENGTH_0 ? 0 : 1; length <= INSN_MAX; length++) {
		judge_injection(g, "inject.software", &(const struct injection){ TYPE_SOFTWARE | VEC_BP, length, 0 },
				0);
		judge_injection(g, "inject.software", &(const struct injection){ TYPE_SOFTWARE | VEC_OF, length, 0 },
				0);
		judge_injection(g, "inject.software",
				&(const struct injection){ TYPE_SOFTWARE_INTERRUPT | 0x45, length, 0 },
				iopl | RFLAGS_RF);
	}
}

/* This one has a test of its own in testcases/inject.c for KVM's sake: what it's lost by must not hide the others. */
static void judge_int1(struct eguest *g)
{
	for (u32 length = 1; length <= INSN_MAX; length++)
		judge_injection(g, "inject.software", &(const struct injection){ TYPE_PRIVILEGED | VEC_DB, length, 0 },
				0);
}

static void end(struct eguest *g)
{
	vcpu_destroy(&g->s.v);
	judge_done();
	/* Not every host unblocks NMIs at an entry; this exception's handler has an IRET. */
	try_ud2();
}

static void in_modes(struct cpu *c, void (*judge)(struct eguest *g))
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		for (u32 user = 0; user < 2; user++) {
			judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
			eguest_mode(&g, mode, user);
			judge(&g);
		}
	}
	end(&g);
}

#define RULES_INT "inject.software inject.frame inject.flags inject.registers inject.once inject.page-fault-cr2"
#define RULES_ALL RULES_INT " inject.external inject.hardware-exception inject.nmi"

TEST(inject, types, .sdm = VECTORED, .rules = RULES_ALL " inject.stack-tss")
{
	in_modes(c, judge_types);
}

TEST(inject, types_int1, .sdm = VECTORED, .rules = RULES_INT " inject.stack-tss")
{
	in_modes(c, judge_int1);
}

/* By the guest's IDT; the handler is at CPL 0. */
TEST(inject, types_v86, .sdm = VECTORED, .rules = RULES_ALL " inject.stack-tss")
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_V86, true);
	judge_about(snippet_name(SNIP_V86), NULL);
	judge_types(&g);
	end(&g);
}

/* INT n of the guest itself would be #GP. */
TEST(inject, v86_iopl, .sdm = VECTORED, .rules = RULES_INT " inject.stack-tss inject.v86")
{
	static const struct injection i = { TYPE_SOFTWARE_INTERRUPT | 0x21, 2, 0 };
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_V86, true);
	judge_about(snippet_name(SNIP_V86), NULL);
	judge_injection(&g, "inject.v86", &i, RFLAGS_IOPL3);
	JUDGE("inject.v86", vmread(VMCS_guest_cs_selector), SEL_CODE);
	judge_injection(&g, "inject.software", &i, 0);
	JUDGE("inject.v86", vmread(VMCS_guest_cs_selector), SEL_CODE);
	end(&g);
}

/* An entry of the interrupt table at 0, which isn't ours. */
static volatile u32 *ivt_entry(u32 vector)
{
	volatile u32 *ivt = (volatile u32 *)(ulong)(vector * 4);

	__asm__("" : "+r"(ivt));
	return ivt;
}

/* CR4.VME: the TSS says by a bit for each vector who takes INT n: the 8086 program by its own table, or the IDT's handler. */
static void judge_redirected(struct eguest *g, u32 flags)
{
	const u16 *frame = (const u16 *)(ulong)(SNIP_SP(&g->s) - 6);
	struct exit e;

	memcpy(g->s.data, "\x0f\x01\xc1", 3);
	e = inject(g, &(const struct injection){ TYPE_SOFTWARE_INTERRUPT | 0x21, 2, CR4_VME }, flags);
	if (!JUDGE("inject.v86-redirection", e.reason == EXIT_vmcall && e.ip == (ulong)g->s.data, true))
		return;
	JUDGE("inject.v86-redirection", frame[0], (u16)(ulong)g->s.code + 2);
	JUDGE("inject.v86-redirection", frame[1], 0);
	JUDGE("inject.v86-redirection", frame[2] & RFLAGS_IOPL3, RFLAGS_IOPL3);
	if (flags & RFLAGS_IOPL3) {
		JUDGE("inject.v86-redirection", frame[2] & RFLAGS_IF, flags & RFLAGS_IF);
		JUDGE("inject.v86-redirection", vmread(VMCS_guest_rflags) & RFLAGS_IF, 0);
	} else {
		JUDGE("inject.v86-redirection", frame[2] & RFLAGS_IF, flags & RFLAGS_VIF ? RFLAGS_IF : 0);
		JUDGE("inject.v86-redirection", vmread(VMCS_guest_rflags) & (RFLAGS_IF | RFLAGS_VIF),
		      flags & RFLAGS_IF);
	}
}

TEST(inject, v86_redirection, .sdm = VECTORED, .needs = "CR4.VME", .rules = "inject.v86-redirection")
{
	static const u32 flags[] = { RFLAGS_IOPL3 | RFLAGS_IF, RFLAGS_IOPL3, 0, RFLAGS_VIF, RFLAGS_IF };
	const u32 before = *ivt_entry(0x21);
	struct eguest g;
	struct exit e;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_V86, true);
	*ivt_entry(0x21) = (u32)(ulong)g.s.data;
	for (u32 i = 0; i < ARRAY_SIZE(flags); i++) {
		judge_about(snippet_name(SNIP_V86), flags[i] & RFLAGS_IOPL3 ? "IOPL 3" : "IOPL 0");
		judge_redirected(&g, flags[i]);
	}
	/* The bits stand below the I/O permission map. */
	memset((u8 *)g.tss + PAGE_SIZE - 32, 0xff, 32);
	e = inject(&g, &(const struct injection){ TYPE_SOFTWARE_INTERRUPT | 0x21, 2, CR4_VME }, RFLAGS_IOPL3);
	JUDGE("inject.v86-redirection", eguest_vector(&g, &e), 0x21);
	*ivt_entry(0x21) = before;
	end(&g);
}

TEST(inject, types_real_mode, .sdm = VECTORED, .opt = UNRESTRICTED, .rules = RULES_ALL " inject.real-mode")
{
	struct eguest g;
	struct exit e;

	judge_begin();
	eguest_begin(&g, c, UNRESTRICTED);
	eguest_mode(&g, SNIP_REAL, false);
	judge_about(snippet_name(SNIP_REAL), NULL);
	judge_types(&g);
	e = inject(&g, &(const struct injection){ TYPE_EXTERNAL | 0x41, 0, 0 }, RFLAGS_IF);
	JUDGE("inject.real-mode", eguest_vector(&g, &e), 0x41);
	JUDGE("inject.real-mode", vmread(VMCS_guest_cs_selector), 0);
	JUDGE("inject.real-mode", vmread(VMCS_guest_rsp), SNIP_SP(&g.s) - 6);
	end(&g);
}

/* What is injected ends blocking by STI and MOV SS, and HLT. */
TEST(inject, ends_blocking, .sdm = "Interruptibility State", .rules = "inject.ends-blocking")
{
	static const struct {
		u32 info, blocking, flags;
	} rows[] = {
		{ TYPE_HARDWARE | VEC_UD, BLOCKED_BY_STI, RFLAGS_IF },
		{ TYPE_HARDWARE | VEC_UD, BLOCKED_BY_MOV_SS, 0 },
		{ TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP, BLOCKED_BY_STI, RFLAGS_IF },
		{ TYPE_SOFTWARE_INTERRUPT | 0x45, BLOCKED_BY_MOV_SS, RFLAGS_IF },
		{ TYPE_SOFTWARE | VEC_BP, BLOCKED_BY_STI, RFLAGS_IF },
	};
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_NATIVE, false);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct exit e;

		eguest_again(&g);
		snippet_code(&g.s, "", 0);
		eguest_exits(&g, ~0u);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | rows[i].flags);
		vmwrite(VMCS_guest_interruptibility_state, rows[i].blocking);
		eguest_inject(rows[i].info, 0, 1);
		e = snippet_run(&g.s);
		if (JUDGE("inject.ends-blocking", eguest_vector(&g, &e), rows[i].info & 0xff))
			JUDGE("inject.ends-blocking", vmread(VMCS_guest_interruptibility_state), 0);
	}
	end(&g);
}

TEST(inject, ends_hlt, .sdm = "Activity State", .needs = "activity state HLT", .rules = "inject.hlt-ends")
{
	static const u32 infos[] = { TYPE_EXTERNAL | 0x41, TYPE_NMI | VEC_NMI, TYPE_HARDWARE | VEC_DB,
				     TYPE_HARDWARE | 18 };
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	/* Nothing else would end it. */
	if (cap_have(WATCHDOG))
		g.s.v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vcpu_write_controls(&g.s.v);
	eguest_mode(&g, SNIP_NATIVE, false);
	for (u32 i = 0; i < ARRAY_SIZE(infos); i++) {
		struct exit e;

		eguest_again(&g);
		snippet_code(&g.s, "", 0);
		eguest_exits(&g, ~0u);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
		vmwrite(VMCS_guest_activity_state, 1);
		if (cap_have(WATCHDOG))
			vmwrite(VMCS_preemption_timer_value, WATCHDOG_TICKS);
		eguest_inject(infos[i], 0, 0);
		e = snippet_run(&g.s);
		if (JUDGE("inject.hlt-ends", eguest_vector(&g, &e), infos[i] & 0xff)) {
			JUDGE("inject.hlt-ends", vmread(VMCS_guest_activity_state), 0);
			JUDGE("inject.hlt-ends", eguest_frame(&g, false).ip, (ulong)g.s.code);
		}
	}
	end(&g);
}

/* The window opens in the handler, if its gate leaves IF alone; the event is no longer being delivered then. */
TEST(inject, window_in_handler, .sdm = "Interrupt-Window Exiting and Virtual-Interrupt Delivery",
     .needs = "interrupt-window exiting", .rules = "inject.window exit.info.idt-vectoring-clear")
{
	static const u32 infos[] = { TYPE_EXTERNAL | 0x41, TYPE_HARDWARE | VEC_UD, TYPE_SOFTWARE_INTERRUPT | 0x45 };
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	g.s.v.ctl[CTL_PROC] |= PROC_interrupt_window_exiting;
	vcpu_write_controls(&g.s.v);
	eguest_mode(&g, SNIP_NATIVE, false);
	for (u32 i = 0; i < 2 * ARRAY_SIZE(infos); i++) {
		const u32 info = infos[i / 2], vector = info & 0xff;
		struct exit e;

		judge_about(i & 1 ? "trap gate" : "interrupt gate", NULL);
		eguest_again(&g);
		eguest_gate(&g, vector, i & 1 ? GATE_TRAP : GATE_INTERRUPT);
		snippet_code(&g.s, "\x90", 1);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
		eguest_inject(info, 0, 1);
		e = snippet_run(&g.s);
		JUDGE("inject.window", e.reason, i & 1 ? EXIT_interrupt_window : EXIT_vmcall);
		JUDGE("inject.window", e.ip, eguest_handler(&g, vector) + (i & 1 ? 0 : 1));
		JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	}
	end(&g);
}

/* A timer that has no time left waits until the event is delivered. */
TEST(inject, before_timer, .sdm = "VMX-Preemption Timer", .needs = "activate VMX-preemption timer",
     .rules = "inject.before-timer exit.info.idt-vectoring-clear inject.once")
{
	static const u32 infos[] = { TYPE_EXTERNAL | 0x41,           TYPE_NMI | VEC_NMI,
				     TYPE_HARDWARE | VEC_UD,         TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP,
				     TYPE_SOFTWARE_INTERRUPT | 0x45, TYPE_SOFTWARE | VEC_BP };
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	g.s.v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vcpu_write_controls(&g.s.v);
	eguest_mode(&g, SNIP_NATIVE, false);
	for (u32 i = 0; i < ARRAY_SIZE(infos); i++) {
		struct exit e;

		eguest_again(&g);
		snippet_code(&g.s, "\x90", 1);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
		vmwrite(VMCS_preemption_timer_value, 0);
		eguest_inject(infos[i], 0, 1);
		e = snippet_run(&g.s);
		JUDGE("inject.before-timer", e.reason, EXIT_preemption_timer);
		JUDGE("inject.before-timer", e.ip, eguest_handler(&g, infos[i] & 0xff));
		JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
		JUDGE("inject.once", vmread(VMCS_vm_entry_interruption_info) & INFO_VALID, 0);
	}
	end(&g);
}

/* Injected #DB changes no debug register. */
TEST(inject, debug_registers, .sdm = VECTORED, .needs = "load debug controls; save debug controls",
     .rules = "inject.debug-registers")
{
	const u64 dr7 = DR7_FIXED | 0x2000; /* GD */
	struct eguest g;
	struct exit e;

	judge_begin();
	eguest_begin(&g, c, 0);
	g.s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	g.s.v.ctl[CTL_VMEXIT] |= VMEXIT_save_debug_controls;
	vcpu_write_controls(&g.s.v);
	eguest_mode(&g, SNIP_NATIVE, false);
	snippet_code(&g.s, "", 0);
	vmwrite(VMCS_guest_dr7, dr7);
	eguest_inject(TYPE_HARDWARE | VEC_DB, 0, 0);
	e = snippet_run(&g.s);
	JUDGE("inject.debug-registers", eguest_vector(&g, &e), VEC_DB);
	JUDGE("inject.debug-registers", vmread(VMCS_guest_dr7), dr7);
	end(&g);
}
