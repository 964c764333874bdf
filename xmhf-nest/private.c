// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/private.h"

#include "x86/nest_call.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/lock.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/smp.h"

#define RANGES 16u

static struct range ranges[RANGES];
static u32 count; /* of slots ever used; readers look without a lock */
static u32 lock;

bool private_overlaps(u64 start, u64 end)
{
	u32 n = __atomic_load_n(&count, __ATOMIC_ACQUIRE);

	for (u32 i = 0; i < n; i++)
		if (start < ranges[i].end && end > ranges[i].start)
			return true;
	return false;
}

/* Each page must be L1's to give. */
static bool all_ram(u64 start, u64 end)
{
	for (u64 page = start; page < end; page += PAGE_SIZE)
		if (!gpa_ptr(page, PAGE_SIZE))
			return false;
	return true;
}

static u32 hide(struct cpu *c, u64 start, u64 end)
{
	u32 i = 0;

	if (!all_ram(start, end))
		return NEST_CALL_INVALID;
	while (i < count && ranges[i].end)
		i++;
	if (i == RANGES)
		return NEST_CALL_FULL;
	/* From the first private page on, every address is looked at. */
	gpa_plain = (struct range){ 0, 0 };
	/* Listed first: from here on nobody maps it again. An empty slot overlaps nothing at any moment of this. */
	ranges[i].start = start;
	ranges[i].end = end;
	if (i == count)
		__atomic_store_n(&count, i + 1, __ATOMIC_RELEASE);
	if (!ept01_hide(start, end)) {
		ranges[i] = (struct range){ ~0ull, 0 };
		return NEST_CALL_FULL;
	}
	smp_flush_all(c);
	return NEST_CALL_OK;
}

static u32 show(u64 start, u64 end)
{
	for (u32 i = 0; i < count; i++)
		if (ranges[i].end && ranges[i].start == start && ranges[i].end == end) {
			ranges[i] = (struct range){ ~0ull, 0 };
			ept01_show(start, end);
			return NEST_CALL_OK;
		}
	return NEST_CALL_INVALID;
}

bool private_hypercall(struct cpu *c)
{
	u64 start = (u64)(u32)c->regs->cx << PAGE_SHIFT, end = start + ((u64)(u32)c->regs->dx << PAGE_SHIFT);
	u32 result = NEST_CALL_INVALID;

	if ((u32)c->regs->ax != NEST_CALL_MAGIC || l1_cpl())
		return false;
	/* The flush waits for other CPUs, which may be waiting here: they answer. */
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {
		smp_answer(c);
		cpu_pause();
	}
	if (start < end && (u32)c->regs->bx == NEST_CALL_HIDE)
		result = hide(c, start, end);
	if (start < end && (u32)c->regs->bx == NEST_CALL_SHOW)
		result = show(start, end);
	lock_release(&lock);
	c->regs->ax = result;
	return true;
}
