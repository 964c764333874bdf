// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/platform.h"

#include "arch/cpu.h"
#include "lhv/apic.h"
#include "lhv/screen.h"
#include "dev/serial.h"

u64 tsc_per_ms = 1;

static enum exit_how exit_how;

void platform_set_exit(enum exit_how how)
{
	exit_how = how;
}

void platform_end(enum verdict v)
{
	static const char shutdown[] = "Shutdown";

	screen_verdict(v);
	serial_drain();
	/* A Bochs with our patches saves the machine's state if it was asked to; for anybody else it's an unused port. */
	if (exit_how == EXIT_HOW_BOCHS)
		out8(0x8901, 'C');
	if (exit_how == EXIT_HOW_BOCHS)
		for (u32 i = 0; i < sizeof(shutdown) - 1; i++)
			out8(0x8900, (u8)shutdown[i]);
	if (exit_how == EXIT_HOW_QEMU)
		out8(0xf4, (u8)v);
	irq_off();
	for (;;)
		halt();
}

u64 time_after_ms(u32 ms)
{
	return read_tsc() + tsc_per_ms * ms;
}

bool time_is_up(u64 deadline)
{
	return (int64_t)(read_tsc() - deadline) >= 0;
}

#define PIT_HZ 1193182u
#define CALIBRATE_MS 4u
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PORT_B 0x61
#define PORT_B_GATE 0x01
#define PORT_B_OUT 0x20

/* Channel 2 of the PIT counts down once while its gate is on; OUT2 goes high at the end. */
void time_calibrate(void)
{
	u32 count = PIT_HZ * CALIBRATE_MS / 1000;
	u8 port_b = in8(PORT_B) & 0x0c;
	u64 begin, ticks;

	out8(PORT_B, port_b);
	out8(PIT_COMMAND, 0xb0); /* channel 2, both bytes, mode 0 */
	out8(PIT_CHANNEL2, (u8)count);
	out8(PIT_CHANNEL2, (u8)(count >> 8));
	apic_timer_measure_begin();
	begin = read_tsc();
	out8(PORT_B, port_b | PORT_B_GATE);
	/* A PIT without channel 2 must not stop us: 100 M ticks are 25 ms and more on anything. */
	do {
		ticks = read_tsc() - begin;
	} while (!(in8(PORT_B) & PORT_B_OUT) && ticks < 100000000u);
	apic_timer_measure_end(CALIBRATE_MS);
	out8(PORT_B, port_b);
	tsc_per_ms = ticks >> 2; /* CALIBRATE_MS is 4; no 64-bit division on i386 */
	if (!tsc_per_ms)
		tsc_per_ms = 1;
}
_Static_assert(CALIBRATE_MS == 4, "the shift above");
