// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/shadow.h"

#include "arch/cpu.h"
#include "core/mem.h"
#include "xmhf-nest/cpu.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

#define SHADOW_INDICATOR (1u << 31)
#define MISC_VMWRITE_ANY (1ull << 29)
/* So many exits in one trip, and shadowing pays for the next so many trips. What L1 writes before a VMLAUNCH says nothing. */
#define ASKED_ENOUGH 2u
#define TRIPS 256u

#define SLOT(name)                                   \
	{                                            \
		VMCS_##name, VI_##name * sizeof(u64) \
	}

/* What is in VMCS02 when L2 exits; the rest reflect.c has fetched or made already. */
static const struct vmcs_slot from_vmcs02[] = {
	SLOT(guest_rip),
	SLOT(guest_rsp),
	SLOT(guest_rflags),
	SLOT(guest_interruptibility_state),
	SLOT(exit_interruption_error_code),
	SLOT(idt_vectoring_error_code),
	SLOT(exit_instruction_info),
	SLOT(guest_linear_address),
	SLOT(guest_physical_address),
};

/* What L1 may write comes first. */
#define WRITABLE 8u
static const struct vmcs_slot to_shadow[] = {
	SLOT(guest_rip),
	SLOT(guest_rsp),
	SLOT(guest_rflags),
	SLOT(guest_interruptibility_state),
	SLOT(vm_entry_interruption_info),
	SLOT(vm_entry_exception_error_code),
	SLOT(vm_entry_instruction_length),
	SLOT(primary_proc_based_controls),
	SLOT(exit_reason),
	SLOT(exit_qualification),
	SLOT(exit_interruption_info),
	SLOT(exit_interruption_error_code),
	SLOT(idt_vectoring_info),
	SLOT(idt_vectoring_error_code),
	SLOT(exit_instruction_length),
	SLOT(exit_instruction_info),
	SLOT(guest_linear_address),
	SLOT(guest_physical_address),
};
_Static_assert(ARRAY_SIZE(to_shadow) % 2 == 0, "vmcs_put_list");

/* Ones: VMREAD, VMWRITE exit. The same for all CPUs; 0 if the CPU has no shadowing. */
static u8 *reads, *writes;
u32 shadow_fields[VI_WORDS];
static u32 fetched[VI_WORDS];

static u32 index_of(const struct vmcs_slot *s)
{
	return s->offset / (u32)sizeof(u64);
}

static void no_exit(u8 *bitmap, u32 encoding)
{
	bitmap[encoding / 8] &= (u8) ~(1u << encoding % 8);
}

void shadow_init(void)
{
	if (!ctl_allowed(&caps_cpu, CTL_PROC2, PROC2_vmcs_shadowing) || !(caps_cpu.misc & MISC_VMWRITE_ANY))
		return;
	reads = memset(pages_alloc(1, 4096), 0xff, PAGE_SIZE);
	writes = memset(pages_alloc(1, 4096), 0xff, PAGE_SIZE);
	for (u32 i = 0; i < ARRAY_SIZE(to_shadow); i++) {
		no_exit(reads, to_shadow[i].field);
		if (i < WRITABLE)
			no_exit(writes, to_shadow[i].field);
		bit_mark(shadow_fields, index_of(&to_shadow[i]));
	}
	no_exit(reads, VMCS_guest_physical_address + 1);
	for (u32 i = 0; i < ARRAY_SIZE(from_vmcs02); i++)
		bit_mark(fetched, index_of(&from_vmcs02[i]));
}

void shadow_init_cpu(struct cpu *c)
{
	if (!reads)
		return;
	c->shadow.vmcs = vmcs_new(SHADOW_INDICATOR);
	vmcs_write(VMCS_vmread_bitmap_address, phys_of(reads));
	vmcs_write(VMCS_vmwrite_bitmap_address, phys_of(writes));
}

/* The control can be 0 or 1 while VMCS01 stays what it is otherwise; without it the link pointer must be ones. */
static void turn(struct cpu *c, bool on)
{
	ulong proc2 = vmcs_get(VMCS_secondary_proc_based_controls) & ~(ulong)PROC2_vmcs_shadowing;

	c->shadow.on = on;
	vmcs_put(VMCS_secondary_proc_based_controls, on ? proc2 | PROC2_vmcs_shadowing : proc2);
	vmcs_write(VMCS_vmcs_link_pointer, on ? c->shadow.vmcs : ~0ull);
}

/* What L1 wrote: from the shadow to VMCS12. */
static void collect(struct cpu *c)
{
	ulong now[VI_COUNT * sizeof(u64) / sizeof(ulong)];

	vmcs_load(&c->shadow.vmcs);
	vmcs_get_list(to_shadow, WRITABLE, now);
	vmcs_load(&c->vmcs01);
	for (u32 i = 0; i < WRITABLE; i++) {
		u32 index = index_of(&to_shadow[i]);
		ulong value = now[to_shadow[i].offset / sizeof(ulong)];

		if (value != (ulong)c->nested.v[index])
			vmcs12_set(c, index, value);
	}
}

void shadow_off(struct cpu *c)
{
	if (!c->shadow.on)
		return;
	collect(c);
	turn(c, false);
}

void shadow_asked(struct cpu *c, bool write)
{
	c->shadow.asked++;
	/* A field that is read there, written by an exit. */
	if (write)
		shadow_off(c);
}

void shadow_entry(struct cpu *c, bool launch)
{
	struct shadow *s = &c->shadow;

	if (s->on) {
		collect(c);
		if (!--s->trips)
			turn(c, false);
	} else if (s->asked >= ASKED_ENOUGH && !launch && s->vmcs) {
		s->trips = TRIPS;
	}
	s->asked = 0;
}

void shadow_exit(struct cpu *c)
{
	u64 *v = c->nested.v;

	vmcs_get_list(from_vmcs02, ARRAY_SIZE(from_vmcs02), v);
	if (c->nested.raised)
		v[VI_exit_interruption_error_code] = c->nested.raised_error;
	if (sizeof(ulong) == 4)
		v[VI_guest_physical_address] = vmcs_read(VMCS_guest_physical_address);
	for (u32 w = 0; w < VI_WORDS; w++)
		c->nested.stale[w] &= ~fetched[w];
	vmcs_load(&c->shadow.vmcs);
	vmcs_put_list(to_shadow, ARRAY_SIZE(to_shadow), v);
	if (sizeof(ulong) == 4)
		vmcs_put(VMCS_guest_physical_address + 1, (ulong)(v[VI_guest_physical_address] >> 32));
	/* So that it's all in memory, where the link pointer finds it. */
	vmx_clear_raw(&c->shadow.vmcs);
	vmcs_load(&c->vmcs01);
	if (!c->shadow.on)
		turn(c, true);
}
