/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows of entry checks: a VMCS that enters, some changes, and how the entry must end. After each row all is as before.
 *
 *	ENTRY(host_tr, .sdm = ..., .needs = TIMER, .rules = "entry.host.tr-null")
 *	{
 *		ROW(t, "entry.host.tr-null", FAILS_HOST, SET(host_tr_selector, 0));
 *	}
 *
 * The VMX-preemption timer stands at 0, so that L2 comes out before its first instruction (SDM: "VMX-Preemption
 * Timer"), whatever state it has. A test with rows needs "activate VMX-preemption timer". L1, CPU 0, interrupts off.
 */
#ifndef TESTCASES_ENTRY_ROWS_H
#define TESTCASES_ENTRY_ROWS_H

#include "lhv/report.h"
#include "lhv/test.h"
#include "lhv/vcpu.h"

#define TIMER "activate VMX-preemption timer"

/* How an entry ends (SDM: "VM Entries"). */
enum entry_end {
	ENTERS,
	FAILS_CONTROL, /* VMfailValid(7) */
	FAILS_HOST,    /* VMfailValid(8) */
	FAILS_GUEST,   /* reason 33, qualification 0 */
	FAILS_PDPTE,   /* 2 */
	FAILS_LINK,    /* 4 */
	FAILS_MSR      /* reason 34; FAILS_MSR + n - 1: by entry n of the list */
};

struct entry_change {
	u32 field;
	char how; /* '=', '|', '-' (clears bits), '^'; 0 behind the last */
	u64 value;
};

/* Compound literals without clang-format's taste: four words per change. */
#define CHANGE(field, how, value) ((struct entry_change){ VMCS_##field, how, value })
#define SET(field, value) CHANGE(field, '=', value)
#define ADD(field, value) CHANGE(field, '|', value)
#define CLR(field, value) CHANGE(field, '-', value)
#define FLIP(field, value) CHANGE(field, '^', value)
/* Primary and secondary controls; the latter with the control that activates them. */
#define ADD1(value) ADD(primary_proc_based_controls, (u32)(value))
#define CLR1(value) CLR(primary_proc_based_controls, (u32)(value))
#define ON2(value) ADD1(PROC_activate_secondary_controls), ADD(secondary_proc_based_controls, (u32)(value))
#define CLR2(value) CLR(secondary_proc_based_controls, (u32)(value))

/* Bits of access rights that must be 0. Some CPUs don't even keep them: then the rows that set them enter. */
#define AR_RESERVED 0xfffe0f00u

struct entry {
	struct vcpu v;
	/* Makes the guest what it shall be, beyond vcpu_write_guest_state(); NULL: nothing. */
	void (*shape)(struct entry *t);
	u64 pae_root; /* entry_shapes.c: CR3 of a guest with PAE paging under a 64-bit host; 0: not made yet */
	u64 judged;   /* bit per word of the test's rules */
	bool dropped; /* the CPU didn't keep what the row wrote: reserved bits of access rights */
	bool dropped_told;
};

#define ROW(t, rule, end, ...) \
	entry_row((t), WHERE(rule), (end), (const struct entry_change[]){ __VA_ARGS__, { 0, 0, 0 } })
/* Without changes: what the test has done by itself. */
#define ROW_AS_IS(t, rule, end) entry_row((t), WHERE(rule), (end), (const struct entry_change[]){ { 0, 0, 0 } })

/* Begins with one check: the VMCS enters as it is. False if not; then rows would say nothing. */
bool entry_begin(struct entry *t, struct cpu *c, u32 opt, void (*shape)(struct entry *t));
bool entry_row(struct entry *t, const struct where *w, u32 end, const struct entry_change *c);
/* Ends with that check again, and another: each of the test's rules had a row. */
void entry_done(struct entry *t);
/* A test between them. */
#define ENTRY(name_, ...) ENTRY_OF(name_, 0, NULL, __VA_ARGS__)
#define ENTRY_OF(name_, opt_, shape_, ...)                                                                    \
	TEST_WITH(entry, name_, struct entry, t, if (!entry_begin(t, c, opt_, shape_)) return, entry_done(t), \
		  __VA_ARGS__)
/* Writes the guest state again. */
void entry_reset(struct entry *t);

/* Physical addresses in VMX structures have so many bits. */
u32 entry_address_bits(void);

#endif
