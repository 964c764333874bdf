// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/apic.h"

#include "arch/cpu.h"
#include "lhv/cpu.h"
#include "lhv/platform.h"
#include "lhv/vmx.h"
#include "x86/msr.h"

#define REG_ID 0x20
#define REG_TPR 0x80
#define REG_EOI 0xb0
#define REG_SPURIOUS 0xf0
#define REG_ISR 0x100
#define REG_IRR 0x200
#define REG_ESR 0x280
#define REG_ICR_LOW 0x300
#define REG_ICR_HIGH 0x310
#define REG_LVT_TIMER 0x320
#define REG_LVT_LINT0 0x350
#define REG_LVT_LINT1 0x360
#define REG_LVT_ERROR 0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_CURRENT 0x390
#define REG_TIMER_DIVIDE 0x3e0

#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u
#define ICR_INIT 0x500u
#define ICR_STARTUP 0x600u
#define ICR_ASSERT 0x4000u
#define ICR_PENDING 0x1000u
#define ICR_OTHERS 0xc0000u
#define ICR_SELF 0x40000u
#define DIVIDE_BY_1 0xbu

/* Local APIC timer ticks per millisecond, the same on all CPUs. */
static u32 timer_per_ms;

static u32 apic_read(u32 reg)
{
	return *(volatile u32 *)(ulong)(APIC_PAGE + reg);
}

static void apic_write(u32 reg, u32 value)
{
	*(volatile u32 *)(ulong)(APIC_PAGE + reg) = value;
}

/* Firmware may have left x2APIC mode on; the way back to xAPIC mode is through "disabled" (SDM: "x2APIC State Transitions"). */
static void leave_x2apic(void)
{
	u64 base = msr_read(MSR_APIC_BASE);

	if (!(base & APIC_BASE_X2APIC))
		return;
	base &= ~(u64)(APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	msr_write(MSR_APIC_BASE, base);
	msr_write(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
}

void apic_init(void)
{
	leave_x2apic();
	apic_write(REG_SPURIOUS, 0x100 | SPURIOUS_VECTOR);
	apic_write(REG_TPR, 0);
	apic_write(REG_LVT_TIMER, LVT_MASKED);
	apic_write(REG_LVT_LINT0, LVT_MASKED);
	apic_write(REG_LVT_LINT1, LVT_MASKED);
	apic_write(REG_LVT_ERROR, LVT_MASKED);
	apic_write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
}

u32 apic_id(void)
{
	return apic_read(REG_ID) >> 24;
}

void apic_eoi(void)
{
	apic_write(REG_EOI, 0);
}

bool apic_pending(u32 vector)
{
	return apic_read(REG_IRR + vector / 32 * 16) >> vector % 32 & 1;
}

void apic_timer_measure_begin(void)
{
	apic_write(REG_TIMER_INITIAL, 0xffffffffu);
}

void apic_timer_measure_end(u32 ms)
{
	timer_per_ms = (0xffffffffu - apic_read(REG_TIMER_CURRENT)) / ms;
	apic_write(REG_TIMER_INITIAL, 0);
}

void apic_timer_start(u64 shortest)
{
	u32 ticks = timer_per_ms * (1000 / TIMER_HZ);

	/* TSC ticks into the timer's, which may be longer or shorter; a power of two is near enough. */
	for (u64 tsc = tsc_per_ms; tsc >> 1 >= timer_per_ms && timer_per_ms; tsc >>= 1)
		shortest >>= 1;
	for (u64 tsc = tsc_per_ms; tsc < timer_per_ms && tsc; tsc <<= 1)
		shortest <<= 1;
	if (shortest > ticks)
		ticks = shortest >> 31 ? 0x7fffffffu : (u32)shortest;
	apic_write(REG_LVT_TIMER, LVT_PERIODIC | (IRQ_VECTOR + IRQ_TIMER));
	apic_write(REG_TIMER_INITIAL, ticks ? ticks : 1);
}

void apic_timer_once(u32 ticks)
{
	apic_write(REG_LVT_TIMER, IRQ_VECTOR + IRQ_TIMER);
	apic_write(REG_TIMER_INITIAL, ticks);
}

void apic_timer_stop(void)
{
	apic_write(REG_TIMER_INITIAL, 0);
	apic_write(REG_LVT_TIMER, LVT_MASKED);
}

void apic_icr(u32 id, u32 low)
{
	apic_write(REG_ICR_HIGH, id << 24);
	apic_write(REG_ICR_LOW, low);
	for (u32 i = 0; i < 1000000 && apic_read(REG_ICR_LOW) & ICR_PENDING; i++)
		cpu_pause();
}

/*
 * ICR is two registers: an interrupt handler that sent something between the two writes would
 * change the destination. Ours send nothing.
 */
void apic_send(u32 id, u32 vector)
{
	apic_icr(id, ICR_ASSERT | vector);
}

void apic_send_self(u32 vector)
{
	apic_icr(0, ICR_SELF | ICR_ASSERT | vector);
}

static void wait_ms(u32 ms)
{
	u64 deadline = time_after_ms(ms);

	while (!time_is_up(deadline))
		cpu_pause();
}

/* SDM: "Typical BSP Initialization Sequence" */
void apic_start_others(u32 page)
{
	apic_icr(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
	wait_ms(10);
	for (int i = 0; i < 2; i++) {
		apic_icr(0, ICR_OTHERS | ICR_ASSERT | ICR_STARTUP | page);
		wait_ms(1);
	}
}

static const struct {
	const char *name;
	u32 offset;
	u32 kept; /* bits */
} kept_registers[] = {
	{ "APIC's TPR", REG_TPR, 0xff },
	{ "APIC's LDR", 0xd0, 0xff000000 },
	{ "APIC's DFR", 0xe0, 0xf0000000 },
	{ "APIC's SVR", REG_SPURIOUS, 0x3ff },
	{ "LVT timer", REG_LVT_TIMER, 0x700ff | LVT_MASKED },
	{ "LVT LINT0", REG_LVT_LINT0, 0x1a7ff },
	{ "LVT LINT1", REG_LVT_LINT1, 0x1a7ff },
	{ "LVT error", REG_LVT_ERROR, 0x100ff },
	{ "APIC timer's initial count", REG_TIMER_INITIAL, ~0u },
	{ "APIC timer's divider", REG_TIMER_DIVIDE, 0xb },
};

/* Behind those, what waits and what is in service; vectors below 32 are in neither. */
#define WAITING ARRAY_SIZE(kept_registers)
_Static_assert(WAITING + 2 == APIC_REGISTERS, "those and the two words behind");

static u32 any_of(u32 first, u32 from, u32 to)
{
	u32 any = 0;

	for (u32 i = from; i < to; i++)
		any |= apic_read(first + 0x10 * i);
	return any;
}

void apic_registers(u32 value[APIC_REGISTERS])
{
	for (u32 i = 0; i < WAITING; i++)
		value[i] = apic_read(kept_registers[i].offset) & kept_registers[i].kept;
	value[WAITING] = any_of(REG_IRR, 1, 8);
	value[WAITING + 1] = any_of(REG_ISR, 1, 8);
}

void apic_registers_write(const u32 value[APIC_REGISTERS])
{
	/* Masked and unblocked first: then what waits comes, and its handler does its EOI. */
	apic_timer_stop();
	apic_write(REG_TPR, 0);
	for (u32 i = 0; i < 256 && any_of(REG_ISR, 1, 8); i++)
		apic_eoi();
	for (u32 i = 0; i < 256 && any_of(REG_IRR, 1, 8); i++)
		irq_window();
	for (u32 i = 0; i < WAITING; i++)
		apic_write(kept_registers[i].offset, value[i]);
}

const char *apic_register_name(u32 index)
{
	return index < WAITING ? kept_registers[index].name : index == WAITING ? "APIC's IRR" : "APIC's ISR";
}

#define IOAPIC_VERSION 1
#define IOAPIC_REDIRECTION 0x10

static u32 ioapic_read(u32 reg)
{
	*(volatile u32 *)(ulong)IOAPIC_PAGE = reg;
	return *(volatile u32 *)(ulong)(IOAPIC_PAGE + 0x10);
}

static void ioapic_write(u32 reg, u32 value)
{
	*(volatile u32 *)(ulong)IOAPIC_PAGE = reg;
	*(volatile u32 *)(ulong)(IOAPIC_PAGE + 0x10) = value;
}

bool ioapic_present(void)
{
	u32 v = ioapic_read(IOAPIC_VERSION);

	return v != 0xffffffffu && (v >> 16 & 0xff) >= 15;
}

void ioapic_route(u32 pin, u32 vector, u32 id)
{
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin + 1, id << 24);
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin, vector);
}

void ioapic_mask(u32 pin)
{
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin, LVT_MASKED);
}

void pic_mask_all(void)
{
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
}
