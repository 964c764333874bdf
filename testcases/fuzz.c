// SPDX-License-Identifier: BSD-2-Clause
/*
 * Entries with fields that nobody would write. What comes of each is the host's business, within the SDM's outcomes; that the host
 * and L1 survive it is judged. L2 can hurt nobody: EPT gives it little memory to read, and one page to execute, full of VMCALLs.
 */
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"

#define ROUNDS 400
#define CHANGES_MAX 3
#define TIMER 3000u /* L2 comes out in any case */
#define ACTIVITY_WAIT_SIPI 3u

static void let_read(u64 root, ulong from, ulong to)
{
	bool ok = true;

	for (ulong at = from & ~(PAGE_SIZE - 1ul); at < to; at += PAGE_SIZE)
		ok &= ept_set(&heap_ept_mem, root, at, 1, ept_leaf(at, 1, EPT_R, MEMTYPE_WB));
	expect_env(ok);
}

/*
 * What L2 needs by right: its paging structures (from..to), descriptor tables, and the code. Not L1's paging structures: as tables
 * of L2's they would get accessed flags on a host that doesn't ask EPT for the right, and L1's PDPTEs must not have them.
 */
static u64 cage(const struct cpu *c, const u8 *code, ulong from, ulong to)
{
	u64 root = (ulong)page_alloc();

	let_read(root, from, to);
	let_read(root, (ulong)c, (ulong)(c + 1));
	let_read(root, cpu_idt_base(), cpu_idt_base() + CPU_IDT_LIMIT);
	expect_env(ept_set(&heap_ept_mem, root, (ulong)code, 1, ept_leaf((ulong)code, 1, EPT_R | EPT_X, MEMTYPE_WB)));
	return root;
}

/* Fields by which the CPU would write to L1's memory, or that would let L2 out of its cage or asleep for ever. */
static bool forbidden(const struct vmcs_info *f)
{
	switch (f->encoding) {
	case VMCS_ept_pointer:
	case VMCS_vm_exit_msr_store_address:
	case VMCS_vm_exit_msr_load_address:
	case VMCS_vm_entry_msr_load_address:
	case VMCS_vm_exit_msr_store_count:
	case VMCS_vm_exit_msr_load_count:
	case VMCS_vm_entry_msr_load_count:
	case VMCS_virtual_apic_address:
	case VMCS_posted_interrupt_descriptor_address:
	case VMCS_pml_address:
	case VMCS_virtualization_exception_info_address:
	case VMCS_eptp_list_address:
	case VMCS_vm_exit_controls:
	case VMCS_preemption_timer_value:
	case VMCS_vm_function_controls:
		return true;
	default:
		return f->area == AREA_HOST || f->area == AREA_EXIT;
	}
}

/* Bits that have to be 1, and 0, in some fields for the same reasons. */
static u64 tamed(u32 field, u64 value)
{
	switch (field) {
	case VMCS_pin_based_controls:
		return (value | PIN_activate_preemption_timer) & ~(u64)PIN_process_posted_interrupts;
	case VMCS_primary_proc_based_controls:
		return (value | (u32)PROC_activate_secondary_controls | PROC_unconditional_io_exiting) &
		       ~((u64)PROC_use_tpr_shadow | PROC_activate_tertiary_controls);
	case VMCS_secondary_proc_based_controls:
		return (value | PROC2_enable_ept) &
		       ~((u64)PROC2_enable_pml | PROC2_enable_vm_functions | PROC2_ept_violation_ve |
			 PROC2_vmcs_shadowing | PROC2_sub_page_write_permissions);
	case VMCS_guest_activity_state:
		return value == ACTIVITY_WAIT_SIPI ? 0 : value;
	default:
		return value;
	}
}

/* What becomes of a value: (value & keep) ^ flip. */
struct odd {
	u64 keep, flip;
};

static struct odd odd(struct rng *r)
{
	u64 any = rng_next(r), bit = 1ull << rng_below(r, 64);

	switch (rng_below(r, 6)) {
	case 0:
		return (struct odd){ 0, 0 };
	case 1:
		return (struct odd){ 0, ~0ull };
	case 2:
		return (struct odd){ 0, bit };
	case 3:
		return (struct odd){ 0, any };
	default:
		return (struct odd){ ~0ull, bit };
	}
}

static void change_fields(struct rng *r)
{
	u32 n = 1 + rng_below(r, CHANGES_MAX);

	while (n) {
		const struct vmcs_info *f = &vmcs_table[rng_below(r, vmcs_table_count)];
		struct odd o = odd(r);
		ulong old;

		/* The same choices on every host, whatever fields it has. */
		if (forbidden(f))
			continue;
		n--;
		if (vmread_raw(f->encoding, &old).kind == OUT_OK)
			vmwrite(f->encoding, tamed(f->encoding, (vmread(f->encoding) & o.keep) ^ o.flip));
	}
}

/* SDM: "VM Entries": how VMLAUNCH may end. */
static bool legal(const struct exit *e)
{
	u32 basic = e->reason & 0xffff;

	if (e->entry.kind == OUT_FAIL_VALID)
		return e->entry.number == VMXERR_entry_invalid_control_fields ||
		       e->entry.number == VMXERR_entry_invalid_host_state;
	if (e->entry.kind != OUT_OK)
		return false;
	if (e->reason >> 31)
		return basic == EXIT_invalid_guest_state || basic == EXIT_msr_loading;
	return basic <= EXIT_instruction_timeout;
}

static ulong l2_add(ulong x)
{
	return x + 1;
}

TEST(fuzz, entry_fields, .sdm = "VM Entries", .needs = "activate VMX-preemption timer",
     .opt = OPT_ept | OPT_unrestricted, .rules = "entry.outcomes entry.survives")
{
	static const u8 vmcall[] = { 0x0f, 0x01, 0xc1 };
	u8 *code = page_alloc();
	u32 refused = 0, failed = 0, exits = 0, mark;
	struct rng r;
	struct vcpu v;
	struct exit e;

	for (u32 i = 0; i < PAGE_SIZE; i++)
		code[i] = vmcall[i % sizeof(vmcall)];
	rng_seed(&r, 0xf022);
	mark = mem_mark();
	for (u32 round = 0; round < ROUNDS; round++) {
		mem_release(mark);
		test_vcpu(&v, c, OPT_unrestricted);
		v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
		v.ctl[CTL_PROC2] |= PROC2_enable_ept | PROC2_unrestricted_guest;
		v.ctl[CTL_PROC] |= PROC_unconditional_io_exiting;
		/* The first of its pages is the VMCS. */
		v.eptp = eptp_for(cage(c, code, (ulong)v.vmcs_pa + PAGE_SIZE, mem_mark()));
		vcpu_write(&v);
		vmwrite(VMCS_ept_pointer, v.eptp);
		guest(&v, l2_add, 1);
		vmwrite(VMCS_preemption_timer_value, TIMER);
		vmwrite(VMCS_guest_rip, (ulong)code);
		change_fields(&r);
		e = enter_once(&v);
		expect(legal(&e));
		refused += e.entry.kind == OUT_FAIL_VALID;
		failed += e.entry.kind == OUT_OK && e.reason >> 31;
		exits += e.entry.kind == OUT_OK && !(e.reason >> 31);
		vcpu_destroy(&v);
	}
	say_note("of %u entries %u were refused, %u failed late, %u ran", ROUNDS, refused, failed, exits);
	/* All three ways were seen, and L1 is still what it was. */
	expect(refused && failed && exits);
	test_vcpu(&v, c, OPT_ept);
	guest(&v, l2_add, 41);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, 42);
	vcpu_destroy(&v);
}
