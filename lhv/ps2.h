/* SPDX-License-Identifier: BSD-2-Clause */
/* PS/2 controller: makes keyboard and mouse interrupts without anybody touching anything. */
#ifndef LHV_PS2_H
#define LHV_PS2_H

#include "core/base.h"

/* Looks for a controller and switches its interrupts on. CPU 0. */
void ps2_init(void);
bool ps2_present(void);

/* One CPU at a time has the controller. Without a controller never. */
bool ps2_try_lock(void);
void ps2_unlock(void);

/*
 * Makes the controller deliver `byte` as if the keyboard (mouse: the mouse) had sent it, with its
 * interrupt on this CPU (vectors IRQ_KEYBOARD, IRQ_MOUSE). Lock held.
 */
void ps2_send(bool mouse, u8 byte);
/* The same byte, without routing the interrupt; the line stays up until the byte is read. */
void ps2_put(bool mouse, u8 byte);
#define PS2_PIN_KEYBOARD 1u /* of the I/O APIC */
#define PS2_PIN_MOUSE 12u
/* Masks both interrupts again and empties the controller. Lock held. */
void ps2_quiet(void);
/* Is there a byte to read? */
bool ps2_full(void);
/* Reads it; nmi-safe. */
u8 ps2_take_byte(void);

#endif
