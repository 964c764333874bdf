// SPDX-License-Identifier: BSD-2-Clause
/* Pages that an L0 makes private on request: the question of secrets in memory and TLB shootdown. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "lhv/test.h"
#include "x86/nest_call.h"

#define QUAL_READ 0x1u
#define QUAL_RIGHTS 0x38u
#define SECRET 0x5ec12e7u
#define ROUNDS 8

struct reader {
	u64 root;
	u32 *page;
	u32 loops;  /* reads by L2 so far */
	u32 hidden; /* round in which the call to hide has returned, until the one to show begins; else 0 */
	u32 late;   /* reads by L2 that fell between these and succeeded */
	u32 out;    /* rounds in which CPU 1 has seen L2 lose the page */
	u32 shown;  /* rounds in which it's back */
	u32 stop;   /* asks L2 to come out */
};

/* Reads the page for ever. */
static ulong l2_read(ulong arg)
{
	struct reader *r = (struct reader *)arg;
	volatile u32 *p = (volatile u32 *)GPA_ALIAS;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		u32 hidden = __atomic_load_n(&r->hidden, __ATOMIC_ACQUIRE);

		(void)*p;
		/* A read that began while the page was hidden, and ended while it still was. */
		if (hidden && __atomic_load_n(&r->hidden, __ATOMIC_ACQUIRE) == hidden)
			__atomic_fetch_add(&r->late, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&r->loops, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

static bool wait_flag(u32 *flag, u32 at_least, u32 ms)
{
	u64 deadline = time_after_ms(ms);

	while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < at_least && !time_is_up(deadline))
		cpu_pause();
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE) >= at_least;
}

/* CPU 1: L2 loses the page each round, as if EPT12 didn't have it, and gets it back. */
static void reader(struct cpu *c, void *arg)
{
	struct reader *r = arg;
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, OPT_ept);
	v.eptp = eptp_for(r->root);
	vmwrite(VMCS_ept_pointer, v.eptp);
	guest(&v, l2_read, (ulong)r);
	for (u32 round = 1; round <= ROUNDS; round++) {
		e = enter(&v);
		require_exit(&v, e, EXIT_ept_violation);
		expect_eq(e.qualification & (QUAL_READ | QUAL_RIGHTS), QUAL_READ);
		expect_eq(vmread(VMCS_guest_physical_address), GPA_ALIAS);
		__atomic_store_n(&r->out, round, __ATOMIC_RELEASE);
		require_env(wait_flag(&r->shown, round, 2000));
	}
	vcpu_destroy(&v);
}

static u32 call(u32 operation, const void *page)
{
	return vmcall_raw(NEST_CALL_MAGIC, operation, (u32)((ulong)page >> PAGE_SHIFT), 1);
}

TEST(private, reader_on_another_cpu, .sdm = "Guidelines for Use of the INVEPT Instruction",
     .needs = "private pages of xmhf-nest", .opt = OPT_ept, .flags = TEST_TWO_CPUS)
{
	static struct reader r;

	memset(&r, 0, sizeof(r));
	r.root = ept_new_root(false);
	r.page = page_alloc();
	r.page[0] = SECRET;
	ept_map_page(r.root, GPA_ALIAS, (ulong)r.page, EPT_RWX);
	on_cpu(1, reader, &r);
	for (u32 round = 1; round <= ROUNDS; round++) {
		expect_env(wait_flag(&r.loops, 20 * round, 2000));
		expect_eq(call(NEST_CALL_HIDE, r.page), NEST_CALL_OK);
		__atomic_store_n(&r.hidden, round, __ATOMIC_RELEASE);
		if (!expect(wait_flag(&r.out, round, 200)))
			break;
		__atomic_store_n(&r.hidden, 0, __ATOMIC_RELEASE);
		expect_eq(call(NEST_CALL_SHOW, r.page), NEST_CALL_OK);
		expect_eq(r.page[0], SECRET);
		__atomic_store_n(&r.loops, 20 * round, __ATOMIC_RELEASE);
		__atomic_store_n(&r.shown, round, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	join_cpu(1);
	expect_eq(r.late, 0);
}

/* What isn't L1's to give. */
TEST(private, bad_ranges, .needs = "private pages of xmhf-nest")
{
	static u8 *page;

	page = page_alloc();
	expect_eq(call(NEST_CALL_SHOW, page), NEST_CALL_INVALID);
	expect_eq(vmcall_raw(NEST_CALL_MAGIC, NEST_CALL_HIDE, 0xfee00, 1), NEST_CALL_INVALID);
	expect_eq(vmcall_raw(NEST_CALL_MAGIC, NEST_CALL_HIDE, 0, 0), NEST_CALL_INVALID);
	expect_eq(vmcall_raw(NEST_CALL_MAGIC, NEST_CALL_HIDE, 0x100, 0xffffffffu), NEST_CALL_INVALID);
	expect_eq(vmcall_raw(NEST_CALL_MAGIC, 3, (u32)((ulong)page >> PAGE_SHIFT), 1), NEST_CALL_INVALID);
	expect_eq(call(NEST_CALL_HIDE, page), NEST_CALL_OK);
	/* Once is enough, and it isn't RAM for L1 any more. */
	expect_eq(call(NEST_CALL_HIDE, page), NEST_CALL_INVALID);
	expect_eq(call(NEST_CALL_SHOW, page), NEST_CALL_OK);
	expect_eq(page[0], 0);
}
