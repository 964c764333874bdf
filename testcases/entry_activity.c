// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on Guest Non-Register State": which events go with which activity state, and what only some CPUs have. */
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "testcases/judge.h"
#include "testcases/scene.h"

#define STATE "Checks on Guest Non-Register State"
#define VALID 0x80000000u
#define EXTERNAL 0u
#define NMI 0x200u
#define EXCEPTION 0x300u
#define SOFTWARE_INT 0x400u
#define PRIVILEGED 0x500u
#define SOFTWARE 0x600u
#define OTHER 0x700u
#define VEC_MC 18u
#define INJECT(event) SET(vm_entry_interruption_info, VALID | (event))
#define LENGTH_2 SET(vm_entry_instruction_length, 2)
#define BY_ENCLAVE 0x10u
#define PENDING_RTM 0x10000u
#define LEAF7_SGX 0x4u
#define LEAF7_RTM 0x800u

/* No hardware exceptions with error code, of the vectors that aren't about activity. */
static const struct {
	u32 event;
	bool shutdown; /* may be injected there */
} events[] = {
	{ EXTERNAL | 0x20, false },     { NMI | VEC_NMI, true },        { EXCEPTION | VEC_MC, true },
	{ EXCEPTION | VEC_DB, false },  { EXCEPTION | VEC_UD, false },  { EXCEPTION | VEC_DE, false },
	{ SOFTWARE_INT | 0x20, false }, { PRIVILEGED | VEC_DB, false }, { SOFTWARE | VEC_BP, false },
};

ENTRY(guest_shutdown_event, .sdm = STATE, .needs = TIMER "; activity state shutdown",
      .rules = "entry.guest.activity-shutdown-event")
{
	ROW(t, "entry.guest.activity-shutdown-event", ENTERS, SET(guest_activity_state, SHUTDOWN));
	for (u32 i = 0; i < ARRAY_SIZE(events); i++)
		ROW(t, "entry.guest.activity-shutdown-event", events[i].shutdown ? ENTERS : FAILS_GUEST,
		    SET(guest_activity_state, SHUTDOWN), INJECT(events[i].event), ADD(guest_rflags, RFLAGS_IF),
		    LENGTH_2);
}

/* The machine check's vector, but no exception. */
ENTRY(guest_shutdown_vector, .sdm = STATE, .needs = TIMER "; activity state shutdown",
      .rules = "entry.guest.activity-shutdown-event")
{
	ROW(t, "entry.guest.activity-shutdown-event", FAILS_GUEST, SET(guest_activity_state, SHUTDOWN),
	    INJECT(EXTERNAL | VEC_MC), ADD(guest_rflags, RFLAGS_IF));
	ROW(t, "entry.guest.activity-shutdown-event", FAILS_GUEST, SET(guest_activity_state, SHUTDOWN),
	    INJECT(SOFTWARE_INT | VEC_MC), LENGTH_2);
}

ENTRY(guest_sipi_event, .sdm = STATE, .needs = TIMER "; activity state wait-for-SIPI",
      .rules = "entry.guest.activity-sipi-event")
{
	for (u32 i = 0; i < ARRAY_SIZE(events); i++)
		ROW(t, "entry.guest.activity-sipi-event", FAILS_GUEST, SET(guest_activity_state, WAIT_SIPI),
		    INJECT(events[i].event), ADD(guest_rflags, RFLAGS_IF), LENGTH_2);
}

static u32 leaf7(void)
{
	u32 r[4];

	cpuid_raw(0, 0, r);
	if (r[0] < 7)
		return 0;
	cpuid_raw(7, 0, r);
	return r[1];
}

ENTRY(guest_enclave, .sdm = STATE, .needs = TIMER, .rules = "entry.guest.blocking-enclave")
{
	bool sgx = leaf7() & LEAF7_SGX;

	ROW(t, "entry.guest.blocking-enclave", sgx ? ENTERS : FAILS_GUEST,
	    SET(guest_interruptibility_state, BY_ENCLAVE));
	ROW(t, "entry.guest.blocking-enclave", FAILS_GUEST, SET(guest_interruptibility_state, BY_ENCLAVE | BY_MOV_SS));
}

ENTRY(guest_pending_rtm, .sdm = STATE, .needs = TIMER, .rules = "entry.guest.pending-rtm")
{
	static const struct {
		u64 with;
		bool good; /* where there is RTM */
	} rows[] = { { PENDING_ENABLED, true },
		     { 0, false },
		     { PENDING_ENABLED | 1, false },
		     { PENDING_ENABLED | 8, false },
		     { PENDING_ENABLED | PENDING_BS, false } };
	bool rtm = leaf7() & LEAF7_RTM;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		ROW(t, "entry.guest.pending-rtm", rtm && rows[i].good ? ENTERS : FAILS_GUEST,
		    SET(guest_pending_debug_exceptions, PENDING_RTM | rows[i].with));
	ROW(t, "entry.guest.pending-rtm", FAILS_GUEST, SET(guest_interruptibility_state, BY_MOV_SS),
	    SET(guest_pending_debug_exceptions, PENDING_RTM | PENDING_ENABLED));
}

/* The SDM leaves it to the CPU. */
ENTRY(guest_nmi_sti, .sdm = STATE, .needs = TIMER, .rules = "entry.guest.blocking-nmi-sti")
{
	struct exit e;

	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	vmwrite(VMCS_guest_interruptibility_state, BY_STI);
	vmwrite(VMCS_vm_entry_interruption_info, VALID | NMI | VEC_NMI);
	e = enter_once(&t->v);
	vmwrite(VMCS_vm_entry_interruption_info, 0);
	entry_reset(t);
	expect_out(e.entry, out_ok());
	/* Refused with qualification 0 or 3 (an NMI that isn't injected). */
	expect(e.reason == EXIT_preemption_timer || (e.reason == (0x80000000u | EXIT_invalid_guest_state) &&
						     (e.qualification == 0 || e.qualification == 3)));
	say_note("an NMI injected with blocking by STI is %s", e.reason >> 31 ? "refused" : "delivered");
	t->judged |= 1ull << judge_position("entry.guest.blocking-nmi-sti");
}

ENTRY(control_inject_type_other, .sdm = "VM-Entry Control Fields", .needs = TIMER,
      .rules = "entry.control.inject-type-other")
{
	bool mtf = cap_have("monitor trap flag");

	ROW(t, "entry.control.inject-type-other", mtf ? ENTERS : FAILS_CONTROL, INJECT(OTHER));
	ROW(t, "entry.control.inject-type-other", FAILS_CONTROL, INJECT(OTHER | 1));
}

/* --- Special features --- */

#define VTPR 0x80
#define TPR_NEEDS "use TPR shadow; virtualize APIC accesses; activate VMX-preemption timer"

TEST(entry, tpr_threshold, .sdm = "VM Exits Induced by the TPR Threshold", .needs = TPR_NEEDS,
     .rules = "entry.tpr-threshold-entry")
{
	u8 *page = page_alloc();
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	st.s.v.ctl[CTL_PROC2] |= PROC2_virtualize_apic_accesses;
	vmwrite(VMCS_virtual_apic_address, (ulong)page);
	vmwrite(VMCS_apic_access_address, (ulong)page_alloc());
	vmwrite(VMCS_tpr_threshold, 5);
	for (u32 vtpr = 0; vtpr < 8; vtpr++) {
		page[VTPR] = (u8)(vtpr << 4 | 0xf);
		e = SCENE(&st, "active", NOPS(3), .pin = PIN_activate_preemption_timer, .proc = PROC_use_tpr_shadow);
		if (vtpr < 5)
			ENDS("entry.tpr-threshold-entry", &st, e, EXIT_tpr_below_threshold, 0);
		else
			PASSES("entry.tpr-threshold-entry", &st, e);
	}
	page[VTPR] = 0;
	/* Behind an injection, and before everything else. */
	e = SCENE(&st, "injection", NOPS(3), .pin = PIN_activate_preemption_timer, .proc = PROC_use_tpr_shadow,
		  .inject = EVENT_EXCEPTION(VEC_UD));
	ENDS_AT("entry.tpr-threshold-entry", &st, e, EXIT_tpr_below_threshold, scene_handler(&st, VEC_UD));
	e = SCENE(&st, "timer 0", NOPS(3), .pin = PIN_activate_preemption_timer, .proc = PROC_use_tpr_shadow,
		  .timer_zero = true);
	ENDS("entry.tpr-threshold-entry", &st, e, EXIT_tpr_below_threshold, 0);
	e = SCENE(&st, "MOV SS", NOPS(3), .blocked = BY_MOV_SS, .pin = PIN_activate_preemption_timer,
		  .proc = PROC_use_tpr_shadow);
	ENDS("entry.tpr-threshold-entry", &st, e, EXIT_tpr_below_threshold, 0);
	st.s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_virtualize_apic_accesses;
	stage_done(&st);
}
