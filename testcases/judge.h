/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks that name their rule, so that a failure breaks this rule of the test and no other (docs/rules.md).
 *
 *	judge_begin();
 *	judge_about("MOV CR3", "32-bit");
 *	JUDGE("exit.info.cr-access", e.qualification & 15, 3);
 *	judge_done();
 *
 * L1, CPU 0.
 */
#ifndef TESTCASES_JUDGE_H
#define TESTCASES_JUDGE_H

#include "lhv/report.h"

/* No rule of the test has been judged. */
void judge_begin(void);
/* What the next checks are about, for the texts of failures; a second word or NULL. Neither is copied. */
void judge_about(const char *what, const char *where);
/* The rule must be among the test's. */
#define JUDGE(rule, got, want) judge_equal(WHERE(rule), #got, (u64)(got), (u64)(want))
bool judge_equal(const struct where *rule, const char *what, u64 got, u64 want);
/* The same of something that isn't a number, with texts. */
bool judge_held(const struct where *rule, bool held, const char *want, const char *got);
/* What would judge the rule isn't there in this image: it counts as judged. */
void judge_absent(const char *rule);
/* One check: each of the test's rules was judged. Otherwise the list promises too much. */
void judge_done(void);

/* Position of the rule in the test's list; panics if it isn't there. */
u32 judge_position(const char *rule);
/* A bit per rule of the test. */
u64 judge_all(void);

#endif
