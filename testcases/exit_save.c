// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a VM exit saves: L2 changes a register by an instruction, then calls; L1 reads the field. SDM: "Saving Guest
 * State".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define REGISTERS "Saving Control Registers, Debug Registers, and MSRs"
#define SEGMENTS "Saving Segment Registers and Descriptor-Table Registers"
#define NON_REGISTER "Saving Non-Register State"
#define DR7_RW0 0x10000u
#define EFER_SCE 1u
#define BLOCKED_STI 1u
#define BLOCKED_MOV_SS 2u

#define CODE(text) (text), sizeof(text) - 1
#define MOV_CR0_AX CODE("\x0f\x22\xc0")
#define MOV_CR3_AX CODE("\x0f\x22\xd8")
#define MOV_CR4_AX CODE("\x0f\x22\xe0")
#define MOV_DR7_AX CODE("\x0f\x23\xf8")
#define MOV_ES_AX CODE("\x8e\xc0")
#define MOV_SS_AX CODE("\x8e\xd0")
#define MOV_SS_AX_NOP CODE("\x8e\xd0\x90")
#define MOV_FS_AX CODE("\x8e\xe0")
#define MOV_GS_AX CODE("\x8e\xe8")
#define LLDT_AX CODE("\x0f\x00\xd0")
#define LGDT_AX CODE("\x0f\x01\x10")
#define LIDT_AX CODE("\x0f\x01\x18")
#define WRMSR CODE("\x0f\x30")
#define STI CODE("\xfb")
#define LOOP CODE("\xb9\x00\x00\x01\x00\xe2\xfe") /* 65,536 turns */

static void begin(struct snippet *s, struct cpu *c)
{
	judge_begin();
	snippet_begin(s, c, 0);
	snippet_mode(s, SNIP_NATIVE, false);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

#define SAVES(name_, ...) TEST_WITH(exit, name_, struct snippet, s, begin(s, c), end(s), __VA_ARGS__)

/* L2 executes these bytes with this accumulator. */
static void change(struct snippet *s, const char *bytes, size_t length, ulong ax)
{
	struct exit e;

	snippet_code(s, bytes, (u32)length);
	s->v.g.ax = ax;
	e = snippet_run(s);
	expect(snippet_passed(s, &e));
}

static void change_msr(struct snippet *s, u32 msr, u64 value)
{
	struct exit e;

	snippet_code(s, WRMSR);
	s->v.g.cx = msr;
	s->v.g.ax = (u32)value;
	s->v.g.dx = (u32)(value >> 32);
	e = snippet_run(s);
	expect(snippet_passed(s, &e));
}

/* No MSR exits. */
static void begin_msr(struct snippet *s, struct cpu *c, u32 vmexit)
{
	begin(s, c);
	s->v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	s->v.ctl[CTL_VMEXIT] |= vmexit;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
}

SAVES(save_registers, .sdm = REGISTERS, .rules = "exit.save.control-registers")
{
	const u64 cr0 = read_cr0(), cr4 = read_cr4();
	void *root = page_alloc();

	change(s, MOV_CR0_AX, (ulong)cr0 ^ CR0_TS);
	JUDGE("exit.save.control-registers", vmread(VMCS_guest_cr0), cr0 ^ CR0_TS);
	change(s, MOV_CR4_AX, (ulong)cr4 ^ CR4_DE);
	JUDGE("exit.save.control-registers", vmread(VMCS_guest_cr4), cr4 ^ CR4_DE);
	/* The first CPUs with VMX let no guest load CR3 by itself. */
	if (!(vmread(VMCS_primary_proc_based_controls) & PROC_cr3_load_exiting)) {
		memcpy(root, (void *)(ulong)s->v.l2_root, sizeof(ulong) == 8 ? PAGE_SIZE : 32);
		change(s, MOV_CR3_AX, (ulong)root);
		JUDGE("exit.save.control-registers", vmread(VMCS_guest_cr3), (ulong)root);
	}
}

SAVES(save_debug, .sdm = REGISTERS, .needs = "save debug controls", .rules = "exit.save.dr7")
{
	s->v.ctl[CTL_VMEXIT] |= VMEXIT_save_debug_controls;
	s->v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	vcpu_write_controls(&s->v);
	change(s, MOV_DR7_AX, DR7_FIXED | DR7_RW0);
	JUDGE("exit.save.dr7", vmread(VMCS_guest_dr7), DR7_FIXED | DR7_RW0);
	change(s, MOV_DR7_AX, DR7_FIXED);
	JUDGE("exit.save.dr7", vmread(VMCS_guest_dr7), DR7_FIXED);
}

TEST(exit, save_sysenter, .sdm = REGISTERS, .needs = "use MSR bitmaps", .rules = "exit.save.sysenter")
{
	struct snippet s;

	begin_msr(&s, c, 0);
	change_msr(&s, MSR_SYSENTER_CS, 0x4321);
	JUDGE("exit.save.sysenter", vmread(VMCS_guest_sysenter_cs), 0x4321);
	change_msr(&s, MSR_SYSENTER_ESP, 0x12340000);
	JUDGE("exit.save.sysenter", vmread(VMCS_guest_sysenter_esp), 0x12340000);
	change_msr(&s, MSR_SYSENTER_EIP, 0x7654321);
	JUDGE("exit.save.sysenter", vmread(VMCS_guest_sysenter_eip), 0x7654321);
	end(&s);
}

TEST(exit, save_pat, .sdm = REGISTERS, .needs = "use MSR bitmaps; save IA32_PAT; load IA32_PAT at VM exit",
     .rules = "exit.save.pat")
{
	const u64 pat = msr_read(MSR_PAT), other = pat ^ 1ull << 56;
	struct snippet s;

	begin_msr(&s, c, VMEXIT_save_ia32_pat | VMEXIT_load_ia32_pat);
	vmwrite(VMCS_host_ia32_pat, pat);
	vmwrite(VMCS_guest_ia32_pat, 0);
	change_msr(&s, MSR_PAT, other);
	JUDGE("exit.save.pat", vmread(VMCS_guest_ia32_pat), other);
	s.v.ctl[CTL_VMEXIT] &= ~(u32)VMEXIT_save_ia32_pat;
	vcpu_write_controls(&s.v);
	change_msr(&s, MSR_PAT, pat);
	JUDGE("exit.save.pat", vmread(VMCS_guest_ia32_pat), other);
	end(&s);
}

TEST(exit, save_efer, .sdm = REGISTERS, .needs = "use MSR bitmaps; save IA32_EFER; load IA32_EFER at VM exit",
     .rules = "exit.save.efer")
{
	const u64 efer = msr_read(MSR_EFER), other = efer ^ EFER_SCE;
	struct snippet s;

	begin_msr(&s, c, VMEXIT_save_ia32_efer | VMEXIT_load_ia32_efer);
	vmwrite(VMCS_host_ia32_efer, efer);
	vmwrite(VMCS_guest_ia32_efer, 0);
	change_msr(&s, MSR_EFER, other);
	JUDGE("exit.save.efer", vmread(VMCS_guest_ia32_efer), other);
	s.v.ctl[CTL_VMEXIT] &= ~(u32)VMEXIT_save_ia32_efer;
	vcpu_write_controls(&s.v);
	change_msr(&s, MSR_EFER, efer);
	JUDGE("exit.save.efer", vmread(VMCS_guest_ia32_efer), other);
	end(&s);
}

SAVES(save_segments, .sdm = SEGMENTS, .rules = "exit.save.segments exit.save.unusable")
{
	struct table_reg *table;

	change(s, MOV_GS_AX, SEL_USER_DATA);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gs_selector), SEL_USER_DATA);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gs_access_rights) & ~1ull, (AR_DATA32 | 0x60) & ~1ull);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gs_base), 0);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gs_limit), 0xffffffff);
	table = (struct table_reg *)s->data;
	*table = (struct table_reg){ 0x1234, (ulong)s->code };
	change(s, LGDT_AX, (ulong)table);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gdtr_limit), 0x1234);
	JUDGE("exit.save.segments", vmread(VMCS_guest_gdtr_base), (ulong)s->code);
	vmwrite(VMCS_guest_gdtr_base, (ulong)c->gdt);
	*table = (struct table_reg){ 0x2345, (ulong)s->data };
	change(s, LIDT_AX, (ulong)table);
	JUDGE("exit.save.segments", vmread(VMCS_guest_idtr_limit), 0x2345);
	JUDGE("exit.save.segments", vmread(VMCS_guest_idtr_base), (ulong)s->data);
	change(s, MOV_ES_AX, 0);
	JUDGE("exit.save.segments", vmread(VMCS_guest_es_selector), 0);
	JUDGE("exit.save.unusable", vmread(VMCS_guest_es_access_rights) & AR_UNUSABLE, AR_UNUSABLE);
	change(s, MOV_FS_AX, 3);
	JUDGE("exit.save.segments", vmread(VMCS_guest_fs_selector), 3);
	JUDGE("exit.save.unusable", vmread(VMCS_guest_fs_access_rights) & AR_UNUSABLE, AR_UNUSABLE);
	change(s, LLDT_AX, 0);
	JUDGE("exit.save.unusable", vmread(VMCS_guest_ldtr_access_rights) & AR_UNUSABLE, AR_UNUSABLE);
}

SAVES(save_blocking, .sdm = NON_REGISTER, .rules = "exit.save.blocking-sti-mov-ss")
{
	change(s, STI, 0);
	JUDGE("exit.save.blocking-sti-mov-ss", vmread(VMCS_guest_interruptibility_state), BLOCKED_STI);
	change(s, MOV_SS_AX, SEL_DATA);
	JUDGE("exit.save.blocking-sti-mov-ss", vmread(VMCS_guest_interruptibility_state), BLOCKED_MOV_SS);
	change(s, MOV_SS_AX_NOP, SEL_DATA);
	JUDGE("exit.save.blocking-sti-mov-ss", vmread(VMCS_guest_interruptibility_state), 0);
}

SAVES(save_timer, .sdm = NON_REGISTER, .needs = "activate VMX-preemption timer; save VMX-preemption timer value",
      .rules = "exit.save.timer")
{
	const u32 start = 0x40000000;
	u64 left;

	s->v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	s->v.ctl[CTL_VMEXIT] |= VMEXIT_save_preemption_timer;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_preemption_timer_value, start);
	change(s, LOOP, 0);
	left = vmread(VMCS_preemption_timer_value);
	JUDGE("exit.save.timer", left < start && left > 0, true);
	s->v.ctl[CTL_VMEXIT] &= ~(u32)VMEXIT_save_preemption_timer;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_preemption_timer_value, start);
	change(s, LOOP, 0);
	JUDGE("exit.save.timer", vmread(VMCS_preemption_timer_value), start);
}
