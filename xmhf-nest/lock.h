/* SPDX-License-Identifier: BSD-2-Clause */
/* Spinlock. L0 runs with interrupts off and its NMI handler takes no lock, so that's all it needs. */
#ifndef NEST_LOCK_H
#define NEST_LOCK_H

#include "arch/cpu.h"

static inline void lock_take(u32 *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		cpu_pause();
}

static inline void lock_release(u32 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

#endif
