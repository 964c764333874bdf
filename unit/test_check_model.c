// SPDX-License-Identifier: BSD-2-Clause
/* The checks of a VM entry against literal rewritings of the SDM, and with random values. */
#include "unit/check_good.h"
#include "unit/unit.h"
#include "xmhf-nest/check_rules.h"

#define BIT(value, n) ((u32)((value) >> (n)) & 1u)

static bool one_in(u32 n)
{
	return unit_random() % n == 0;
}

static u32 rule_number(const char *rule)
{
	for (u32 i = 1; rule && i < RULE_COUNT; i++)
		if (!strcmp(rule, check_rule_name[i]))
			return i;
	return RULE_none;
}

/* The reserved bits of each control word, bit by bit. */
static void test_reserved(void)
{
	static const struct {
		u32 index, rule;
	} words[CTL_WORDS] = { { VI_pin_based_controls, RULE_pin_reserved },
			       { VI_primary_proc_based_controls, RULE_proc_reserved },
			       { VI_secondary_proc_based_controls, RULE_proc2_reserved },
			       { VI_vm_exit_controls, RULE_exit_reserved },
			       { VI_vm_entry_controls, RULE_entry_reserved } };

	for (u32 round = 0; round < 20000; round++) {
		u32 w = unit_random() % CTL_WORDS, value, rule;
		bool good = true;
		struct good g;

		good_make(&g, (enum good_kind)(unit_random() % GOOD_KINDS));
		value = (u32)g.v[words[w].index];
		for (u32 i = unit_random() % 3; i > 0; i--)
			value ^= 1u << unit_random() % 32;
		g.v[words[w].index] = value;
		for (u32 b = 0; b < 32; b++) {
			if (BIT(g.caps.ctl[w], b) && !BIT(value, b))
				good = false;
			if (!BIT(g.caps.ctl[w], 32 + b) && BIT(value, b))
				good = false;
		}
		rule = rule_number(check_controls(g.v, &g.env).rule);
		/* With good reserved bits other rules may be broken. */
		CHECK((rule == words[w].rule) == !good || (good && rule < words[w].rule));
	}
}

/* All EPTPs' low bits, with all capabilities that count. */
static void test_eptp(void)
{
	struct good g;

	good_make(&g, GOOD_64);
	for (u32 caps = 0; caps < 8; caps++) {
		g.caps.ept_vpid =
			0x40 | (caps & 1 ? 1u << 8 : 0) | (caps & 2 ? 1u << 14 : 0) | (caps & 4 ? 1u << 21 : 0);
		for (u32 low = 0; low < 4096; low++) {
			u32 type = low & 7, walk = low >> 3 & 7;
			bool good = walk == 3 && !(low >> 7) && (!BIT(low, 6) || caps & 4);

			good = good && ((type == 0 && caps & 1) || (type == 6 && caps & 2));
			g.v[VI_ept_pointer] = 0x7ffffff000ull | low;
			CHECK((check_controls(g.v, &g.env).kind == CHECK_OK) == good);
		}
	}
}

/* All types and vectors of an event, with and without error code. */
static void test_injection(void)
{
	static const u8 with_code[] = { 8, 10, 11, 12, 13, 14, 17, 21 };
	struct good g;

	for (u32 n = 0; n < 1u << 15; n++) {
		u32 vector = n & 0xff, type = n >> 8 & 7, length;
		bool deliver = BIT(n, 11), unrestricted = BIT(n, 12), pe = BIT(n, 13), mtf = BIT(n, 14), code = false;
		bool good = true;

		good_make(&g, GOOD_32);
		if (unrestricted)
			g.v[VI_secondary_proc_based_controls] |= PROC2_unrestricted_guest;
		g.v[VI_guest_cr0] = pe ? 0x21 : 0x20;
		if (!mtf)
			g.caps.ctl[CTL_PROC] &= ~((u64)PROC_monitor_trap_flag << 32);
		g.v[VI_vm_entry_instruction_length] = length = unit_random() % 17;
		g.v[VI_vm_entry_interruption_info] = 0x80000000u | (deliver ? 0x800u : 0) | type << 8 | vector;
		for (u32 i = 0; i < sizeof(with_code); i++)
			code = code || vector == with_code[i];
		if (type == 1 || (type == 7 && (!mtf || vector)))
			good = false;
		if ((type == 2 && vector != 2) || (type == 3 && vector > 31))
			good = false;
		if (deliver != ((!unrestricted || pe) && type == 3 && code))
			good = false;
		if ((type == 4 || type == 5 || type == 6) && (length < 1 || length > 15))
			good = false;
		CHECK((check_controls(g.v, &g.env).kind == CHECK_OK) == good);
	}
}

/* A segment register, and whether it would pass. */
struct segment {
	u64 selector, base, limit, ar;
	u32 type, dpl;
	bool s, present, l, db, g, unusable, reserved;
};

static struct segment segment(const u64 *v, u32 n) /* 0 ES, CS, SS, DS, FS, GS, LDTR, 7 TR */
{
	struct segment x = { .selector = v[VI_guest_es_selector + n],
			     .base = v[VI_guest_es_base + n],
			     .limit = v[VI_guest_es_limit + n],
			     .ar = v[VI_guest_es_access_rights + n] };

	x.type = x.ar & 15;
	x.s = BIT(x.ar, 4);
	x.dpl = x.ar >> 5 & 3;
	x.present = BIT(x.ar, 7);
	x.l = BIT(x.ar, 13);
	x.db = BIT(x.ar, 14);
	x.g = BIT(x.ar, 15);
	x.unusable = BIT(x.ar, 16);
	for (u32 b = 8; b < 32; b++)
		if (BIT(x.ar, b) && (b <= 11 || b >= 17))
			x.reserved = true;
	return x;
}

static bool canonical(u64 a)
{
	return a <= 0x7fffffffffffull || a >= 0xffff800000000000ull;
}

static bool g_good(const struct segment *x)
{
	bool low_zero = false, high_one = false;

	for (u32 b = 0; b < 12; b++)
		low_zero = low_zero || !BIT(x->limit, b);
	for (u32 b = 20; b < 32; b++)
		high_one = high_one || BIT(x->limit, b);
	return !(low_zero && x->g) && !(high_one && !x->g);
}

enum { ES, CS, SS, DS, FS, GS, LDTR, TR };

static bool model_rights(const struct segment *x, bool ug, bool ia32e, bool pe)
{
	bool good = true;

	/* Type */
	if (ug)
		good = good &&
		       (x[CS].type == 3 || x[CS].type == 9 || x[CS].type == 11 || x[CS].type == 13 || x[CS].type == 15);
	else
		good = good && (x[CS].type == 9 || x[CS].type == 11 || x[CS].type == 13 || x[CS].type == 15);
	if (!x[SS].unusable)
		good = good && (x[SS].type == 3 || x[SS].type == 7);
	for (u32 n = ES; n <= GS; n++)
		if (n != CS && n != SS && !x[n].unusable)
			good = good && BIT(x[n].type, 0) && (!BIT(x[n].type, 3) || BIT(x[n].type, 1));
	/* DPL */
	if (x[CS].type == 3)
		good = good && x[CS].dpl == 0;
	if (x[CS].type == 9 || x[CS].type == 11)
		good = good && x[CS].dpl == x[SS].dpl;
	if (x[CS].type == 13 || x[CS].type == 15)
		good = good && x[CS].dpl <= x[SS].dpl;
	if (!ug)
		good = good && x[SS].dpl == (x[SS].selector & 3);
	if (x[CS].type == 3 || !pe)
		good = good && x[SS].dpl == 0;
	for (u32 n = ES; n <= GS; n++)
		if (n != CS && n != SS && !ug && !x[n].unusable && x[n].type <= 11)
			good = good && x[n].dpl >= (x[n].selector & 3);
	/* S, P, reserved bits, G */
	for (u32 n = ES; n <= GS; n++)
		if (n == CS || !x[n].unusable)
			good = good && x[n].s && x[n].present && !x[n].reserved && g_good(&x[n]);
	/* D/B */
	return good && !(ia32e && x[CS].l && x[CS].db);
}

static bool model_segments(const struct good *g)
{
	bool ug = BIT(g->v[VI_secondary_proc_based_controls], 7), ia32e = BIT(g->v[VI_vm_entry_controls], 9);
	bool vm = BIT(g->v[VI_guest_rflags], 17), pe = BIT(g->v[VI_guest_cr0], 0), good = true;
	struct segment x[8];

	for (u32 n = ES; n <= TR; n++)
		x[n] = segment(g->v, n);
	/* Selectors */
	good = good && !BIT(x[TR].selector, 2) && (x[LDTR].unusable || !BIT(x[LDTR].selector, 2));
	if (!vm && !ug)
		good = good && (x[SS].selector & 3) == (x[CS].selector & 3);
	/* Base addresses */
	for (u32 n = ES; vm && n <= GS; n++)
		good = good && x[n].base == x[n].selector * 16 && x[n].limit == 0xffff && x[n].ar == 0xf3;
	if (g->env.cpu64) {
		good = good && canonical(x[TR].base) && canonical(x[FS].base) && canonical(x[GS].base);
		good = good && (x[LDTR].unusable || canonical(x[LDTR].base)) && x[CS].base <= 0xffffffff;
		good = good && (x[SS].unusable || x[SS].base <= 0xffffffff);
		good = good && (x[DS].unusable || x[DS].base <= 0xffffffff);
		good = good && (x[ES].unusable || x[ES].base <= 0xffffffff);
	}
	/* Access rights */
	if (!vm)
		good = good && model_rights(x, ug, ia32e, pe);
	good = good && (x[TR].type == 11 || (!ia32e && x[TR].type == 3));
	good = good && !x[TR].s && x[TR].present && !x[TR].reserved && g_good(&x[TR]) && !x[TR].unusable;
	if (!x[LDTR].unusable)
		good = good && x[LDTR].type == 2 && !x[LDTR].s && x[LDTR].present && !x[LDTR].reserved &&
		       g_good(&x[LDTR]);
	return good;
}

static void spoil_segment(struct good *g, u32 n)
{
	static const u32 limits[] = { 0, 0xfff, 0xffff, 0xfffff, 0xffffffff, 0x100000, 0xfff00fff };
	static const u64 bases[] = { 0, 1ull << 32, 0x7fffffffffffull, 1ull << 47, 0xffff800000000000ull, 1ull << 63 };
	u64 *ar = &g->v[VI_guest_es_access_rights + n];

	switch (unit_random() % 6) {
	case 0:
		g->v[VI_guest_es_selector + n] ^= 1u << unit_random() % 3;
		break;
	case 1:
		g->v[VI_guest_es_base + n] = bases[unit_random() % (g->env.cpu64 ? ARRAY_SIZE(bases) : 1)];
		break;
	case 2:
		g->v[VI_guest_es_limit + n] = limits[unit_random() % ARRAY_SIZE(limits)];
		break;
	case 3:
		*ar = (*ar & ~0xfull) | unit_random() % 16;
		break;
	case 4:
		*ar = (*ar & ~0x60ull) | (unit_random() & 0x60);
		break;
	default:
		*ar ^= 1u << unit_random() % 32;
		break;
	}
}

static void test_segments(void)
{
	u32 passed = 0;

	for (u32 round = 0; round < 200000; round++) {
		struct check_result r;
		struct good g;
		u32 rule;

		good_make(&g, (enum good_kind)(unit_random() % GOOD_KINDS));
		g.v[VI_guest_rip] &= 0xffff; /* right with every CS.L */
		if (one_in(2))
			g.v[VI_secondary_proc_based_controls] |= PROC2_unrestricted_guest;
		if (g.v[VI_secondary_proc_based_controls] & PROC2_unrestricted_guest &&
		    !(g.v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest) && !BIT(g.v[VI_guest_rflags], 17) &&
		    one_in(2))
			g.v[VI_guest_cr0] &= ~0x80000001ull;
		if (one_in(3)) { /* user mode */
			for (u32 n = CS; n <= SS; n++) {
				g.v[VI_guest_es_access_rights + n] |= 0x60;
				g.v[VI_guest_es_selector + n] |= 3;
			}
		}
		for (u32 i = unit_random() % 4; i > 0; i--)
			spoil_segment(&g, unit_random() % 8);
		r = check_guest(g.v, &g.env);
		rule = rule_number(r.rule);
		CHECK((r.kind == CHECK_OK) == model_segments(&g));
		CHECK(r.kind == CHECK_OK || (rule >= RULE_tr_ti && rule <= RULE_ldtr_granularity));
		passed += r.kind == CHECK_OK;
	}
	CHECK(passed > 20000 && passed < 180000);
}

/* Activity state, blocking and event: what may be together. */
static bool model_state(const u64 *v, u32 activity, u32 blocked, u32 info)
{
	bool valid = BIT(info, 31), sti = BIT(blocked, 0), mov_ss = BIT(blocked, 1), good = true;
	u32 type = info >> 8 & 7, vector = info & 0xff;

	if (activity > 3 || (activity == 1 && (v[VI_guest_ss_access_rights] >> 5 & 3)) || (activity && (sti || mov_ss)))
		return false;
	if (valid && activity == 1)
		good = type == 0 || type == 2 || (type == 3 && (vector == 1 || vector == 18)) ||
		       (type == 7 && vector == 0);
	if (valid && activity == 2)
		good = type == 2 || (type == 3 && vector == 18);
	if (valid && activity == 3)
		good = false;
	if (blocked >> 4 || BIT(blocked, 2) || (sti && mov_ss) || (sti && !BIT(v[VI_guest_rflags], 9)))
		return false;
	if (valid && type == 0 && (sti || mov_ss || !BIT(v[VI_guest_rflags], 9)))
		return false;
	if (valid && type == 2 && (mov_ss || (BIT(v[VI_pin_based_controls], 5) && BIT(blocked, 3))))
		return false;
	return good;
}

static void test_state(void)
{
	static const u32 events[] = { 0, 0x20, 0x80000020, 0x80000202, 0x80000301, 0x80000302, 0x80000312, 0x80000700 };

	for (u32 n = 0; n < 8 * 5 * 32 * 4; n++) {
		u32 info = events[n % 8], activity = n / 8 % 5, blocked = n / 40 % 32;
		struct good g;

		good_make(&g, BIT(n / 1280, 0) ? GOOD_V86 : GOOD_64);
		g.v[VI_guest_rflags] &= BIT(n / 1280, 1) ? ~0ull : ~0x200ull;
		if (one_in(2))
			g.v[VI_pin_based_controls] &= ~(u64)PIN_virtual_nmis;
		g.v[VI_vm_entry_interruption_info] = info;
		g.v[VI_guest_activity_state] = activity;
		g.v[VI_guest_interruptibility_state] = blocked;
		CHECK((check_guest(g.v, &g.env).kind == CHECK_OK) == model_state(g.v, activity, blocked, info));
	}
}

/* Anything may be anywhere: an answer comes, and it is one of the function's own. */
static void test_random(void)
{
	for (u32 round = 0; round < 200000; round++) {
		u32 changes = 1 + unit_random() % 8, rule;
		struct check_result r[3];
		struct good g;

		good_make(&g, (enum good_kind)(unit_random() % GOOD_KINDS));
		for (u32 i = 0; i < changes; i++) {
			u64 *p = &g.v[unit_random() % VI_COUNT];

			*p = one_in(4) ? unit_random() : one_in(3) ? 0 : *p ^ 1ull << unit_random() % 64;
		}
		r[0] = check_controls(g.v, &g.env);
		r[1] = check_host(g.v, &g.env);
		r[2] = check_guest(g.v, &g.env);
		for (u32 i = 0; i < 3; i++) {
			static const u32 last[] = { RULE_none, RULE_entry_load_list, RULE_size_rip_64,
						    RULE_link_width };

			rule = rule_number(r[i].rule);
			CHECK(r[i].kind == CHECK_OK || r[i].kind == i + CHECK_CONTROLS);
			CHECK((r[i].kind == CHECK_OK) == (r[i].rule == NULL));
			CHECK(!rule || (rule > last[i] && rule <= last[i + 1]));
		}
	}
}

const struct unit_case check_model_cases[] = {
	{ "check: reserved controls bit by bit", test_reserved },
	{ "check: EPTPs", test_eptp },
	{ "check: events", test_injection },
	{ "check: segments against a model", test_segments },
	{ "check: activity, blocking, events", test_state },
	{ "check: random changes", test_random },
	{ NULL, NULL },
};
