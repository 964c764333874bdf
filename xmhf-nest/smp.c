// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/smp.h"

#include "arch/cpu.h"
#include "core/mem.h"
#include "xmhf-nest/apic.h"
#include "xmhf-nest/ept02.h"
#include "xmhf-nest/lock.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/tables.h"
#include "xmhf-nest/vmx.h"

#define AP_PAGE 0x8000u /* boot.asm */
/* Rounds of waiting. CPUs that wait in L0 answer at once; some hosts never get rid of an INIT that wasn't needed. */
#define KICK_FIRST 200u
#define KICK_AGAIN 3000u

extern u8 ap_trampoline[], ap_trampoline_end[];
extern u32 ap_cr3, ap_stacks[64];
void ap_main(u32 ticket) __attribute__((noreturn));

struct cpu *nest_cpus[NEST_MAX_CPUS];
struct cpu_public nest_public[NEST_MAX_CPUS];
u32 nest_cpu_count;

static u32 started, ask_lock;

void ap_main(u32 ticket)
{
	struct cpu *c = nest_cpus[ticket];

	tables_load();
	c->apic_id = apic_id();
	vmx_start(c);
	nested_init(c);
	c->launched01 = true;
	__atomic_fetch_add(&started, 1, __ATOMIC_ACQ_REL);
	smp_wait_to_run(c);
	enter_first(c->regs);
}

static void wait_for_all(u32 count)
{
	/* An IPI and a trampoline: a fraction of a millisecond. 200 M ticks are 40 ms and more. */
	u64 begin = read_tsc();

	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < count && read_tsc() - begin < 200000000u)
		cpu_pause();
}

void smp_start(u32 count)
{
	u32 bytes = (u32)(ap_trampoline_end - ap_trampoline);
	u8 *low = (u8 *)AP_PAGE;
	u8 *saved = pages_alloc(1, 4096);

	started = 1;
	if (count < 2)
		return;
	memcpy(saved, low, bytes);
	for (u32 i = 1; i < count; i++)
		ap_stacks[i] = (u32)(ulong)nest_cpus[i]->regs;
	ap_cr3 = mem_cr3;
	memcpy(low, ap_trampoline, bytes);
	apic_start_others(AP_PAGE >> 12);
	wait_for_all(count);
	memcpy(low, saved, bytes);
	if (started != count)
		panic("%u of %u CPUs came", started, count);
}

static void flush(struct cpu *c)
{
	ept02_drop_all(&c->ept02);
	/* EPT02's key depends on where the local APIC's page is. */
	c->nested.changed |= CHANGED_HANDLER;
	invept_all();
}

void smp_flush_all(struct cpu *c)
{
	u32 all = nest_cpu_count == 32 ? ~0u : (1u << nest_cpu_count) - 1;

	flush(c);
	smp_ask(c, all & ~(1u << c->number), ASK_FLUSH, 0);
}

void smp_answer(struct cpu *c)
{
	struct cpu_public *p = &nest_public[c->number];
	u32 asked = __atomic_load_n(&p->asked, __ATOMIC_ACQUIRE);

	if (!asked)
		return;
	if (asked & ASK_FLUSH)
		flush(c);
	if (asked & ASK_INIT) {
		c->noted_init = true;
		c->noted_sipi = false;
	}
	/* Only the first SIPI counts, and only behind an INIT (SDM: "Typical AP Initialization Sequence"). */
	if (asked & ASK_SIPI && !c->noted_sipi && (c->noted_init || c->state == L1_WAIT_SIPI)) {
		c->noted_sipi = true;
		c->sipi = p->sipi;
	}
	__atomic_fetch_and(&p->asked, ~asked, __ATOMIC_RELEASE);
}

static void kick(u32 mask)
{
	if (poll_ticks)
		return;
	for (u32 i = 0; i < nest_cpu_count; i++)
		if (mask >> i & 1 && __atomic_load_n(&nest_public[i].asked, __ATOMIC_ACQUIRE))
			apic_send_init(nest_cpus[i]->apic_id);
}

static bool all_answered(u32 mask)
{
	for (u32 i = 0; i < nest_cpu_count; i++)
		if (mask >> i & 1 && __atomic_load_n(&nest_public[i].asked, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

void smp_ask(struct cpu *c, u32 mask, u32 request, u32 vector)
{
	if (!mask)
		return;
	/* One at a time: a target clears the bits that it saw. */
	while (__atomic_exchange_n(&ask_lock, 1, __ATOMIC_ACQUIRE)) {
		smp_answer(c);
		cpu_pause();
	}
	for (u32 i = 0; i < nest_cpu_count; i++)
		if (mask >> i & 1) {
			nest_public[i].sipi = (u8)vector;
			__atomic_fetch_or(&nest_public[i].asked, request, __ATOMIC_RELEASE);
		}
	for (u32 round = 0; !all_answered(mask); round++) {
		if (round % KICK_AGAIN == KICK_FIRST)
			kick(mask);
		smp_answer(c);
		cpu_pause();
	}
	__atomic_store_n(&ask_lock, 0, __ATOMIC_RELEASE);
}

void smp_l1_init(struct cpu *c, u32 mask)
{
	u32 own = 1u << c->number;

	if (mask & own) {
		c->noted_init = true;
		c->noted_sipi = false;
	}
	smp_ask(c, mask & ~own, ASK_INIT, 0);
}

void smp_l1_sipi(struct cpu *c, u32 mask, u32 vector)
{
	smp_ask(c, mask & ~(1u << c->number), ASK_SIPI, vector);
}

/* VMCS01 is current, or VMCS02 if L2 runs. */
void smp_settle(struct cpu *c)
{
	if (c->noted_init && nested_takes_init(c))
		return;
	if (c->noted_init) {
		c->noted_init = false;
		apic_reset();
		vmcs01_init_state(c);
		c->state = L1_WAIT_SIPI;
	}
	if (c->state == L1_WAIT_SIPI && c->noted_sipi) {
		vmcs01_sipi(c, c->sipi);
		c->state = L1_RUNNING;
		c->noted_sipi = false;
		c->nmi_pending = false; /* NMIs are dropped while a CPU waits for a SIPI */
	}
}

void smp_wait_to_run(struct cpu *c)
{
	while (c->state != L1_RUNNING) {
		cpu_pause();
		smp_answer(c);
		smp_settle(c);
	}
}
