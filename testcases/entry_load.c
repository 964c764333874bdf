// SPDX-License-Identifier: BSD-2-Clause
/* What a VM entry loads: L2 reads the register, L1 what L2 has read. SDM: "Loading Guest State". */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define REGISTERS "Loading Guest Control Registers, Debug Registers, and MSRs"
#define SEGMENTS "Loading Guest Segment Registers and Descriptor-Table Registers"
#define DR7_RW0 0x10000u
#define DR7_RW1 0x100000u
#define EFER_SCE 1u
#define RFLAGS_ODD 0x247400u /* DF, IOPL, NT, AC, ID */

#define CODE(text) (text), sizeof(text) - 1
#define READ_CR0 CODE("\x0f\x20\xc0")
#define READ_CR3 CODE("\x0f\x20\xd8")
#define READ_CR4 CODE("\x0f\x20\xe0")
#define READ_DR7 CODE("\x0f\x21\xf8")
#define READ_FLAGS CODE("\x9c\x58")
#define READ_FS CODE("\x31\xc0\x8c\xe0")
#ifdef __x86_64__
#define READ_SP CODE("\x48\x89\xe0")
#define READ_IP CODE("\x48\x8d\x05\x00\x00\x00\x00")
#define READ_FS_0 CODE("\x64\x8b\x04\x25\x00\x00\x00\x00")
#else
#define READ_SP CODE("\x89\xe0")
#define READ_IP CODE("\xe8\x00\x00\x00\x00\x58")
#define READ_FS_0 CODE("\x64\xa1\x00\x00\x00\x00")
#endif

static void begin(struct snippet *s, struct cpu *c, u32 opt)
{
	judge_begin();
	snippet_begin(s, c, opt);
	snippet_mode(s, SNIP_NATIVE, false);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

/* What these bytes leave in the accumulator; flags: L2's. */
static ulong read_with(struct snippet *s, const char *bytes, size_t length, ulong flags)
{
	struct exit e;

	snippet_code(s, bytes, (u32)length);
	vmwrite(VMCS_guest_rflags, flags);
	e = snippet_run(s);
	expect(snippet_passed(s, &e));
	return s->v.g.ax;
}

static ulong l2_reads(struct snippet *s, const char *bytes, size_t length)
{
	return read_with(s, bytes, length, RFLAGS_FIXED);
}

static void begin_msr(struct snippet *s, struct cpu *c, u32 vmentry)
{
	begin(s, c, 0);
	s->v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	s->v.ctl[CTL_VMENTRY] |= vmentry;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
}

TEST(entry, loads_cr0, .sdm = REGISTERS, .rules = "entry.load.cr0-preserved entry.load.control-registers")
{
	const u64 cr0 = read_cr0(), cr4 = read_cr4();
	u64 *root = page_alloc();
	struct snippet s;

	begin(&s, c, 0);
	vmwrite(VMCS_guest_cr0, cr0 ^ CR0_TS);
	JUDGE("entry.load.control-registers", l2_reads(&s, READ_CR0), cr0 ^ CR0_TS);
	vmwrite(VMCS_guest_cr4, cr4 ^ CR4_DE);
	JUDGE("entry.load.control-registers", l2_reads(&s, READ_CR4), cr4 ^ CR4_DE);
	if (!(vmread(VMCS_primary_proc_based_controls) & PROC_cr3_store_exiting)) {
		memcpy(root, (void *)(ulong)s.v.l2_root, sizeof(ulong) == 8 ? PAGE_SIZE : 32);
		vmwrite(VMCS_guest_cr3, (ulong)root);
		JUDGE("entry.load.control-registers", l2_reads(&s, READ_CR3), (ulong)root);
	}
	vmwrite(VMCS_guest_cr0, cr0 ^ (CR0_CD | CR0_NW | CR0_ET));
	JUDGE("entry.load.cr0-preserved", l2_reads(&s, READ_CR0), cr0);
	end(&s);
}

TEST(entry, loads_debug, .sdm = REGISTERS, .needs = "load debug controls", .rules = "entry.load.debug-controls")
{
	struct snippet s;

	begin(&s, c, 0);
	s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_guest_dr7, DR7_FIXED | DR7_RW0);
	JUDGE("entry.load.debug-controls", l2_reads(&s, READ_DR7), DR7_FIXED | DR7_RW0);
	s.v.ctl[CTL_VMENTRY] &= ~(u32)VMENTRY_load_debug_controls;
	vcpu_write_controls(&s.v);
	/* Not all CPUs have this control at 0. */
	if (vmread(VMCS_vm_entry_controls) & VMENTRY_load_debug_controls) {
		end(&s);
		return;
	}
	vmwrite(VMCS_guest_dr7, DR7_FIXED | DR7_RW0);
	write_dr7(DR7_FIXED | DR7_RW1);
	JUDGE("entry.load.debug-controls", l2_reads(&s, READ_DR7), DR7_FIXED | DR7_RW1);
	write_dr7(DR7_FIXED);
	end(&s);
}

TEST(entry, loads_efer, .sdm = REGISTERS, .needs = "use MSR bitmaps; load IA32_EFER; load IA32_EFER at VM exit",
     .rules = "entry.load.efer-control")
{
	const u64 efer = msr_read(MSR_EFER);
	struct snippet s;

	begin_msr(&s, c, VMENTRY_load_ia32_efer);
	s.v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_efer;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_host_ia32_efer, efer);
	vmwrite(VMCS_guest_ia32_efer, efer ^ EFER_SCE);
	JUDGE("entry.load.efer-control", snippet_rdmsr(&s, MSR_EFER), efer ^ EFER_SCE);
	s.v.ctl[CTL_VMENTRY] &= ~(u32)VMENTRY_load_ia32_efer;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_guest_ia32_efer, efer ^ EFER_SCE);
	JUDGE("entry.load.efer-control", snippet_rdmsr(&s, MSR_EFER), efer);
	end(&s);
}

TEST(entry, loads_pat, .sdm = REGISTERS, .needs = "use MSR bitmaps; load IA32_PAT; load IA32_PAT at VM exit",
     .rules = "entry.load.pat")
{
	const u64 pat = msr_read(MSR_PAT), other = pat ^ 1ull << 56;
	struct snippet s;

	begin_msr(&s, c, VMENTRY_load_ia32_pat);
	s.v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_pat;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_host_ia32_pat, pat);
	vmwrite(VMCS_guest_ia32_pat, other);
	JUDGE("entry.load.pat", snippet_rdmsr(&s, MSR_PAT), other);
	s.v.ctl[CTL_VMENTRY] &= ~(u32)VMENTRY_load_ia32_pat;
	vcpu_write_controls(&s.v);
	JUDGE("entry.load.pat", snippet_rdmsr(&s, MSR_PAT), pat);
	end(&s);
}

TEST(entry, loads_list, .sdm = "Loading MSRs", .needs = "use MSR bitmaps", .rules = "entry.load.values")
{
	struct {
		u32 msr, reserved;
		u64 value;
	} *list = page_alloc();
	struct snippet s;

	begin_msr(&s, c, 0);
	list[0].msr = MSR_SYSENTER_ESP;
	list[0].value = 0x1111000;
	list[1].msr = MSR_SYSENTER_EIP;
	list[1].value = 0x2222000;
	vmwrite(VMCS_guest_sysenter_esp, 0x3333000);
	vmwrite(VMCS_guest_sysenter_eip, 0x4444000);
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)list);
	vmwrite(VMCS_vm_entry_msr_load_count, 1);
	JUDGE("entry.load.values", snippet_rdmsr(&s, MSR_SYSENTER_ESP), 0x1111000);
	JUDGE("entry.load.values", snippet_rdmsr(&s, MSR_SYSENTER_EIP), 0x4444000);
	vmwrite(VMCS_vm_entry_msr_load_count, 2);
	JUDGE("entry.load.values", snippet_rdmsr(&s, MSR_SYSENTER_EIP), 0x2222000);
	vmwrite(VMCS_vm_entry_msr_load_count, 0);
	end(&s);
}

TEST(entry, loads_rip, .sdm = "Loading Guest RIP, RSP, RFLAGS, and SSP", .rules = "entry.load.rip-rsp")
{
	struct snippet s;
	ulong flags;

	begin(&s, c, 0);
	JUDGE("entry.load.rip-rsp", l2_reads(&s, READ_SP), SNIP_SP(&s));
	/* Of the instruction behind, or on i386 behind the CALL. */
	JUDGE("entry.load.rip-rsp", l2_reads(&s, READ_IP), (ulong)s.code + (sizeof(ulong) == 8 ? 7 : 5));
	flags = RFLAGS_FIXED | RFLAGS_ARITH | RFLAGS_ODD;
	JUDGE("entry.load.rip-rsp", read_with(&s, READ_FLAGS, flags), flags);
	JUDGE("entry.load.rip-rsp", read_with(&s, READ_FLAGS, RFLAGS_FIXED), RFLAGS_FIXED);
	end(&s);
}

/* A selector that no table has a descriptor for, with a base, a limit and rights. */
TEST(entry, loads_segments, .sdm = SEGMENTS, .rules = "entry.load.segments")
{
	struct snippet s;

	begin(&s, c, 0);
	*(volatile u32 *)(s.data + 0x100) = 0x2c5d9b17;
	vmwrite(VMCS_guest_fs_selector, 0x7ff8);
	vmwrite(VMCS_guest_fs_base, (ulong)s.data + 0x100);
	JUDGE("entry.load.segments", l2_reads(&s, READ_FS), 0x7ff8);
	JUDGE("entry.load.segments", (u32)l2_reads(&s, READ_FS_0), 0x2c5d9b17);
	end(&s);
}
