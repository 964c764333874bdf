// SPDX-License-Identifier: BSD-2-Clause
/* Each rule of a VM entry, seen to fail: a good VMCS12, some changes, and the rule that they break. */
#include "unit/check_good.h"
#include "unit/unit.h"
#include "xmhf-nest/check_rules.h"

/* What can be changed beside the fields. */
enum {
	ENV_MISC = VI_COUNT,
	ENV_BASIC,
	ENV_EPT_VPID,
	ENV_CR4_FIXED1,
	ENV_CR4_VALID,
	ENV_PROC_MAY,
	ENV_EXIT_MAY,
	ENV_ENTRY_MAY,
	ENV_L1_LMA,
	ENV_SGX,
	ENV_RTM
};

struct change {
	u16 index;
	char how; /* '=', '|', '-' (clears bits); 0: none */
	u64 value;
};
struct row {
	u32 line;
	u32 goods;        /* bit per enum good_kind */
	const char *rule; /* NULL: still good */
	struct change c[6];
};

#define ON(goods) __LINE__, goods
#define SET(field, value)              \
	{                              \
		VI_##field, '=', value \
	}
#define ADD(field, value)                     \
	{                                     \
		VI_##field, '|', (u32)(value) \
	}
#define CLR(field, value)                     \
	{                                     \
		VI_##field, '-', (u32)(value) \
	}
#define ENV(what, value)               \
	{                              \
		ENV_##what, '=', value \
	}
#define MAY(word, value)                                  \
	{                                                 \
		ENV_##word##_MAY, '|', (u64)(value) << 32 \
	}
/* Primary and secondary controls */
#define ADD1(value) ADD(primary_proc_based_controls, value)
#define CLR1(value) CLR(primary_proc_based_controls, value)
#define SET2(value) SET(secondary_proc_based_controls, value)
#define ADD2(value) ADD(secondary_proc_based_controls, value)
#define CLR2(value) CLR(secondary_proc_based_controls, value)
#define UNRESTRICTED ADD(secondary_proc_based_controls, PROC2_unrestricted_guest)
#define INJECT(info) SET(vm_entry_interruption_info, info)
#define NO_EVENT SET(vm_entry_interruption_info, 0)

#define ALL 0xfu   /* every kind of good VMCS12 */
#define PROT 0x7u  /* the guest isn't virtual-8086 */
#define CPU64 0xdu /* the CPU has Intel 64 */
#define L64 0x9u   /* L1 is in 64-bit mode */
#define G64 0x1u   /* the guest is in 64-bit mode */
#define G32 0x6u   /* protected mode, 32 bits */
#define NO64 0x2u  /* the CPU hasn't Intel 64 */
#define ON64 0x4u  /* 32-bit L1 on a CPU that has it */
#define V86 0x8u

#include "unit/check_rows.h"
#include "unit/check_rows_guest.h"

static u64 *place(struct good *g, u32 index)
{
	switch (index) {
	case ENV_MISC:
		return &g->caps.misc;
	case ENV_BASIC:
		return &g->caps.basic;
	case ENV_EPT_VPID:
		return &g->caps.ept_vpid;
	case ENV_CR4_VALID:
		return &g->env.cr4_valid;
	case ENV_CR4_FIXED1:
		return &g->caps.cr4_fixed1;
	case ENV_PROC_MAY:
		return &g->caps.ctl[CTL_PROC];
	case ENV_EXIT_MAY:
		return &g->caps.ctl[CTL_VMEXIT];
	case ENV_ENTRY_MAY:
		return &g->caps.ctl[CTL_VMENTRY];
	default:
		return &g->v[index];
	}
}

static void apply(struct good *g, const struct change *c)
{
	u64 *p;

	switch (c->index) {
	case ENV_L1_LMA:
		g->env.l1_lma = c->value;
		return;
	case ENV_SGX:
		g->env.sgx = c->value;
		return;
	case ENV_RTM:
		g->env.rtm = c->value;
		return;
	default:
		break;
	}
	p = place(g, c->index);
	*p = c->how == '=' ? c->value : c->how == '|' ? *p | c->value : *p & ~c->value;
}

static const char *text(const char *rule)
{
	return rule ? rule : "good";
}

static void test_good(void)
{
	struct good g;

	for (u32 kind = 0; kind < GOOD_KINDS; kind++) {
		struct check_result r;

		good_make(&g, (enum good_kind)kind);
		r = good_check(&g);
		CHECK_STR(text(r.rule), "good");
		CHECK(r.kind == CHECK_OK && !r.qualification);
	}
}

/* Rules are numbered in the order of the three functions. */
static u32 kind_of(const char *rule)
{
	if (!rule)
		return CHECK_OK;
	for (u32 i = 1; i < RULE_COUNT; i++)
		if (!strcmp(rule, check_rule_name[i]))
			return i <= RULE_entry_load_list ? CHECK_CONTROLS :
			       i <= RULE_size_rip_64     ? CHECK_HOST :
							   CHECK_GUEST;
	return ~0u;
}

static bool seen[RULE_COUNT];

static void try_row(const struct row *row, enum good_kind kind)
{
	struct check_result r;
	struct good g;

	good_make(&g, kind);
	for (u32 k = 0; k < ARRAY_SIZE(row->c) && row->c[k].how; k++)
		apply(&g, &row->c[k]);
	r = good_check(&g);
	if (strcmp(text(r.rule), text(row->rule)) != 0)
		printf("# %s: table's line %u, good VMCS12 %u\n", text(row->rule), row->line, kind);
	CHECK_STR(text(r.rule), text(row->rule));
	CHECK(r.kind == kind_of(r.rule));
	CHECK(r.qualification == (r.rule && !strncmp(r.rule, "link", 4) ? 4 : 0));
	for (u32 n = 1; r.rule && n < RULE_COUNT; n++)
		seen[n] = seen[n] || !strcmp(r.rule, check_rule_name[n]);
}

static void test_rows(void)
{
	for (u32 kind = 0; kind < GOOD_KINDS; kind++) {
		for (u32 i = 0; i < ARRAY_SIZE(rows_first); i++)
			if (rows_first[i].goods >> kind & 1)
				try_row(&rows_first[i], (enum good_kind)kind);
		for (u32 i = 0; i < ARRAY_SIZE(rows_second); i++)
			if (rows_second[i].goods >> kind & 1)
				try_row(&rows_second[i], (enum good_kind)kind);
	}
	for (u32 n = 1; n < RULE_COUNT; n++)
		if (!seen[n])
			unit_fail(__FILE__, __LINE__, check_rule_name[n]);
}

static void test_pdpte(void)
{
	CHECK(check_pdpte(0, 36) && check_pdpte(~1ull, 36)); /* not present */
	CHECK(check_pdpte(0xffffffe19ull, 36) && check_pdpte(0xfffffffffffe19ull & 0xfffffffffffffull, 52));
	for (u32 bit = 1; bit < 64; bit++) {
		bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 39;

		CHECK(check_pdpte(1 | 1ull << bit, 39) == !reserved);
	}
}

const struct unit_case check_cases[] = {
	{ "check: good ones", test_good },
	{ "check: each rule fails", test_rows },
	{ "check: PDPTEs", test_pdpte },
	{ NULL, NULL },
};
