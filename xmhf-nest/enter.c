// SPDX-License-Identifier: BSD-2-Clause
/* VMLAUNCH and VMRESUME by L1: checks, VMCS12 into VMCS02. SDM: "VM Entries". */
#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/check.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/vmx.h"

#define BLOCKING_MOV_SS 2u
#define ACTIVITY_WAIT_SIPI 3u
#define QUAL_PDPTE 2u
#define QUAL_LINK_POINTER 4u

/* Controls of VMCS12 that VMCS02 has as well; what else VMCS02 has is L0's. */
#define EXIT_FROM_L1                                                                                  \
	(VMEXIT_load_perf_global_ctrl | VMEXIT_acknowledge_interrupt_on_exit | VMEXIT_save_ia32_pat | \
	 VMEXIT_load_ia32_pat)
#define ENTRY_FROM_L1 (VMENTRY_load_perf_global_ctrl | VMENTRY_load_ia32_pat | VMENTRY_ia32e_mode_guest)

/* One page for each CPU: L1's MSR bitmap with L0's bits. */
static u8 *bitmap02[NEST_MAX_CPUS];

void nested_init(struct cpu *c)
{
	bitmap02[c->number] = pages_alloc(1, 4096);
	vmcs_load(&c->vmcs02);
	vmcs_host_state(c);
	vmcs_write(VMCS_vmcs_link_pointer, ~0ull);
	vmcs_write(VMCS_vm_exit_msr_store_count, 0);
	vmcs_write(VMCS_vm_exit_msr_load_count, 0);
	vmcs_write(VMCS_vm_entry_msr_load_count, 0);
	vmcs_write(VMCS_msr_bitmap_address, phys_of(bitmap02[c->number]));
	vmcs_load(&c->vmcs01);
	shadow_init_cpu(c);
}

bool nested_ept(const struct cpu *c)
{
	return c->nested.proc2 & PROC2_enable_ept;
}

bool nested_vpid(const struct cpu *c)
{
	return c->nested.proc2 & PROC2_enable_vpid;
}

static u32 with_must(enum ctl_word w, u64 value)
{
	return (u32)value | (u32)caps_cpu.ctl[w];
}

/*
 * L1's "virtualize APIC accesses" with the local APIC's own page: the CPU doesn't let an access of L2's through, but EPT
 * violations come before (SDM: "Priority of APIC-Access VM Exits"), so that page mustn't be guarded from L2.
 */
static u64 eptp12_with_flags(const struct cpu *c)
{
	const struct vmcs12_cpu *n = &c->nested;
	bool open =
		n->proc2 & PROC2_virtualize_apic_accesses && ept01_apic && n->v[VI_apic_access_address] == ept01_apic;

	if (nested_ept(c))
		return (n->v[VI_ept_pointer] & ~(u64)(EPT02_OPEN | EPT02_WITHOUT)) | (open ? EPT02_OPEN : 0);
	return open ? EPT02_WITHOUT | EPT02_OPEN : 0;
}

/* The control words of VMCS02; VMCS02 is current. */
static void controls02(struct cpu *c)
{
	struct vmcs12_cpu *n = &c->nested;
	u32 exit = VMEXIT_save_ia32_efer | VMEXIT_load_ia32_efer | VMEXIT_save_debug_controls;
	u32 pin = poll_ticks ? PIN_activate_preemption_timer : 0;

	if (sizeof(ulong) == 8)
		exit |= VMEXIT_host_address_space_size;
	/* L0's own exits mustn't start the timer anew. */
	if (n->v[VI_pin_based_controls] & PIN_activate_preemption_timer)
		exit |= VMEXIT_save_preemption_timer & (u32)(caps_cpu.ctl[CTL_VMEXIT] >> 32);
	vmcs_write(VMCS_pin_based_controls, with_must(CTL_PIN, n->v[VI_pin_based_controls] | pin));
	vmcs_write(VMCS_primary_proc_based_controls,
		   with_must(CTL_PROC, n->v[VI_primary_proc_based_controls] | (u32)PROC_activate_secondary_controls));
	vmcs_write(VMCS_secondary_proc_based_controls, with_must(CTL_PROC2, n->proc2 | PROC2_enable_ept));
	vmcs_write(VMCS_vm_exit_controls, with_must(CTL_VMEXIT, exit | (n->v[VI_vm_exit_controls] & EXIT_FROM_L1)));
	vmcs_write(VMCS_vm_entry_controls,
		   with_must(CTL_VMENTRY, VMENTRY_load_ia32_efer | VMENTRY_load_debug_controls |
						  (n->v[VI_vm_entry_controls] & ENTRY_FROM_L1)));
	if (nested_vpid(c))
		vmcs_write(VMCS_vpid, vpid02_tag(c, (u16)n->v[VI_vpid]));
	n->eptp12 = eptp12_with_flags(c);
	n->eptp02 = 0;
}

/* SDM: "VMLAUNCH/VMRESUME": what comes before the checks on VMCS12. False: done already. */
static bool may_enter(struct cpu *c, bool launch)
{
	if (!vmx_allowed(c))
		return false;
	if (c->nested.current == VMCS12_NONE)
		vm_fail_invalid(c);
	else if (vmcs_get(VMCS_guest_interruptibility_state) & BLOCKING_MOV_SS)
		vm_fail(c, VMXERR_entry_blocked_by_mov_ss);
	else if (launch && c->nested.launched)
		vm_fail(c, VMXERR_vmlaunch_nonclear_vmcs);
	else if (!launch && !c->nested.launched)
		vm_fail(c, VMXERR_vmresume_nonlaunched_vmcs);
	else
		return true;
	return false;
}

static struct check_env check_env(bool lma)
{
	return (struct check_env){ .caps = &caps_l1,
				   .maxphyaddr = cpu_maxphyaddr,
				   .cpu64 = sizeof(ulong) == 8,
				   .l1_lma = lma,
				   .efer_valid = EFER_VALID,
				   .cr4_valid = caps_cpu.cr4_fixed1 };
}

/* Controls and host state, as far as they changed since they were good. VMCS01 is current. */
static bool checks_fail(struct cpu *c, bool lma)
{
	struct vmcs12_cpu *n = &c->nested;
	struct check_env env = check_env(lma);
	struct check_result r = { .kind = CHECK_OK };

	if (n->changed & CHANGED_CONTROLS)
		r = check_controls(n->v, &env);
	if (r.kind == CHECK_OK && (n->changed & (CHANGED_CONTROLS | CHANGED_HOST) || n->host_lma != lma))
		r = check_host(n->v, &env);
	if (r.kind != CHECK_OK) {
		n->rule = r.rule;
		vm_fail(c, r.kind == CHECK_CONTROLS ? VMXERR_entry_invalid_control_fields :
						      VMXERR_entry_invalid_host_state);
		return true;
	}
	if (n->changed & CHANGED_CONTROLS) {
		n->proc2 = n->v[VI_primary_proc_based_controls] & (u32)PROC_activate_secondary_controls ?
				   (u32)n->v[VI_secondary_proc_based_controls] :
				   0;
		n->changed |= CHANGED_HANDLER;
	}
	n->host_lma = lma;
	n->changed &= (u8) ~(CHANGED_CONTROLS | CHANGED_HOST);
	return false;
}

static bool checks_pass(struct cpu *c)
{
	bool lma = l1_long_mode();

	if (!(c->nested.changed & (CHANGED_CONTROLS | CHANGED_HOST)) && c->nested.host_lma == lma)
		return true;
	return !checks_fail(c, lma);
}

/*
 * What the CPU can't check in VMCS02, because something else stands there: the VMCS link pointer, and an activity
 * state that L0 doesn't offer. The rest of the guest state it does check; but where one of these two is odd, the whole
 * is checked here, so that the rule that comes first decides. So it is where the entry has MSRs to load, which L0 does before the
 * CPU sees VMCS02: they must not be loaded for a guest that is refused. VMCS02 is current.
 */
static bool guest_state_wrong(struct cpu *c, u64 *qualification)
{
	struct vmcs12_cpu *n = &c->nested;
	struct check_env env = check_env(n->host_lma);
	u64 link = n->v[VI_vmcs_link_pointer];
	struct check_result r;
	u32 revision = ~0u;

	if (link == ~0ull && !n->v[VI_vm_entry_msr_load_count] &&
	    (n->v[VI_guest_activity_state] != ACTIVITY_WAIT_SIPI || bit_test(n->stale, VI_guest_activity_state)))
		return false;
	vmcs12_fetch_all(c);
	r = check_guest(n->v, &env);
	*qualification = r.qualification;
	if (r.kind != CHECK_OK)
		return true;
	if (link == ~0ull)
		return false;
	*qualification = QUAL_LINK_POINTER;
	gpa_read(link, &revision, 4);
	return link & 0xfff || link >> cpu_maxphyaddr || revision != VMCS12_REVISION || link == n->current;
}

/* L1's values that L2 inherits unless VMCS12 says otherwise (read from VMCS01). */
struct inherited {
	u64 efer, dr7, debugctl;
};

static void inherit(const struct cpu *c, struct inherited *from)
{
	u32 entry = (u32)c->nested.v[VI_vm_entry_controls];

	if (!(entry & VMENTRY_load_ia32_efer))
		from->efer = vmcs_read(VMCS_guest_ia32_efer);
	if (!(entry & VMENTRY_load_debug_controls)) {
		from->dr7 = vmcs_read(VMCS_guest_dr7);
		from->debugctl = vmcs_read(VMCS_guest_ia32_debugctl);
	}
}

/* A field whose value in VMCS02 isn't to be trusted: VMCS12's, unless that is what VMCS02 holds. */
static void bring_own(struct cpu *c, u32 index)
{
	if (!bit_test(c->nested.stale, index))
		vmcs_write(vmcs_table[index].encoding, c->nested.v[index]);
}

/* SDM: "Loading Guest Control Registers, Debug Registers, and MSRs": LME follows LMA only if paging is on. */
static u64 efer_inherited(u64 efer, u32 entry)
{
	efer &= ~(u64)EFER_LMA;
	if (vmcs_read(VMCS_guest_cr0) & CR0_PG)
		efer &= ~(u64)EFER_LME;
	return entry & VMENTRY_ia32e_mode_guest ? efer | EFER_LMA | EFER_LME : efer;
}

static void debug_and_efer(struct cpu *c, const struct inherited *from)
{
	u32 entry = (u32)c->nested.v[VI_vm_entry_controls];

	if (entry & VMENTRY_load_ia32_efer) {
		bring_own(c, VI_guest_ia32_efer);
	} else {
		vmcs_write(VMCS_guest_ia32_efer, efer_inherited(from->efer, entry));
	}
	if (entry & VMENTRY_load_debug_controls) {
		bring_own(c, VI_guest_dr7);
		bring_own(c, VI_guest_ia32_debugctl);
	} else {
		vmcs_write(VMCS_guest_dr7, from->dr7);
		vmcs_write(VMCS_guest_ia32_debugctl, from->debugctl);
	}
}

/* L1 may write to its bitmap at any time, so it's read at each entry. */
static void msr_bitmap02(struct cpu *c)
{
	msr_bitmap_merge((ulong *)bitmap02[c->number], gpa_ptr(c->nested.v[VI_msr_bitmap_address], PAGE_SIZE),
			 (const ulong *)msr_bitmap_l1(), &msr_bitmap_words);
}

static bool pae_without_ept(struct cpu *c)
{
	if (nested_ept(c) || c->nested.v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest)
		return false;
	return vmcs_read(VMCS_guest_cr0) & CR0_PG && vmcs_read(VMCS_guest_cr4) & CR4_PAE;
}

void nested_ept_again(struct cpu *c)
{
	u64 pointer;

	/* The local APIC's page may be another since. */
	if (c->ept02.dropped)
		c->nested.eptp12 = eptp12_with_flags(c);
	pointer = c->nested.eptp12 ? ept02_use(&c->ept02, c->nested.eptp12) : ept01_pointer;
	if (pointer != c->nested.eptp02)
		vmcs_write(VMCS_ept_pointer, pointer);
	c->nested.eptp02 = pointer;
	c->ept02.dropped = false;
}

/* VMCS02 is current and gets what it needs for this entry. */
static void prepare(struct cpu *c, const struct inherited *from)
{
	struct vmcs12_cpu *n = &c->nested;

	vmcs12_bring(c);
	if (n->changed & CHANGED_HANDLER)
		controls02(c);
	n->changed = 0;
	debug_and_efer(c, from);
	if (poll_ticks)
		poll_arm(c);
	else if (n->v[VI_pin_based_controls] & PIN_activate_preemption_timer)
		bring_own(c, VI_preemption_timer_value);
	if (n->v[VI_primary_proc_based_controls] & PROC_use_msr_bitmaps)
		msr_bitmap02(c);
	if (n->eptp12 || c->ept02.dropped || n->eptp02 != ept01_pointer)
		nested_ept_again(c);
}

static void enter(struct cpu *c, bool launch)
{
	struct inherited from = { 0 };
	u64 qualification;
	u32 failed;

	if (!may_enter(c, launch))
		return;
	if (c->shadow.on || c->shadow.asked)
		shadow_entry(c, launch);
	if (!checks_pass(c))
		return;
	inherit(c, &from);
	vmcs_load(&c->vmcs02);
	if (guest_state_wrong(c, &qualification)) {
		reflect_failure(c, EXIT_invalid_guest_state, qualification);
		return;
	}
	prepare(c, &from);
	/* With EPT in VMCS02 the CPU takes the PDPTEs from there; L1 without EPT means those in memory. */
	if (pae_without_ept(c) && !pdptes_load(vmcs_read(VMCS_guest_cr3))) {
		reflect_failure(c, EXIT_invalid_guest_state, QUAL_PDPTE);
		return;
	}
	failed = msr_list_enter(c);
	if (failed) {
		reflect_failure(c, EXIT_msr_loading, failed);
		return;
	}
	c->l2 = true;
}

void l1_vmlaunch(struct cpu *c)
{
	enter(c, true);
}

void l1_vmresume(struct cpu *c)
{
	enter(c, false);
}
