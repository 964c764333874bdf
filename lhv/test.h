/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Test cases. A file of testcases/ has any number of
 *
 *	TEST(ept, violation_reaches_l1, .sdm = "EPT Violations", .needs = "enable EPT", .opt = OPT_ept)
 *	{
 *		... require(...), expect(...)
 *	}
 *
 * The body gets `c`, the CPU that runs it (CPU 0), in VMX operation, interrupts off. What it allocates is
 * given back afterwards. The metadata is in section .lhv_tests; tools read it from the image file. `.rules` are the ids
 * (testcases/rules/) of the rules that the test judges, separated by blanks: GOOD says that each of them was seen to hold.
 */
#ifndef LHV_TEST_H
#define LHV_TEST_H

#include "core/opt.h"
#include "lhv/report.h"
#include "lhv/vcpu.h"

#define TEST_CANARY 0x1u /* must fail; runs only when named without wildcards */
#define TEST_TWO_CPUS 0x2u
#define TEST_I386 0x4u   /* only the i386 image has it */
#define TEST_AMD64 0x8u  /* only the amd64 image */
#define TEST_BENCH 0x10u /* measures; one CPU; runs only when named without wildcards, too */
#define TEST_NAMED 0x20u /* takes some emulators down; runs only when named without wildcards, too */

/* Fixed-size, and with one address that has 64 bits in both images. harness/ knows the layout. */
struct test_info {
	char area[16];
	char name[64];
	char sdm[96];    /* title of the SDM's section */
	char needs[128]; /* capabilities, separated by "; " */
	u32 opt;         /* option bits whose capabilities it needs too, and that test_vcpu turns on */
	u32 flags;
	u32 last; /* 1: TEST_LAST */
	u32 unused;
	union {
		const char *rules; /* NULL: it judges none of the SDM's */
		u64 rules_address;
	};
};
_Static_assert(sizeof(struct test_info) == 328, "harness/ reads this");

typedef void test_fn(struct cpu *c);

#define TEST(area_, name_, ...) TEST_PLACED("", area_, name_, __VA_ARGS__)
/* Behind all others, because it leaves the machine in a state that they can't use. */
#define TEST_LAST(area_, name_, ...) TEST_PLACED(".last", area_, name_, __VA_ARGS__)
#define TEST_PLACED(place_, area_, name_, ...)                                                                         \
	static test_fn test_##name_;                                                                                   \
	static const struct test_info info_##name_ __attribute__((section(".lhv_tests" place_), used, aligned(8))) = { \
		.area = #area_, .name = #name_, .last = sizeof(place_) > 1, __VA_ARGS__                                \
	};                                                                                                             \
	static test_fn *const fn_##name_ __attribute__((section(".lhv_test_fns" place_), used)) = test_##name_;        \
	static void test_##name_(struct cpu *c __attribute__((unused)))

/*
 * A test whose body gets, besides `c`, a pointer `it_` to a `type_` that `begin_` has made and `end_` takes down: for macros that
 * name a family of tests (testcases/scene.h).
 */
#define TEST_WITH(area_, name_, type_, it_, begin_, end_, ...) \
	static void with_##name_(type_ *it_, struct cpu *c);   \
	TEST(area_, name_, __VA_ARGS__)                        \
	{                                                      \
		type_ thing, *it_ = &thing;                    \
                                                               \
		begin_;                                        \
		with_##name_(it_, c);                          \
		end_;                                          \
	}                                                      \
	static void with_##name_(type_ *it_ __attribute__((unused)), struct cpu *c __attribute__((unused)))

extern const struct test_info lhv_tests_start[], lhv_tests_end[];
extern test_fn *const lhv_test_fns_start[];

/* Runs test number n of the image; all CPUs call it together. Prints its result. */
void run_test(struct cpu *c, u32 n);
/* The rules of the test that runs, "" if it has none. */
const char *test_rules(void);
/* How it ended, on CPU 0 after run_test. */
enum verdict test_verdict(void);

/* A vcpu with the features of `opt` (ept: a new root in v->eptp) turned on and everything written. */
void test_vcpu(struct vcpu *v, struct cpu *c, u32 opt);
/* Starts fn(arg) on another CPU, which is in VMX operation too and whose checks count for this test; and waits for its end. */
void on_cpu(u32 number, void (*fn)(struct cpu *c, void *arg), void *arg);
void join_cpu(u32 number);

#endif
