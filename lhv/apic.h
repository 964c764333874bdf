/* SPDX-License-Identifier: BSD-2-Clause */
/* Local APIC (xAPIC mode) and I/O APIC (SDM: "Advanced Programmable Interrupt Controller (APIC)"). */
#ifndef LHV_APIC_H
#define LHV_APIC_H

#include "core/base.h"

#define APIC_PAGE 0xfee00000u
#define IOAPIC_PAGE 0xfec00000u
#define TIMER_HZ 500u

/* This CPU's local APIC on, everything masked. */
void apic_init(void);
u32 apic_id(void);
void apic_eoi(void);
/* Is this vector pending (IRR) on this CPU? */
bool apic_pending(u32 vector);
/* Periodic, TIMER_HZ, but no period shorter than so many TSC ticks. */
void apic_timer_start(u64 shortest);
void apic_timer_once(u32 ticks); /* one interrupt */
void apic_timer_stop(void);
/* Counts how fast the timer runs: call with the time that passes between begin and end. */
void apic_timer_measure_begin(void);
void apic_timer_measure_end(u32 ms);

/* Fixed-delivery IPI. Waits until it is sent. */
void apic_send(u32 apic_id, u32 vector);
void apic_send_self(u32 vector);
/* The lower half of ICR as it is. Waits until it is sent, too. */
void apic_icr(u32 apic_id, u32 low);
/* INIT, SIPI, SIPI to all but this CPU; page: start address / 4096 below 1 MiB. */
void apic_start_others(u32 page);

/* Routes an ISA interrupt (edge, or with IOAPIC_LEVEL level; high) to a CPU, or masks it. Is there an I/O APIC at all? */
#define IOAPIC_LEVEL 0x8000u /* beside the vector */
bool ioapic_present(void);
void ioapic_route(u32 pin, u32 vector, u32 apic_id);
void ioapic_mask(u32 pin);
/*
 * What software sets in the local APIC (in an order of our own), without what changes by itself, and what isn't
 * handled yet: vectors in IRR and ISR. Writing lets this CPU take what is pending and ends what is in service. xAPIC mode.
 */
#define APIC_REGISTERS 12u
void apic_registers(u32 value[APIC_REGISTERS]);
void apic_registers_write(const u32 value[APIC_REGISTERS]);
const char *apic_register_name(u32 index);
/* Masks both 8259s for good. */
void pic_mask_all(void);

#endif
