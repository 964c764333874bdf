// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on Guest Segment Registers" */
#include "x86/seg.h"
#include "xmhf-nest/check_impl.h"

/* Access rights (SDM: "Format of Access Rights") */
#define AR_TYPE 0xfu
#define AR_S 0x10u
#define AR_P 0x80u
#define AR_L 0x2000u
#define AR_DB 0x4000u
#define AR_G 0x8000u
#define AR_RESERVED 0xfffe0f00u
#define AR_V86 0xf3u
#define AR_DPL(ar) ((ar) >> 5 & 3)
#define RFLAGS_VM 0x20000u
#define SEL_TI 0x4u

static bool granularity_good(u32 ar, u32 limit)
{
	return ar & AR_G ? (limit & 0xfff) == 0xfff : !(limit & 0xfff00000);
}

static bool usable(u32 ar)
{
	return !(ar & AR_UNUSABLE);
}

static enum check_rule check_bases(const u64 v[VI_COUNT])
{
	CHECK(base_canonical, !(check_noncanonical(v[VI_guest_tr_base]) | check_noncanonical(v[VI_guest_fs_base]) |
				check_noncanonical(v[VI_guest_gs_base])));
	CHECK(ldtr_canonical,
	      !usable((u32)v[VI_guest_ldtr_access_rights]) || !check_noncanonical(v[VI_guest_ldtr_base]));
	CHECK(cs_base_high, !(v[VI_guest_cs_base] >> 32));
	CHECK(data_base_high, (!(v[VI_guest_ss_base] >> 32) || !usable((u32)v[VI_guest_ss_access_rights])) &&
				      (!(v[VI_guest_ds_base] >> 32) || !usable((u32)v[VI_guest_ds_access_rights])) &&
				      (!(v[VI_guest_es_base] >> 32) || !usable((u32)v[VI_guest_es_access_rights])));
	return RULE_none;
}

static enum check_rule check_cs(const u64 v[VI_COUNT], bool unrestricted)
{
	u32 ar = (u32)v[VI_guest_cs_access_rights], type = ar & AR_TYPE, dpl = AR_DPL(ar);
	u32 ss_dpl = AR_DPL((u32)v[VI_guest_ss_access_rights]);

	CHECK(cs_type, (type & 9) == 9 || (type == 3 && unrestricted));
	CHECK(cs_system, ar & AR_S);
	if (type == 3)
		CHECK(cs_dpl_data, dpl == 0);
	else if (type & 4)
		CHECK(cs_dpl_conforming, dpl <= ss_dpl);
	else
		CHECK(cs_dpl_equal, dpl == ss_dpl);
	CHECK(cs_present, ar & AR_P);
	CHECK(cs_reserved, !(ar & AR_RESERVED));
	CHECK(cs_long_default, !(ar & AR_L) || !(ar & AR_DB) || !(v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest));
	CHECK(cs_granularity, granularity_good(ar, (u32)v[VI_guest_cs_limit]));
	return RULE_none;
}

static enum check_rule check_ss(const u64 v[VI_COUNT], bool unrestricted)
{
	u32 ar = (u32)v[VI_guest_ss_access_rights], type = ar & AR_TYPE, dpl = AR_DPL(ar);
	bool use = usable(ar);

	CHECK(ss_type, !use || type == 3 || type == 7);
	CHECK(ss_system, !use || ar & AR_S);
	/* The DPL is the guest's CPL, whether SS is usable or not. */
	CHECK(ss_dpl_rpl, unrestricted || dpl == (v[VI_guest_ss_selector] & 3));
	CHECK(ss_dpl_zero, dpl == 0 || ((v[VI_guest_cs_access_rights] & AR_TYPE) != 3 && v[VI_guest_cr0] & CR0_PE));
	CHECK(ss_present, !use || ar & AR_P);
	CHECK(ss_reserved, !use || !(ar & AR_RESERVED));
	CHECK(ss_granularity, !use || granularity_good(ar, (u32)v[VI_guest_ss_limit]));
	return RULE_none;
}

/* DS, ES, FS, GS */
static enum check_rule check_data(u64 selector, u64 limit, u32 ar, bool unrestricted)
{
	u32 type = ar & AR_TYPE;

	if (!usable(ar))
		return RULE_none;
	CHECK(data_accessed, type & 1);
	CHECK(data_readable, !(type & 8) || type & 2);
	CHECK(data_system, ar & AR_S);
	/* But not a conforming code segment. */
	CHECK(data_dpl, unrestricted || type > 11 || AR_DPL(ar) >= (selector & 3));
	CHECK(data_present, ar & AR_P);
	CHECK(data_reserved, !(ar & AR_RESERVED));
	CHECK(data_granularity, granularity_good(ar, (u32)limit));
	return RULE_none;
}

static enum check_rule check_tr(const u64 v[VI_COUNT])
{
	u32 ar = (u32)v[VI_guest_tr_access_rights], type = ar & AR_TYPE;

	CHECK(tr_type, type == 11 || (type == 3 && !(v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest)));
	CHECK(tr_system, !(ar & AR_S));
	CHECK(tr_present, ar & AR_P);
	CHECK(tr_reserved, !(ar & AR_RESERVED));
	CHECK(tr_granularity, granularity_good(ar, (u32)v[VI_guest_tr_limit]));
	CHECK(tr_unusable, usable(ar));
	return RULE_none;
}

static enum check_rule check_ldtr(const u64 v[VI_COUNT])
{
	u32 ar = (u32)v[VI_guest_ldtr_access_rights];

	if (!usable(ar))
		return RULE_none;
	CHECK(ldtr_type, (ar & AR_TYPE) == 2);
	CHECK(ldtr_system, !(ar & AR_S));
	CHECK(ldtr_present, ar & AR_P);
	CHECK(ldtr_reserved, !(ar & AR_RESERVED));
	CHECK(ldtr_granularity, granularity_good(ar, (u32)v[VI_guest_ldtr_limit]));
	return RULE_none;
}

/* All of a virtual-8086 segment follows from its selector. */
#define V86_BASE(reg) (v[VI_guest_##reg##_base] == v[VI_guest_##reg##_selector] << 4)
#define V86_LIMIT(reg) ((u32)v[VI_guest_##reg##_limit] == 0xffff)
#define V86_RIGHTS(reg) ((u32)v[VI_guest_##reg##_access_rights] == AR_V86)

static enum check_rule check_v86(const u64 v[VI_COUNT], bool cpu64)
{
	CHECK(v86_base, V86_BASE(cs) && V86_BASE(ss) && V86_BASE(ds) && V86_BASE(es) && V86_BASE(fs) && V86_BASE(gs));
	if (cpu64)
		CHECK_ALL(check_bases(v));
	CHECK(v86_limit,
	      V86_LIMIT(cs) && V86_LIMIT(ss) && V86_LIMIT(ds) && V86_LIMIT(es) && V86_LIMIT(fs) && V86_LIMIT(gs));
	CHECK(v86_rights,
	      V86_RIGHTS(cs) && V86_RIGHTS(ss) && V86_RIGHTS(ds) && V86_RIGHTS(es) && V86_RIGHTS(fs) && V86_RIGHTS(gs));
	return RULE_none;
}

#define CHECK_DATA(reg)                                                               \
	CHECK_ALL(check_data(v[VI_guest_##reg##_selector], v[VI_guest_##reg##_limit], \
			     (u32)v[VI_guest_##reg##_access_rights], unrestricted))

static enum check_rule check_protected(const u64 v[VI_COUNT], bool cpu64, bool unrestricted)
{
	CHECK(ss_rpl, unrestricted || !((v[VI_guest_ss_selector] ^ v[VI_guest_cs_selector]) & 3));
	if (cpu64)
		CHECK_ALL(check_bases(v));
	CHECK_ALL(check_cs(v, unrestricted));
	CHECK_ALL(check_ss(v, unrestricted));
	CHECK_DATA(ds);
	CHECK_DATA(es);
	CHECK_DATA(fs);
	CHECK_DATA(gs);
	return RULE_none;
}

enum check_rule check_guest_segments(const u64 v[VI_COUNT], const struct check_env *e)
{
	CHECK(tr_ti, !(v[VI_guest_tr_selector] & SEL_TI));
	CHECK(ldtr_ti, !(v[VI_guest_ldtr_selector] & SEL_TI) || !usable((u32)v[VI_guest_ldtr_access_rights]));
	if (v[VI_guest_rflags] & RFLAGS_VM)
		CHECK_ALL(check_v86(v, e->cpu64));
	else
		CHECK_ALL(check_protected(v, e->cpu64, check_proc2(v) & PROC2_unrestricted_guest));
	CHECK_ALL(check_tr(v));
	return check_ldtr(v);
}
