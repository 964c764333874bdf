// SPDX-License-Identifier: BSD-2-Clause
/*
 * IRET that faults while NMIs are blocked: it unblocks them all the same, and the exit tells that they were.
 * SDM: "Information for VM Exits Due to Vectored Events", "Architectural State Before a VM Exit".
 */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define EVENTS "Information for VM Exits Due to Vectored Events"
#define VIRTUAL (PIN_nmi_exiting | PIN_virtual_nmis)
#define QUAL_NMI_UNBLOCKING 0x1000u
#define WINDOW_SP (L2_WINDOW + 0x800u)

enum cause { BAD_CS, NO_STACK, NO_IRET, CAUSES };
static const char *const names[CAUSES] = { "IRET to a bad CS", "IRET without a stack", "UD2" };
static const u32 vectors[CAUSES] = { VEC_GP, VEC_PF, VEC_UD };

static void begin(struct eguest *g, struct cpu *c, u32 pin, u32 opt)
{
	judge_begin();
	eguest_begin(g, c, opt);
	g->s.v.ctl[CTL_PIN] |= pin;
	vcpu_write_controls(&g->s.v);
}

static void end(struct eguest *g)
{
	vcpu_destroy(&g->s.v);
	judge_done();
	/* An exit may have left NMIs blocked; this exception's handler has an IRET. */
	try_ud2();
}

/* L2 stands before IRET, whose frame has a CS that isn't in the GDT. */
static void put(struct eguest *g, enum cause cause, bool blocked)
{
	ulong *frame = (ulong *)(ulong)(g->s.data + 0x800);

	eguest_mode(g, SNIP_NATIVE, false);
	if (cause == NO_IRET)
		snippet_code(&g->s, "\x0f\x0b", 2);
	else if (sizeof(ulong) == 8)
		snippet_code(&g->s, "\x48\xcf", 2);
	else
		snippet_code(&g->s, "\xcf", 1);
	frame[0] = (ulong)g->s.code;
	frame[1] = ESEL_BEYOND;
	frame[2] = RFLAGS_FIXED;
	frame[3] = SNIP_SP(&g->s);
	frame[4] = SEL_DATA;
	vmwrite(VMCS_guest_rsp, cause == NO_STACK ? WINDOW_SP : (ulong)frame);
	vmwrite(VMCS_guest_interruptibility_state, blocked ? BLOCKED_BY_NMI : 0);
}

static u64 blocking(void)
{
	return vmread(VMCS_guest_interruptibility_state) & BLOCKED_BY_NMI;
}

static void judge_case(struct eguest *g, enum cause cause, bool blocked)
{
	const bool unblocks = cause != NO_IRET;
	struct exit e;

	judge_about(names[cause], blocked ? "NMIs blocked" : "NMIs not blocked");
	put(g, cause, blocked);
	eguest_exits(g, ~0u);
	e = snippet_run(&g->s);
	if (!JUDGE("exit.info.nmi-unblocking", snippet_faulted(&e, vectors[cause]), true))
		return;
	JUDGE("exit.info.nmi-unblocking", vmread(VMCS_exit_interruption_info) & INFO_NMI_UNBLOCKING,
	      blocked && unblocks ? INFO_NMI_UNBLOCKING : 0);
	JUDGE("event.iret.unblocks", blocking(), blocked && !unblocks ? BLOCKED_BY_NMI : 0);
	if (cause == NO_STACK)
		return;
	/* The same as the guest's own. */
	put(g, cause, blocked);
	eguest_exits(g, 0);
	e = snippet_run(&g->s);
	if (JUDGE("event.iret.unblocks", eguest_vector(g, &e), vectors[cause]))
		JUDGE("event.iret.unblocks", blocking(), blocked && !unblocks ? BLOCKED_BY_NMI : 0);
}

static void check_all(struct cpu *c, u32 pin)
{
	struct eguest g;

	begin(&g, c, pin, 0);
	for (u32 cause = 0; cause < CAUSES; cause++)
		for (u32 blocked = 0; blocked < 2; blocked++)
			judge_case(&g, cause, blocked);
	end(&g);
}

TEST(event, iret_unblocks, .sdm = EVENTS, .rules = "exit.info.nmi-unblocking event.iret.unblocks")
{
	check_all(c, 0);
}

TEST(event, iret_unblocks_virtual, .sdm = EVENTS, .needs = "NMI exiting; virtual NMIs",
     .rules = "exit.info.nmi-unblocking event.iret.unblocks")
{
	check_all(c, VIRTUAL);
}

/* NMI exiting without virtual NMIs: IRET doesn't unblock, so a fault of it doesn't either. */
TEST(event, iret_exiting, .sdm = "Changes to Instruction Behavior in VMX Non-Root Operation", .needs = "NMI exiting",
     .rules = "event.iret.exiting")
{
	struct eguest g;

	begin(&g, c, PIN_nmi_exiting, 0);
	for (u32 blocked = 0; blocked < 2; blocked++) {
		struct exit e;

		judge_about(names[BAD_CS], blocked ? "NMIs blocked" : "NMIs not blocked");
		put(&g, BAD_CS, blocked);
		eguest_exits(&g, ~0u);
		e = snippet_run(&g.s);
		if (JUDGE("event.iret.exiting", snippet_faulted(&e, VEC_GP), true))
			JUDGE("event.iret.exiting", blocking(), blocked ? BLOCKED_BY_NMI : 0);
	}
	end(&g);
}

/* The stack's page isn't in EPT. */
static void check_ept(struct cpu *c, u32 pin)
{
	struct eguest g;

	begin(&g, c, pin, OPT_ept);
	g.s.v.l2_window[0] = GPA_UNMAPPED | PTE_P | PTE_W | PTE_U;
	for (u32 blocked = 0; blocked < 2; blocked++) {
		struct exit e;

		judge_about("IRET, stack not in EPT", blocked ? "NMIs blocked" : "NMIs not blocked");
		put(&g, NO_STACK, blocked);
		e = snippet_run(&g.s);
		if (!JUDGE("exit.info.ept-nmi-unblocking", e.reason, EXIT_ept_violation))
			continue;
		JUDGE("exit.info.ept-nmi-unblocking", e.qualification & QUAL_NMI_UNBLOCKING,
		      blocked ? QUAL_NMI_UNBLOCKING : 0);
		JUDGE("exit.info.ept-nmi-unblocking", blocking(), 0);
	}
	end(&g);
}

TEST(event, iret_unblocks_ept, .sdm = "Exit Qualification for EPT Violations", .opt = OPT_ept,
     .rules = "exit.info.ept-nmi-unblocking")
{
	check_ept(c, 0);
}

TEST(event, iret_unblocks_ept_virtual, .sdm = "Exit Qualification for EPT Violations", .opt = OPT_ept,
     .needs = "NMI exiting; virtual NMIs", .rules = "exit.info.ept-nmi-unblocking")
{
	check_ept(c, VIRTUAL);
}

#define ICR_LOW (APIC_PAGE + 0x300)
#define ICR_HIGH (APIC_PAGE + 0x310)
#define ICR_NMI 0x4400u
#ifdef __x86_64__
#define NMI_AND_IRET "\x89\x02\x90\x48\xcf" /* MOV [DX], AX to the ICR; NOP; IRETQ */
#else
#define NMI_AND_IRET "\x89\x02\x90\xcf"
#endif

/* L2, with NMIs blocked, sends one to itself; IRET takes its frame from a page that no walk has met before. */
static void put_nmi(struct eguest *g, u64 gpa)
{
	ulong *frame = (ulong *)(ulong)(g->s.data + 0x800);

	ept_map_page(g->s.v.eptp & EPT_ADDR, gpa, (ulong)g->s.data, EPT_RWX);
	g->s.v.l2_window[0] = gpa | PTE_P | PTE_W | PTE_U;
	eguest_mode(g, SNIP_NATIVE, false);
	eguest_exits(g, ~0u);
	snippet_code(&g->s, NMI_AND_IRET, sizeof(NMI_AND_IRET) - 1);
	frame[0] = (ulong)g->s.code + g->s.length;
	frame[1] = SEL_CODE;
	frame[2] = RFLAGS_FIXED;
	frame[3] = SNIP_SP(&g->s);
	frame[4] = SEL_DATA;
	vmwrite(VMCS_guest_rsp, WINDOW_SP);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_NMI);
	g->s.v.g.ax = ICR_NMI;
	g->s.v.g.dx = ICR_LOW;
	*(volatile u32 *)(ulong)ICR_HIGH = g->s.v.cpu->apic_id << 24;
}

/* Where L0 has to fill tables of its own for IRET's frame, IRET is executed once more: only then does the NMI come. */
TEST(event, iret_page_not_met, .sdm = "Interruptibility State", .opt = OPT_ept, .rules = "event.iret.nmi-waits")
{
	struct eguest g;
	struct exit e;

	begin(&g, c, 0, OPT_ept);
	for (u32 i = 0; i < 4; i++) {
		put_nmi(&g, GPA_LARGE_A + (u64)i * PAGE_SIZE);
		e = snippet_run(&g.s);
		/* On i386 IRET has left the stack where it was: in the window, which is L2's alone. */
		if (sizeof(ulong) == 4)
			vmwrite(VMCS_guest_rsp, (ulong)g.s.data + (vmread(VMCS_guest_rsp) & (PAGE_SIZE - 1)));
		if (JUDGE("event.iret.nmi-waits", eguest_vector(&g, &e), VEC_NMI))
			JUDGE("event.iret.nmi-waits", eguest_frame(&g, false).ip, (ulong)g.s.code + g.s.length);
		try_ud2();
	}
	end(&g);
}
