// SPDX-License-Identifier: BSD-2-Clause
/*
 * What operations of an L1 hypervisor cost, in ticks of the TSC: the difference between two stacks is what the layers
 * between them add. harness/bench_ops.py makes a table of the bench lines (docs/protocol.md).
 *
 * Whatever is the same on all stacks stays out of the samples: each is the median of many, less that of empty ones.
 */
#include "core/fmt.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "x86/msr.h"

#define BENCH(name_, ...) TEST(bench, name_, .flags = TEST_BENCH, __VA_ARGS__)

#define WARMUPS 24u
#define SAMPLES 200u
#define ROUNDS (WARMUPS + SAMPLES)

/* MSR that L2 reads: one that the VMCS keeps, so that no L0 needs to intercept it. */
#define BENCH_MSR MSR_SYSENTER_EIP

static u32 ticks[ROUNDS], empty[ROUNDS];

static void sort(u32 *a, u32 n)
{
	for (u32 i = 1; i < n; i++) {
		u32 x = a[i], k = i;

		for (; k > 0 && a[k - 1] > x; k--)
			a[k] = a[k - 1];
		a[k] = x;
	}
}

static u32 median_of(const u32 *sorted)
{
	return (sorted[SAMPLES / 2 - 1] + sorted[SAMPLES / 2]) / 2;
}

static u32 less(u32 a, u32 b)
{
	return a > b ? a - b : 0;
}

/* One line about what is in ticks[] and empty[], warm-up samples left out. */
static void tell(const char *name)
{
	u32 *of = ticks + WARMUPS, cost;
	char id[RESULT_ID_MAX];
	struct line l;

	sort(of, SAMPLES);
	sort(empty + WARMUPS, SAMPLES);
	cost = median_of(empty + WARMUPS);
	fmt(id, sizeof(id), "test/bench/%s", name);
	say_start(&l, "bench");
	line_str(&l, "id", id);
	line_u64(&l, "cpu", 0);
	line_u64(&l, "samples", SAMPLES);
	line_u64(&l, "median", less(median_of(of), cost));
	line_u64(&l, "min", less(of[0], cost));
	line_u64(&l, "max", less(of[SAMPLES - 1], cost));
	line_u64(&l, "empty", cost);
	say_end(&l);
}

/* --- Operations of L1 by itself --- */

struct op {
	u64 pa[2]; /* of VMCSs */
	u64 eptp;
	u32 round;
	u32 failed;
};

static void op_nothing(struct op *o)
{
	(void)o;
}

static void sample(u32 *to, void (*fn)(struct op *), struct op *o)
{
	for (o->round = 0; o->round < ROUNDS; o->round++) {
		u32 begin = (u32)read_tsc();

		fn(o);
		to[o->round] = (u32)read_tsc() - begin;
	}
}

static void bench_op(const char *name, void (*fn)(struct op *), struct op *o)
{
	sample(empty, op_nothing, o);
	sample(ticks, fn, o);
	expect_eq(o->failed, 0);
	tell(name);
}

static void op_cpuid(struct op *o)
{
	u32 r[4];

	cpuid_raw(0, 0, r);
	o->failed += r[0] == 0;
}

BENCH(cpuid, .sdm = "Instructions That Cause VM Exits Unconditionally")
{
	struct op o = { .failed = 0 };

	bench_op("cpuid", op_cpuid, &o);
}

static void op_vmptrld(struct op *o)
{
	o->failed += vmx_ptrld_raw(&o->pa[o->round & 1]);
}

/* To and fro between two VMCSs, both with an L2. */
BENCH(vmptrld, .sdm = "VMPTRLD-Load Pointer to Virtual-Machine Control Structure")
{
	struct vcpu a, b;
	struct op o = { .failed = 0 };

	test_vcpu(&a, c, 0);
	test_vcpu(&b, c, 0);
	o.pa[0] = a.vmcs_pa;
	o.pa[1] = b.vmcs_pa;
	bench_op("vmptrld", op_vmptrld, &o);
	expect_out(vmclear(a.vmcs_pa), out_ok());
	expect_out(vmclear(b.vmcs_pa), out_ok());
}

static void op_invept(struct op *o)
{
	struct inv_descriptor d = { o->eptp, 0 };

	o->failed += vmx_invept_raw(INVEPT_SINGLE, &d);
}

BENCH(invept, .sdm = "INVEPT-Invalidate Translations Derived from EPT", .needs = "single-context INVEPT",
      .opt = OPT_ept)
{
	struct vcpu v;
	struct op o = { .failed = 0 };

	test_vcpu(&v, c, OPT_ept);
	o.eptp = v.eptp;
	bench_op("invept", op_invept, &o);
}

static void op_invvpid(struct op *o)
{
	static const struct inv_descriptor d = { 1, 0 };

	o->failed += vmx_invvpid_raw(INVVPID_SINGLE, &d);
}

BENCH(invvpid, .sdm = "INVVPID-Invalidate Translations Based on VPID", .needs = "single-context INVVPID",
      .opt = OPT_vpid)
{
	struct vcpu v;
	struct op o = { .failed = 0 };

	test_vcpu(&v, c, OPT_vpid);
	bench_op("invvpid", op_invvpid, &o);
}

/* A field of the host state: nothing that an L0 would let the CPU do by VMCS shadowing. */
static void op_vmread(struct op *o)
{
	ulong value;

	o->failed += vmx_read_raw(VMCS_host_sysenter_cs, &value);
}

static void op_vmwrite(struct op *o)
{
	o->failed += vmx_write_raw(VMCS_host_sysenter_cs, 0);
}

BENCH(vmread, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure")
{
	struct vcpu v;
	struct op o = { .failed = 0 };

	test_vcpu(&v, c, 0);
	bench_op("vmread", op_vmread, &o);
}

BENCH(vmwrite, .sdm = "VMWRITE-Write Field to Virtual-Machine Control Structure")
{
	struct vcpu v;
	struct op o = { .failed = 0 };

	test_vcpu(&v, c, 0);
	bench_op("vmwrite", op_vmwrite, &o);
}

/* --- Trips to L2 and back --- */

static ulong l2_step(ulong unused)
{
	return l2_call(L2_STEP, unused);
}

/* Launches L2 and puts it before an instruction that exits. */
static bool stand_at(struct vcpu *v, const u8 *instruction)
{
	struct exit e;

	guest(v, l2_step, 0);
	e = enter(v);
	if (!expect_call(v, e, L2_STEP))
		return false;
	vmwrite(VMCS_guest_rip, (ulong)instruction);
	return true;
}

static void trips(const char *name, u32 how, u32 reason)
{
	require_eq(vmx_trips_raw(empty, ROUNDS, TRIP_NONE, BENCH_MSR), 0);
	require_eq(vmx_trips_raw(ticks, ROUNDS, how, BENCH_MSR), 0);
	expect_eq(vmread(VMCS_exit_reason), reason);
	tell(name);
}

BENCH(vmcall, .sdm = "VM Exits")
{
	struct vcpu v;

	test_vcpu(&v, c, 0);
	if (stand_at(&v, bench_vmcall))
		trips("vmcall", 0, EXIT_vmcall);
}

BENCH(vmcall_3r1w, .sdm = "VM Exits")
{
	struct vcpu v;

	test_vcpu(&v, c, 0);
	if (stand_at(&v, bench_vmcall))
		trips("vmcall_3r1w", TRIP_FIELDS, EXIT_vmcall);
}

BENCH(trip_after_invept, .sdm = "Operations that Invalidate Cached Mappings", .needs = "single-context INVEPT",
      .opt = OPT_ept)
{
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	if (!stand_at(&v, bench_vmcall))
		return;
	require_eq(vmx_trips_raw(empty, ROUNDS, TRIP_NONE, 0), 0);
	for (u32 i = 0; i < ROUNDS; i++) {
		require_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
		require_eq(vmx_trips_raw(&ticks[i], 1, 0, 0), 0);
	}
	expect_eq(vmread(VMCS_exit_reason), EXIT_vmcall);
	tell("trip_after_invept");
}

/* An MSR bitmap in which only reads of BENCH_MSR exit, or nothing. */
static void use_msr_bitmap(struct vcpu *v, bool exits)
{
	u8 *bitmap = page_alloc();

	bitmap[BENCH_MSR / 8] = (u8)(exits << BENCH_MSR % 8);
	vmwrite(VMCS_msr_bitmap_address, (ulong)bitmap);
	v->ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	vcpu_write_controls(v);
}

BENCH(rdmsr_exit, .sdm = "MSR-Bitmap Address", .needs = "use MSR bitmaps")
{
	struct vcpu v;

	test_vcpu(&v, c, 0);
	use_msr_bitmap(&v, true);
	if (stand_at(&v, bench_rdmsr))
		trips("rdmsr_exit", 0, EXIT_rdmsr);
}

/* --- L2 measures --- */

static void op_rdmsr(struct op *o)
{
	u64 value;

	o->failed += msr_read_raw(BENCH_MSR, &value);
}

static ulong l2_rdmsrs(ulong arg)
{
	struct op *o = (struct op *)arg;

	sample(empty, op_nothing, o);
	sample(ticks, op_rdmsr, o);
	return 0;
}

BENCH(rdmsr, .sdm = "MSR-Bitmap Address", .needs = "use MSR bitmaps")
{
	struct op o = { .failed = 0 };
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	use_msr_bitmap(&v, false);
	guest(&v, l2_rdmsrs, (ulong)&o);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(o.failed, 0);
	tell("rdmsr");
}

struct touch {
	ulong first, step; /* L2 reads ROUNDS words, so far apart */
	bool calls;        /* L2 calls before each of them */
};

/* Pages of 4 KiB in one region of 2 MiB, and regions of 2 MiB. */
#define GPA_PAGES GPA_LARGE_A
#define GPA_REGIONS 0x20000000u
_Static_assert(ROUNDS <= 512, "one EPT page table");

static ulong l2_touch(ulong arg)
{
	const struct touch *t = (const struct touch *)arg;

	for (u32 i = 0; i < ROUNDS; i++) {
		u32 begin = (u32)read_tsc();

		empty[i] = (u32)read_tsc() - begin;
	}
	for (u32 i = 0; i < ROUNDS; i++) {
		volatile u32 *p = (volatile u32 *)(t->first + i * t->step);
		u32 begin;

		if (t->calls)
			l2_call(L2_STEP, i);
		begin = (u32)read_tsc();
		(void)*p;
		ticks[i] = (u32)read_tsc() - begin;
	}
	return 0;
}

static void run_touches(struct vcpu *v, struct touch *t, const char *name)
{
	struct exit e;

	guest(v, l2_touch, (ulong)t);
	e = enter(v);
	for (u32 i = 0; t->calls && i < ROUNDS; i++) {
		require_call(v, e, L2_STEP);
		require_out(invept(INVEPT_SINGLE, v->eptp, 0), out_ok());
		e = enter(v);
	}
	require_call(v, e, L2_RETURN);
	tell(name);
}

/* All the pages are one page of memory: only the translations are different ones. */
static void map_pages(struct vcpu *v, u32 pages)
{
	ulong page = (ulong)page_alloc();

	for (u32 i = 0; i < pages; i++)
		ept_map_page(v->eptp & EPT_ADDR, GPA_PAGES + i * PAGE_SIZE, page, EPT_RWX);
}

BENCH(ept_fill_4k, .sdm = "EPT Translation Mechanism", .needs = "enable EPT", .opt = OPT_ept)
{
	struct touch t = { GPA_PAGES, PAGE_SIZE, false };
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	map_pages(&v, ROUNDS);
	run_touches(&v, &t, "ept_fill_4k");
}

BENCH(ept_fill_2m, .sdm = "EPT Translation Mechanism", .needs = "2-MByte EPT pages", .opt = OPT_ept)
{
	struct touch t = { GPA_REGIONS, LARGE_BYTES, false };
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	for (u32 i = 0; i < ROUNDS; i++)
		require_env(ept_set(&heap_ept_mem, v.eptp & EPT_ADDR, GPA_REGIONS + i * LARGE_BYTES, 2,
				    ept_leaf(FRAME_A, 2, EPT_RWX, memory_type(FRAME_A))));
	run_touches(&v, &t, "ept_fill_2m");
}

BENCH(touch_after_invept, .sdm = "Operations that Invalidate Cached Mappings", .needs = "single-context INVEPT",
      .opt = OPT_ept)
{
	struct touch t = { GPA_PAGES, 0, true };
	struct vcpu v;

	test_vcpu(&v, c, OPT_ept);
	map_pages(&v, 1);
	run_touches(&v, &t, "touch_after_invept");
}

static ulong page_table_of(u64 root, u64 gpa)
{
	u64 table = root;

	for (u32 level = 4; level > 1; level--)
		table = ((const u64 *)(ulong)table)[gpa >> (PAGE_SHIFT + 9 * (level - 1)) & 511] & EPT_ADDR;
	return (ulong)table;
}

/* L1 reads the exit reason and the address, writes an entry, resumes. */
BENCH(ept_violation, .sdm = "EPT Violations", .needs = "enable EPT", .opt = OPT_ept)
{
	struct touch t = { GPA_PAGES, PAGE_SIZE, false };
	struct vcpu v;
	struct exit e;
	u64 root;

	test_vcpu(&v, c, OPT_ept);
	root = v.eptp & EPT_ADDR;
	/* Makes the tables down to the last level, and L2 launched. */
	ept_map_page(root, GPA_PAGES, (ulong)page_alloc(), 0);
	guest(&v, l2_step, 0);
	e = enter(&v);
	require_call(&v, e, L2_STEP);
	vmx_fill_table = page_table_of(root, GPA_PAGES);
	vmx_fill_entry = (ulong)ept_leaf((ulong)page_alloc(), 1, EPT_RWX, MEMTYPE_WB);
	vmwrite(VMCS_host_rip, (ulong)vmx_exit_fill);
	run_touches(&v, &t, "ept_violation");
}
