// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/entry_rows.h"
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/guest.h"
#include "testcases/judge.h"
#include "x86/seg.h"

#define CHANGES_MAX 12
#define REASON_ENTRY_FAILED 0x80000000u
#define VMX_BASIC_32BIT (1ull << 48)

u32 entry_address_bits(void)
{
	u32 r[4];

	if (vmx_caps.basic & VMX_BASIC_32BIT)
		return 32;
	cpuid_raw(0x80000000, 0, r);
	if (r[0] < 0x80000008)
		return 36;
	cpuid_raw(0x80000008, 0, r);
	return r[0] & 0xff;
}

static ulong l2_nothing(ulong x)
{
	return x;
}

void entry_reset(struct entry *t)
{
	vcpu_write_guest_state(&t->v);
	guest(&t->v, l2_nothing, 0);
	/* Unusable; so that a row that makes it usable is wrong for its own reason only. */
	vmwrite(VMCS_guest_ldtr_limit, 0xffff);
	vmwrite(VMCS_preemption_timer_value, 0);
	if (t->shape)
		t->shape(t);
}

static u64 changed(u64 old, const struct entry_change *c)
{
	switch (c->how) {
	case '=':
		return c->value;
	case '|':
		return old | c->value;
	case '^':
		return old ^ c->value;
	default:
		return old & ~c->value;
	}
}

/*
 * Some CPUs don't keep the reserved bits of access rights in the VMCS, so that there's nothing to check (KVM imitates them).
 * Other bits of these fields must stay what they were made.
 */
static bool rights_dropped(u32 field, u64 wanted)
{
	u64 lost;

	if (field < VMCS_guest_es_access_rights || field > VMCS_guest_tr_access_rights)
		return false;
	lost = wanted ^ vmread(field);
	return lost && !(lost & ~(u64)AR_RESERVED);
}

static struct exit try_entry(struct entry *t, const struct entry_change *c)
{
	u64 old[CHANGES_MAX] = { 0 };
	u32 n = 0;
	struct exit e;

	for (; c[n].how; n++) {
		if (n == CHANGES_MAX)
			panic("a row of more than %u changes", CHANGES_MAX);
		old[n] = vmread(c[n].field);
		vmwrite(c[n].field, changed(old[n], &c[n]));
		t->dropped |= rights_dropped(c[n].field, changed(old[n], &c[n]));
	}
	e = enter_once(&t->v);
	while (n--)
		vmwrite(c[n].field, old[n]);
	/* It ran: what it has now is another state. The exit has also made the event to inject invalid. */
	if (e.entry.kind == OUT_OK && !(e.reason & REASON_ENTRY_FAILED))
		entry_reset(t);
	return e;
}

static bool ended(const struct exit *e, u32 end)
{
	if (end == FAILS_CONTROL || end == FAILS_HOST)
		return e->entry.kind == OUT_FAIL_VALID &&
		       e->entry.number == (end == FAILS_CONTROL ? VMXERR_entry_invalid_control_fields :
								  VMXERR_entry_invalid_host_state);
	if (e->entry.kind != OUT_OK)
		return false;
	switch (end) {
	case ENTERS:
		return !(e->reason & REASON_ENTRY_FAILED);
	case FAILS_GUEST:
		return e->reason == (REASON_ENTRY_FAILED | EXIT_invalid_guest_state) && e->qualification == 0;
	case FAILS_PDPTE:
		return e->reason == (REASON_ENTRY_FAILED | EXIT_invalid_guest_state) && e->qualification == 2;
	case FAILS_LINK:
		return e->reason == (REASON_ENTRY_FAILED | EXIT_invalid_guest_state) && e->qualification == 4;
	default:
		return e->reason == (REASON_ENTRY_FAILED | EXIT_msr_loading) && e->qualification == end - FAILS_MSR + 1;
	}
}

static void describe_end(u32 end, char *text, size_t size)
{
	static const char *const names[] = { "entry",
					     "VMfailValid(7)",
					     "VMfailValid(8)",
					     "failed entry, reason 33 qualification 0",
					     "failed entry, reason 33 qualification 2",
					     "failed entry, reason 33 qualification 4" };

	if (end < FAILS_MSR)
		fmt(text, size, "%s", names[end]);
	else
		fmt(text, size, "failed entry, reason 34 qualification %u", end - FAILS_MSR + 1);
}

static void describe_exit(const struct exit *e, char *text, size_t size)
{
	if (e->entry.kind != OUT_OK)
		outcome_text(e->entry, text, size);
	else if (!(e->reason & REASON_ENTRY_FAILED))
		fmt(text, size, "entry, exit %u", e->reason & 0xffff);
	else
		fmt(text, size, "failed entry, reason %u qualification %llu", e->reason & 0xffff,
		    (unsigned long long)e->qualification);
}

static void describe_row(const char *rule, const struct entry_change *c, char *text, size_t size)
{
	size_t n = (size_t)fmt(text, size, "%s:", rule);

	for (; c->how && n < size; c++) {
		static const char *const how[] = { "=", "|=", "&= ~", "^=" };
		u32 k = c->how == '=' ? 0 : c->how == '|' ? 1 : c->how == '-' ? 2 : 3;

		n += (size_t)fmt(text + n, size - n, " %s %s0x%llx", vmcs_name(c->field), how[k],
				 (unsigned long long)c->value);
	}
}

bool entry_row(struct entry *t, const struct where *w, u32 end, const struct entry_change *c)
{
	u32 n = judge_position(w->expr);
	char text[200], want[60], got[100];
	struct exit e;

	t->dropped = false;
	e = try_entry(t, c);
	t->judged |= 1ull << n;
	if (t->dropped && !t->dropped_told) {
		say_note("this CPU doesn't keep reserved bits of access rights: not judged");
		t->dropped_told = true;
	}
	if (ended(&e, t->dropped ? ENTERS : end))
		return check_true(true, w);
	describe_row(w->expr, c, text, sizeof(text));
	describe_end(end, want, sizeof(want));
	describe_exit(&e, got, sizeof(got));
	return check_failed(&(const struct where){ w->file, w->line, text }, want, got);
}

static bool enters(struct entry *t)
{
	const struct entry_change none = { 0, 0, 0 };
	struct exit e = try_entry(t, &none);

	return expect_exit(&t->v, e, EXIT_preemption_timer);
}

bool entry_begin(struct entry *t, struct cpu *c, u32 opt, void (*shape)(struct entry *t))
{
	test_vcpu(&t->v, c, opt);
	t->v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vcpu_write_controls(&t->v);
	t->shape = shape;
	t->judged = 0;
	t->pae_root = 0;
	entry_reset(t);
	return enters(t);
}

void entry_done(struct entry *t)
{
	enters(t);
	/* Otherwise the list promises too much. */
	expect_env(t->judged == judge_all());
	vcpu_destroy(&t->v);
}
