// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guests whose paging or width isn't L1's, and guests that change theirs by themselves. SDM: "Unrestricted Guests", "Saving
 * Control Registers, Debug Registers, and MSRs".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define GUESTS "Unrestricted Guests"
#define CODE(text) (text), sizeof(text) - 1
#define GIB 0x40000000ul
#define MARKER 0x5eed1234u
#define PTE_PWA (PTE_P | PTE_W | PTE_U)

#define PG_OFF "\x0f\x20\xc0\x0f\xba\xf0\x1f\x0f\x22\xc0" /* MOV EAX, CR0; BTR EAX, 31; MOV CR0, EAX */
#define PG_ON "\x0f\x20\xc0\x0f\xba\xe8\x1f\x0f\x22\xc0"  /* BTS */

#ifdef __x86_64__
#define PAE_MODE SNIP_32
#else
#define PAE_MODE SNIP_NATIVE
#endif

static void begin(struct snippet *s, struct cpu *c, u32 opt)
{
	judge_begin();
	snippet_begin(s, c, opt);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

/* Paging without PAE: 4-MByte pages, the address itself but for the fourth GiB, which is the first or isn't there. */
static ulong directory_32bit(bool fourth)
{
	u32 *directory = page_alloc();

	for (u32 i = 0; i < (fourth ? 1024 : 768); i++)
		directory[i] = (i < 768 ? i : i - 768) << 22 | (u32)(PTE_PS | PTE_PWA);
	return (ulong)directory;
}

static void paging_32bit(struct snippet *s, u32 opt)
{
	const ulong with = directory_32bit(true), without = directory_32bit(false);

	judge_about("32-bit paging", opt ? "EPT" : NULL);
	snippet_mode(s, PAE_MODE, false);
	vmwrite(VMCS_guest_cr3, with);
	vmwrite_bits(VMCS_guest_cr4, CR4_PAE, CR4_PSE);
	*(u32 *)s->data = MARKER;
	snippet_code(s, CODE("\x8b\x03")); /* MOV EAX, [EBX] */
	s->v.g.bx = 3 * GIB + (ulong)s->data;
	judge_runs(s, WHERE("mode.paging-32bit"));
	JUDGE("mode.paging-32bit", (u32)s->v.g.ax, MARKER);
	/* Another root, by itself: now the fourth GiB isn't there. */
	snippet_code(s, CODE("\x0f\x22\xd9\x8b\x03")); /* MOV CR3, ECX; MOV EAX, [EBX] */
	s->v.g.cx = without;
	s->v.g.bx = 3 * GIB + (ulong)s->data;
	judge_equal(WHERE("mode.paging-32bit"), "fault", snippet_run(s).qualification, 3 * GIB + (ulong)s->data);
	JUDGE("mode.paging-32bit", vmread(VMCS_guest_cr3), without);
	JUDGE("mode.paging-32bit", vmread(VMCS_guest_rip), (ulong)s->code + 3);
}

TEST(mode, paging_32bit, .sdm = "Checks on Guest Control Registers, Debug Registers, and MSRs",
     .rules = "mode.paging-32bit")
{
	struct snippet s;

	begin(&s, c, 0);
	paging_32bit(&s, 0);
	end(&s);
}

TEST(mode, paging_32bit_ept, .sdm = "Checks on Guest Control Registers, Debug Registers, and MSRs", .opt = OPT_ept,
     .rules = "mode.paging-32bit")
{
	struct snippet s;

	begin(&s, c, OPT_ept);
	paging_32bit(&s, OPT_ept);
	end(&s);
}

/* Paging off, a PDPTE in memory changed, paging on: the new one is used, and saved. */
TEST(mode, pae_off_on, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.no-paging mode.pae-load cr.pdptes-saved")
{
	struct snippet s;
	u64 *root, first;

	begin(&s, c, UNRESTRICTED);
	snippet_mode(&s, PAE_MODE, false);
	root = page_alloc();
	memcpy(root, (void *)(ulong)vmread(VMCS_guest_cr3), 32);
	first = root[0];
	root[3] = 0;
	vmwrite(VMCS_guest_cr3, (ulong)root);
	vmwrite(VMCS_guest_pdpte3, 0);
	*(u32 *)s.data = MARKER;
	/* And MOV [ESI], EDI; MOV [ESI + 4], EDX; MOV ECX, CR0 in between; MOV EAX, [EBX] behind. */
	snippet_code(&s, CODE(PG_OFF "\x89\x3e\x89\x56\x04\x0f\x20\xc1" PG_ON "\x8b\x03"));
	s.v.g.si = (ulong)&root[3];
	s.v.g.di = (u32)first;
	s.v.g.dx = (u32)(first >> 32);
	s.v.g.bx = 3 * GIB + (ulong)s.data;
	judge_runs(&s, WHERE("mode.pae-load"));
	JUDGE("mode.no-paging", (u32)s.v.g.cx & (CR0_PG | CR0_PE), CR0_PE);
	JUDGE("mode.pae-load", (u32)s.v.g.ax, MARKER);
	JUDGE("cr.pdptes-saved", vmread(VMCS_guest_pdpte3), first);
	end(&s);
}

/* From PAE paging to 32-bit paging and back, by itself: both have the first GiB in the fourth. */
TEST(mode, paging_kinds, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.paging-kinds cr.pdptes-saved")
{
	const ulong directory = directory_32bit(true);
	struct snippet s;
	u64 *root;

	begin(&s, c, UNRESTRICTED);
	snippet_mode(&s, PAE_MODE, false);
	root = page_alloc();
	memcpy(root, (void *)(ulong)vmread(VMCS_guest_cr3), 32);
	root[3] = root[0];
	*(u32 *)s.data = MARKER;
	/* MOV CR4, ESI; MOV CR3, EDI; paging on; MOV ECX, [EBX]; paging off; MOV CR4, EDX; MOV CR3, EBP; paging on; MOV EAX, [EBX] */
	snippet_code(&s, CODE(PG_OFF "\x0f\x22\xe6\x0f\x22\xdf" PG_ON "\x8b\x0b" PG_OFF "\x0f\x22\xe2\x0f\x22\xdd" PG_ON
				     "\x8b\x03"));
	s.v.g.dx = (ulong)vmread(VMCS_guest_cr4);
	s.v.g.si = (s.v.g.dx & ~(ulong)CR4_PAE) | CR4_PSE;
	s.v.g.di = directory;
	s.v.g.bp = (ulong)root;
	s.v.g.bx = 3 * GIB + (ulong)s.data;
	judge_runs(&s, WHERE("mode.paging-kinds"));
	JUDGE("mode.paging-kinds", (u32)s.v.g.cx, MARKER);
	JUDGE("mode.paging-kinds", (u32)s.v.g.ax, MARKER);
	JUDGE("mode.paging-kinds", vmread(VMCS_guest_cr4) & CR4_PAE, CR4_PAE);
	JUDGE("mode.paging-kinds", vmread(VMCS_guest_cr3), (ulong)root);
	for (u32 i = 0; i < 4; i++)
		JUDGE("cr.pdptes-saved", vmread(VMCS_guest_pdpte0 + 2 * i), root[i]);
	/* And it ends in 32-bit paging. */
	snippet_code(&s, CODE(PG_OFF "\x0f\x22\xe6\x0f\x22\xdf" PG_ON "\x8b\x0b"));
	s.v.g.si = ((ulong)vmread(VMCS_guest_cr4) & ~(ulong)CR4_PAE) | CR4_PSE;
	s.v.g.di = directory;
	s.v.g.bx = 3 * GIB + (ulong)s.data;
	judge_runs(&s, WHERE("mode.paging-kinds"));
	JUDGE("mode.paging-kinds", (u32)s.v.g.cx, MARKER);
	JUDGE("mode.paging-kinds", vmread(VMCS_guest_cr4) & CR4_PAE, 0);
	JUDGE("mode.paging-kinds", vmread(VMCS_guest_cr3), directory);
	end(&s);
}

#ifdef __x86_64__
/* INC EAX, which in 64-bit mode is a prefix; and MOV EAX, [EBX] of an address with nonsense above 31. */
static void judge_narrow(struct snippet *s, enum snip_mode mode)
{
	judge_about(snippet_name(mode), NULL);
	snippet_mode(s, mode, false);
	snippet_code(s, CODE("\x40\x90"));
	s->v.g.ax = 0x1000;
	judge_runs(s, WHERE("mode.compatibility"));
	JUDGE("mode.compatibility", (u32)s->v.g.ax, mode == SNIP_NATIVE ? 0x1000 : 0x1001);
	JUDGE("exit.save.lma-control", vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest,
	      mode == SNIP_NATIVE || mode == SNIP_COMPAT ? VMENTRY_ia32e_mode_guest : 0);
	if (mode == SNIP_NATIVE)
		return;
	*(u32 *)s->data = MARKER;
	if (mode == SNIP_16)
		snippet_code(s, CODE("\x66\x67\x8b\x03"));
	else
		snippet_code(s, CODE("\x8b\x03"));
	s->v.g.bx = (ulong)s->data | 0x5a00000000;
	judge_runs(s, WHERE("mode.compatibility"));
	JUDGE("mode.compatibility", (u32)s->v.g.ax, MARKER);
}

TEST(mode, compatibility, .sdm = "IA-32e Mode Guests", .flags = TEST_AMD64,
     .rules = "mode.compatibility exit.save.lma-control")
{
	struct snippet s;

	begin(&s, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		judge_narrow(&s, mode);
	end(&s);
}

static void load_efer(struct snippet *s, u64 efer)
{
	vmwrite(VMCS_guest_ia32_efer, efer);
	vmwrite(VMCS_host_ia32_efer, msr_read(MSR_EFER));
	s->v.ctl[CTL_VMENTRY] |= VMENTRY_load_ia32_efer;
	s->v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_efer | VMEXIT_save_ia32_efer;
	vcpu_write_controls(&s->v);
}

/* What the exit says about IA-32e mode: the control of the next entry, EFER and CR0. */
static void judge_long(bool on, const char *rule)
{
	judge_equal(WHERE("exit.save.lma-control"), "the entry control",
		    vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest, on ? VMENTRY_ia32e_mode_guest : 0);
	judge_equal(WHERE(rule), "CR0.PG", vmread(VMCS_guest_cr0) & CR0_PG, on ? CR0_PG : 0);
	judge_equal(WHERE(rule), "EFER", vmread(VMCS_guest_ia32_efer) & (EFER_LMA | EFER_LME),
		    on ? EFER_LMA | EFER_LME : EFER_LME);
}

/* Out of IA-32e mode and into it, by CR0.PG in a compatibility-mode segment. */
TEST(mode, long_off_on, .sdm = "Saving Control Registers, Debug Registers, and MSRs",
     .needs = "load IA32_EFER; load IA32_EFER at VM exit; save IA32_EFER", .opt = UNRESTRICTED, .flags = TEST_AMD64,
     .rules = "exit.save.lma-control mode.long-leave mode.long-enter")
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED);
	load_efer(&s, msr_read(MSR_EFER));
	snippet_mode(&s, SNIP_COMPAT, false);
	judge_about("paging off", NULL);
	snippet_code(&s, CODE(PG_OFF));
	judge_runs(&s, WHERE("mode.long-leave"));
	judge_long(false, "mode.long-leave");
	judge_about("paging on", NULL);
	snippet_code(&s, CODE(PG_ON));
	judge_runs(&s, WHERE("mode.long-enter"));
	judge_long(true, "mode.long-enter");
	JUDGE("mode.long-enter", vmread(VMCS_guest_cs_access_rights), AR_CODE32);
	judge_about("paging off and on", NULL);
	snippet_code(&s, CODE(PG_OFF PG_ON));
	judge_runs(&s, WHERE("mode.long-enter"));
	judge_long(true, "mode.long-enter");
	/* A far jump to 64 bits: JMP SEL_CODE: behind it. There, REX.W INC of a register with 64 bits. */
	judge_about("paging off and on, 64-bit code", NULL);
	snippet_code(&s, CODE(PG_OFF PG_ON "\xea\x00\x00\x00\x00\x08\x00\x48\xff\xc3"));
	*(u32 *)(s.code + sizeof(PG_OFF PG_ON)) = (u32)(ulong)s.code + (u32)sizeof(PG_OFF PG_ON) + 6;
	s.v.g.bx = 0xffffffff;
	judge_runs(&s, WHERE("mode.long-enter"));
	judge_long(true, "mode.long-enter");
	JUDGE("mode.long-enter", vmread(VMCS_guest_cs_access_rights), AR_CODE64);
	JUDGE("mode.long-enter", s.v.g.bx, 0x100000000);
	end(&s);
}

/* In 64-bit mode clearing CR0.PG is #GP, unrestricted or not. */
TEST(mode, long_off_64bit, .sdm = "Changes to Instruction Behavior in VMX Non-Root Operation", .opt = UNRESTRICTED,
     .flags = TEST_AMD64, .rules = "mode.long-leave-64bit")
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED);
	judge_about("MOV to CR0", NULL);
	snippet_mov(&s, TO_CR, 0, 1);
	s.v.g.cx = (ulong)vmread(VMCS_guest_cr0) & ~(ulong)CR0_PG;
	judge_fault(&s, WHERE("mode.long-leave-64bit"), VEC_GP);
	/* And so is clearing CR4.PAE. */
	judge_about("MOV to CR4", NULL);
	snippet_mov(&s, TO_CR, 4, 1);
	s.v.g.cx = (ulong)vmread(VMCS_guest_cr4) & ~(ulong)CR4_PAE;
	judge_fault(&s, WHERE("mode.long-leave-64bit"), VEC_GP);
	end(&s);
}
#define WRMSR_LME_ON "\x0f\x32\x0f\xba\xe8\x08\x0f\x30"  /* RDMSR; BTS EAX, 8; WRMSR */
#define WRMSR_LME_OFF "\x0f\x32\x0f\xba\xf0\x08\x0f\x30" /* BTR */

static void judge_efer(const char *what, u64 efer, u64 pg)
{
	judge_about(what, NULL);
	JUDGE("mode.efer-lme", vmread(VMCS_guest_ia32_efer) & (EFER_LMA | EFER_LME), efer);
	JUDGE("mode.efer-lme", vmread(VMCS_guest_cr0) & CR0_PG, pg);
	JUDGE("exit.save.lma-control", vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest,
	      efer & EFER_LMA ? VMENTRY_ia32e_mode_guest : 0);
}

/* From 32-bit protected mode without paging to IA-32e mode and back, as a boot loader goes, by L2's own WRMSR. */
TEST(mode, efer_lme, .sdm = GUESTS,
     .needs = "use MSR bitmaps; load IA32_EFER; load IA32_EFER at VM exit; save IA32_EFER", .opt = UNRESTRICTED,
     .flags = TEST_AMD64, .rules = "mode.efer-lme exit.save.lma-control")
{
	struct snippet s;

	begin(&s, c, UNRESTRICTED);
	s.v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
	load_efer(&s, msr_read(MSR_EFER) & ~(u64)(EFER_LMA | EFER_LME));
	snippet_mode(&s, SNIP_32, false);
	vmwrite_bits(VMCS_guest_cr0, CR0_PG, 0);
	vmwrite(VMCS_guest_cr3, s.v.l2_root);
	snippet_code(&s, CODE(WRMSR_LME_ON));
	s.v.g.cx = MSR_EFER;
	judge_runs(&s, WHERE("mode.efer-lme"));
	judge_efer("WRMSR that sets LME", EFER_LME, 0);
	snippet_code(&s, CODE(PG_ON));
	judge_runs(&s, WHERE("mode.efer-lme"));
	judge_efer("paging on", EFER_LME | EFER_LMA, CR0_PG);
	judge_about("WRMSR that clears LME", "paging on");
	snippet_code(&s, CODE("\x0f\x30"));
	s.v.g.cx = MSR_EFER;
	s.v.g.ax = (u32)(vmread(VMCS_guest_ia32_efer) & ~(u64)EFER_LME);
	s.v.g.dx = 0;
	judge_fault(&s, WHERE("mode.efer-lme"), VEC_GP);
	snippet_code(&s, CODE(PG_OFF WRMSR_LME_OFF));
	s.v.g.cx = MSR_EFER;
	judge_runs(&s, WHERE("mode.efer-lme"));
	judge_efer("paging off, WRMSR that clears LME", 0, 0);
	/* And with LME at 0, paging is PAE paging. */
	snippet_code(&s, CODE(PG_ON));
	vmwrite(VMCS_guest_cr3, s.pae_root);
	judge_runs(&s, WHERE("mode.efer-lme"));
	judge_efer("paging on, LME 0", 0, CR0_PG);
	end(&s);
}
#endif
