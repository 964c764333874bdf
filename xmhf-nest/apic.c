// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/apic.h"

#include "arch/cpu.h"
#include "x86/msr.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/smp.h"
#include "xmhf-nest/vmx.h"

#define REG_ID 0x20
#define REG_TPR 0x80
#define REG_EOI 0xb0
#define REG_LDR 0xd0
#define REG_DFR 0xe0
#define REG_SPURIOUS 0xf0
#define REG_ISR 0x100
#define REG_ICR_LOW 0x300
#define REG_ICR_HIGH 0x310
#define REG_LVT_CMCI 0x2f0
#define REG_LVT_TIMER 0x320
#define REG_LVT_ERROR 0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_DIVIDE 0x3e0
#define MSR_X2APIC 0x800u

#define LVT_MASKED 0x10000u
#define ICR_MODE 0x700u
#define ICR_NMI 0x400u
#define ICR_INIT 0x500u
#define ICR_STARTUP 0x600u
#define ICR_LOGICAL 0x800u
#define ICR_PENDING 0x1000u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SHORTHAND 0xc0000u
#define ICR_SELF 0x40000u
#define ICR_ALL 0x80000u
#define ICR_OTHERS 0xc0000u

static struct {
	u32 ldr, dfr; /* as L1 wrote them, in xAPIC mode */
} logical[NEST_MAX_CPUS];

static bool x2apic(void)
{
	return msr_get(MSR_APIC_BASE) & APIC_BASE_X2APIC;
}

static volatile u32 *xapic(u32 reg)
{
	u64 base = msr_get(MSR_APIC_BASE) & ~(u64)(PAGE_SIZE - 1);

	return (volatile u32 *)(ulong)(base + reg);
}

static u32 get(u32 reg)
{
	return x2apic() ? (u32)msr_get(MSR_X2APIC + reg / 16) : *xapic(reg);
}

static void put(u32 reg, u32 value)
{
	if (x2apic())
		msr_set(MSR_X2APIC + reg / 16, value);
	else
		*xapic(reg) = value;
}

u32 apic_id(void)
{
	u32 id = get(REG_ID);

	return x2apic() ? id : id >> 24;
}

static void wait_idle(void)
{
	for (u32 i = 0; i < 100000 && *xapic(REG_ICR_LOW) & ICR_PENDING; i++)
		cpu_pause();
}

static void send(u32 id, u32 low)
{
	u32 high;

	if (x2apic()) {
		msr_set(MSR_X2APIC_ICR, (u64)id << 32 | low);
		return;
	}
	/* L1 may have written one half of its own. */
	high = *xapic(REG_ICR_HIGH);
	wait_idle();
	*xapic(REG_ICR_HIGH) = id << 24;
	*xapic(REG_ICR_LOW) = low;
	wait_idle();
	*xapic(REG_ICR_HIGH) = high;
}

void apic_send_init(u32 id)
{
	send(id, ICR_INIT | ICR_ASSERT);
}

void apic_send_nmi_self(void)
{
	send(apic_id(), ICR_NMI | ICR_ASSERT);
}

static void wait_ticks(u64 ticks)
{
	u64 begin = read_tsc();

	while (read_tsc() - begin < ticks)
		cpu_pause();
}

/* The time between INIT and SIPI is for APICs of the 1990s; 1 M ticks are 200 us and more. */
void apic_start_others(u32 page)
{
	send(0, ICR_OTHERS | ICR_INIT | ICR_ASSERT);
	wait_ticks(1000000);
	send(0, ICR_OTHERS | ICR_STARTUP | ICR_ASSERT | page);
	wait_ticks(100000);
	send(0, ICR_OTHERS | ICR_STARTUP | ICR_ASSERT | page);
}

void apic_reset(void)
{
	for (u32 i = 0; i < 256; i++) {
		bool in_service = false;

		for (u32 reg = 0; reg < 8; reg++)
			in_service |= get(REG_ISR + 16 * reg) != 0;
		if (!in_service)
			break;
		put(REG_EOI, 0);
	}
	for (u32 reg = REG_LVT_TIMER; reg <= REG_LVT_ERROR; reg += 16)
		put(reg, LVT_MASKED);
	put(REG_TIMER_INITIAL, 0);
	put(REG_TIMER_DIVIDE, 0);
	put(REG_TPR, 0);
	if (!x2apic()) {
		put(REG_LDR, 0);
		put(REG_DFR, 0xffffffffu);
	}
	put(REG_SPURIOUS, 0xff);
}

static bool logical_match(u32 cpu, u32 dest)
{
	u32 ldr = logical[cpu].ldr >> 24;

	if (x2apic()) {
		u32 id = nest_cpus[cpu]->apic_id;

		return dest >> 16 == id >> 4 && dest >> (id & 15) & 1;
	}
	if (logical[cpu].dfr >> 28 == 0xf)
		return dest & ldr;
	return dest >> 4 == ldr >> 4 && dest & ldr & 0xf; /* cluster model */
}

/* CPUs that an ICR value means, by number. */
static u32 targets(struct cpu *c, u32 dest, u32 low)
{
	u32 all = nest_cpu_count == 32 ? ~0u : (1u << nest_cpu_count) - 1, own = 1u << c->number, mask = 0;

	switch (low & ICR_SHORTHAND) {
	case ICR_SELF:
		return own;
	case ICR_ALL:
		return all;
	case ICR_OTHERS:
		return all & ~own;
	}
	if (dest == (x2apic() ? 0xffffffffu : 0xffu))
		return all;
	for (u32 i = 0; i < nest_cpu_count; i++)
		if (low & ICR_LOGICAL ? logical_match(i, dest) : nest_cpus[i]->apic_id == dest)
			mask |= 1u << i;
	return mask;
}

/* Was it INIT or SIPI, which mustn't reach a CPU behind L0's back? */
static bool start_up(struct cpu *c, u32 dest, u32 low)
{
	u32 mode = low & ICR_MODE;

	if (mode == ICR_INIT) {
		/* "INIT level de-assert" does nothing on anything that has VMX. */
		if (!(low & ICR_LEVEL) || low & ICR_ASSERT)
			smp_l1_init(c, targets(c, dest, low));
		return true;
	}
	if (mode == ICR_STARTUP) {
		smp_l1_sipi(c, targets(c, dest, low), low & 0xff);
		return true;
	}
	return false;
}

void apic_l1_write(struct cpu *c, u32 offset, u32 value)
{
	u32 reg = offset & 0xff0;

	if (reg == REG_ICR_LOW && start_up(c, *xapic(REG_ICR_HIGH) >> 24, value))
		return;
	if (reg == REG_LDR)
		logical[c->number].ldr = value;
	if (reg == REG_DFR)
		logical[c->number].dfr = value;
	*xapic(reg) = value;
}

bool apic_l1_icr(struct cpu *c, u64 value)
{
	/* There's no such MSR outside of x2APIC mode. */
	if (!x2apic())
		return false;
	if (start_up(c, (u32)(value >> 32), (u32)value))
		return true;
	return msr_set(MSR_X2APIC_ICR, value);
}

/* CPUs in x2APIC mode don't look at the page; it stays guarded for the others. */
void apic_l1_moved(struct cpu *c)
{
	u64 base = msr_get(MSR_APIC_BASE), page = base & ~(u64)(PAGE_SIZE - 1);

	if (!(base & APIC_BASE_ENABLE) || base & APIC_BASE_X2APIC || page == ept01_apic)
		return;
	ept01_set_apic(page);
	smp_flush_all(c);
}

void apic_init(void)
{
	for (u32 i = 0; i < NEST_MAX_CPUS; i++)
		logical[i].dfr = 0xffffffffu;
	if (!x2apic())
		ept01_set_apic(msr_get(MSR_APIC_BASE) & ~(u64)(PAGE_SIZE - 1));
}
