// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on Guest Segment Registers", "Checks on Guest Descriptor-Table Registers". */
#include "testcases/entry_shapes.h"
#include "x86/seg.h"

/* Access rights (SDM: "Format of Access Rights") */
#define AR_TYPE 0xfu
#define AR_S 0x10u
#define AR_DPL 0x60u
#define AR_P 0x80u
#define AR_L 0x2000u
#define AR_DB 0x4000u
#define AR_G 0x8000u
#define SEL_TI 4u

/* One row about a field whose number is computed. */
#define ROW1(t, rule, end, field, how, value) \
	entry_row((t), WHERE(rule), (end), (const struct entry_change[]){ { field, how, value }, { 0, 0, 0 } })
#define ROW2(t, rule, end, f1, h1, v1, f2, h2, v2) \
	entry_row((t), WHERE(rule), (end), (const struct entry_change[]){ { f1, h1, v1 }, { f2, h2, v2 }, { 0, 0, 0 } })

#define ROW3(t, rule, end, f1, h1, v1, f2, h2, v2, f3, h3, v3) \
	entry_row((t), WHERE(rule), (end),                     \
		  (const struct entry_change[]){ { f1, h1, v1 }, { f2, h2, v2 }, { f3, h3, v3 }, { 0, 0, 0 } })

static u32 with_type(u32 reg, u32 type)
{
	return ((u32)vmread(RIGHTS_OF(reg)) & ~AR_TYPE) | type;
}

/* Data and stack segments that can be unusable. */
static const u8 data_registers[] = { REG_ES, REG_SS, REG_DS, REG_FS, REG_GS };

static void rows_selectors(struct entry *t)
{
	ROW1(t, "entry.guest.tr-ti", FAILS_GUEST, VMCS_guest_tr_selector, '|', SEL_TI);
	ROW1(t, "entry.guest.ldtr-ti", ENTERS, VMCS_guest_ldtr_selector, '=', SEL_TI);
	ROW2(t, "entry.guest.ldtr-ti", FAILS_GUEST, VMCS_guest_ldtr_selector, '=', 0x10 | SEL_TI,
	     VMCS_guest_ldtr_access_rights, '=', 0x82);
	ROW2(t, "entry.guest.ldtr-ti", ENTERS, VMCS_guest_ldtr_selector, '=', 0x13, VMCS_guest_ldtr_access_rights, '=',
	     0x82);
}

static void rows_cs(struct entry *t)
{
	/* 9, 11: nonconforming; 13, 15: conforming; all accessed. */
	for (u32 type = 0; type < 16; type++)
		ROW1(t, "entry.guest.cs-type", (type & 9) == 9 ? ENTERS : FAILS_GUEST, RIGHTS_OF(REG_CS), '=',
		     with_type(REG_CS, type));
	ROW1(t, "entry.guest.cs-system", FAILS_GUEST, RIGHTS_OF(REG_CS), '-', AR_S);
	ROW1(t, "entry.guest.cs-present", FAILS_GUEST, RIGHTS_OF(REG_CS), '-', AR_P);
	for (u32 dpl = 1; dpl < 4; dpl++) {
		ROW1(t, "entry.guest.cs-dpl-nonconforming", FAILS_GUEST, RIGHTS_OF(REG_CS), '|', dpl << 5);
		ROW1(t, "entry.guest.cs-dpl-conforming", FAILS_GUEST, RIGHTS_OF(REG_CS), '=',
		     with_type(REG_CS, 15) | dpl << 5);
	}
	for (u32 bit = 0; bit < 32; bit++)
		if (AR_RESERVED >> bit & 1)
			ROW1(t, "entry.guest.cs-reserved", FAILS_GUEST, RIGHTS_OF(REG_CS), '|', 1u << bit);
	for (u32 bit = 0; bit < 12; bit++)
		ROW1(t, "entry.guest.cs-granularity-low", FAILS_GUEST, LIMIT_OF(REG_CS), '-', 1u << bit);
	ROW1(t, "entry.guest.cs-granularity-low", ENTERS, LIMIT_OF(REG_CS), '=', 0x00000fff);
	ROW2(t, "entry.guest.cs-granularity-low", ENTERS, LIMIT_OF(REG_CS), '=', 0xffffe, RIGHTS_OF(REG_CS), '-', AR_G);
	for (u32 bit = 20; bit < 32; bit++)
		ROW2(t, "entry.guest.cs-granularity-high", FAILS_GUEST, LIMIT_OF(REG_CS), '=', 1u << bit | 0xfff,
		     RIGHTS_OF(REG_CS), '-', AR_G);
	ROW1(t, "entry.guest.cs-granularity-high", ENTERS, LIMIT_OF(REG_CS), '=', 0x00100fff);
}

static bool type_good(u32 reg, u32 type)
{
	if (reg == REG_SS)
		return type == 3 || type == 7;
	return type & 1 && (!(type & 8) || type & 2);
}

static void rows_data(struct entry *t, u32 reg)
{
	u32 rights = RIGHTS_OF(reg), limit = LIMIT_OF(reg);

	for (u32 type = 0; type < 16; type++) {
		u32 end = type_good(reg, type) ? ENTERS : FAILS_GUEST;

		if (reg == REG_SS)
			ROW1(t, "entry.guest.ss-type", end, rights, '=', with_type(reg, type));
		else if (type & 1)
			ROW1(t, "entry.guest.data-readable", end, rights, '=', with_type(reg, type));
		else
			ROW1(t, "entry.guest.data-accessed", end, rights, '=', with_type(reg, type));
	}
	ROW1(t, "entry.guest.data-system", FAILS_GUEST, rights, '-', AR_S);
	ROW1(t, "entry.guest.data-present", FAILS_GUEST, rights, '-', AR_P);
	for (u32 bit = 0; bit < 32; bit++)
		if (AR_RESERVED >> bit & 1)
			ROW1(t, "entry.guest.data-reserved", FAILS_GUEST, rights, '|', 1u << bit);
	for (u32 bit = 0; bit < 12; bit++)
		ROW1(t, "entry.guest.data-granularity-low", FAILS_GUEST, limit, '-', 1u << bit);
	ROW2(t, "entry.guest.data-granularity-low", ENTERS, limit, '=', 0xffffe, rights, '-', AR_G);
	ROW1(t, "entry.guest.data-granularity-low", ENTERS, limit, '=', 0xfff);
	for (u32 bit = 20; bit < 32; bit++)
		ROW2(t, "entry.guest.data-granularity-high", FAILS_GUEST, limit, '=', 1u << bit | 0xfff, rights, '-',
		     AR_G);
	/* Unusable: anything goes, but the DPL of SS stays CPL. */
	ROW2(t, "entry.guest.data-unusable", ENTERS, rights, '=', AR_UNUSABLE, limit, '=', 0x12345678);
	ROW2(t, "entry.guest.data-unusable", ENTERS, rights, '=', AR_UNUSABLE | (0xfffe0f9fu & ~AR_DPL), limit, '=', 0);
}

/* DPL and RPL where CPL is 0. */
static void rows_privilege(struct entry *t)
{
	static const u8 registers[] = { REG_ES, REG_DS, REG_FS, REG_GS };

	for (u32 rpl = 1; rpl < 4; rpl++) {
		/* A conforming CS, so that the DPL of SS is CPL and nothing else. */
		u32 conforming = with_type(REG_CS, 15);

		ROW3(t, "entry.guest.ss-rpl", FAILS_GUEST, SELECTOR_OF(REG_SS), '|', rpl, RIGHTS_OF(REG_SS), '|',
		     rpl << 5, RIGHTS_OF(REG_CS), '=', conforming);
		ROW1(t, "entry.guest.ss-rpl", FAILS_GUEST, SELECTOR_OF(REG_CS), '|', rpl);
		ROW2(t, "entry.guest.ss-dpl-rpl", FAILS_GUEST, RIGHTS_OF(REG_SS), '|', rpl << 5, RIGHTS_OF(REG_CS), '=',
		     conforming);
		ROW2(t, "entry.guest.ss-dpl-rpl", FAILS_GUEST, RIGHTS_OF(REG_SS), '=', AR_UNUSABLE | rpl << 5,
		     RIGHTS_OF(REG_CS), '=', conforming);
	}
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		u32 reg = registers[i];

		for (u32 n = 0; n < 16; n++) {
			u32 rpl = n & 3, dpl = n >> 2, selector = (SEL_DATA & ~3u) | rpl;

			ROW2(t, "entry.guest.data-dpl", dpl >= rpl ? ENTERS : FAILS_GUEST, SELECTOR_OF(reg), '=',
			     selector, RIGHTS_OF(reg), '|', dpl << 5);
		}
		/* A conforming code segment is at everybody's disposal. */
		ROW2(t, "entry.guest.data-dpl", ENTERS, SELECTOR_OF(reg), '|', 3, RIGHTS_OF(reg), '=',
		     with_type(reg, 15));
		ROW2(t, "entry.guest.data-dpl", FAILS_GUEST, SELECTOR_OF(reg), '|', 3, RIGHTS_OF(reg), '=',
		     with_type(reg, 11));
	}
}

static void rows_tr(struct entry *t, bool ia32e)
{
	u32 rights = RIGHTS_OF(REG_TR), limit = LIMIT_OF(REG_TR);

	for (u32 type = 0; type < 16; type++)
		ROW1(t, "entry.guest.tr-type", type == 11 || (type == 3 && !ia32e) ? ENTERS : FAILS_GUEST, rights, '=',
		     with_type(REG_TR, type));
	ROW1(t, "entry.guest.tr-system", FAILS_GUEST, rights, '|', AR_S);
	ROW1(t, "entry.guest.tr-present", FAILS_GUEST, rights, '-', AR_P);
	ROW1(t, "entry.guest.tr-usable", FAILS_GUEST, rights, '|', AR_UNUSABLE);
	for (u32 bit = 0; bit < 32; bit++)
		if (AR_RESERVED >> bit & 1)
			ROW1(t, "entry.guest.tr-reserved", FAILS_GUEST, rights, '|', 1u << bit);
	ROW1(t, "entry.guest.tr-granularity-low", FAILS_GUEST, rights, '|', AR_G);
	ROW2(t, "entry.guest.tr-granularity-low", ENTERS, rights, '|', AR_G, limit, '=', 0xfff);
	for (u32 bit = 20; bit < 32; bit++)
		ROW1(t, "entry.guest.tr-granularity-high", FAILS_GUEST, limit, '=', 1u << bit | 0xfff);
}

static void rows_ldtr(struct entry *t)
{
	u32 rights = RIGHTS_OF(REG_LDTR), limit = LIMIT_OF(REG_LDTR);

	ROW2(t, "entry.guest.ldtr-unusable", ENTERS, rights, '=', AR_UNUSABLE | 0xffff, limit, '=', 0x12345678);
	for (u32 type = 0; type < 16; type++)
		ROW2(t, "entry.guest.ldtr-type", type == 2 ? ENTERS : FAILS_GUEST, rights, '=', AR_P | type, limit, '=',
		     0xffff);
	ROW1(t, "entry.guest.ldtr-system", FAILS_GUEST, rights, '=', AR_P | AR_S | 2);
	ROW1(t, "entry.guest.ldtr-present", FAILS_GUEST, rights, '=', 2);
	for (u32 bit = 0; bit < 32; bit++)
		if (AR_RESERVED >> bit & 1)
			ROW2(t, "entry.guest.ldtr-reserved", FAILS_GUEST, rights, '=', AR_P | 2 | 1u << bit, limit, '=',
			     0xffff);
	ROW2(t, "entry.guest.ldtr-granularity-low", FAILS_GUEST, rights, '=', AR_G | AR_P | 2, limit, '=', 0xffe);
	ROW2(t, "entry.guest.ldtr-granularity-low", ENTERS, rights, '=', AR_G | AR_P | 2, limit, '=', 0xfff);
	for (u32 bit = 20; bit < 32; bit++)
		ROW2(t, "entry.guest.ldtr-granularity-high", FAILS_GUEST, rights, '=', AR_P | 2, limit, '=',
		     1u << bit | 0xfff);
}

static void rows_tables(struct entry *t)
{
	for (u32 bit = 16; bit < 32; bit++) {
		ROW1(t, "entry.guest.table-limit", FAILS_GUEST, VMCS_guest_gdtr_limit, '|', 1u << bit);
		ROW1(t, "entry.guest.table-limit", FAILS_GUEST, VMCS_guest_idtr_limit, '|', 1u << bit);
	}
	ROW2(t, "entry.guest.table-limit", ENTERS, VMCS_guest_gdtr_limit, '=', 0xffff, VMCS_guest_idtr_limit, '=',
	     0xffff);
	ROW2(t, "entry.guest.table-limit", ENTERS, VMCS_guest_gdtr_limit, '=', 0, VMCS_guest_idtr_limit, '=', 0);
}

#define RULES_CS                                                                                         \
	"entry.guest.cs-type entry.guest.cs-system entry.guest.cs-present entry.guest.cs-reserved "      \
	"entry.guest.cs-dpl-nonconforming entry.guest.cs-dpl-conforming entry.guest.cs-granularity-low " \
	"entry.guest.cs-granularity-high"
#define RULES_DATA                                                                                         \
	"entry.guest.ss-type entry.guest.data-readable entry.guest.data-accessed entry.guest.data-system " \
	"entry.guest.data-present entry.guest.data-reserved entry.guest.data-granularity-low "             \
	"entry.guest.data-granularity-high entry.guest.data-unusable"
#define RULES_PRIVILEGE "entry.guest.ss-rpl entry.guest.ss-dpl-rpl entry.guest.data-dpl"
#define RULES_SYSTEM                                                                                              \
	"entry.guest.tr-ti entry.guest.ldtr-ti entry.guest.tr-type entry.guest.tr-system entry.guest.tr-present " \
	"entry.guest.tr-usable entry.guest.tr-reserved entry.guest.tr-granularity-low "                           \
	"entry.guest.tr-granularity-high entry.guest.ldtr-unusable entry.guest.ldtr-type "                        \
	"entry.guest.ldtr-system entry.guest.ldtr-present entry.guest.ldtr-reserved "                             \
	"entry.guest.ldtr-granularity-low entry.guest.ldtr-granularity-high entry.guest.table-limit"
#define SECTION "Checks on Guest Segment Registers"

static void check_cs(struct cpu *c, void (*shape)(struct entry *t))
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	rows_cs(&t);
	entry_done(&t);
}

static void check_data(struct cpu *c, void (*shape)(struct entry *t))
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(data_registers); i++)
		rows_data(&t, data_registers[i]);
	entry_done(&t);
}

static void check_privilege(struct cpu *c, void (*shape)(struct entry *t))
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	rows_privilege(&t);
	entry_done(&t);
}

static void check_system(struct cpu *c, void (*shape)(struct entry *t), bool ia32e)
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	rows_selectors(&t);
	rows_tr(&t, ia32e);
	rows_ldtr(&t);
	rows_tables(&t);
	entry_done(&t);
}

TEST(entry, guest_cs, .sdm = SECTION, .needs = TIMER, .rules = RULES_CS)
{
	check_cs(c, NULL);
}

TEST(entry, guest_data, .sdm = SECTION, .needs = TIMER, .rules = RULES_DATA)
{
	check_data(c, NULL);
}

TEST(entry, guest_privilege, .sdm = SECTION, .needs = TIMER, .rules = RULES_PRIVILEGE)
{
	check_privilege(c, NULL);
}

TEST(entry, guest_system, .sdm = SECTION, .needs = TIMER, .rules = RULES_SYSTEM)
{
	check_system(c, NULL, sizeof(ulong) == 8);
}

/* CPL 3: a conforming CS of any DPL, and data whose DPL is looked at against the RPL, not CPL. */
ENTRY_OF(guest_user, 0, shape_user, .sdm = SECTION, .needs = TIMER,
	 .rules = "entry.guest.cs-dpl-nonconforming entry.guest.cs-dpl-conforming entry.guest.ss-dpl-rpl "
		  "entry.guest.data-dpl")
{
	for (u32 dpl = 0; dpl < 4; dpl++) {
		u32 rights = with_type(REG_CS, 15) & ~AR_DPL;

		ROW1(t, "entry.guest.cs-dpl-conforming", ENTERS, RIGHTS_OF(REG_CS), '=', rights | dpl << 5);
		rights = with_type(REG_CS, 11) & ~AR_DPL;
		ROW1(t, "entry.guest.cs-dpl-nonconforming", dpl == 3 ? ENTERS : FAILS_GUEST, RIGHTS_OF(REG_CS), '=',
		     rights | dpl << 5);
		rights = (u32)vmread(RIGHTS_OF(REG_SS)) & ~AR_DPL;
		if (dpl < 3)
			ROW2(t, "entry.guest.ss-dpl-rpl", FAILS_GUEST, RIGHTS_OF(REG_SS), '=', rights | dpl << 5,
			     RIGHTS_OF(REG_CS), '=', with_type(REG_CS, 15) & ~AR_DPL);
		ROW1(t, "entry.guest.data-dpl", ENTERS, RIGHTS_OF(REG_DS), '=',
		     ((u32)vmread(RIGHTS_OF(REG_DS)) & ~AR_DPL) | dpl << 5);
	}
}

/* --- Virtual-8086 mode --- */

ENTRY_OF(guest_v86, 0, shape_v86, .sdm = SECTION, .needs = TIMER,
	 .rules = "entry.guest.v86-base entry.guest.v86-limit entry.guest.v86-rights")
{
	for (u32 reg = REG_ES; reg <= REG_GS; reg++) {
		ROW1(t, "entry.guest.v86-base", FAILS_GUEST, BASE_OF(reg), '^', 0x10);
		ROW1(t, "entry.guest.v86-base", FAILS_GUEST, BASE_OF(reg), '|', 1);
		ROW1(t, "entry.guest.v86-base", FAILS_GUEST, SELECTOR_OF(reg), '^', 0x100);
		ROW2(t, "entry.guest.v86-base", ENTERS, SELECTOR_OF(reg), '=', 0xffff, BASE_OF(reg), '=', 0xffff0);
		ROW1(t, "entry.guest.v86-limit", FAILS_GUEST, LIMIT_OF(reg), '=', 0xfffe);
		ROW1(t, "entry.guest.v86-limit", FAILS_GUEST, LIMIT_OF(reg), '=', 0x1ffff);
		ROW1(t, "entry.guest.v86-limit", FAILS_GUEST, LIMIT_OF(reg), '=', 0xffffffff);
		for (u32 bit = 0; bit < 32; bit++)
			ROW1(t, "entry.guest.v86-rights", FAILS_GUEST, RIGHTS_OF(reg), '^', 1u << bit);
	}
}

/* --- Unrestricted guests --- */

ENTRY_OF(guest_unrestricted, OPT_ept | OPT_unrestricted, NULL, .sdm = SECTION, .needs = TIMER,
	 .opt = OPT_ept | OPT_unrestricted,
	 .rules = "entry.guest.cs-type-unrestricted entry.guest.cs-dpl-data entry.guest.ss-rpl-unrestricted "
		  "entry.guest.ss-dpl-zero entry.guest.data-dpl-unrestricted")
{
	for (u32 type = 0; type < 16; type++)
		ROW1(t, "entry.guest.cs-type-unrestricted", type == 3 || (type & 9) == 9 ? ENTERS : FAILS_GUEST,
		     RIGHTS_OF(REG_CS), '=', with_type(REG_CS, type));
	for (u32 n = 1; n < 4; n++) {
		ROW1(t, "entry.guest.cs-dpl-data", FAILS_GUEST, RIGHTS_OF(REG_CS), '=', with_type(REG_CS, 3) | n << 5);
		ROW1(t, "entry.guest.ss-rpl-unrestricted", ENTERS, SELECTOR_OF(REG_SS), '|', n);
		ROW1(t, "entry.guest.ss-rpl-unrestricted", ENTERS, SELECTOR_OF(REG_CS), '|', n);
		ROW2(t, "entry.guest.ss-dpl-zero", FAILS_GUEST, RIGHTS_OF(REG_CS), '=', with_type(REG_CS, 3),
		     RIGHTS_OF(REG_SS), '|', n << 5);
		ROW1(t, "entry.guest.data-dpl-unrestricted", ENTERS, SELECTOR_OF(REG_DS), '|', n);
		ROW1(t, "entry.guest.data-dpl-unrestricted", ENTERS, SELECTOR_OF(REG_GS), '|', n);
	}
}

ENTRY_OF(guest_real, OPT_ept | OPT_unrestricted, shape_real, .sdm = SECTION, .needs = TIMER,
	 .opt = OPT_ept | OPT_unrestricted,
	 .rules = "entry.guest.ss-dpl-zero entry.guest.cs-type-unrestricted entry.guest.cr0-unrestricted")
{
	ROW_AS_IS(t, "entry.guest.cr0-unrestricted", ENTERS);
	for (u32 n = 1; n < 4; n++)
		ROW2(t, "entry.guest.ss-dpl-zero", FAILS_GUEST, RIGHTS_OF(REG_SS), '|', n << 5, RIGHTS_OF(REG_CS), '|',
		     n << 5);
	ROW1(t, "entry.guest.cs-type-unrestricted", ENTERS, RIGHTS_OF(REG_CS), '=', with_type(REG_CS, 3));
	/* Big real mode */
	ROW2(t, "entry.guest.cr0-unrestricted", ENTERS, LIMIT_OF(REG_DS), '=', 0xffffffff, RIGHTS_OF(REG_DS), '=',
	     AR_DATA32);
}

#ifdef __x86_64__
TEST(entry, guest_cs_32, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_CS)
{
	check_cs(c, shape_32);
}

TEST(entry, guest_data_32, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_DATA)
{
	check_data(c, shape_32);
}

TEST(entry, guest_privilege_32, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_PRIVILEGE)
{
	check_privilege(c, shape_32);
}

TEST(entry, guest_system_32, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_SYSTEM)
{
	check_system(c, shape_32, false);
}

static const u64 not_canonical[] = { 0x0000800000000000, 0xffff7fffffffffff, 1ull << 63, 0x0001000000000000 };
static const u64 canonical[] = { 0x00007fffffffffff, 0xffff800000000000, ~0ull };

static void rows_canonical(struct entry *t, const struct where *w, u32 field)
{
	for (u32 i = 0; i < ARRAY_SIZE(not_canonical); i++) {
		const struct entry_change bad[] = { { field, '=', not_canonical[i] }, { 0, 0, 0 } };

		entry_row(t, w, FAILS_GUEST, bad);
	}
	for (u32 i = 0; i < ARRAY_SIZE(canonical); i++) {
		const struct entry_change good[] = { { field, '=', canonical[i] }, { 0, 0, 0 } };

		entry_row(t, w, ENTERS, good);
	}
}

#define RULES_BASES                                                                                        \
	"entry.guest.tr-base entry.guest.fs-gs-base entry.guest.ldtr-base entry.guest.ldtr-base-unusable " \
	"entry.guest.cs-base-high entry.guest.data-base-high entry.guest.data-base-high-unusable "         \
	"entry.guest.table-canonical entry.guest.cs-long-default"

static void check_bases(struct cpu *c, void (*shape)(struct entry *t), bool ia32e)
{
	static const u8 low[] = { REG_ES, REG_SS, REG_DS };
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	rows_canonical(&t, WHERE("entry.guest.tr-base"), BASE_OF(REG_TR));
	rows_canonical(&t, WHERE("entry.guest.fs-gs-base"), BASE_OF(REG_FS));
	rows_canonical(&t, WHERE("entry.guest.fs-gs-base"), BASE_OF(REG_GS));
	rows_canonical(&t, WHERE("entry.guest.table-canonical"), VMCS_guest_gdtr_base);
	rows_canonical(&t, WHERE("entry.guest.table-canonical"), VMCS_guest_idtr_base);
	for (u32 i = 0; i < ARRAY_SIZE(not_canonical); i++) {
		ROW2(&t, "entry.guest.ldtr-base", FAILS_GUEST, BASE_OF(REG_LDTR), '=', not_canonical[i],
		     RIGHTS_OF(REG_LDTR), '=', AR_P | 2);
		ROW1(&t, "entry.guest.ldtr-base-unusable", ENTERS, BASE_OF(REG_LDTR), '=', not_canonical[i]);
	}
	for (u32 bit = 32; bit < 64; bit++) {
		ROW1(&t, "entry.guest.cs-base-high", FAILS_GUEST, BASE_OF(REG_CS), '=', 1ull << bit);
		for (u32 k = 0; k < ARRAY_SIZE(low); k++)
			ROW1(&t, "entry.guest.data-base-high", FAILS_GUEST, BASE_OF(low[k]), '=', 1ull << bit);
	}
	for (u32 k = 0; k < ARRAY_SIZE(low); k++)
		ROW2(&t, "entry.guest.data-base-high-unusable", ENTERS, BASE_OF(low[k]), '=', 1ull << 32,
		     RIGHTS_OF(low[k]), '=', AR_UNUSABLE);
	ROW1(&t, "entry.guest.cs-long-default", ia32e ? FAILS_GUEST : ENTERS, RIGHTS_OF(REG_CS), '|', AR_L | AR_DB);
	entry_done(&t);
}

TEST(entry, guest_bases, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_BASES)
{
	check_bases(c, NULL, true);
}

TEST(entry, guest_bases_32, .sdm = SECTION, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_BASES)
{
	check_bases(c, shape_32, false);
}
#endif
