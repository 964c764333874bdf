// SPDX-License-Identifier: BSD-2-Clause
/*
 * CR0 and CR4 of unrestricted guests in real-address mode: the bits that stay fixed, and PE and PG, which don't. SDM:
 * "Restrictions on VMX Operation", "Changes to Instruction Behavior in VMX Non-Root Operation".
 */
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define CHANGES "Changes to Instruction Behavior in VMX Non-Root Operation"
#define CODE(text) (text), sizeof(text) - 1

static void begin(struct snippet *s, struct cpu *c)
{
	judge_begin();
	snippet_begin(s, c, UNRESTRICTED);
	snippet_mode(s, SNIP_REAL, false);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

static void own(u32 mask, u32 shadow)
{
	vmwrite(VMCS_cr0_guest_host_mask, mask);
	vmwrite(VMCS_cr0_read_shadow, shadow);
}

TEST(cr, real_fixed, .sdm = "Restrictions on VMX Operation", .opt = UNRESTRICTED,
     .rules = "vmcs.guest-cr0-fixed vmcs.guest-cr4-fixed")
{
	struct snippet s;
	u32 cr0, cr4;

	begin(&s, c);
	cr0 = (u32)vmread(VMCS_guest_cr0);
	cr4 = (u32)vmread(VMCS_guest_cr4);
	const struct {
		const char *name, *rule;
		u32 number, value;
	} rows[] = {
		{ "CR0 without NE", "vmcs.guest-cr0-fixed", 0, cr0 & ~CR0_NE },
		{ "CR0 with PG, without PE", "vmcs.guest-cr0-fixed", 0, cr0 | CR0_PG },
		{ "CR0 with NW, without CD", "vmcs.guest-cr0-fixed", 0, (cr0 | CR0_NW) & ~CR0_CD },
		{ "CR4 without VMXE", "vmcs.guest-cr4-fixed", 4, cr4 & ~CR4_VMXE },
	};
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		judge_about(rows[i].name, NULL);
		snippet_mov(&s, TO_CR, rows[i].number, 1);
		s.v.g.cx = rows[i].value;
		judge_fault(&s, WHERE(rows[i].rule), VEC_GP);
		judge_equal(WHERE(rows[i].rule), "saved", vmread(rows[i].number ? VMCS_guest_cr4 : VMCS_guest_cr0),
			    rows[i].number ? cr4 : cr0);
	}
	end(&s);
}

/* LMSW sets PE and doesn't clear it. */
TEST(cr, real_lmsw, .sdm = CHANGES, .opt = UNRESTRICTED, .rules = "cr.lmsw cr.lmsw-effect exit.info.cr-access" CR_TOLD)
{
	struct snippet s;
	u64 cr0;

	begin(&s, c);
	cr0 = vmread(VMCS_guest_cr0);
	judge_about("PE is L1's, shadow 0", NULL);
	own(CR0_PE, 0);
	snippet_code(&s, CODE("\x0f\x01\xf1"));
	s.v.g.cx = CR0_PE | CR0_MP;
	judge_access(&s, WHERE("cr.lmsw"), EXIT_cr_access, QUAL_LMSW(CR0_PE | CR0_MP));
	snippet_code(&s, CODE("\x0f\x01\xf1"));
	s.v.g.cx = CR0_MP;
	judge_runs(&s, WHERE("cr.lmsw"));
	JUDGE("cr.lmsw-effect", vmread(VMCS_guest_cr0), (cr0 & ~(u64)0xf) | CR0_MP);
	/* For L2 it has been set long ago. */
	judge_about("PE is L1's, shadow 1", NULL);
	own(CR0_PE, CR0_PE);
	for (u32 source = 0; source <= CR0_PE; source++) {
		vmwrite(VMCS_guest_cr0, cr0);
		snippet_code(&s, CODE("\x0f\x01\xf1"));
		s.v.g.cx = source | CR0_MP;
		judge_runs(&s, WHERE("cr.lmsw"));
		JUDGE("cr.lmsw-effect", vmread(VMCS_guest_cr0), (cr0 & ~(u64)0xf) | CR0_MP);
	}
	judge_about("PE is L2's", NULL);
	own(0, 0);
	vmwrite(VMCS_guest_cr0, cr0);
	snippet_code(&s, CODE("\x0f\x01\xf1\x0f\x01\xf2")); /* LMSW CX; LMSW DX */
	s.v.g.cx = CR0_PE | CR0_MP;
	s.v.g.dx = CR0_TS;
	judge_runs(&s, WHERE("cr.lmsw"));
	JUDGE("cr.lmsw-effect", vmread(VMCS_guest_cr0), (cr0 & ~(u64)0xf) | CR0_PE | CR0_TS);
	end(&s);
}

/* A guest in real-address mode that believes to be in protected mode with paging, and the other way round. */
TEST(cr, real_shadow, .sdm = CHANGES, .opt = UNRESTRICTED,
     .rules = "cr.read-shadow cr.masked-kept cr.mov-to-cr0 exit.info.cr-access" CR_TOLD)
{
	const u32 both = CR0_PE | CR0_PG;
	struct snippet s;
	u64 cr0;

	begin(&s, c);
	cr0 = vmread(VMCS_guest_cr0);
	for (u32 shadow = 0;; shadow = both) {
		judge_about("PE and PG are L1's", shadow ? "shadow 1" : "shadow 0");
		own(both, shadow);
		snippet_mov(&s, FROM_CR, 0, 1);
		judge_runs(&s, WHERE("cr.read-shadow"));
		JUDGE("cr.read-shadow", (u32)s.v.g.cx, (u32)cr0 | shadow);
		snippet_mov(&s, TO_CR, 0, 1);
		s.v.g.cx = (u32)(cr0 | shadow) ^ CR0_MP;
		judge_runs(&s, WHERE("cr.mov-to-cr0"));
		JUDGE("cr.masked-kept", vmread(VMCS_guest_cr0), cr0 ^ CR0_MP);
		vmwrite(VMCS_guest_cr0, cr0);
		snippet_mov(&s, TO_CR, 0, 1);
		s.v.g.cx = (u32)(cr0 | shadow) ^ CR0_PE;
		judge_access(&s, WHERE("cr.mov-to-cr0"), EXIT_cr_access, QUAL_TO_CR(0) | QUAL_REGISTER(1));
		if (shadow)
			break;
	}
	end(&s);
}

/* CR3 and CR4 without paging: they are only registers, and no table is looked at. */
TEST(cr, real_free, .sdm = CHANGES, .opt = UNRESTRICTED, .rules = "cr.no-paging")
{
	static const struct {
		const char *name, *bytes;
		u32 field;
		u64 flips;
	} rows[] = {
		/* MOV CRn, ECX; MOV EDX, CRn */
		{ "CR3", "\x0f\x22\xd9\x0f\x20\xda", VMCS_guest_cr3, 0x5fe0 },
		{ "CR4", "\x0f\x22\xe1\x0f\x20\xe2", VMCS_guest_cr4, CR4_PAE },
		{ "CR4", "\x0f\x22\xe1\x0f\x20\xe2", VMCS_guest_cr4, CR4_PGE | CR4_PSE },
		{ "CR0", "\x0f\x22\xc1\x0f\x20\xc2", VMCS_guest_cr0, CR0_PE | CR0_WP },
	};
	struct snippet s;

	begin(&s, c);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u64 value;

		judge_about(rows[i].name, "real mode");
		snippet_mode(&s, SNIP_REAL, false);
		value = vmread(rows[i].field) ^ rows[i].flips;
		snippet_code(&s, rows[i].bytes, 6);
		s.v.g.cx = (u32)value;
		judge_runs(&s, WHERE("cr.no-paging"));
		JUDGE("cr.no-paging", (u32)s.v.g.dx, value);
		JUDGE("cr.no-paging", vmread(rows[i].field), value);
		/* And the next entry has it, too. */
		snippet_code(&s, rows[i].bytes + 3, 3);
		judge_runs(&s, WHERE("cr.no-paging"));
		JUDGE("cr.no-paging", (u32)s.v.g.dx, value);
	}
	end(&s);
}
