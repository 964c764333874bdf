// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/ps2.h"

#include "arch/cpu.h"
#include "lhv/apic.h"
#include "lhv/cpu.h"
#include "lhv/lock.h"

#define DATA 0x60
#define STATUS 0x64
#define COMMAND 0x64
#define OUTPUT_FULL 0x01
#define INPUT_FULL 0x02

#define CMD_READ_CONFIG 0x20
#define CMD_WRITE_CONFIG 0x60
#define CMD_DISABLE_KEYBOARD 0xad
#define CMD_ENABLE_KEYBOARD 0xae
#define CMD_DISABLE_MOUSE 0xa7
#define CMD_AS_KEYBOARD 0xd2 /* write keyboard output buffer */
#define CMD_AS_MOUSE 0xd3    /* write auxiliary device output buffer */
#define CONFIG_IRQ1 0x01
#define CONFIG_IRQ12 0x02

#define WAIT_MAX 100000u

static struct lock ps2_lock;
static bool present;

static bool wait_input_free(void)
{
	for (u32 i = 0; i < WAIT_MAX; i++)
		if (!(in8(STATUS) & INPUT_FULL))
			return true;
	return false;
}

static bool command(u8 c)
{
	if (!wait_input_free())
		return false;
	out8(COMMAND, c);
	return wait_input_free();
}

bool ps2_full(void)
{
	return in8(STATUS) & OUTPUT_FULL;
}

static void drain(void)
{
	for (u32 i = 0; i < 64 && ps2_full(); i++)
		(void)in8(DATA);
}

void ps2_init(void)
{
	u8 config;

	if (in8(STATUS) == 0xff || !ioapic_present())
		return;
	if (!command(CMD_DISABLE_KEYBOARD) || !command(CMD_DISABLE_MOUSE))
		return;
	drain();
	if (!command(CMD_READ_CONFIG))
		return;
	for (u32 i = 0; i < WAIT_MAX && !ps2_full(); i++)
		cpu_pause();
	if (!ps2_full())
		return;
	config = in8(DATA);
	if (!command(CMD_WRITE_CONFIG))
		return;
	out8(DATA, config | CONFIG_IRQ1 | CONFIG_IRQ12);
	if (!wait_input_free())
		return;
	drain();
	present = true;
}

bool ps2_present(void)
{
	return present;
}

bool ps2_try_lock(void)
{
	return present && lock_try(&ps2_lock);
}

void ps2_unlock(void)
{
	lock_release(&ps2_lock);
}

void ps2_send(bool mouse, u8 byte)
{
	drain();
	ioapic_route(mouse ? PS2_PIN_MOUSE : PS2_PIN_KEYBOARD, IRQ_VECTOR + (mouse ? IRQ_MOUSE : IRQ_KEYBOARD),
		     this_cpu()->apic_id);
	ps2_put(mouse, byte);
}

void ps2_put(bool mouse, u8 byte)
{
	/* Some controllers (QEMU's) raise no interrupt for a keyboard that is disabled. */
	if (!mouse)
		command(CMD_ENABLE_KEYBOARD);
	command(mouse ? CMD_AS_MOUSE : CMD_AS_KEYBOARD);
	out8(DATA, byte);
	wait_input_free();
}

void ps2_quiet(void)
{
	ioapic_mask(PS2_PIN_KEYBOARD);
	ioapic_mask(PS2_PIN_MOUSE);
	/* What a person types is no part of any test. */
	if (present)
		command(CMD_DISABLE_KEYBOARD);
	drain();
}

u8 ps2_take_byte(void)
{
	return in8(DATA);
}
