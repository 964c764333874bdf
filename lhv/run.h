/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mask run: all options of a mask at once, on every CPU, for a number of iterations.
 *
 * Each option is a struct opt_ops in its own file of lhv/opts/. All of a mask's controls are active all
 * the time; in each iteration each option has its turn (iterate) and checks what it did.
 */
#ifndef LHV_RUN_H
#define LHV_RUN_H

#include "core/opt.h"
#include "core/rng.h"
#include "lhv/report.h"
#include "lhv/vcpu.h"

#define OPT_BASE OPT_COUNT /* index of what every mask does */

struct run;

struct opt_ops {
	u32 bit;                      /* 0 for base */
	const char *needs;            /* capabilities, separated by "; " */
	void (*setup)(struct run *r); /* sets controls in r->v.ctl and writes its VMCS fields */
	void (*iterate)(struct run *r);
	void (*before_entry)(struct run *r);
	void (*after_exit)(struct run *r, const struct exit *e);
	void (*finish)(struct run *r); /* after the last iteration */
};

/* One CPU's side of a mask run. */
struct run {
	struct vcpu v;
	u32 mask;      /* as asked for */
	u32 effective; /* without what the host doesn't offer */
	u32 i;         /* iteration */
	u32 iterations;
	struct rng rng;
	struct result results[OPT_COUNT + 1];
	bool active[OPT_COUNT + 1];
	void *state[OPT_COUNT + 1]; /* each option's own */
	u64 ept_root[2];            /* the second one only with ept_switch */
};

extern const struct opt_ops opt_base, opt_msr_lists, opt_no_intr, opt_ept, opt_ept_switch, opt_vpid, opt_unrestricted,
	opt_l1_user, opt_vmxoff, opt_ept_large, opt_no_timer, opt_msr_bitmap, opt_l2_user, opt_mouse, opt_real_mode,
	opt_preempt_timer, opt_io_bitmap;

/* The option's own state: a zeroed page, made at the first call. */
void *run_state(struct run *r, u32 bit);
static inline bool run_has(const struct run *r, u32 bit)
{
	return r->effective & bit;
}

/* Runs mask on this CPU; all CPUs call it together. Prints a result for base and for each bit. */
void run_mask(struct cpu *c, u32 mask, u32 iterations, u64 seed);
/* The worst verdict of the last run_mask on this CPU, and how many results it had. */
enum verdict run_worst(const struct cpu *c);

/* Runs fn(arg) in L2 to its end and returns its value; anything but its return is a failed check. *ok tells. */
ulong run_l2(struct run *r, ulong (*fn)(ulong), ulong arg, bool *ok);

/* Maps a page of L2 in all of the run's EPT roots (0 rights: unmaps it). The caller invalidates. */
void run_ept_map(struct run *r, u64 gpa, u64 pa, u64 rights);
/* INVEPT single-context for all of the run's EPT roots. */
void run_invept(struct run *r);
/* Leaves VMX operation with the VMCS cleared, and comes back to it. False: a check failed. */
bool run_vmx_pause(struct run *r);
bool run_vmx_resume(struct run *r);

#endif
