// SPDX-License-Identifier: BSD-2-Clause
/*
 * L1 writes to a VMCS's data by memory, which it shouldn't: what the data is then is open, and no check here asks for it. But VMX
 * instructions go on to succeed or to fail as such, new values can be written, and the host lives.
 */
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "testcases/judge.h"
#include "x86/msr.h"

#define SEEDS 12u
#define REVISION ((u32)vmx_caps.basic & 0x7fffffff)
#define HEADER_WORDS 2u

#define for_each_field(f) for (const struct vmcs_info *f = vmcs_table; f < vmcs_table + vmcs_table_count; f++)

/* Ones, zeros, one bit in each word, or random. The revision stays. */
static void spoil_region(u64 pa, u32 seed, struct rng *r)
{
	volatile u32 *word = (volatile u32 *)(ulong)pa;

	for (u32 n = HEADER_WORDS; n < PAGE_SIZE / 4; n++)
		word[n] = seed == 0 ? ~0u : seed == 1 ? 0 : seed == 2 ? 1u << n % 32 : (u32)rng_next(r);
}

static void read_all(void)
{
	for_each_field(f)
	{
		ulong value = 0;
		struct outcome o = vmread_raw(f->encoding, &value);

		judge_about(f->name, "VMREAD");
		JUDGE("vmcs.memory-opaque",
		      o.kind == OUT_OK || (o.kind == OUT_FAIL_VALID && o.number == VMXERR_unsupported_component), true);
	}
}

/* Whatever was there: what is written now is there. */
static void write_all(void)
{
	for_each_field(f)
	{
		ulong value = f->encoding & 0xff, got = 0;

		/* Access rights don't keep all bits. */
		if (f->area == AREA_EXIT || vmx_read_raw(f->encoding, &got) ||
		    (f->encoding >= VMCS_guest_es_access_rights && f->encoding <= VMCS_guest_tr_access_rights))
			continue;
		judge_about(f->name, "VMWRITE");
		JUDGE("insn.vmwrite.keeps", vmwrite_raw(f->encoding, value).kind, OUT_OK);
		JUDGE("insn.vmwrite.keeps", vmread_raw(f->encoding, &got).kind, OUT_OK);
		JUDGE("insn.vmwrite.keeps", got, value);
	}
}

static bool entry_failed(u32 raw)
{
	struct outcome o = vmx_outcome(raw);

	return o.kind == OUT_FAIL_VALID &&
	       (o.number == VMXERR_entry_invalid_control_fields || o.number == VMXERR_entry_invalid_host_state ||
		o.number == VMXERR_vmlaunch_nonclear_vmcs || o.number == VMXERR_vmresume_nonlaunched_vmcs ||
		o.number == VMXERR_vmresume_after_vmxoff);
}

TEST(vmcs, memory_written, .sdm = "Software Use of Virtual-Machine Control Structures",
     .rules = "vmcs.memory-opaque insn.vmwrite.keeps")
{
	u64 pa = (ulong)page_alloc();
	struct rng r;

	judge_begin();
	rng_seed(&r, 11);
	for (u32 seed = 0; seed < SEEDS; seed++) {
		*(volatile u32 *)(ulong)pa = REVISION;
		expect_out(vmclear(pa), out_ok());
		spoil_region(pa, seed, &r);
		judge_about("VMPTRLD", NULL);
		JUDGE("vmcs.memory-opaque", vmptrld(pa).kind, OUT_OK);
		read_all();
		judge_about("VMLAUNCH or VMRESUME", NULL);
		JUDGE("vmcs.memory-opaque", entry_failed(vmx_launch_raw()), true);
		JUDGE("vmcs.memory-opaque", entry_failed(vmx_resume_raw()), true);
		/* While it's current, too: the CPU may have taken it already, or not. */
		spoil_region(pa, seed + 1, &r);
		read_all();
		write_all();
		JUDGE("vmcs.memory-opaque", entry_failed(vmx_launch_raw()), true);
		judge_about("VMCLEAR", NULL);
		JUDGE("vmcs.memory-opaque", vmclear(pa).kind, OUT_OK);
	}
	judge_done();
}
