// SPDX-License-Identifier: BSD-2-Clause
/*
 * 0x1: the three MSR lists. Each trip loads new random values for L2 at entry, stores L2's at exit and loads
 * new ones for L1; all are compared after each trip (SDM: "VM-Exit Controls for MSRs", "VM-Entry Controls for MSRs").
 */
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"
#include "x86/msr.h"

struct entry {
	u32 index, reserved;
	u64 value;
};

/* MSRs that nothing else here uses and that neither mode of lhv depends on. */
static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_KERNEL_GS_BASE };
#define MSRS ARRAY_SIZE(msrs)

struct state {
	u64 saved[MSRS]; /* as they were before the run */
	struct entry *entry_load, *exit_store, *exit_load;
	bool l2_wrote; /* L2 changed them in this trip, on purpose */
	u64 l2_seen[MSRS];
	u64 l2_write[MSRS];
};

/* A value that is legal in all of them: LSTAR, CSTAR and GS base must be canonical. */
static u64 random_value(struct run *r)
{
	u64 v = rng_next(&r->rng);

	return v & 1 ? v & 0x00007fffffffffffull : v | 0xffff800000000000ull;
}

static struct entry *make_list(void)
{
	struct entry *list = page_alloc();

	for (u32 i = 0; i < MSRS; i++)
		list[i].index = msrs[i];
	return list;
}

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_lists);

	s->entry_load = make_list();
	s->exit_store = make_list();
	s->exit_load = make_list();
	for (u32 i = 0; i < MSRS; i++)
		s->saved[i] = msr_read(msrs[i]);
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)s->entry_load);
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)s->exit_store);
	vmwrite(VMCS_vm_exit_msr_load_address, (ulong)s->exit_load);
	vmwrite(VMCS_vm_entry_msr_load_count, MSRS);
	vmwrite(VMCS_vm_exit_msr_store_count, MSRS);
	vmwrite(VMCS_vm_exit_msr_load_count, MSRS);
}

static void before_entry(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_lists);

	for (u32 i = 0; i < MSRS; i++) {
		s->entry_load[i].value = random_value(r);
		s->exit_load[i].value = random_value(r);
		s->exit_store[i].value = 0x5107ed00 + i;
	}
}

static void after_exit(struct run *r, const struct exit *e)
{
	struct state *s = run_state(r, OPT_msr_lists);

	(void)e;
	for (u32 i = 0; i < MSRS; i++) {
		u64 left_by_l2 = s->l2_wrote ? s->l2_write[i] : s->entry_load[i].value;

		expect_eq(s->exit_store[i].value, left_by_l2);
		expect_eq(s->exit_store[i].index, msrs[i]);
		expect_eq(msr_read(msrs[i]), s->exit_load[i].value);
	}
	s->l2_wrote = false;
}

/* L2: reads all of them, writes others, and exits; interrupts are off, so it is one trip. */
static ulong l2_touch(ulong arg)
{
	struct state *s = (struct state *)arg;

	for (u32 i = 0; i < MSRS; i++) {
		s->l2_seen[i] = msr_read(msrs[i]);
		msr_write(msrs[i], s->l2_write[i]);
	}
	s->l2_wrote = true;
	return l2_call(L2_STEP, 0);
}

/* L2 can touch MSRs without an exit only where the MSR bitmap lets it. */
static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_lists);
	enum irq_mode mode = r->v.irq_mode;
	struct exit e;

	if (!run_has(r, OPT_msr_bitmap))
		return;
	for (u32 i = 0; i < MSRS; i++)
		s->l2_write[i] = random_value(r);
	guest(&r->v, l2_touch, (ulong)s);
	/* With external-interrupt exiting an interrupt may cut the trip in pieces: then L2 sees two loads. */
	r->v.irq_mode = IRQ_TO_L2;
	vcpu_write_controls(&r->v);
	e = enter(&r->v);
	r->v.irq_mode = mode;
	vcpu_write_controls(&r->v);
	require_call(&r->v, e, L2_STEP);
	for (u32 i = 0; i < MSRS; i++)
		expect_eq(s->l2_seen[i], s->entry_load[i].value);
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
}

static void finish(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_lists);

	expect(r->v.trips > 0);
	for (u32 i = 0; i < MSRS; i++)
		msr_write(msrs[i], s->saved[i]);
}

const struct opt_ops opt_msr_lists = {
	.bit = OPT_msr_lists,
	.needs = "SYSCALL MSRs",
	.setup = setup,
	.iterate = iterate,
	.before_entry = before_entry,
	.after_exit = after_exit,
	.finish = finish,
};
