/* SPDX-License-Identifier: BSD-2-Clause */
/* What L0 knows about a CPU, and what every file of L0 uses. */
#ifndef NEST_CPU_H
#define NEST_CPU_H

#include "arch/vmx.h"
#include "core/outcome.h"
#include "core/vmcs.h"
#include "core/vmxcap.h"
#include "xmhf-nest/ept02.h"
#include "xmhf-nest/fetch.h"
#include "xmhf-nest/shadow.h"
#include "xmhf-nest/vmcs12.h"
#include "xmhf-nest/walked.h"

#define NEST_MAX_CPUS 32

/* A field, and the offset of its word; see vmcs_put_list and vmcs_get_list. */
struct vmcs_slot {
	u16 field, offset;
};

enum l1_state { L1_RUNNING, L1_WAIT_SIPI, L1_SHUTDOWN };

/* What other CPUs may write: requests, answered at the next exit (smp.c). */
struct cpu_public {
	u32 asked; /* enum smp_request bits; the CPU itself clears them */
	u8 sipi;   /* vector of the SIPI asked for */
};

/*
 * At the beginning of a block of CPU_BLOCK bytes, aligned to its size, whose rest is the CPU's stack;
 * struct gregs is at its end (arch/exit.asm). Only its own CPU touches it.
 */
#define CPU_BLOCK 32768u
#define CPU_STACK 8192u /* bytes of the block that are stack at least */
struct cpu {
	struct gregs *regs; /* of the guest that exited last */
	u32 number, apic_id;
	u32 reason; /* exit reason field of the exit being handled */
	bool l2;    /* the guest is L2: VMCS02 is current, else VMCS01 */
	bool launched01, launched02;
	bool launching; /* the last entry was a VMLAUNCH */
	bool start01;   /* VMCS01's guest state is fresh: nothing of the exit counts any more */
	u64 vmxon_region, vmcs01, vmcs02;
	union {
		u32 before_entry; /* nonzero: something to do */
		struct {
			u8 state;         /* enum l1_state; L1_RUNNING is 0 */
			bool nmi_pending; /* an NMI arrived in L0 and waits for the guest */
			bool noted_init;  /* INIT by L1 that has not taken effect yet */
			bool noted_sipi;  /* such a SIPI */
		};
	};
	u8 sipi;          /* its vector */
	u32 timer_beyond; /* of L1's preemption timer, behind what VMCS02 counts (poll.c) */
	struct vmcs12_cpu nested;
	struct shadow shadow;
	struct ept02 ept02;
	struct fetch_line fetch[FETCH_LINES];
	struct walked walked[WALKED_LINES];
};

_Static_assert(sizeof(struct cpu) <= CPU_BLOCK - CPU_STACK, "CPU_BLOCK");

extern struct cpu *nest_cpus[NEST_MAX_CPUS];
extern struct cpu_public nest_public[NEST_MAX_CPUS];
extern u32 nest_cpu_count;

static inline struct cpu *cpu_of(const void *stack)
{
	return (struct cpu *)((ulong)stack & ~(ulong)(CPU_BLOCK - 1));
}

/* --- arch/exit.asm --- */
void exit_entry(void);
void enter_first(struct gregs *g) __attribute__((noreturn));
ulong vmcs_get(u32 field);
void vmcs_put(u32 field, ulong value);
void vmcs_put_list(const struct vmcs_slot *list, u32 count, const void *values); /* count: even, not 0 */
void vmcs_get_list(const struct vmcs_slot *list, u32 count, void *values);       /* count: not 0 */
void vmcs_load(const u64 *pa);
void nmi_entry(void);
u32 xsetbv_raw(u32 index, u32 low, u32 high); /* 0: done, 3: faulted */
void write_back_caches(void);                 /* WBINVD */
void raise_breakpoint(void);                  /* INT3 */

void copy_words(void *to, const void *from, ulong words); /* REP MOVS; for what memcpy would make slow */

/* A 64-bit field has two halves on i386. The width is in the encoding. */
static inline bool vmcs_two_halves(u32 field)
{
	return sizeof(ulong) == 4 && (field >> 13 & 3) == WIDTH_64;
}

static inline u64 vmcs_read(u32 field)
{
	u64 low = vmcs_get(field);

	return vmcs_two_halves(field) ? low | (u64)vmcs_get(field + 1) << 32 : low;
}

static inline void vmcs_write(u32 field, u64 value)
{
	vmcs_put(field, (ulong)value);
	if (vmcs_two_halves(field))
		vmcs_put(field + 1, (ulong)(value >> 32));
}

#endif
