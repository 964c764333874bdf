// SPDX-License-Identifier: BSD-2-Clause
/* The virtual task priority: MOV CR8, writes to the APIC-access page, and the TPR threshold. */
#include "lhv/apic.h"
#include "testcases/entry_rows.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define CR8_SECTION "Virtualizing CR8-Based TPR Accesses"
#define TPR_SECTION "TPR Virtualization"
#define ENTRY_SECTION "VM Exits Induced by the TPR Threshold"
#define REAL_TPR (*(volatile u32 *)(ulong)(APIC_PAGE + 0x80))
#define BLOCKED_BY_STI 1u
#define BLOCKED_BY_MOV_SS 2u
#define ACTIVITY_HLT 1u
#define ACTIVITY_SHUTDOWN 2u
#define INFO_VALID 0x80000000u

#ifdef __x86_64__

static void judge_cr8_read(struct vapic *a)
{
	struct exit e;

	for (u32 vtpr = 0; vtpr < 0x100; vtpr += 0x0b) {
		vapic_set(a, VAPIC_TPR, 0xa5c39600u | vtpr);
		e = vapic_run(a, MOV_AX_CR8, 4, 0, 0xffffffff);
		JUDGE("apic.cr8.read", snippet_passed(&a->s, &e), true);
		JUDGE("apic.cr8.read", a->s.v.g.ax, vtpr >> 4);
		JUDGE("apic.cr8.read-only", vapic_get(a, VAPIC_TPR), 0xa5c39600u | vtpr);
	}
}

static void judge_cr8_write(struct vapic *a)
{
	struct exit e;

	for (u32 value = 0; value < 16; value++) {
		vapic_set(a, VAPIC_TPR, 0xa5c396f7u);
		e = vapic_run(a, MOV_CR8_AX, 4, 0, value);
		JUDGE("apic.cr8.write", snippet_passed(&a->s, &e), true);
		JUDGE("apic.cr8.write", vapic_get(a, VAPIC_TPR), value << 4);
	}
	JUDGE("apic.cr8.write", vapic_get(a, VAPIC_TPR + 4), VAPIC_PATTERN(VAPIC_TPR + 4));
	/* By R15, and back into R9. */
	vapic_code(a, "\x45\x0f\x22\xc7\x45\x0f\x20\xc1", 8, 0, 0);
	a->s.v.g.r[7] = 0xd;
	e = snippet_run(&a->s);
	JUDGE("apic.cr8.write", snippet_passed(&a->s, &e), true);
	JUDGE("apic.cr8.read", a->s.v.g.r[1], 0xd);
}

static void judge_cr8_faults(struct vapic *a)
{
	struct exit e;

	for (u32 bit = 4; bit < 64; bit += bit < 8 || bit > 28 ? 1 : 4) {
		vapic_set(a, VAPIC_TPR, 0x70);
		vapic_code(a, MOV_CR8_AX, 4, 0, 0);
		a->s.v.g.ax = 1ull << bit | 5;
		e = snippet_run(&a->s);
		JUDGE("apic.cr8.reserved", snippet_faulted(&e, VEC_GP), true);
		JUDGE("apic.cr8.reserved", vapic_get(a, VAPIC_TPR), 0x70);
	}
	snippet_mode(&a->s, SNIP_NATIVE, true);
	e = vapic_run(a, MOV_CR8_AX, 4, 0, 3);
	JUDGE("apic.cr8.privilege", snippet_faulted(&e, VEC_GP), true);
	e = vapic_run(a, MOV_AX_CR8, 4, 0, 3);
	JUDGE("apic.cr8.privilege", snippet_faulted(&e, VEC_GP), true);
	JUDGE("apic.cr8.privilege", vapic_get(a, VAPIC_TPR), 0x70);
	snippet_mode(&a->s, SNIP_NATIVE, false);
}

VAPIC_TEST(cr8, vapic_begin(a, c, 0, 0), .sdm = CR8_SECTION, .needs = "use TPR shadow", .flags = TEST_AMD64,
	   .rules = "apic.cr8.read apic.cr8.read-only apic.cr8.write apic.cr8.reserved apic.cr8.privilege "
		    "apic.cr8.real-tpr")
{
	vapic_shadow(a);
	REAL_TPR = 0x20;
	judge_cr8_read(a);
	judge_cr8_write(a);
	judge_cr8_faults(a);
	JUDGE("apic.cr8.real-tpr", REAL_TPR, 0x20);
	REAL_TPR = 0;
}

TEST(apic, cr8_unshadowed, .sdm = CR8_SECTION, .needs = "", .flags = TEST_AMD64, .rules = "apic.cr8.unshadowed")
{
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	REAL_TPR = 0x90;
	snippet_code(&s, MOV_AX_CR8, 4);
	e = snippet_run(&s);
	JUDGE("apic.cr8.unshadowed", snippet_passed(&s, &e), true);
	JUDGE("apic.cr8.unshadowed", s.v.g.ax, 9);
	snippet_code(&s, MOV_CR8_AX, 4);
	s.v.g.ax = 6;
	e = snippet_run(&s);
	JUDGE("apic.cr8.unshadowed", snippet_passed(&s, &e), true);
	JUDGE("apic.cr8.unshadowed", REAL_TPR, 0x60);
	REAL_TPR = 0;
	judge_done();
}

/* Where MOV CR8 exits by its own controls, the virtual TPR isn't touched. */
VAPIC_TEST(cr8_exiting, vapic_begin(a, c, 0, 0), .sdm = CR8_SECTION,
	   .needs = "use TPR shadow; CR8-load exiting; CR8-store exiting", .flags = TEST_AMD64,
	   .rules = "apic.cr8.exiting-first")
{
	struct exit e;

	a->s.v.ctl[CTL_PROC] |= PROC_cr8_load_exiting | PROC_cr8_store_exiting;
	vapic_shadow(a);
	vapic_set(a, VAPIC_TPR, 0xf0);
	vmwrite(VMCS_tpr_threshold, 0xf);
	e = vapic_run(a, MOV_CR8_AX, 4, 0, 3);
	JUDGE("apic.cr8.exiting-first", e.reason, EXIT_cr_access);
	JUDGE("apic.cr8.exiting-first", e.qualification, 0x008);
	JUDGE("apic.cr8.exiting-first", vapic_get(a, VAPIC_TPR), 0xf0);
	e = vapic_run(a, MOV_AX_CR8, 4, 0, 3);
	JUDGE("apic.cr8.exiting-first", e.reason, EXIT_cr_access);
	JUDGE("apic.cr8.exiting-first", e.qualification, 0x018);
	JUDGE("apic.cr8.exiting-first", a->s.v.g.ax, 3);
	/* A fault comes before. */
	e = vapic_run(a, MOV_CR8_AX, 4, 0, 0x30);
	say_note("MOV of reserved bits to CR8 with CR8-load exiting: exit %u", e.reason);
}

VAPIC_TEST(threshold_cr8, vapic_begin(a, c, 0, 0), .sdm = TPR_SECTION, .needs = "use TPR shadow", .flags = TEST_AMD64,
	   .rules = "apic.threshold.below apic.threshold.not-below apic.threshold.trap apic.threshold.qualification")
{
	static const u8 thresholds[] = { 0, 1, 8, 15 };
	struct exit e;

	vapic_shadow(a);
	for (u32 i = 0; i < ARRAY_SIZE(thresholds); i++) {
		vmwrite(VMCS_tpr_threshold, thresholds[i]);
		for (u32 value = 0; value < 16; value++) {
			vapic_set(a, VAPIC_TPR, 0xff);
			e = vapic_run(a, MOV_CR8_AX, 4, 0, value);
			JUDGE("apic.threshold.trap", vapic_get(a, VAPIC_TPR), value << 4);
			if (value >= thresholds[i]) {
				JUDGE("apic.threshold.not-below", snippet_passed(&a->s, &e), true);
				continue;
			}
			JUDGE("apic.threshold.below", e.reason, EXIT_tpr_below_threshold);
			JUDGE("apic.threshold.qualification", e.qualification, 0);
			JUDGE("apic.threshold.trap", e.ip, (ulong)a->s.code + 4);
		}
	}
}

#endif

/* --- Writes to offset 0x80 of the APIC-access page --- */

static const struct {
	const char *name, *bytes;
	u32 length;
	u32 eax, tpr; /* what is written, and what VTPR is then */
} writes[] = {
	{ "MOV, 4 bytes", "\x89\x03", 2, 0xabcdef57, 0x57 },
	{ "MOV, 2 bytes", "\x66\x89\x03", 3, 0xabcdef57, 0x57 },
	{ "MOV, 1 byte", "\x88\x03", 2, 0xabcdef57, 0x57 },
	{ "MOV, constant", "\xc7\x03\x46\x01\x02\x03", 6, 0, 0x46 },
	{ "behind STI", "\xfb\x89\x03", 3, 0x2f, 0x2f },
	{ "STOSD", "\xab", 1, 0x12345678, 0x78 },
	{ "PUSH", "\x50", 1, 0x12345632, 0x32 },
};

VAPIC_TEST(
	threshold_write, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses),
	.sdm = "Virtualizing Writes to the APIC-Access Page", .needs = "use TPR shadow; virtualize APIC accesses",
	.rules = "apic.write.tpr apic.threshold.below apic.threshold.not-below apic.threshold.trap apic.access.hidden")
{
	vapic_shadow(a);
	for (u32 i = 0; i < ARRAY_SIZE(writes); i++) {
		/* A push has 8 bytes on amd64, which are too many. */
		if (sizeof(ulong) == 8 && writes[i].bytes[0] == '\x50')
			continue;
		judge_about(writes[i].name, NULL);
		for (u32 threshold = 0; threshold < 16; threshold++) {
			struct exit e;

			vmwrite(VMCS_tpr_threshold, threshold);
			vapic_set(a, VAPIC_TPR, 0xabcdeff3u);
			vapic_code(a, writes[i].bytes, writes[i].length, VAPIC_TPR, writes[i].eax);
			a->s.v.g.di = VAPIC_LINEAR + VAPIC_TPR;
			if (writes[i].bytes[0] == '\x50')
				vmwrite(VMCS_guest_rsp, VAPIC_LINEAR + VAPIC_TPR + 4);
			e = snippet_run(&a->s);
			JUDGE("apic.write.tpr", vapic_get(a, VAPIC_TPR), writes[i].tpr);
			if (writes[i].tpr >> 4 >= threshold) {
				JUDGE("apic.threshold.not-below", snippet_passed(&a->s, &e), true);
				continue;
			}
			JUDGE("apic.threshold.below", e.reason, EXIT_tpr_below_threshold);
			JUDGE("apic.threshold.trap", e.ip, (ulong)a->s.code + writes[i].length);
		}
	}
	JUDGE("apic.write.tpr", vapic_get(a, VAPIC_TPR + 4), VAPIC_PATTERN(VAPIC_TPR + 4));
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* Instructions that read and write: both are virtualized. */
static const struct {
	const char *name, *bytes;
	u32 length;
	u32 eax, ecx, tpr, eax_after;
} modifies[] = {
	{ "OR", "\x09\x03", 2, 0x4c, 0, 0x7e, 0x4c },
	{ "LOCK ADD", "\xf0\x01\x03", 3, 0x21, 0, 0x53, 0x21 },
	{ "XCHG", "\x87\x03", 2, 0x61, 0, 0x61, 0x32 },
	{ "XCHG, 1 byte", "\x86\x03", 2, 0x61, 0, 0x61, 0x32 },
	{ "LOCK XADD", "\xf0\x0f\xc1\x03", 4, 0x11, 0, 0x43, 0x32 },
	{ "LOCK CMPXCHG", "\xf0\x0f\xb1\x0b", 4, 0x32, 0x99, 0x99, 0x32 },
	{ "LOCK BTS", "\xf0\x0f\xab\x03", 4, 6, 0, 0x72, 6 },
};

VAPIC_TEST(write_tpr_modify, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses),
	   .sdm = "Virtualizing Writes to the APIC-Access Page", .needs = "use TPR shadow; virtualize APIC accesses",
	   .rules = "apic.write.modify apic.access.hidden")
{
	vapic_shadow(a);
	for (u32 i = 0; i < ARRAY_SIZE(modifies); i++) {
		struct exit e;

		judge_about(modifies[i].name, NULL);
		vapic_set(a, VAPIC_TPR, 0x32);
		vapic_code(a, modifies[i].bytes, modifies[i].length, VAPIC_TPR, modifies[i].eax);
		a->s.v.g.cx = modifies[i].ecx;
		e = snippet_run(&a->s);
		JUDGE("apic.write.modify", snippet_passed(&a->s, &e), true);
		JUDGE("apic.write.modify", vapic_get(a, VAPIC_TPR), modifies[i].tpr);
		JUDGE("apic.write.modify", a->s.v.g.ax & 0xff, modifies[i].eax_after);
	}
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* --- The threshold at VM entry --- */

/* Enters with VTPR at 5 and this threshold. The preemption timer, at 0, would bring L2 out, too, before its first instruction. */
static struct exit enter_with(struct vapic *a, u32 threshold)
{
	vmwrite(VMCS_tpr_threshold, threshold);
	vmwrite(VMCS_preemption_timer_value, 0);
	vapic_set(a, VAPIC_TPR, 0x5f);
	return snippet_run(&a->s);
}

static void judge_entry(struct vapic *a, const char *rule, u32 threshold, ulong ip)
{
	struct exit e = enter_with(a, threshold);

	judge_equal(WHERE(rule), "reason", e.reason, EXIT_tpr_below_threshold);
	judge_equal(WHERE(rule), "rip", e.ip, ip);
}

static void begin_entry(struct vapic *a, struct cpu *c)
{
	judge_begin();
	vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses);
	a->s.v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vapic_shadow(a);
	vapic_code(a, "\x90", 1, 0, 0);
}

#define ENTRY_NEEDS "use TPR shadow; virtualize APIC accesses; " TIMER

TEST(apic, threshold_entry, .sdm = ENTRY_SECTION, .needs = ENTRY_NEEDS,
     .rules = "apic.threshold.entry apic.threshold.entry-not-below apic.threshold.entry-unblocked "
	      "apic.threshold.entry-injection apic.threshold.qualification")
{
	struct vapic a;
	struct exit e;

	begin_entry(&a, c);
	for (u32 threshold = 0; threshold < 16; threshold++) {
		e = enter_with(&a, threshold);
		if (threshold <= 5) {
			JUDGE("apic.threshold.entry-not-below", e.reason, EXIT_preemption_timer);
			continue;
		}
		JUDGE("apic.threshold.entry", e.reason, EXIT_tpr_below_threshold);
		JUDGE("apic.threshold.qualification", e.qualification, 0);
		JUDGE("apic.threshold.entry", e.ip, (ulong)a.s.code);
	}
	judge_about("blocking by MOV SS", NULL);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_MOV_SS);
	judge_entry(&a, "apic.threshold.entry-unblocked", 6, (ulong)a.s.code);
	JUDGE("apic.threshold.entry-unblocked", vmread(VMCS_guest_interruptibility_state), BLOCKED_BY_MOV_SS);
	judge_about("blocking by STI", NULL);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_STI);
	judge_entry(&a, "apic.threshold.entry-unblocked", 6, (ulong)a.s.code);
	JUDGE("apic.threshold.entry-unblocked", vmread(VMCS_guest_interruptibility_state), BLOCKED_BY_STI);
	judge_about("an injected interrupt", NULL);
	vapic_idt(&a);
	vmwrite(VMCS_guest_interruptibility_state, 0);
	vmwrite(VMCS_vm_entry_interruption_info, INFO_VALID | 0x91);
	judge_entry(&a, "apic.threshold.entry-injection", 6, (ulong)a.handlers + 4 * 0x91);
	JUDGE("apic.threshold.entry-injection", vapic_return_address(&a), (ulong)a.s.code);
	JUDGE("apic.threshold.entry-injection", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	judge_done();
}

TEST(apic, threshold_entry_hlt, .sdm = ENTRY_SECTION, .needs = ENTRY_NEEDS "; activity state HLT",
     .rules = "apic.threshold.entry-wakes")
{
	struct vapic a;

	begin_entry(&a, c);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_HLT);
	judge_entry(&a, "apic.threshold.entry-wakes", 6, (ulong)a.s.code);
	judge_done();
}

TEST(apic, threshold_entry_shutdown, .sdm = ENTRY_SECTION, .needs = ENTRY_NEEDS "; activity state shutdown",
     .rules = "apic.threshold.entry-shutdown")
{
	struct vapic a;
	struct exit e;

	begin_entry(&a, c);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_SHUTDOWN);
	e = enter_with(&a, 6);
	JUDGE("apic.threshold.entry-shutdown", e.reason, EXIT_preemption_timer);
	judge_done();
}
