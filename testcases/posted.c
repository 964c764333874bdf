// SPDX-License-Identifier: BSD-2-Clause
/* Posted interrupts: the notification, the descriptor, and what L2 gets of it. */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define SECTION "Posted-Interrupt Processing"
/* A CPU that has the first has all that it needs. */
#define NEEDS "process posted interrupts; virtual-interrupt delivery; " TIMER
#define NOTIFICATION (IRQ_VECTOR + IRQ_SELF)
#define OTHER (IRQ_VECTOR + IRQ_IPI)
#define INFO_VALID 0x80000000u
#define ACTIVITY_HLT 1u
#define ON 8u /* the word of the descriptor whose bit 0 is "outstanding notification" */
#define WORDS 16u

struct posted {
	struct vapic a;
	volatile u32 *descriptor; /* 16 words; PIR is the first eight */
};

static void begin(struct posted *p, struct cpu *c)
{
	struct vapic *a = &p->a;

	judge_begin();
	vapic_delivery(a, c, 0);
	a->s.v.irq_mode = IRQ_REINJECT;
	a->s.v.ctl[CTL_PIN] |= PIN_process_posted_interrupts;
	vcpu_write_controls(&a->s.v);
	/* At the beginning of a page, where all hosts accept it; entry/control_posted_descriptor has other places. */
	p->descriptor = page_alloc();
	vmwrite(VMCS_posted_interrupt_descriptor_address, (ulong)p->descriptor);
	vmwrite(VMCS_posted_interrupt_notification_vector, NOTIFICATION);
}

#define POSTED(name_, ...) TEST_WITH(posted, name_, struct posted, p, begin(p, c), judge_done(), __VA_ARGS__)

/*
 * L2 at these bytes, as vapic_stand. The descriptor asks for no vector; a notification is outstanding, and software's own
 * bits are all 1.
 */
static void stand(struct posted *p, const char *bytes, u32 length, u32 flags, u32 status)
{
	vapic_stand(&p->a, bytes, length, flags, status);
	for (u32 i = 0; i < WORDS; i++)
		p->descriptor[i] = i < ON ? 0 : ~0u;
}

static void post(struct posted *p, u32 vector)
{
	p->descriptor[vector / 32] |= 1u << vector % 32;
}

/* Is this vector in service in L1's own APIC, since nobody did EOI? */
static bool in_service(u32 vector)
{
	return *(volatile u32 *)(ulong)(APIC_PAGE + 0x100 + vector / 32 * 16) >> vector % 32 & 1;
}

static void judge_descriptor(struct posted *p)
{
	for (u32 i = 0; i < WORDS; i++)
		judge_equal(WHERE("posted.descriptor"), "word of the descriptor", p->descriptor[i],
			    i < ON  ? 0 :
			    i == ON ? ~1u :
				      ~0u);
	JUDGE("posted.eoi", in_service(NOTIFICATION), false);
	JUDGE("posted.eoi", apic_pending(NOTIFICATION), false);
}

/* Vectors that are posted, RVI before and behind; 0: nothing is delivered. */
static const struct {
	u8 posted[4], rvi, svi, delivered, left;
} rows[] = {
	{ { 0x61 }, 0, 0, 0x61, 0 },
	{ { 0x61, 0x21, 0xff, 0x10 }, 0, 0, 0xff, 0x61 },
	{ { 0x61, 0x62 }, 0x65, 0, 0x65, 0x62 },
	{ { 0x71, 0x62 }, 0x65, 0, 0x71, 0x65 },
	{ { 0x61, 0x62 }, 0, 0x6f, 0, 0x62 },
	{ { 0x71 }, 0, 0x6f, 0x71, 0 },
	{ { 0x61 }, 0x6a, 0xa3, 0, 0x6a },
};

static void judge_row(struct posted *p, u32 i)
{
	struct vapic *a = &p->a;
	struct exit e;

	stand(p, "\x90\x90", 2, RFLAGS_IF, VAPIC_STATUS(rows[i].svi, rows[i].rvi));
	for (u32 k = 0; k < 4; k++)
		if (rows[i].posted[k])
			post(p, rows[i].posted[k]);
	apic_send_self(NOTIFICATION);
	e = snippet_run(&a->s);
	if (rows[i].delivered) {
		JUDGE("posted.delivers", vapic_vector(a, &e), rows[i].delivered);
		JUDGE("posted.status", vmread(VMCS_guest_interrupt_status),
		      VAPIC_STATUS(rows[i].delivered, rows[i].left));
	} else {
		JUDGE("posted.no-exit", snippet_passed(&a->s, &e), true);
		JUDGE("posted.status", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(rows[i].svi, rows[i].left));
	}
	judge_descriptor(p);
	for (u32 k = 0; k < 4; k++)
		if (rows[i].posted[k] && rows[i].posted[k] != rows[i].delivered)
			JUDGE("posted.virr", vapic_bit(a, VAPIC_IRR, rows[i].posted[k]), true);
}

/* A notification that waits at the entry; L2 has interrupts on. */
POSTED(notification, .sdm = SECTION, .needs = NEEDS,
       .rules = "posted.delivers posted.no-exit posted.status posted.descriptor posted.eoi posted.virr")
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		/* A vector in RVI that is deliverable at once would go first: these rows aren't about that. */
		if (rows[i].rvi && rows[i].delivered)
			continue;
		judge_row(p, i);
	}
}

/* By L2 itself, and merged with what RVI has: its own notification comes while IF is 0. */
POSTED(notification_if0, .sdm = SECTION, .needs = NEEDS,
       .rules = "posted.if0 posted.status posted.descriptor posted.eoi")
{
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u32 highest = rows[i].rvi;

		stand(p, MOV_TO_APIC "\x90\x90\x90", 5, 0, VAPIC_STATUS(rows[i].svi, rows[i].rvi));
		for (u32 k = 0; k < 4; k++) {
			if (rows[i].posted[k])
				post(p, rows[i].posted[k]);
			if (rows[i].posted[k] > highest)
				highest = rows[i].posted[k];
		}
		/* Straight to L1's APIC: accesses to it aren't virtualized here. */
		p->a.s.v.g.bx = APIC_PAGE + 0x300;
		p->a.s.v.g.ax = 0x44000 | NOTIFICATION;
		e = snippet_run(&p->a.s);
		JUDGE("posted.if0", snippet_passed(&p->a.s, &e), true);
		JUDGE("posted.status", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(rows[i].svi, highest));
		judge_descriptor(p);
		irq_window();
	}
}

/* Any other vector exits, and leaves the descriptor alone. */
POSTED(other_vector, .sdm = SECTION, .needs = NEEDS, .rules = "posted.other-vector posted.other-untouched")
{
	struct exit e;

	stand(p, "\x90\x90", 2, RFLAGS_IF, 0);
	post(p, 0x61);
	apic_send_self(OTHER);
	e = snippet_run(&p->a.s);
	JUDGE("posted.other-vector", e.reason, EXIT_external_interrupt);
	JUDGE("posted.other-vector", vmread(VMCS_exit_interruption_info), INFO_VALID | OTHER);
	JUDGE("posted.other-untouched", p->descriptor[ON], ~0u);
	JUDGE("posted.other-untouched", p->descriptor[0x61 / 32], 1u << 0x61 % 32);
	JUDGE("posted.other-untouched", vmread(VMCS_guest_interrupt_status), 0);
	apic_eoi();
}

/* The descriptor isn't looked at without a notification. */
POSTED(no_notification, .sdm = SECTION, .needs = NEEDS, .rules = "posted.needs-notification")
{
	struct exit e;

	stand(p, "\x90\x90", 2, RFLAGS_IF, 0);
	post(p, 0x61);
	e = snippet_run(&p->a.s);
	JUDGE("posted.needs-notification", snippet_passed(&p->a.s, &e), true);
	JUDGE("posted.needs-notification", p->descriptor[ON], ~0u);
	JUDGE("posted.needs-notification", p->descriptor[0x61 / 32], 1u << 0x61 % 32);
}

/* A notification of nothing: software may have taken the requests away meanwhile. */
POSTED(empty, .sdm = SECTION, .needs = NEEDS, .rules = "posted.empty")
{
	static const u8 rvi[] = { 0, 0x61 };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(rvi); i++) {
		stand(p, "\x90\x90", 2, RFLAGS_IF, VAPIC_STATUS(0x6f, rvi[i]));
		apic_send_self(NOTIFICATION);
		e = snippet_run(&p->a.s);
		JUDGE("posted.empty", snippet_passed(&p->a.s, &e), true);
		JUDGE("posted.empty", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x6f, rvi[i]));
		JUDGE("posted.empty", p->descriptor[ON], ~1u);
	}
}

POSTED(hlt, .sdm = SECTION, .needs = NEEDS "; activity state HLT", .rules = "posted.hlt-delivers posted.hlt-stays")
{
	struct exit e;

	judge_about("a vector that can be delivered", NULL);
	stand(p, "\x90\x90", 2, RFLAGS_IF, 0);
	post(p, 0x61);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_HLT);
	apic_send_self(NOTIFICATION);
	e = snippet_run(&p->a.s);
	JUDGE("posted.hlt-delivers", vapic_vector(&p->a, &e), 0x61);
	judge_about("one that can't", NULL);
	stand(p, "\x90\x90", 2, RFLAGS_IF, VAPIC_STATUS(0x6f, 0));
	post(p, 0x61);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_HLT);
	apic_send_self(NOTIFICATION);
	e = snippet_run(&p->a.s);
	JUDGE("posted.hlt-stays", e.reason, EXIT_preemption_timer);
	JUDGE("posted.hlt-stays", vmread(VMCS_guest_activity_state), ACTIVITY_HLT);
}

/* L1 has another use for the page. */
static void use_otherwise(volatile u32 *page)
{
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u32); i++)
		page[i] = 0xf00d0000 + i;
}

static bool still_used(const volatile u32 *page)
{
	u32 wrong = 0;

	for (u32 i = 0; i < PAGE_SIZE / sizeof(u32); i++)
		wrong += page[i] != 0xf00d0000 + i;
	return !wrong;
}

/* A host that remembers a descriptor longer than it may writes to memory that is somebody else's (CVE-2018-16882). */
TEST(posted, descriptor_left, .sdm = SECTION, .needs = NEEDS,
     .rules =
	     "posted.current posted.not-in-root posted.delivers posted.status posted.descriptor posted.eoi posted.virr")
{
	static const char *const ways[] = { "another descriptor", "VMCLEAR", "a refused entry", "VMXOFF" };
	struct posted p;

	begin(&p, c);
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		volatile u32 *left = p.descriptor;
		struct vcpu *v = &p.a.s.v;
		u32 taken;

		judge_about(ways[way], "before");
		judge_row(&p, 1);
		judge_about(ways[way], NULL);
		if (way == 2) {
			vmwrite(VMCS_posted_interrupt_descriptor_address, 1ull << 52);
			expect_out(snippet_run(&p.a.s).entry, out_valid(VMXERR_entry_invalid_control_fields));
		}
		if (way > 0) {
			require(vmclear(v->vmcs_pa).kind == OUT_OK);
			v->launched = false;
		}
		if (way == 3) {
			vmx_off(c);
			require(vmx_on(c).kind == OUT_OK);
		}
		use_otherwise(left);
		taken = c->count[LEVEL_L1][IRQ_SELF];
		apic_send_self(NOTIFICATION);
		irq_window();
		JUDGE("posted.not-in-root", c->count[LEVEL_L1][IRQ_SELF], taken + 1);
		if (way > 0)
			require(vmptrld(v->vmcs_pa).kind == OUT_OK);
		p.descriptor = page_alloc();
		vmwrite(VMCS_posted_interrupt_descriptor_address, (ulong)p.descriptor);
		judge_row(&p, 1);
		JUDGE("posted.current", still_used(left), true);
	}
	judge_done();
}
