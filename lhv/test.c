// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/test.h"

#include "core/mem.h"
#include "lhv/dump.h"
#include "lhv/ept_setup.h"
#include "lhv/picture.h"
#include "lhv/smp.h"

/* One result, made by all CPUs of the test under CPU 0's name; parts counts each CPU's own. */
static struct result result;
static struct result parts[MAX_CPUS];

/* Work for another CPU. */
struct mailbox {
	void (*fn)(struct cpu *c, void *arg);
	void *arg;
	u32 state;
};
enum { MAIL_EMPTY, MAIL_SENT, MAIL_DONE };
static struct mailbox mailboxes[MAX_CPUS];
static u32 test_over;

void on_cpu(u32 number, void (*fn)(struct cpu *c, void *arg), void *arg)
{
	struct mailbox *m = &mailboxes[number];

	m->fn = fn;
	m->arg = arg;
	__atomic_store_n(&m->state, MAIL_SENT, __ATOMIC_RELEASE);
}

void join_cpu(u32 number)
{
	while (__atomic_load_n(&mailboxes[number].state, __ATOMIC_ACQUIRE) != MAIL_DONE)
		cpu_pause();
	__atomic_store_n(&mailboxes[number].state, MAIL_EMPTY, __ATOMIC_RELEASE);
}

static void serve(struct cpu *c)
{
	struct mailbox *m = &mailboxes[c->number];

	while (!__atomic_load_n(&test_over, __ATOMIC_ACQUIRE)) {
		cpu_pause();
		if (__atomic_load_n(&m->state, __ATOMIC_ACQUIRE) != MAIL_SENT)
			continue;
		m->fn(c, m->arg);
		__atomic_store_n(&m->state, MAIL_DONE, __ATOMIC_RELEASE);
	}
}

static const u32 opt_controls[][2] = {
	{ OPT_ept, PROC2_enable_ept },
	{ OPT_vpid, PROC2_enable_vpid },
	{ OPT_unrestricted, PROC2_unrestricted_guest },
};

void test_vcpu(struct vcpu *v, struct cpu *c, u32 opt)
{
	vcpu_create(v, c);
	v->irq_off = true;
	v->irq_mode = IRQ_TO_L2;
	for (u32 i = 0; i < ARRAY_SIZE(opt_controls); i++)
		if (opt & opt_controls[i][0])
			v->ctl[CTL_PROC2] |= opt_controls[i][1];
	if (opt & OPT_ept)
		v->eptp = eptp_for(ept_new_root(false));
	if (opt & OPT_vpid)
		vmwrite(VMCS_vpid, 1);
	vcpu_write(v);
}

/* Empty if everything is there. */
static void find_missing(const struct test_info *t, char *missing, size_t size)
{
	missing[0] = 0;
	if (!vmx_present) {
		cap_all("VMX", missing, size);
		return;
	}
	if (!cap_all(t->needs, missing, size))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(opt_controls); i++) {
		if (!(t->opt & opt_controls[i][0]))
			continue;
		for (u32 k = 0; k < ctl_table_count; k++)
			if (ctl_table[k].word == CTL_PROC2 && 1u << ctl_table[k].bit == opt_controls[i][1] &&
			    !cap_all(ctl_table[k].text, missing, size))
				return;
	}
	missing[0] = 0;
}

/* What a test that is over leaves behind must not spoil the next one. A test that fails may leave anything: that is put back. */
static void clean_up(struct cpu *c, struct result *part)
{
	char left[RESULT_REASON_MAX - 40];
	enum picture_result r = picture_restore(c, left, sizeof(left));

	if (r != PICTURE_SAME && (r == PICTURE_SPOILT || part->verdict == VERDICT_GOOD))
		result_set(part, VERDICT_ERROR, "leaves behind%s: %s", r == PICTURE_SPOILT ? " for good" : "", left);
}

static void run_body(struct cpu *c, u32 n)
{
	struct result *part = &parts[c->number];

	result_init(part, "%s", result.id);
	result_select(part);
	if (expect_out(vmx_on(c), out_ok())) {
		/* That is no check of this test. */
		part->checks = 0;
		if (!lhv_tests_start[n].last)
			picture_take(c);
		barrier();
		if (c->number == 0) {
			lhv_test_fns_start[n](c);
			__atomic_store_n(&test_over, 1, __ATOMIC_RELEASE);
		} else {
			serve(c);
		}
		barrier();
		if (dump_wanted && c->number == 0)
			dump_current("end");
		c->vcpu = NULL;
		vmx_off(c);
		if (!lhv_tests_start[n].last)
			clean_up(c, part);
	} else {
		barrier();
		__atomic_store_n(&test_over, 1, __ATOMIC_RELEASE);
		barrier();
	}
	result_select(NULL);
}

static void merge_parts(void)
{
	for (u32 i = 0; i < cpu_count; i++) {
		result.checks += parts[i].checks;
		result.failures += parts[i].failures;
		if (parts[i].verdict != VERDICT_GOOD)
			result_set(&result, parts[i].verdict, "%s", parts[i].reason);
	}
}

static const struct test_info *running;

const char *test_rules(void)
{
	return running && running->rules ? running->rules : "";
}

void run_test(struct cpu *c, u32 n)
{
	const struct test_info *t = &lhv_tests_start[n];
	static char missing[80];

	if (c->number == 0) {
		running = t;
		result_init(&result, "test/%s/%s", t->area, t->name);
		find_missing(t, missing, sizeof(missing));
		if (missing[0])
			result_set(&result, VERDICT_SKIP, "missing: %s", missing);
		else if (t->flags & TEST_TWO_CPUS && cpu_count < 2)
			result_set(&result, VERDICT_SKIP, "environment: needs 2 CPUs");
		else if (t->flags & TEST_BENCH && cpu_count > 1)
			result_set(&result, VERDICT_SKIP, "environment: needs 1 CPU, others would disturb");
		test_over = 0;
	}
	barrier();
	if (result.verdict == VERDICT_GOOD) {
		run_body(c, n);
		barrier();
		if (c->number == 0)
			merge_parts();
	}
	if (c->number == 0)
		result_print(&result, 0);
	barrier();
}

enum verdict test_verdict(void)
{
	return result.verdict;
}
