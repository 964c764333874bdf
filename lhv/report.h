/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks, results, and the lines that tell of them (docs/protocol.md).
 *
 * L1 code on any CPU, never in interrupt handlers: printing takes a lock.
 */
#ifndef LHV_REPORT_H
#define LHV_REPORT_H

#include "core/base.h"
#include "core/line.h"
#include "core/outcome.h"
#include "core/verdict.h"

#define RESULT_ID_MAX 100
#define RESULT_REASON_MAX 200

/* What the checks of one bit on one CPU, or of one test, come to. */
struct result {
	char id[RESULT_ID_MAX];
	enum verdict verdict;
	u32 checks;
	u32 failures;
	u32 iteration; /* told in fail lines */
	char reason[RESULT_REASON_MAX];
};

/* Prints a finished line. `l` comes from say_start. The lock is held between the two. */
void say_start(struct line *l, const char *kind);
void say_end(struct line *l);
void say_note(const char *format, ...) PRINTF_LIKE(1, 2);

/* Makes r the result that this CPU's checks count for; returns the previous one. */
struct result *result_select(struct result *r);
void result_init(struct result *r, const char *format, ...) PRINTF_LIKE(2, 3);
/* Worsens the verdict; the reason is kept if it is the first of this severity. */
void result_set(struct result *r, enum verdict v, const char *format, ...) PRINTF_LIKE(3, 4);
/* Prints the result line and counts it. No checks and GOOD becomes ERROR. */
void result_print(struct result *r, u32 cpu);

struct tally {
	u32 count[VERDICT_BAD + 1];
};
extern struct tally tally; /* of all results printed */

/* Ends the run: something in lhv is broken. Prints a panic line. */
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
void panic_at(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4) __attribute__((noreturn));

struct where {
	const char *file;
	int line;
	const char *expr;
};
#define WHERE(text) (&(const struct where){ __FILE__, __LINE__, text })

/* Each counts one check, records the first failure as the reason (BAD), and returns whether it held. */
bool check_true(bool held, const struct where *w);
bool check_equal(u64 got, u64 want, const struct where *w);
/* A check that has failed already, with texts; returns false. */
bool check_failed(const struct where *w, const char *want, const char *got);
bool check_outcome(struct outcome got, struct outcome want, const struct where *w);
/* The same with ERROR: the test, not the host, is broken. */
bool check_environment(bool held, const struct where *w);

#define expect(cond) check_true(!!(cond), WHERE(#cond))
#define expect_eq(got, want) check_equal((u64)(got), (u64)(want), WHERE(#got " == " #want))
#define expect_out(got, want) check_outcome((got), (want), WHERE(#got " -> " #want))
#define expect_env(cond) check_environment(!!(cond), WHERE(#cond))

/* Leave the (void) function if the check doesn't hold. */
#define require(cond)              \
	do {                       \
		if (!expect(cond)) \
			return;    \
	} while (false)
#define require_eq(got, want)              \
	do {                               \
		if (!expect_eq(got, want)) \
			return;            \
	} while (false)
#define require_out(got, want)              \
	do {                                \
		if (!expect_out(got, want)) \
			return;             \
	} while (false)
#define require_env(cond)              \
	do {                           \
		if (!expect_env(cond)) \
			return;        \
	} while (false)

#endif
