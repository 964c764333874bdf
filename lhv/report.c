// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/report.h"

#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/cpu.h"
#include "lhv/dump.h"
#include "lhv/lock.h"
#include "lhv/platform.h"
#include "dev/serial.h"

#define FAIL_LINES_MAX 4 /* per result; the rest is only counted */

struct tally tally;

static struct lock print_lock;
static u32 sequence = 1;
static u32 panicking;
#define PANIC_WAIT 1000000u /* spins */

void say_start(struct line *l, const char *kind)
{
	lock_take(&print_lock);
	line_start(l, sequence++, kind);
}

void say_end(struct line *l)
{
	line_end(l);
	serial_write(l->text, l->len);
	lock_release(&print_lock);
}

void say_note(const char *format, ...)
{
	struct line l;
	char text[400];
	va_list ap;

	va_start(ap, format);
	fmt_v(text, sizeof(text), format, ap);
	va_end(ap);
	say_start(&l, "note");
	line_str(&l, "text", text);
	say_end(&l);
}

struct result *result_select(struct result *r)
{
	struct cpu *c = this_cpu();
	struct result *old = c->judging;

	c->judging = r;
	return old;
}

void result_init(struct result *r, const char *format, ...)
{
	va_list ap;

	memset(r, 0, sizeof(*r));
	va_start(ap, format);
	fmt_v(r->id, sizeof(r->id), format, ap);
	va_end(ap);
}

static void result_worsen(struct result *r, enum verdict v, const char *reason)
{
	if (verdict_worse(r->verdict, v) == r->verdict)
		return;
	r->verdict = v;
	fmt(r->reason, sizeof(r->reason), "%s", reason);
}

void result_set(struct result *r, enum verdict v, const char *format, ...)
{
	char reason[RESULT_REASON_MAX];
	va_list ap;

	va_start(ap, format);
	fmt_v(reason, sizeof(reason), format, ap);
	va_end(ap);
	result_worsen(r, v, reason);
}

void result_print(struct result *r, u32 cpu)
{
	struct line l;

	if (r->verdict == VERDICT_GOOD && r->checks == 0)
		result_set(r, VERDICT_ERROR, "no checks");
	say_start(&l, "result");
	line_str(&l, "id", r->id);
	line_u64(&l, "cpu", cpu);
	line_str(&l, "verdict", verdict_name(r->verdict));
	line_u64(&l, "checks", r->checks);
	if (r->failures)
		line_u64(&l, "failures", r->failures);
	if (r->reason[0])
		line_str(&l, "reason", r->reason);
	tally.count[r->verdict]++;
	say_end(&l);
}

void panic_at(const char *file, int line, const char *format, ...)
{
	struct line l;
	char text[300];
	va_list ap;

	irq_off();
	va_start(ap, format);
	fmt_v(text, sizeof(text), format, ap);
	va_end(ap);
	/* One panic is enough; the others' would garble it. */
	while (__atomic_exchange_n(&panicking, 1, __ATOMIC_ACQ_REL))
		halt();
	/* Whoever holds the lock may be the one that is broken: wait for the length of a line, then go on without it. */
	for (u32 i = 0; i < PANIC_WAIT && !lock_try(&print_lock); i++)
		cpu_pause();
	lock_release(&print_lock);
	say_start(&l, "panic");
	line_u64(&l, "cpu", this_cpu()->number);
	char at[100];
	fmt(at, sizeof(at), "%s:%d", file, line);
	line_str(&l, "at", at);
	line_str(&l, "text", text);
	say_end(&l);
	platform_end(VERDICT_ERROR);
}

/*
 * Counts a check that doesn't hold. True if its details are wanted: not when enough were printed, since a check that
 * fails at every exit must cost less than an interrupt takes to come again, or L2 would never go on.
 */
static bool count_failure(enum verdict v)
{
	struct result *r = this_cpu()->judging;

	return r->failures++ < FAIL_LINES_MAX || verdict_worse(r->verdict, v) != r->verdict;
}

/* Records a check that count_failure wants details of. */
static void failed(enum verdict v, const struct where *w, const char *want, const char *got)
{
	struct cpu *c = this_cpu();
	struct result *r = c->judging;
	struct line l;
	char at[100], reason[RESULT_REASON_MAX];

	fmt(reason, sizeof(reason), "%s: want %s, got %s", w->expr, want, got);
	result_worsen(r, v, reason);
	fmt(at, sizeof(at), "%s:%d", w->file, w->line);
	say_start(&l, "fail");
	line_str(&l, "id", r->id);
	line_u64(&l, "cpu", c->number);
	line_str(&l, "at", at);
	line_str(&l, "expr", w->expr);
	line_str(&l, "want", want);
	line_str(&l, "got", got);
	line_u64(&l, "iter", r->iteration);
	say_end(&l);
	if (r->failures == 1)
		dump_after_failure();
}

static void counting(const struct where *w)
{
	struct result *r = this_cpu()->judging;

	if (!r)
		panic_at(w->file, w->line, "a check outside of a test: %s", w->expr);
	r->checks++;
}

bool check_failed(const struct where *w, const char *want, const char *got)
{
	counting(w);
	if (count_failure(VERDICT_BAD))
		failed(VERDICT_BAD, w, want, got);
	return false;
}

bool check_true(bool held, const struct where *w)
{
	counting(w);
	if (!held && count_failure(VERDICT_BAD))
		failed(VERDICT_BAD, w, "true", "false");
	return held;
}

bool check_environment(bool held, const struct where *w)
{
	counting(w);
	if (!held && count_failure(VERDICT_ERROR))
		failed(VERDICT_ERROR, w, "true", "false");
	return held;
}

bool check_equal(u64 got, u64 want, const struct where *w)
{
	char a[24], b[24];

	counting(w);
	if (got == want)
		return true;
	if (!count_failure(VERDICT_BAD))
		return false;
	fmt(a, sizeof(a), "0x%llx", (unsigned long long)want);
	fmt(b, sizeof(b), "0x%llx", (unsigned long long)got);
	failed(VERDICT_BAD, w, a, b);
	return false;
}

bool check_outcome(struct outcome got, struct outcome want, const struct where *w)
{
	char a[100], b[100];

	counting(w);
	if (outcome_equal(got, want))
		return true;
	if (!count_failure(VERDICT_BAD))
		return false;
	failed(VERDICT_BAD, w, outcome_text(want, a, sizeof(a)), outcome_text(got, b, sizeof(b)));
	return false;
}
