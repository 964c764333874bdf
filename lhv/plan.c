// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/plan.h"

#include "core/fmt.h"
#include "lhv/cpu.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "lhv/picture.h"
#include "lhv/platform.h"
#include "lhv/report.h"
#include "lhv/run.h"
#include "lhv/screen.h"
#include "lhv/smp.h"
#include "lhv/test.h"

#define LATE_MS 50u /* a host that brings an IPI later than that is wrong */

/* What CPU 0 decides and all CPUs do; written between barriers only. */
static struct {
	const struct cmdline *c;
	bool over;
	bool is_mask;
	u32 mask;
	u32 test; /* number in the image */
} now;

static enum verdict worst_of[MAX_CPUS];
static u32 items_of[MAX_CPUS];

/* The selected tests, numbers in the image. Matching a glob with every test is slow enough to be done once. */
#define TESTS_MAX 2048
static u16 chosen[TESTS_MAX];
static u32 chosen_count;
static bool is_chosen[TESTS_MAX];

static void choose(u32 n)
{
	if (!is_chosen[n])
		chosen[chosen_count++] = (u16)n;
	is_chosen[n] = true;
}

/* The one test of that id, looked for from test n on, around; n if there is none. */
static u32 choose_one(const char *id, u32 n, u32 tests)
{
	for (u32 i = 0; i < tests; i++) {
		u32 at = n + i < tests ? n + i : n + i - tests;

		if (!glob_is(id, lhv_tests_start[at].area, lhv_tests_start[at].name))
			continue;
		choose(at);
		return at;
	}
	return n;
}

static void choose_all(const char *glob, u32 tests)
{
	for (u32 i = 0; i < tests; i++) {
		const struct test_info *t = &lhv_tests_start[i];

		if (glob_selects(glob, t->area, t->name, t->flags & (TEST_CANARY | TEST_BENCH | TEST_NAMED)))
			choose(i);
	}
}

static void choose_tests(const struct cmdline *c)
{
	u32 tests = (u32)(lhv_tests_end - lhv_tests_start);
	u32 last = 0; /* names mostly come in the image's order */

	if (tests > TESTS_MAX)
		panic("%u tests; TESTS_MAX", tests);
	for (u32 i = 0; i < c->glob_count; i++)
		if (glob_names_one(c->globs[i]))
			last = choose_one(c->globs[i], last, tests);
		else
			choose_all(c->globs[i], tests);
}

/* Item n of the whole plan into `now`; false if there are no more. */
static bool find_item(const struct cmdline *c, u32 n)
{
	now.is_mask = n < c->mask_count;
	if (now.is_mask) {
		now.mask = c->masks[n];
		return true;
	}
	n -= c->mask_count;
	if (n >= chosen_count)
		return false;
	now.test = chosen[n];
	return true;
}

static u32 count_items(const struct cmdline *c)
{
	u32 n = c->from;

	choose_tests(c);
	while (find_item(c, n))
		n++;
	return n - c->from;
}

static void item_id(char *id, size_t size)
{
	if (now.is_mask)
		fmt(id, size, "opt/0x%04x", now.mask);
	else
		fmt(id, size, "test/%s/%s", lhv_tests_start[now.test].area, lhv_tests_start[now.test].name);
}

/* All CPUs, with the same `now`. */
static void run_item(struct cpu *c)
{
	char id[RESULT_ID_MAX];
	enum verdict v;

	item_id(id, sizeof(id));
	if (now.is_mask) {
		run_mask(c, now.mask, now.c->iter, now.c->seed);
		v = run_worst(c);
	} else {
		run_test(c, now.test);
		v = test_verdict();
	}
	worst_of[c->number] = verdict_worse(worst_of[c->number], v);
	items_of[c->number]++;
	screen_cpu(c->number, id, worst_of[c->number], items_of[c->number]);
}

/*
 * IPIs of another CPU, which sent them when this one had finished the mask: they'd disturb what comes next. Behind a barrier,
 * when nobody sends any more.
 */
static void take_late_ipis(const struct cpu *c)
{
	const struct cpu_public *p = &cpus_public[c->number];
	u64 deadline = time_after_ms(LATE_MS);

	while (__atomic_load_n(&p->ipi_taken, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->ipi_sent, __ATOMIC_ACQUIRE) &&
	       !time_is_up(deadline))
		irq_window();
}

void plan_follow(void)
{
	struct cpu *c = this_cpu();

	for (;;) {
		barrier();
		if (now.over)
			return;
		run_item(c);
		barrier();
		take_late_ipis(c);
	}
}

static void print_plan(const struct cmdline *c, u32 items)
{
	static const char *const arch = sizeof(ulong) == 8 ? "amd64" : "i386";
	union {
		u32 r[13];
		char text[52];
	} brand = { .r = { 0 } };
	struct line l;

	for (u32 i = 0; i < 3; i++)
		cpuid_raw(0x80000002 + i, 0, brand.r + 4 * i);
	say_start(&l, "plan");
	line_u64(&l, "proto", 1);
	line_str(&l, "run", c->run);
	line_str(&l, "arch", arch);
	line_u64(&l, "cpus", cpu_count);
	line_u64(&l, "items", items);
	line_u64(&l, "from", c->from);
	line_u64(&l, "seed", c->seed);
	line_u64(&l, "iter", c->iter);
	line_u64(&l, "tsc", read_tsc());
	line_str(&l, "cpu", brand.text);
	say_end(&l);
}

static void print_cap(const char *name)
{
	struct line l;

	say_start(&l, "cap");
	line_str(&l, "name", name);
	line_u64(&l, "have", cap_have(name));
	say_end(&l);
}

static void print_marker(const char *kind, u32 n, const char *id)
{
	struct line l;

	say_start(&l, kind);
	line_u64(&l, "n", n);
	line_str(&l, "id", id);
	line_u64(&l, "tsc", read_tsc());
	say_end(&l);
}

static void print_done(u32 items)
{
	struct line l;

	say_start(&l, "done");
	line_u64(&l, "items", items);
	line_u64(&l, "good", tally.count[VERDICT_GOOD]);
	line_u64(&l, "skip", tally.count[VERDICT_SKIP]);
	line_u64(&l, "error", tally.count[VERDICT_ERROR]);
	line_u64(&l, "bad", tally.count[VERDICT_BAD]);
	line_u64(&l, "tsc", read_tsc());
	say_end(&l);
}

/* Identity maps that outlive the item, before the heap is marked. */
static void prepare(void)
{
	u32 opt = now.is_mask ? now.mask : lhv_tests_start[now.test].opt;

	if (opt & OPT_ept && cap_have("enable EPT") && cap_have("EPT page-walk length 4"))
		ept_prepare_identity(now.is_mask && opt & OPT_ept_large && cap_have("2-MByte EPT pages"));
}

void plan_run(const struct cmdline *c)
{
	u32 items = count_items(c);
	struct cpu *cpu = this_cpu();
	char id[RESULT_ID_MAX];

	now.c = c;
	picture_init();
	print_plan(c, items);
	for (u32 i = 0; cap_name(i); i++)
		print_cap(cap_name(i));
	if (c->cpus && cpu_count < c->cpus)
		panic("%u CPUs answer, %u are asked for", cpu_count, c->cpus);
	for (u32 n = c->from; find_item(c, n); n++) {
		u32 mark;

		item_id(id, sizeof(id));
		prepare();
		mark = mem_mark();
		screen_status(id);
		print_marker("start", n, id);
		barrier();
		run_item(cpu);
		barrier();
		take_late_ipis(cpu);
		print_marker("end", n, id);
		mem_release(mark);
	}
	now.over = true;
	barrier();
	print_done(items);
}

enum verdict plan_verdict(void)
{
	enum verdict v = VERDICT_BAD;

	while (v > VERDICT_GOOD && !tally.count[v])
		v--;
	/* Nothing at all is no success. */
	return v == VERDICT_GOOD && !tally.count[v] ? VERDICT_ERROR : v;
}
