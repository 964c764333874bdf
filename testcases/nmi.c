// SPDX-License-Identifier: BSD-2-Clause
/* NMIs without virtual NMIs: all of them L2's, or all of them exits; and those that wake L2. */
#include "testcases/nmi.h"
#include "lhv/platform.h"

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
	unblock_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	unblock_nmi();
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
	unblock_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
}

/* Two, while they are blocked: one is kept; whether another is, the SDM doesn't say. */
EXPERIMENT(exiting_two_blocked, "NMI exiting", "Handling Multiple NMIs", "nmi.exiting-two nmi.blocked")
{
	want_return(m, ENTER(EXITING, l2_sends_twice, .blocked = true), 0);
	want_eq(m, nmi_count[LEVEL_L1], 0);
	unblock_nmi();
	unblock_nmi();
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
