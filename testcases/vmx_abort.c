// SPDX-License-Identifier: BSD-2-Clause
/*
 * VMX aborts: the CPU shuts down, and the VMCS region tells why. The last of the CPUs does it and is gone for good, so these come behind
 * all other tests; each image has one of them, since on two CPUs there's one to lose. SDM: "VMX Aborts".
 */
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/msr.h"

#define ABORT_STORE 1u
#define ABORT_LOAD 4u
#define WAIT_MS 50u

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

enum { NOT_YET, ENTERS_L2, CAME_BACK };

static struct {
	bool store; /* the list that is wrong is that to store */
	u64 region;
	u32 state;
} now;

static void aborts(struct cpu *c, void *unused)
{
	struct list_entry *list = page_alloc();
	struct snippet s;

	(void)unused;
	snippet_begin(&s, c, 0);
	snippet_code(&s, "", 0);
	/* Neither list may have this one. */
	list[0] = (struct list_entry){ MSR_FS_BASE, 1, 0 };
	vmwrite(now.store ? VMCS_vm_exit_msr_store_address : VMCS_vm_exit_msr_load_address, (ulong)list);
	vmwrite(now.store ? VMCS_vm_exit_msr_store_count : VMCS_vm_exit_msr_load_count, 1);
	now.region = s.v.vmcs_pa;
	__atomic_store_n(&now.state, ENTERS_L2, __ATOMIC_RELEASE);
	enter_once(&s.v);
	__atomic_store_n(&now.state, CAME_BACK, __ATOMIC_RELEASE);
	vmwrite(VMCS_vm_exit_msr_store_count, 0);
	vmwrite(VMCS_vm_exit_msr_load_count, 0);
	vcpu_destroy(&s.v);
}

static u32 indicator(void)
{
	return now.region ? ((const volatile u32 *)(ulong)now.region)[1] : 0;
}

static void check_abort(const struct where *rule, bool store)
{
	u32 victim = cpu_count - 1;
	u64 deadline = time_after_ms(WAIT_MS);

	judge_begin();
	judge_about(store ? "MSR-store list" : "MSR-load list", NULL);
	now.store = store;
	on_cpu(victim, aborts, NULL);
	while (!time_is_up(deadline) && !indicator() && __atomic_load_n(&now.state, __ATOMIC_ACQUIRE) != CAME_BACK)
		cpu_pause();
	judge_equal(rule, "does the CPU come back", __atomic_load_n(&now.state, __ATOMIC_ACQUIRE), ENTERS_L2);
	JUDGE("vmcs.abort-indicator", indicator(), store ? ABORT_STORE : ABORT_LOAD);
	judge_done();
	if (__atomic_load_n(&now.state, __ATOMIC_ACQUIRE) == CAME_BACK)
		join_cpu(victim);
	else
		/* Nobody waits for it any more. */
		__atomic_store_n(&cpu_count, victim, __ATOMIC_RELEASE);
}

#ifdef __x86_64__
TEST_LAST(abort, store_list, .sdm = "Saving MSRs", .flags = TEST_TWO_CPUS | TEST_AMD64,
	  .rules = "exit.save.list-abort vmcs.abort-indicator")
{
	check_abort(WHERE("exit.save.list-abort"), true);
}
#else
TEST_LAST(abort, load_list, .sdm = "Loading MSRs", .flags = TEST_TWO_CPUS | TEST_I386,
	  .rules = "exit.load.list-abort vmcs.abort-indicator")
{
	check_abort(WHERE("exit.load.list-abort"), false);
}
#endif
