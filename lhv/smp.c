// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/smp.h"

#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/cpu.h"
#include "lhv/mem.h"
#include "lhv/platform.h"

extern u8 ap_trampoline[], ap_trampoline_end[];
extern volatile u32 ap_ticket;
extern u32 ap_stack_tops[MAX_CPUS];
void ap_main(u32 number) __attribute__((noreturn));

static void (*ap_body)(void);
static u32 ready; /* CPUs that have their tables loaded */
static u32 go;    /* cpu_count is final */

/* First C code of the other CPUs. */
void ap_main(u32 number)
{
	struct cpu *c = &cpus[number];

	cpu_load_tables(c);
	apic_init();
	c->apic_id = apic_id();
	__atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		cpu_pause();
	ap_body();
	for (;;)
		halt();
}

/* No more CPUs come when none has for this long. The SIPIs are long over by then. */
#define QUIET_MS 3
/* The same if the number is known: a host may have fewer CPUs than it gives to L1, and it may be another's turn. */
#define KNOWN_MS 300

u32 smp_start(u32 wanted, void (*body)(void))
{
	u32 limit = wanted ? wanted : MAX_CPUS;
	u64 deadline;
	u32 seen;

	ap_body = body;
	for (u32 i = 1; i < limit; i++) {
		cpu_prepare(i);
		ap_stack_tops[i] = (u32)stack_top(&cpus[i], LEVEL_L1);
	}
	memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	if (limit > 1) {
		apic_start_others(AP_TRAMPOLINE >> 12);
		do {
			seen = ap_ticket;
			deadline = time_after_ms(wanted ? KNOWN_MS : QUIET_MS);
			while (!time_is_up(deadline) && ap_ticket == seen && ap_ticket < limit)
				cpu_pause();
		} while (ap_ticket != seen && ap_ticket < limit);
	}
	cpu_count = ap_ticket < limit ? ap_ticket : limit;
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) + 1 < cpu_count)
		cpu_pause();
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	return cpu_count;
}

void barrier(void)
{
	static u32 arrived, generation;
	u32 mine = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == cpu_count) {
		__atomic_store_n(&arrived, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&generation, mine + 1, __ATOMIC_RELEASE);
		return;
	}
	while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == mine)
		cpu_pause();
}
