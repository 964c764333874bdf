/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LHV_LOCK_H
#define LHV_LOCK_H

#include "arch/cpu.h"

/* A spinlock. Never taken in interrupt handlers or in L2, so interrupts may stay on. */
struct lock {
	u32 held;
};

static inline void lock_take(struct lock *l)
{
	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		cpu_pause();
}

static inline bool lock_try(struct lock *l)
{
	return !__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE);
}

static inline void lock_release(struct lock *l)
{
	__atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
}

#endif
