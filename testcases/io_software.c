// SPDX-License-Identifier: BSD-2-Clause
/*
 * An I/O instruction that an L0 may come to emulate although the CPU has exited for another one (CVE-2020-2732): L2 reads a
 * device's register, which an L0 emulates, after it has put another page in place of its code. With the old translation
 * still in use the CPU reads the register, and who looks for the instruction in memory finds OUT. Either is right, but OUT
 * must exit as L1's bitmap says.
 */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "testcases/io.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define PORT_MASK2 0xa1 /* the second 8259's interrupt masks: reads as it was written */
#define PTE_FLAGS (PTE_P | PTE_W | PTE_U | 0x60)
#define AT_OUT 4u /* offsets */
#define AT_VMCALL 6u

/* MOV from [DI], so that the L0 knows the device; MOV to [SI], MOV from [DI], VMCALL. And four times NOP, OUT, VMCALL. */
static const u8 code_before[] = { 0x8b, 0x1f, 0x89, 0x06, 0x8b, 0x07, 0x0f, 0x01, 0xc1 };
static const u8 code_after[] = { 0x90, 0x90, 0x90, 0x90, OP_OUT_IMMEDIATE, PORT_MASK2, 0x0f, 0x01, 0xc1 };

TEST(io, by_software, .sdm = "Instructions That Cause VM Exits Conditionally", .needs = "use I/O bitmaps",
     .rules = "io.by-software")
{
	const struct io_insn out = { .opcode = OP_OUT_IMMEDIATE, .port = PORT_MASK2 };
	u8 *pages[2] = { page_alloc(), page_alloc() }, *bitmaps[2] = { page_alloc(), page_alloc() };
	u8 masks = in8(PORT_MASK2);
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	memcpy(pages[0], code_before, sizeof(code_before));
	memcpy(pages[1], code_after, sizeof(code_after));
	bitmaps[0][PORT_MASK2 / 8] = 1u << PORT_MASK2 % 8;
	vmwrite(VMCS_io_bitmap_a_address, (ulong)bitmaps[0]);
	vmwrite(VMCS_io_bitmap_b_address, (ulong)bitmaps[1]);
	s.v.ctl[CTL_PROC] = PROC_use_io_bitmaps;
	vcpu_write_controls(&s.v);
	s.v.l2_window[0] = (ulong)pages[0] | PTE_FLAGS;
	snippet_code(&s, "", 0);
	vmwrite(VMCS_guest_rip, L2_WINDOW);
	s.v.g.si = (ulong)&s.v.l2_window[0];
	s.v.g.di = IOAPIC_PAGE;
	s.v.g.ax = (ulong)pages[1] | PTE_FLAGS;
	expect_env((u8)s.v.g.ax != masks);
	e = snippet_run(&s);
	JUDGE("io.by-software", in8(PORT_MASK2), masks);
	out8(PORT_MASK2, masks);
	if (e.reason == EXIT_io) {
		JUDGE("io.by-software", e.qualification, io_qualification(SNIP_NATIVE, &out));
		JUDGE("io.by-software", e.ip, L2_WINDOW + AT_OUT);
	} else {
		JUDGE("io.by-software", e.reason, EXIT_vmcall);
		JUDGE("io.by-software", e.ip, L2_WINDOW + AT_VMCALL);
	}
	judge_done();
}
