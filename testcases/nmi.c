// SPDX-License-Identifier: BSD-2-Clause
/*
 * NMIs around VM entries and exits: who gets them, and who is blocked.
 *
 * Neither L1's nor L2's handler executes IRET, so whoever took an NMI stays blocked until it calls nmi_unblock(). Each
 * experiment runs twice, and test/nmi/random_order mixes those that hold alone: what one leaves behind mustn't change
 * the next.
 */
#include "arch/frame.h"
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "lhv/test.h"
#include "x86/cr.h"

/* lib/arch/nmi.asm */
extern u8 nmi_handler_l1[], nmi_handler_l2[], nmi_vector_handler[], nmi_unblocked[];
extern volatile u32 nmi_count[LEVELS], nmi_vector_count;
extern volatile ulong nmi_ip[LEVELS], nmi_vector_ip;
void nmi_unblock(void);

#define ICR_LOW (APIC_PAGE + 0x300)
#define ICR_HIGH (APIC_PAGE + 0x310)
#define ICR_PENDING 0x1000u
#define ICR_NMI 0x4400u
#define SPIN 200 /* until an NMI that was sent has arrived */

#define BLOCKED_BY_NMI 0x8u
#define INFO_VALID 0x80000000u
#define INFO_JUDGED 0x80000fffu /* bit 12 is another thing */
#define TYPE_NMI (2u << 8)
#define VECTOR 0x41u
#define INJECT_NMI (INFO_VALID | TYPE_NMI | VEC_NMI)
#define INJECT_INTERRUPT (INFO_VALID | VECTOR)

/* How L2 is entered. */
#define EXITING PIN_nmi_exiting
#define VIRTUAL (PIN_nmi_exiting | PIN_virtual_nmis)
enum before { L1_OPEN, L1_BLOCKED, L1_PENDING, L1_TWO_PENDING }; /* blocked, and one or two more have come */
struct how {
	u32 pin;
	ulong (*l2)(ulong);
	enum before l1;
	bool blocked; /* by NMI, in the interruptibility state */
	bool window;  /* NMI-window exiting */
	u32 inject;
};

struct machine {
	struct vcpu v;
	struct gate *idt[LEVELS];
	bool quiet; /* failures are only counted */
	u32 failures;
};

static bool note(struct machine *m, bool held)
{
	m->failures += !held;
	return held;
}

static bool quiet_call(struct vcpu *v, struct exit e, ulong code)
{
	if (e.entry.kind != OUT_OK || e.reason != EXIT_vmcall || v->g.ax != code)
		return false;
	skip_instruction(v, &e);
	return true;
}

#define want_eq(m, got_, want_) \
	((m)->quiet ? note((m), (u64)(got_) == (u64)(want_)) : note((m), expect_eq((got_), (want_))))
#define want_reason(m, e, reason_)                                                     \
	((m)->quiet ? note((m), (e).entry.kind == OUT_OK && (e).reason == (reason_)) : \
		      note((m), expect_exit(&(m)->v, (e), (reason_))))
/* L2's call; the VMCALL is skipped. */
#define want_call(m, e, code) \
	((m)->quiet ? note((m), quiet_call(&(m)->v, (e), (code))) : note((m), expect_call(&(m)->v, (e), (code))))

/* --- What L1 and L2 do --- */

static void spin(void)
{
	for (u32 i = 0; i < SPIN; i++)
		cpu_pause();
}

static void send_nmi_to(u32 apic)
{
	*(volatile u32 *)(ulong)ICR_HIGH = apic << 24;
	*(volatile u32 *)(ulong)ICR_LOW = ICR_NMI;
	for (u32 i = 0; i < 1000000 && *(volatile u32 *)(ulong)ICR_LOW & ICR_PENDING; i++)
		cpu_pause();
	spin();
}

static void send_nmi(void)
{
	send_nmi_to(apic_id());
}

static void unblock(void)
{
	nmi_unblock();
	spin();
}

static ulong l2_idle(ulong unused)
{
	(void)unused;
	spin();
	return nmi_count[LEVEL_L2];
}

/* Returns how many had come before the IRET, and 16 times what came behind it. */
static ulong l2_unblocks(ulong unused)
{
	u32 before = nmi_count[LEVEL_L2];

	(void)unused;
	unblock();
	return before | (nmi_count[LEVEL_L2] - before) << 4;
}

static ulong l2_sends(ulong unused)
{
	send_nmi();
	return l2_idle(unused);
}

static ulong l2_sends_unblocks(ulong unused)
{
	send_nmi();
	return l2_unblocks(unused);
}

/* The first blocks, the second waits for IRET. */
static ulong l2_sends_twice(ulong unused)
{
	send_nmi();
	return l2_sends_unblocks(unused);
}

static void start(struct machine *m, struct cpu *c)
{
	memset(m, 0, sizeof(*m));
	test_vcpu(&m->v, c, 0);
	for (enum level l = 0; l < LEVELS; l++) {
		m->idt[l] = page_alloc();
		memcpy(m->idt[l], (const void *)cpu_idt_base(), CPU_IDT_LIMIT + 1);
		m->idt[l][VEC_NMI] = gate_make((ulong)(l == LEVEL_L1 ? nmi_handler_l1 : nmi_handler_l2), SEL_CODE, 0);
		m->idt[l][VECTOR] = gate_make((ulong)nmi_vector_handler, SEL_CODE, 0);
	}
	vmwrite(VMCS_host_idtr_base, (ulong)m->idt[LEVEL_L1]);
	vmwrite(VMCS_guest_idtr_base, (ulong)m->idt[LEVEL_L2]);
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, (ulong)m->idt[LEVEL_L1] });
}

/*
 * Nothing pending, nothing blocked, nothing counted. An NMI that a host has forgotten (KVM, see docs/findings/kvm-nmi.md)
 * is remembered with the next event, so there is one: it mustn't come when nobody expects it.
 */
static void calm(void)
{
	for (u32 i = 0; i < 2; i++) {
		unblock();
		unblock();
		apic_send_self(IRQ_VECTOR + IRQ_SELF);
		irq_window();
	}
	unblock();
	for (enum level l = 0; l < LEVELS; l++)
		nmi_count[l] = 0;
	nmi_vector_count = 0;
}

static void finish(void)
{
	calm();
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, cpu_idt_base() });
}

static struct exit enter_l2(struct machine *m, struct how h)
{
	struct vcpu *v = &m->v;

	calm();
	v->ctl[CTL_PIN] = h.pin;
	v->ctl[CTL_PROC] &= ~(u32)PROC_nmi_window_exiting;
	v->ctl[CTL_PROC] |= h.window ? PROC_nmi_window_exiting : 0;
	vcpu_write_controls(v);
	guest(v, h.l2, 0);
	vmwrite(VMCS_guest_interruptibility_state, h.blocked ? BLOCKED_BY_NMI : 0);
	vmwrite(VMCS_vm_entry_interruption_info, h.inject);
	/* An external interrupt can't be injected with IF=0. */
	if (h.inject == INJECT_INTERRUPT)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	for (enum before n = L1_OPEN; n < h.l1; n++)
		send_nmi();
	if (h.l1)
		want_eq(m, nmi_count[LEVEL_L1], 1);
	nmi_count[LEVEL_L1] = 0;
	return enter_once(v);
}

#define ENTER(pin_, l2_, ...) enter_l2(m, (struct how){ .pin = pin_, .l2 = l2_, __VA_ARGS__ })

/* --- What is judged --- */

enum { NEVER, AT_ONCE, AFTER_IRET };

/* When L1 takes an NMI; leaves L1 unblocked. */
static u32 l1_takes_nmi(void)
{
	u32 before = nmi_count[LEVEL_L1];
	bool at_once;

	send_nmi();
	at_once = nmi_count[LEVEL_L1] != before;
	unblock();
	unblock();
	if (nmi_count[LEVEL_L1] != before + 1)
		return NEVER;
	return at_once ? AT_ONCE : AFTER_IRET;
}

static bool virtually_blocked(void)
{
	return vmread(VMCS_guest_interruptibility_state) & BLOCKED_BY_NMI;
}

static bool want_nmi_exit(struct machine *m, struct exit e)
{
	if (!want_reason(m, e, EXIT_exception_or_nmi))
		return false;
	want_eq(m, nmi_count[LEVEL_L1], 0);
	return want_eq(m, vmread(VMCS_exit_interruption_info) & INFO_JUDGED, INFO_VALID | TYPE_NMI | VEC_NMI);
}

/* The exit's own blocking, and that the NMI isn't delivered besides. */
static void want_blocked_by_exit(struct machine *m)
{
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
	want_eq(m, nmi_count[LEVEL_L1], 1);
}

/* L2 has returned, with this value. */
static bool want_return(struct machine *m, struct exit e, ulong value)
{
	return want_call(m, e, L2_RETURN) && want_eq(m, m->v.g.dx, value);
}

static void twice(struct cpu *c, void (*experiment)(struct machine *m))
{
	struct machine m;

	start(&m, c);
	experiment(&m);
	experiment(&m);
	finish();
}

#define EXPERIMENT(name_, needs_, sdm_, rules_)                         \
	static void name_(struct machine *m);                           \
	TEST(nmi, name_, .sdm = sdm_, .needs = needs_, .rules = rules_) \
	{                                                               \
		twice(c, name_);                                        \
	}                                                               \
	static void name_(struct machine *m)

/* --- Without NMI exiting: NMIs are L2's --- */

/* L2's general registers survive an NMI that it takes right behind an entry. */
EXPERIMENT(registers, "", "Details of Vectored-Event Injection", "inject.registers inject.nmi")
{
	ulong *reg = (ulong *)&m->v.g;
	struct exit e = ENTER(0, l2_registers);

	if (!want_call(m, e, L2_REGISTERS))
		return;
	for (u32 n = 0; n < sizeof(m->v.g) / sizeof(ulong); n++)
		reg[n] = L2_PATTERN2 + n;
	vmwrite(VMCS_vm_entry_interruption_info, INJECT_NMI);
	want_return(m, enter_once(&m->v), 0);
	want_eq(m, nmi_count[LEVEL_L2], 1);
}

EXPERIMENT(plain_to_l2, "", "Interruptibility State", "nmi.delivered exit.load.nmi-blocking-kept")
{
	struct exit e = ENTER(0, l2_sends);

	/* The handler blocks, and the exit leaves that to L1. */
	if (want_return(m, e, 1))
		want_eq(m, virtually_blocked(), true);
	want_eq(m, nmi_count[LEVEL_L1], 0);
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
}

/* One while the handler hasn't ended: it waits for L2's IRET. */
EXPERIMENT(plain_second_waits, "", "Handling Multiple NMIs", "nmi.second-waits nmi.iret-plain")
{
	want_return(m, ENTER(0, l2_sends_twice), 0x11);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

EXPERIMENT(plain_blocked, "", "Interruptibility State", "nmi.blocked nmi.iret-plain")
{
	want_return(m, ENTER(0, l2_sends_unblocks, .blocked = true), 0x10);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

/* L2 didn't take it; L1 inherits the blocking, and gets the NMI when it executes IRET. */
EXPERIMENT(plain_blocked_goes_to_l1, "", "Updating Non-Register State", "exit.load.nmi-blocking-kept nmi.blocked")
{
	struct exit e = ENTER(0, l2_sends, .blocked = true);

	want_return(m, e, 0);
	want_eq(m, nmi_count[LEVEL_L1], 0);
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 1);
}

/* L1's blocking isn't L2's: the NMI arrives before L2's first instruction. */
EXPERIMENT(plain_pending, "", "Interruptibility State", "nmi.pending-delivered")
{
	want_return(m, ENTER(0, l2_idle, .l1 = L1_PENDING), 1);
	want_eq(m, nmi_ip[LEVEL_L2], (ulong)l2_start);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

EXPERIMENT(plain_pending_blocked, "", "Interruptibility State", "nmi.pending-blocked nmi.iret-plain")
{
	want_return(m, ENTER(0, l2_unblocks, .l1 = L1_PENDING, .blocked = true), 0x10);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

EXPERIMENT(plain_entry_blocks_l1, "", "Updating Non-Register State", "exit.load.nmi-blocking-kept")
{
	want_return(m, ENTER(0, l2_idle, .blocked = true), 0);
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
}

EXPERIMENT(plain_entry_unblocks_l1, "", "Updating Non-Register State", "exit.load.nmi-blocking-kept")
{
	want_return(m, ENTER(0, l2_idle, .l1 = L1_BLOCKED), 0);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
}

/* The handler of what was injected has begun, but not executed anything. */
EXPERIMENT(plain_pending_inject, "", "Details of Vectored-Event Injection",
	   "inject.before-pending nmi.pending-delivered")
{
	struct exit e = ENTER(0, l2_idle, .l1 = L1_PENDING, .inject = INJECT_INTERRUPT);

	want_return(m, e, 1);
	want_eq(m, nmi_ip[LEVEL_L2], (ulong)nmi_vector_handler);
	want_eq(m, nmi_vector_count, 1);
	want_eq(m, nmi_vector_ip, (ulong)l2_start);
}

/* Without virtual NMIs, bit 3 alone says whether NMIs are blocked; that one is injected makes no difference. */
EXPERIMENT(plain_injected, "", "Interruptibility State", "nmi.injected-not-blocking-field inject.nmi")
{
	struct exit e = ENTER(0, l2_sends, .inject = INJECT_NMI);

	want_return(m, e, 2);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

EXPERIMENT(plain_injected_blocked, "", "Interruptibility State",
	   "nmi.injected-not-blocking-field nmi.blocked entry.guest.blocking-nmi-plain")
{
	struct how h = { .pin = 0, .l2 = l2_sends_unblocks, .blocked = true, .inject = INJECT_NMI };

	want_return(m, enter_l2(m, h), 0x11);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

/* --- NMI exiting --- */

EXPERIMENT(exiting, "NMI exiting", "Other Causes of VM Exits",
	   "nmi.exits exit.load.nmi-blocked-by-exit exit.info.interruption")
{
	struct exit e = ENTER(EXITING, l2_sends);

	if (want_nmi_exit(m, e))
		want_eq(m, virtually_blocked(), false);
	want_blocked_by_exit(m);
	/* L2 goes on where it was, and has had none. */
	want_return(m, enter_once(&m->v), 0);
}

/* IRET doesn't unblock. */
EXPERIMENT(exiting_blocked, "NMI exiting", "Interruptibility State", "nmi.iret-exiting nmi.blocked")
{
	want_return(m, ENTER(EXITING, l2_sends_unblocks, .blocked = true), 0);
	want_eq(m, virtually_blocked(), true);
	want_eq(m, nmi_count[LEVEL_L1], 0);
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 1);
}

/* Two, while they are blocked: one is kept; whether another is, the SDM doesn't say. */
EXPERIMENT(exiting_two_blocked, "NMI exiting", "Handling Multiple NMIs", "nmi.exiting-two nmi.blocked")
{
	want_return(m, ENTER(EXITING, l2_sends_twice, .blocked = true), 0);
	want_eq(m, nmi_count[LEVEL_L1], 0);
	unblock();
	unblock();
	want_eq(m, nmi_count[LEVEL_L1] == 1 || nmi_count[LEVEL_L1] == 2, true);
}

EXPERIMENT(exiting_pending, "NMI exiting", "Other Causes of VM Exits", "nmi.exits exit.load.nmi-blocked-by-exit")
{
	struct exit e = ENTER(EXITING, l2_idle, .l1 = L1_PENDING);

	if (want_nmi_exit(m, e))
		want_eq(m, e.ip, (ulong)l2_start);
	want_blocked_by_exit(m);
}

/* Another kind of exit blocks nothing; what comes then is L1's. */
EXPERIMENT(exiting_then_vmcall, "NMI exiting", "Updating Non-Register State", "exit.load.nmi-blocking-kept")
{
	want_return(m, ENTER(EXITING, l2_idle), 0);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
	want_return(m, ENTER(EXITING, l2_idle, .l1 = L1_BLOCKED), 0);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
}

EXPERIMENT(exiting_pending_inject, "NMI exiting", "Details of Vectored-Event Injection",
	   "inject.before-pending inject.once exit.info.idt-vectoring-clear")
{
	struct how h = { .pin = EXITING, .l2 = l2_idle, .l1 = L1_PENDING, .inject = INJECT_INTERRUPT };
	struct exit e = enter_l2(m, h);

	if (want_nmi_exit(m, e)) {
		want_eq(m, e.ip, (ulong)nmi_vector_handler);
		want_eq(m, vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
		want_eq(m, vmread(VMCS_vm_entry_interruption_info) & INFO_VALID, 0);
	}
	want_blocked_by_exit(m);
}

EXPERIMENT(exiting_injected, "NMI exiting", "Interruptibility State",
	   "nmi.injected-not-blocking-field exit.load.nmi-blocked-by-exit")
{
	struct exit e = ENTER(EXITING, l2_sends, .inject = INJECT_NMI);

	want_eq(m, nmi_count[LEVEL_L2], 1);
	want_nmi_exit(m, e);
	want_blocked_by_exit(m);
}

/* --- Virtual NMIs: L2's blocking is its own, and physical NMIs always exit --- */

EXPERIMENT(virtual_exit, "NMI exiting; virtual NMIs", "Other Causes of VM Exits",
	   "nmi.exits nmi.virtual-not-physical exit.load.nmi-blocked-by-exit")
{
	for (u32 blocked = 0; blocked < 2; blocked++) {
		struct exit e = ENTER(VIRTUAL, l2_sends, .blocked = blocked);

		if (want_nmi_exit(m, e))
			want_eq(m, virtually_blocked(), blocked);
		want_blocked_by_exit(m);
		want_return(m, enter_once(&m->v), 0);
	}
}

EXPERIMENT(virtual_pending, "NMI exiting; virtual NMIs", "Interruptibility State",
	   "nmi.virtual-not-physical exit.load.nmi-blocked-by-exit")
{
	for (u32 blocked = 0; blocked < 2; blocked++) {
		struct how h = { .pin = VIRTUAL, .l2 = l2_idle, .l1 = L1_PENDING, .blocked = blocked };
		struct exit e = enter_l2(m, h);

		if (want_nmi_exit(m, e)) {
			want_eq(m, e.ip, (ulong)l2_start);
			want_eq(m, virtually_blocked(), blocked);
		}
		want_blocked_by_exit(m);
	}
}

EXPERIMENT(virtual_iret, "NMI exiting; virtual NMIs", "Interruptibility State", "nmi.virtual-iret")
{
	want_return(m, ENTER(VIRTUAL, l2_idle, .blocked = true), 0);
	want_eq(m, virtually_blocked(), true);
	want_return(m, ENTER(VIRTUAL, l2_unblocks, .blocked = true), 0);
	want_eq(m, virtually_blocked(), false);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

/* L1's own blocking is gone with the entry, and virtual blocking isn't L1's. */
EXPERIMENT(virtual_then_vmcall, "NMI exiting; virtual NMIs", "Updating Non-Register State",
	   "exit.load.nmi-virtual-unblocked")
{
	for (u32 blocked = 0; blocked < 2; blocked++) {
		struct how h = { .pin = VIRTUAL, .l2 = l2_idle, .l1 = L1_BLOCKED, .blocked = blocked };

		want_return(m, enter_l2(m, h), 0);
		want_eq(m, virtually_blocked(), blocked);
		want_eq(m, l1_takes_nmi(), AT_ONCE);
	}
}

EXPERIMENT(virtual_pending_inject, "NMI exiting; virtual NMIs", "Details of Vectored-Event Injection",
	   "inject.before-pending exit.load.nmi-blocked-by-exit")
{
	struct how h = { .pin = VIRTUAL, .l2 = l2_idle, .l1 = L1_PENDING, .inject = INJECT_INTERRUPT };
	struct exit e = enter_l2(m, h);

	if (want_nmi_exit(m, e))
		want_eq(m, e.ip, (ulong)nmi_vector_handler);
	want_blocked_by_exit(m);
}

EXPERIMENT(virtual_injected, "NMI exiting; virtual NMIs", "Details of Vectored-Event Injection",
	   "inject.nmi inject.nmi-blocks exit.load.nmi-virtual-unblocked")
{
	want_return(m, ENTER(VIRTUAL, l2_idle, .inject = INJECT_NMI), 1);
	want_eq(m, virtually_blocked(), true);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
}

/* First what L1 injects, then the exit for what was pending; nothing is lost. */
EXPERIMENT(virtual_pending_injected, "NMI exiting; virtual NMIs", "Details of Vectored-Event Injection",
	   "inject.before-pending inject.nmi-blocks inject.once exit.info.idt-vectoring-clear")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .l1 = L1_PENDING, .inject = INJECT_NMI);

	if (want_nmi_exit(m, e)) {
		want_eq(m, e.ip, (ulong)nmi_handler_l2);
		want_eq(m, nmi_count[LEVEL_L2], 0);
		want_eq(m, virtually_blocked(), true);
		want_eq(m, vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
		want_eq(m, vmread(VMCS_vm_entry_interruption_info) & INFO_VALID, 0);
	}
	want_blocked_by_exit(m);
	want_return(m, enter_once(&m->v), 1);
}

/* Two while L1 is blocked, and no L2 between: they are one. */
EXPERIMENT(host_two_blocked, "", "Handling Multiple NMIs", "nmi.one-kept nmi.second-waits")
{
	calm();
	send_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	send_nmi();
	send_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 2);
	unblock();
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 2);
}

/* Both came before the entry: one exits, and no other is left. */
EXPERIMENT(virtual_two_pending, "NMI exiting; virtual NMIs", "Handling Multiple NMIs",
	   "nmi.one-kept nmi.exits exit.load.nmi-blocked-by-exit")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .l1 = L1_TWO_PENDING);

	want_nmi_exit(m, e);
	unblock();
	unblock();
	want_eq(m, nmi_count[LEVEL_L1], 0);
	want_return(m, enter_once(&m->v), 0);
}

/* --- NMI-window exiting --- */

#define WINDOW "NMI exiting; virtual NMIs; NMI-window exiting"

EXPERIMENT(window_open, WINDOW, "NMI-Window Exiting", "nmi.window-open entry.nmi-window-open")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .window = true);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)l2_start);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
}

EXPERIMENT(window_closed, WINDOW, "NMI-Window Exiting", "nmi.window-closed")
{
	want_return(m, ENTER(VIRTUAL, l2_idle, .window = true, .blocked = true), 0);
}

EXPERIMENT(window_after_iret, WINDOW, "Other Causes of VM Exits", "nmi.window-after-iret nmi.virtual-iret")
{
	struct exit e = ENTER(VIRTUAL, l2_unblocks, .window = true, .blocked = true);

	if (want_reason(m, e, EXIT_nmi_window)) {
		want_eq(m, e.ip, (ulong)nmi_unblocked);
		want_eq(m, virtually_blocked(), false);
	}
}

/* The window has priority; the exit leaves L1 unblocked, so the NMI is L1's. */
EXPERIMENT(window_before_pending, WINDOW, "NMI-Window Exiting", "nmi.window-first")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .l1 = L1_PENDING, .window = true);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)l2_start);
	spin();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
}

EXPERIMENT(window_after_injected, WINDOW, "NMI-Window Exiting", "nmi.window-after-iret inject.nmi-blocks")
{
	struct exit e = ENTER(VIRTUAL, l2_unblocks, .window = true, .inject = INJECT_NMI);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)nmi_unblocked);
	want_eq(m, nmi_count[LEVEL_L2], 1);
}

/* --- All of them --- */

static void (*const experiments[])(struct machine *m) = {
	registers,
	plain_to_l2,
	plain_second_waits,
	plain_blocked,
	plain_blocked_goes_to_l1,
	plain_pending,
	plain_pending_blocked,
	plain_entry_blocks_l1,
	plain_entry_unblocks_l1,
	plain_pending_inject,
	plain_injected,
	plain_injected_blocked,
	exiting,
	exiting_blocked,
	exiting_two_blocked,
	exiting_pending,
	exiting_then_vmcall,
	exiting_pending_inject,
	exiting_injected,
	virtual_exit,
	virtual_pending,
	virtual_iret,
	virtual_then_vmcall,
	virtual_pending_inject,
	virtual_injected,
	virtual_pending_injected,
	host_two_blocked,
	virtual_two_pending,
	window_open,
	window_closed,
	window_after_iret,
	window_before_pending,
	window_after_injected,
};
#define COUNT ARRAY_SIZE(experiments)
#define ROUNDS 300u

/* Those that hold alone, twice, hold after each other. The others have tests that tell of them. */
TEST(nmi, random_order, .sdm = "Handling Multiple NMIs", .needs = WINDOW, .rules = "nmi.delivered nmi.exits")
{
	u32 good[COUNT], n = 0;
	struct machine m;
	struct rng rng;

	start(&m, c);
	rng_seed(&rng, 1);
	m.quiet = true;
	for (u32 i = 0; i < COUNT; i++) {
		m.failures = 0;
		experiments[i](&m);
		experiments[i](&m);
		if (!m.failures)
			good[n++] = i;
	}
	m.quiet = false;
	m.failures = 0;
	for (u32 i = 0; i < ROUNDS && n && !m.failures; i++) {
		u32 which = good[rng_below(&rng, n)];

		c->judging->iteration = which;
		experiments[which](&m);
	}
	finish();
	expect(n > 0);
	say_note("%u of %u experiments, %u rounds", n, (u32)COUNT, ROUNDS);
}

/* --- HLT --- */

#define HALTED_MS 2 /* surely in HLT by then */

static u32 halts;

static ulong l2_halts(ulong unused)
{
	__atomic_store_n(&halts, 1, __ATOMIC_RELEASE);
	l2_halt_once();
	return l2_idle(unused);
}

static void wake_with_nmi(struct cpu *c, void *arg)
{
	u64 deadline;

	(void)c;
	(void)arg;
	while (!__atomic_load_n(&halts, __ATOMIC_ACQUIRE))
		cpu_pause();
	for (deadline = time_after_ms(HALTED_MS); !time_is_up(deadline);)
		cpu_pause();
	send_nmi_to(cpus[0].apic_id);
}

static struct exit enter_halting_l2(struct machine *m, u32 pin)
{
	struct exit e;

	__atomic_store_n(&halts, 0, __ATOMIC_RELEASE);
	on_cpu(1, wake_with_nmi, NULL);
	e = ENTER(pin, l2_halts);
	join_cpu(1);
	return e;
}

static void hlt_plain(struct machine *m)
{
	want_return(m, enter_halting_l2(m, 0), 1);
	want_eq(m, nmi_ip[LEVEL_L2], (ulong)l2_halt_once + 2);
	want_eq(m, nmi_count[LEVEL_L1], 0);
}

TEST(nmi, hlt_plain, .sdm = "HLT-Halt", .flags = TEST_TWO_CPUS, .rules = "nmi.hlt-wakes")
{
	twice(c, hlt_plain);
}

static void hlt_exiting(struct machine *m)
{
	struct exit e = enter_halting_l2(m, EXITING);

	if (want_nmi_exit(m, e))
		want_eq(m, e.ip, (ulong)l2_halt_once + 2);
	want_blocked_by_exit(m);
	vmwrite(VMCS_guest_activity_state, 0);
	want_return(m, enter_once(&m->v), 0);
}

TEST(nmi, hlt_exiting, .sdm = "Other Causes of VM Exits", .needs = "NMI exiting", .flags = TEST_TWO_CPUS,
     .rules = "nmi.hlt-exit nmi.exits")
{
	twice(c, hlt_exiting);
}

/* L2 was halted when the NMI came, and that is what the exit saves. */
static void hlt_saved(struct machine *m)
{
	if (want_nmi_exit(m, enter_halting_l2(m, EXITING)))
		want_eq(m, vmread(VMCS_guest_activity_state), 1);
	vmwrite(VMCS_guest_activity_state, 0);
}

TEST(nmi, hlt_saved, .sdm = "Saving Non-Register State", .needs = "NMI exiting; activity state HLT",
     .flags = TEST_TWO_CPUS, .rules = "exit.save.activity")
{
	twice(c, hlt_saved);
}
