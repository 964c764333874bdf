// SPDX-License-Identifier: BSD-2-Clause
/* Accesses to the APIC-access page by event delivery and by page walks. */
#include "lhv/ept_setup.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define DELIVERY "Information for VM Exits That Occur During Event Delivery"
#define PHYSICAL "Guest-Physical Accesses to the APIC-Access Page"
#define INFO_VALID 0x80000000u
#define INFO_SOFTWARE 0x400u
#define INFO_HARDWARE_EXCEPTION 0x300u
#define INFO_HAS_ERROR 0x800u
#define VECTOR 0x91u
#define FRAME_MAX 48u /* bytes that a delivery pushes, alignment included */
#define GATE_BYTES (sizeof(ulong) == 8 ? 16u : 8u)

static void judge_delivery(struct vapic *a, u32 info, u32 length)
{
	struct exit e;
	u32 again;

	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	vmwrite(VMCS_vm_entry_interruption_info, info);
	vmwrite(VMCS_vm_entry_exception_error_code, 0x18);
	vmwrite(VMCS_vm_entry_instruction_length, length);
	e = snippet_run(&a->s);
	if (!JUDGE("apic.event.exits", e.reason, EXIT_apic_access))
		return;
	again = (u32)vmread(VMCS_idt_vectoring_info);
	JUDGE("apic.event.type", e.qualification & ~0xfffull, APIC_LINEAR_EVENT);
	JUDGE("apic.event.vectoring", again, info);
	if (info & INFO_HAS_ERROR)
		JUDGE("apic.event.vectoring", vmread(VMCS_idt_vectoring_error_code), 0x18);
	if (info & INFO_SOFTWARE)
		JUDGE("apic.event.vectoring", vmread(VMCS_exit_instruction_length), length);
	JUDGE("apic.event.not-delivered", e.ip, (ulong)a->s.code);
	/* "Injected events" and what they find: the entry's own field is invalid again. */
	JUDGE("apic.event.not-delivered", vmread(VMCS_vm_entry_interruption_info) & INFO_VALID, 0);
}

static const struct {
	const char *name;
	u32 info, length;
} events[] = {
	{ "an interrupt", INFO_VALID | VECTOR, 0 },
	{ "a #GP", INFO_VALID | INFO_HARDWARE_EXCEPTION | INFO_HAS_ERROR | VEC_GP, 0 },
	{ "INT n", INFO_VALID | INFO_SOFTWARE | VECTOR, 2 },
};

static void judge_stack(struct vapic *a)
{
	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		ulong sp = VAPIC_LINEAR + 0x800;
		u32 offset;

		judge_about(events[i].name, "the stack is in the page");
		vapic_code(a, "\xcd\x91", 2, 0, 0);
		vmwrite(VMCS_guest_rsp, sp);
		judge_delivery(a, events[i].info, events[i].length);
		offset = (u32)vmread(VMCS_exit_qualification) & 0xfff;
		/* Which of its words the delivery writes first is its own affair. */
		JUDGE("apic.event.offset", offset < 0x800 && offset >= 0x800 - FRAME_MAX, true);
		JUDGE("apic.event.not-delivered", vmread(VMCS_guest_rsp), sp);
	}
}

static void judge_idt(struct vapic *a)
{
	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		u32 vector = events[i].info & 0xff, offset;

		judge_about(events[i].name, "the IDT is in the page");
		vapic_code(a, "\xcd\x91", 2, 0, 0);
		vmwrite(VMCS_guest_idtr_base, VAPIC_LINEAR);
		judge_delivery(a, events[i].info, events[i].length);
		offset = (u32)vmread(VMCS_exit_qualification) & 0xfff;
		JUDGE("apic.event.offset", offset / GATE_BYTES, vector % (PAGE_SIZE / GATE_BYTES));
	}
}

#define EVENT_RULES                                                                       \
	"apic.event.exits apic.event.type apic.event.vectoring apic.event.not-delivered " \
	"apic.event.offset apic.access.hidden"

VAPIC_TEST(event_delivery, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = DELIVERY,
	   .needs = "virtualize APIC accesses", .rules = EVENT_RULES)
{
	vapic_idt(a);
	judge_stack(a);
	judge_idt(a);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

VAPIC_TEST(event_delivery_ept, vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses), .sdm = DELIVERY,
	   .needs = "virtualize APIC accesses", .opt = OPT_ept, .rules = EVENT_RULES)
{
	vapic_idt(a);
	judge_stack(a);
	judge_idt(a);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* An event that L2 itself raises: INT n, and an exception whose handler's frame goes to the page. */
VAPIC_TEST(event_own, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = DELIVERY,
	   .needs = "virtualize APIC accesses",
	   .rules = "apic.event.exits apic.event.type apic.event.vectoring apic.event.not-delivered")
{
	struct exit e;

	vapic_idt(a);
	judge_about("INT n", NULL);
	vapic_code(a, "\x90\xcd\x91", 3, 0, 0);
	vmwrite(VMCS_guest_rsp, VAPIC_LINEAR + 0x800);
	e = snippet_run(&a->s);
	JUDGE("apic.event.exits", e.reason, EXIT_apic_access);
	JUDGE("apic.event.type", e.qualification & ~0xfffull, APIC_LINEAR_EVENT);
	JUDGE("apic.event.vectoring", vmread(VMCS_idt_vectoring_info), INFO_VALID | INFO_SOFTWARE | VECTOR);
	JUDGE("apic.event.vectoring", vmread(VMCS_exit_instruction_length), 2);
	JUDGE("apic.event.not-delivered", e.ip, (ulong)a->s.code + 1);
	judge_about("#UD", NULL);
	a->s.v.l2_takes = 1u << VEC_UD;
	vcpu_write_controls(&a->s.v);
	vapic_code(a, "\x90\x0f\x0b", 3, 0, 0);
	vmwrite(VMCS_guest_rsp, VAPIC_LINEAR + 0x800);
	e = snippet_run(&a->s);
	JUDGE("apic.event.exits", e.reason, EXIT_apic_access);
	JUDGE("apic.event.type", e.qualification & ~0xfffull, APIC_LINEAR_EVENT);
	JUDGE("apic.event.vectoring", vmread(VMCS_idt_vectoring_info), INFO_VALID | INFO_HARDWARE_EXCEPTION | VEC_UD);
	JUDGE("apic.event.not-delivered", e.ip, (ulong)a->s.code + 1);
}

/* --- By guest-physical addresses --- */

/* L2's page table is the APIC-access page. */
static void begin_walk(struct vapic *a, struct cpu *c)
{
	judge_begin();
	vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses);
	vmwrite(VMCS_apic_access_address, (ulong)a->s.v.l2_window);
}

TEST(apic, page_walk, .sdm = PHYSICAL, .needs = "virtualize APIC accesses", .opt = OPT_ept,
     .rules = "apic.physical.walk apic.physical.walk-type")
{
	struct vapic a;
	struct exit e;

	begin_walk(&a, c);
	e = vapic_run(&a, MOV_FROM_APIC, 2, 0x40, 0);
	JUDGE("apic.physical.walk", e.reason, EXIT_apic_access);
	JUDGE("apic.physical.walk-type", e.qualification & APIC_TYPE, APIC_PHYSICAL);
	JUDGE("apic.physical.walk", e.ip, (ulong)a.s.code);
	e = vapic_run(&a, MOV_TO_APIC, 2, 0x40, 0);
	JUDGE("apic.physical.walk", e.reason, EXIT_apic_access);
	JUDGE("apic.physical.walk-type", e.qualification & APIC_TYPE, APIC_PHYSICAL);
	judge_done();
}

/* Such an access is never virtualized: the entry that the walk reads is one that a read could have from the virtual-APIC page. */
TEST(apic, page_walk_shadow, .sdm = PHYSICAL,
     .needs = "virtualize APIC accesses; use TPR shadow; APIC-register virtualization", .opt = OPT_ept,
     .rules = "apic.physical.never-virtualized")
{
	struct vapic a;
	struct exit e;

	begin_walk(&a, c);
	vapic_controls(&a, PROC2_virtualize_apic_accesses | PROC2_apic_register_virtualization);
	/* Entry 16 is at offset 80H; in the virtual-APIC page, it would be a present one. */
	vapic_set(&a, VAPIC_TPR, (u32)(ulong)a.before | (u32)(PTE_P | PTE_W));
	vapic_set(&a, VAPIC_TPR + 4, 0);
	vapic_code(&a, MOV_FROM_APIC, 2, 0, 0);
	a.s.v.g.bx = L2_WINDOW + 16 * PAGE_SIZE;
	e = snippet_run(&a.s);
	JUDGE("apic.physical.never-virtualized", e.reason, EXIT_apic_access);
	judge_done();
}

TEST(apic, page_walk_event, .sdm = PHYSICAL, .needs = "virtualize APIC accesses", .opt = OPT_ept,
     .rules = "apic.physical.event apic.physical.event-type")
{
	struct vapic a;
	struct exit e;

	begin_walk(&a, c);
	vapic_idt(&a);
	vapic_code(&a, "\x90", 1, 0, 0);
	vmwrite(VMCS_guest_rsp, VAPIC_LINEAR + 0x800);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	vmwrite(VMCS_vm_entry_interruption_info, INFO_VALID | VECTOR);
	e = snippet_run(&a.s);
	JUDGE("apic.physical.event", e.reason, EXIT_apic_access);
	JUDGE("apic.physical.event", vmread(VMCS_idt_vectoring_info), INFO_VALID | VECTOR);
	JUDGE("apic.physical.event-type", e.qualification & APIC_TYPE, APIC_PHYSICAL_EVENT);
	judge_done();
}

/* --- EPT violations come before --- */

VAPIC_TEST(access_after_violation, vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses),
	   .sdm = "Priority of APIC-Access VM Exits", .needs = "virtualize APIC accesses", .opt = OPT_ept,
	   .rules = "apic.access.after-violation apic.access.by-translation")
{
	u64 root, page;
	struct exit e;

	root = a->s.v.eptp & EPT_ADDR;
	page = (ulong)a->access;
	/* The address is a host's: L2 reaches it by any guest-physical address that EPT translates to it. */
	vapic_access_page(a, GPA_ALIAS);
	vmwrite(VMCS_apic_access_address, page);
	judge_about("no translation", NULL);
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-violation", e.reason, EXIT_ept_violation);
	judge_about("write without the right", NULL);
	ept_map_page(root, GPA_ALIAS, page, EPT_R);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-violation", e.reason, EXIT_ept_violation);
	judge_about("read with the right", NULL);
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.by-translation", e.reason, EXIT_apic_access);
	JUDGE("apic.access.by-translation", e.qualification, 0x80);
	judge_about("write with the right", NULL);
	ept_map_page(root, GPA_ALIAS, page, EPT_RWX);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x90, 0);
	JUDGE("apic.access.by-translation", e.reason, EXIT_apic_access);
	JUDGE("apic.access.by-translation", e.qualification, 0x90 | APIC_LINEAR_WRITE);
	judge_about("the address as a guest-physical one, which EPT leads elsewhere", NULL);
	vapic_access_page(a, page);
	ept_map_page(root, page, (ulong)a->before, EPT_RWX);
	invept(INVEPT_SINGLE, a->s.v.eptp, 0);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x90, 0x12345678);
	JUDGE("apic.access.by-translation", snippet_passed(&a->s, &e), true);
	JUDGE("apic.access.by-translation", *(u32 *)(void *)(a->before + 0x90), 0x12345678);
	ept_map_page(root, page, page, EPT_RWX);
}
