// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/msrs.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "x86/cr.h"

void msrs_begin(struct msrs *m, struct cpu *c, bool bitmaps)
{
	judge_begin();
	snippet_begin(&m->s, c, 0);
	m->bitmap = page_alloc();
	if (!bitmaps)
		return;
	vmwrite(VMCS_msr_bitmap_address, (ulong)m->bitmap);
	m->s.v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	vcpu_write_controls(&m->s.v);
}

void msrs_put(struct msrs *m, u32 msr, bool write, u64 value)
{
	snippet_code(&m->s, write ? "\x0f\x30" : "\x0f\x32", 2);
	m->s.v.g.cx = msr;
	if (write) {
		m->s.v.g.ax = (u32)value;
		m->s.v.g.dx = (u32)(value >> 32);
	}
}

struct exit msrs_access(struct msrs *m, u32 msr, bool write, u64 value)
{
	msrs_put(m, msr, write, value);
	return snippet_run(&m->s);
}

bool msrs_exited(const struct exit *e, bool write)
{
	return e->entry.kind == OUT_OK && e->reason == (write ? EXIT_wrmsr : EXIT_rdmsr);
}

bool msrs_executed(struct msrs *m, const struct exit *e)
{
	return snippet_passed(&m->s, e) || snippet_faulted(e, VEC_GP);
}
