// SPDX-License-Identifier: BSD-2-Clause
/*
 * L1's own CR0 and CR4 in VMX root operation: which values are #GP(0), and that all others are taken. A current VMCS with masks and
 * shadows makes no difference. SDM: "Restrictions on VMX Operation". And outside of VMX operation, where a hypervisor below has to keep
 * NE and VMXE at 1 all the same, so that it's the one who judges L1's values.
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/vmx.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define FIXED "Restrictions on VMX Operation"
#define BITS (sizeof(ulong) * 8)
#define CR0_AM 0x40000u

/* A VMCS whose guest has run and whose masks and shadows are the contrary of all that L1 does. */
static void begin(struct snippet *s, struct cpu *c)
{
	struct exit e;

	judge_begin();
	snippet_begin(s, c, 0);
	vmwrite(VMCS_cr0_guest_host_mask, ~0ul);
	vmwrite(VMCS_cr4_guest_host_mask, ~0ul);
	snippet_code(s, "", 0);
	e = snippet_run(s);
	expect(snippet_passed(s, &e));
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

static void judge_cr0(const char *name, ulong value, bool refused)
{
	const ulong old = read_cr0();
	u32 raw;

	judge_about(name, NULL);
	raw = write_cr0_raw(value);
	JUDGE("vmcs.root-cr0-fixed", raw != 0, refused);
	JUDGE("vmcs.root-cr0-fixed", read_cr0(), refused ? old : value);
	write_cr0(old);
}

TEST(cr, root_cr0, .sdm = FIXED, .rules = "vmcs.root-cr0-fixed")
{
	const ulong cr0 = read_cr0();
	struct snippet s;

	begin(&s, c);
	judge_cr0("NE cleared", cr0 & ~(ulong)CR0_NE, true);
	judge_cr0("NE cleared, TS changed", (cr0 & ~(ulong)CR0_NE) ^ CR0_TS, true);
	judge_cr0("PE cleared", cr0 & ~(ulong)CR0_PE, true);
	judge_cr0("NW without CD", (cr0 | CR0_NW) & ~(ulong)CR0_CD, true);
	if (BITS == 64)
		judge_cr0("bit 63", cr0 | 1ul << (BITS - 1), true);
	judge_cr0("TS", cr0 ^ CR0_TS, false);
	judge_cr0("MP, EM", cr0 ^ (CR0_MP | CR0_EM), false);
	judge_cr0("WP", cr0 ^ CR0_WP, false);
	judge_cr0("AM", cr0 ^ CR0_AM, false);
	judge_cr0("all that is free", cr0 ^ (CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM), false);
	end(&s);
}

static void judge_cr4(const char *name, ulong value, bool refused)
{
	const ulong old = read_cr4();
	u32 raw;

	judge_about(name, NULL);
	raw = write_cr4_raw(value);
	JUDGE("vmcs.root-cr4-fixed", raw != 0, refused);
	JUDGE("vmcs.root-cr4-fixed", read_cr4(), refused ? old : value);
	write_cr4(old);
}

TEST(cr, root_cr4, .sdm = FIXED, .rules = "vmcs.root-cr4-fixed")
{
	const u32 free = (CR4_VME | CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE) & (u32)vmx_caps.cr4_fixed1;
	const ulong cr4 = read_cr4();
	struct snippet s;

	begin(&s, c);
	judge_cr4("VMXE cleared", cr4 & ~(ulong)CR4_VMXE, true);
	judge_cr4("VMXE cleared, TSD changed", (cr4 & ~(ulong)CR4_VMXE) ^ CR4_TSD, true);
	for (u32 bit = 0; bit < BITS; bit++)
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			judge_cr4("a bit that is fixed to 0", cr4 | 1ul << bit, true);
	for (u32 rest = free; rest; rest &= rest - 1)
		judge_cr4("a bit that is free", cr4 ^ (rest & -rest), false);
	judge_cr4("all that is free", cr4 ^ free, false);
	end(&s);
}

/* ---- Outside of VMX operation ---- */

#define MOVES "MOV-Move to/from Control Registers"

struct outside {
	const char *name;
	ulong value;
	bool refused;
	ulong reads; /* afterwards; 0: the value */
};

/* CR0 without NE, CR4 without VMXE, so that a hypervisor below sees each write. */
static void judge_outside(const struct outside *row, bool is_cr4)
{
	const ulong old = is_cr4 ? read_cr4() : read_cr0();
	u32 raw;
	ulong now;

	raw = is_cr4 ? write_cr4_raw(row->value) : write_cr0_raw(row->value);
	now = is_cr4 ? read_cr4() : read_cr0();
	if (is_cr4)
		write_cr4(old);
	else
		write_cr0(old);
	judge_about(is_cr4 ? "CR4 without VMXE" : "CR0 without NE", row->name);
	JUDGE("cr.outside", raw != 0, row->refused);
	JUDGE("cr.outside", now, row->refused ? old : row->reads ? row->reads : row->value);
}

TEST(cr, outside_cr0, .sdm = MOVES, .rules = "cr.outside")
{
	const ulong cr0 = read_cr0() & ~(ulong)CR0_NE;
	const struct outside rows[] = {
		{ "nothing else", cr0, false, 0 },
		{ "ET, which stays", cr0 & ~(ulong)CR0_ET, false, cr0 },
		{ "reserved bits, which are ignored", cr0 | 0x1ffaffc0, false, cr0 },
		{ "TS", cr0 ^ CR0_TS, false, 0 },
		{ "MP, EM", cr0 ^ (CR0_MP | CR0_EM), false, 0 },
		{ "WP", cr0 ^ CR0_WP, false, 0 },
		{ "AM", cr0 ^ CR0_AM, false, 0 },
		{ "CD", cr0 | CR0_CD, false, 0 },
		{ "CD and NW", cr0 | CR0_CD | CR0_NW, false, 0 },
		{ "NW without CD", cr0 | CR0_NW, true, 0 },
		{ "PG without PE", cr0 & ~(ulong)CR0_PE, true, 0 },
		{ "bit 63", cr0 | 1ul << (BITS - 1), true, 0 },
	};

	judge_begin();
	if (!expect(vmx_off(c).kind == OUT_OK))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(rows) - (BITS == 32); i++)
		judge_outside(&rows[i], false);
	expect(vmx_on(c).kind == OUT_OK);
	judge_done();
}

/* In 64-bit mode clearing PG is #GP; elsewhere L1 goes on at the same addresses. */
TEST(cr, outside_cr0_pg, .sdm = MOVES, .rules = "cr.outside")
{
	const struct outside row = { "PG", read_cr0() & ~(ulong)(CR0_NE | CR0_PG), BITS == 64, 0 };

	judge_begin();
	if (!expect(vmx_off(c).kind == OUT_OK))
		return;
	judge_outside(&row, false);
	expect(vmx_on(c).kind == OUT_OK);
	judge_done();
}

TEST(cr, outside_cr4, .sdm = MOVES, .rules = "cr.outside")
{
	const ulong cr4 = read_cr4() & ~(ulong)CR4_VMXE;
	const ulong free = (CR4_VME | CR4_TSD | CR4_DE | CR4_PSE | CR4_PGE) & (ulong)vmx_caps.cr4_fixed1;
	const struct outside rows[] = {
		{ "nothing else", cr4, false, 0 },         { "all that is free", cr4 ^ free, false, 0 },
		{ "bit 15", cr4 | 1u << 15, true, 0 },     { "bit 31", cr4 | 1ul << (BITS - 1), true, 0 },
#ifdef __x86_64__
		{ "PAE", cr4 & ~(ulong)CR4_PAE, true, 0 }, { "LA57", cr4 ^ CR4_LA57, true, 0 },
#else
		{ "PCIDE", cr4 | CR4_PCIDE, true, 0 },
#endif
	};

	judge_begin();
	if (!expect(vmx_off(c).kind == OUT_OK))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		judge_outside(&rows[i], true);
	expect(vmx_on(c).kind == OUT_OK);
	judge_done();
}

#ifndef __x86_64__
/*
 * What loads PDPTEs does so too if NE or VMXE is changed with it: the fourth GiB becomes the first. With `wrong` bits in that PDPTE the
 * MOV is #GP(0) and nothing has changed.
 */
static void judge_pdptes(ulong cr0, ulong cr4, u64 wrong)
{
	static volatile u32 marker = 0x3a7c19e5;
	const ulong old_cr0 = read_cr0(), old_cr3 = read_cr3(), old_cr4 = read_cr4();
	u64 *root = page_alloc();
	ulong value;
	u32 raw;

	memcpy(root, (void *)old_cr3, 32);
	root[3] = 0;
	write_cr3((ulong)root);
	root[3] = root[0] | wrong;
	/* Only the one that changes: on some hosts any MOV to CR0 loads PDPTEs. */
	raw = cr4 == old_cr4 ? write_cr0_raw(cr0) : write_cr4_raw(cr4);
	value = try_read((volatile u32 *)(0xc0000000ul + (ulong)&marker));
	root[3] = root[0];
	write_cr4(old_cr4);
	write_cr0(old_cr0);
	write_cr3(old_cr3);
	JUDGE("cr.outside-pdptes", raw != 0, wrong != 0);
	JUDGE("cr.outside-pdptes", value == marker, wrong == 0);
}

TEST(cr, outside_pdptes, .sdm = "PDPTE Registers", .flags = TEST_I386, .rules = "cr.outside-pdptes")
{
	static const u64 wrong[] = { 0, PTE_W, PTE_PS, 1ull << 62 };
	const ulong cr0 = read_cr0(), cr4 = read_cr4();

	judge_begin();
	if (!expect(vmx_off(c).kind == OUT_OK))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		judge_about("CR4 without VMXE: PGE", wrong[i] ? "reserved bit" : NULL);
		judge_pdptes(cr0, cr4 ^ (CR4_VMXE | CR4_PGE), wrong[i]);
		judge_about("CR4 without VMXE: PSE", wrong[i] ? "reserved bit" : NULL);
		judge_pdptes(cr0, cr4 ^ (CR4_VMXE | CR4_PSE), wrong[i]);
		judge_about("CR0 without NE: CD", wrong[i] ? "reserved bit" : NULL);
		judge_pdptes(cr0 ^ (CR0_NE | CR0_CD), cr4, wrong[i]);
	}
	expect(vmx_on(c).kind == OUT_OK);
	judge_done();
}
#endif
