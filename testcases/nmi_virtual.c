// SPDX-License-Identifier: BSD-2-Clause
/* NMIs with virtual NMIs: L2's blocking is its own; NMI windows. */
#include "testcases/nmi.h"

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
	nmi_calm();
	send_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	send_nmi();
	send_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	unblock_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 2);
	unblock_nmi();
	unblock_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 2);
}

/* Both came before the entry: one exits, and no other is left. */
EXPERIMENT(virtual_two_pending, "NMI exiting; virtual NMIs", "Handling Multiple NMIs",
	   "nmi.one-kept nmi.exits exit.load.nmi-blocked-by-exit")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .l1 = L1_TWO_PENDING);

	want_nmi_exit(m, e);
	unblock_nmi();
	unblock_nmi();
	want_eq(m, nmi_count[LEVEL_L1], 0);
	want_return(m, enter_once(&m->v), 0);
}

/* --- NMI-window exiting --- */

EXPERIMENT(window_open, NMI_WINDOW, "NMI-Window Exiting", "nmi.window-open entry.nmi-window-open")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .window = true);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)l2_start);
	want_eq(m, l1_takes_nmi(), AT_ONCE);
}

EXPERIMENT(window_closed, NMI_WINDOW, "NMI-Window Exiting", "nmi.window-closed")
{
	want_return(m, ENTER(VIRTUAL, l2_idle, .window = true, .blocked = true), 0);
}

EXPERIMENT(window_after_iret, NMI_WINDOW, "Other Causes of VM Exits", "nmi.window-after-iret nmi.virtual-iret")
{
	struct exit e = ENTER(VIRTUAL, l2_unblocks, .window = true, .blocked = true);

	if (want_reason(m, e, EXIT_nmi_window)) {
		want_eq(m, e.ip, (ulong)nmi_unblocked);
		want_eq(m, virtually_blocked(), false);
	}
}

/* The window has priority; the exit leaves L1 unblocked, so the NMI is L1's. */
EXPERIMENT(window_before_pending, NMI_WINDOW, "NMI-Window Exiting", "nmi.window-first")
{
	struct exit e = ENTER(VIRTUAL, l2_idle, .l1 = L1_PENDING, .window = true);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)l2_start);
	nmi_spin();
	want_eq(m, nmi_count[LEVEL_L1], 1);
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
}

EXPERIMENT(window_after_injected, NMI_WINDOW, "NMI-Window Exiting", "nmi.window-after-iret inject.nmi-blocks")
{
	struct exit e = ENTER(VIRTUAL, l2_unblocks, .window = true, .inject = INJECT_NMI);

	if (want_reason(m, e, EXIT_nmi_window))
		want_eq(m, e.ip, (ulong)nmi_unblocked);
	want_eq(m, nmi_count[LEVEL_L2], 1);
}
