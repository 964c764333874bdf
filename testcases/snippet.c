// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/snippet.h"
#include "core/mem.h"
#include "x86/cr.h"

#define AR_DPL3 0x60u
#define AR_V86 0x00f3u
#define AR_REAL 0x0093u
#define VMCALL "\x0f\x01\xc1"
#define INFO_VECTOR 0x800000ffu
#define INFO_VALID 0x80000000u

enum snip_mode snippet_next(enum snip_mode mode)
{
	mode++;
	/* On i386 these are the same as the native one. */
	if (sizeof(ulong) == 4 && mode == SNIP_COMPAT)
		mode = SNIP_16;
	return mode;
}

enum snip_mode snippet_next_of_all(const struct snippet *s, enum snip_mode mode)
{
	mode = mode < SNIP_MODES ? snippet_next(mode) : mode + 1;
	if (mode == SNIP_MODES)
		mode++;
	if (mode == SNIP_REAL && !(s->v.ctl[CTL_PROC2] & PROC2_unrestricted_guest))
		mode++;
	return mode;
}

const char *snippet_name(enum snip_mode mode)
{
	static const char *const names[] = { sizeof(ulong) == 8 ? "64-bit" : "32-bit",
					     "compatibility",
					     "32-bit",
					     "16-bit",
					     "",
					     "virtual-8086",
					     "real mode" };

	return names[mode];
}

void snippet_begin(struct snippet *s, struct cpu *c, u32 opt)
{
	memset(s, 0, sizeof(*s));
	test_vcpu(&s->v, c, opt);
	s->pages[0] = page_alloc();
	s->pages[1] = page_alloc();
	/* The other pages are new ones. */
	memset((void *)SNIP_LOW, 0, 2 * PAGE_SIZE);
	snippet_mode(s, SNIP_NATIVE, false);
}

#ifdef __x86_64__
/* The same page directories, by entries without the bits that PAE paging reserves. */
static void legacy_mode(struct snippet *s)
{
	if (!s->pae_root) {
		const u64 *four = (const u64 *)(ulong)s->v.l2_root;
		const u64 *pdpt = (const u64 *)(ulong)(four[0] & PTE_ADDR);
		u64 *pae = page_alloc();

		for (u32 i = 0; i < 4; i++)
			pae[i] = pdpt[i] & PTE_P ? (pdpt[i] & PTE_ADDR) | PTE_P : 0;
		s->pae_root = (ulong)pae;
	}
	vmwrite(VMCS_guest_cr3, s->pae_root);
	for (u32 i = 0; i < 4 && s->v.eptp; i++)
		vmwrite(VMCS_guest_pdpte0 + 2 * i, ((const u64 *)(ulong)s->pae_root)[i]);
}
#endif

/* Segments as 16-bit programs below 64 KiB have them. SDM: "Checks on Guest Segment Registers" for virtual-8086 mode. */
static void low_segments(struct snippet *s)
{
	const bool v86 = s->mode == SNIP_V86;

	for (u32 i = 0; i < 12; i += 2) {
		vmwrite(VMCS_guest_es_selector + i, 0);
		vmwrite(VMCS_guest_es_base + i, 0);
		vmwrite(VMCS_guest_es_limit + i, 0xffff);
		vmwrite(VMCS_guest_es_access_rights + i, v86 ? AR_V86 : AR_REAL);
	}
	if (v86)
		return;
	vmwrite_bits(VMCS_guest_cr0, CR0_PE | CR0_PG, 0);
	vmwrite(VMCS_guest_idtr_base, 0);
	vmwrite(VMCS_guest_idtr_limit, 0x3ff);
}

void snippet_mode(struct snippet *s, enum snip_mode mode, bool user)
{
	const bool low = mode > SNIP_MODES;
	u32 rights = mode == SNIP_NATIVE && sizeof(ulong) == 8 ? AR_CODE64 : mode == SNIP_16 ? AR_CODE16 : AR_CODE32;

	s->mode = mode;
	s->user = low ? mode == SNIP_V86 : user;
	s->code = low ? (u8 *)SNIP_LOW : s->pages[0];
	s->data = low ? (u8 *)SNIP_LOW + PAGE_SIZE : s->pages[1];
	vcpu_write_guest_state(&s->v);
	vmwrite(VMCS_guest_ldtr_limit, 0xffff);
#ifdef __x86_64__
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_ia32e_mode_guest, 0);
	if (mode == SNIP_NATIVE || mode == SNIP_COMPAT)
		vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_ia32e_mode_guest);
	else
		legacy_mode(s);
#endif
	if (low) {
		low_segments(s);
		return;
	}
	/* 16 bits, but all of the address space: G stays. */
	vmwrite(VMCS_guest_cs_access_rights, rights | 0x8000 | (user ? AR_DPL3 : 0));
	if (!user)
		return;
	vmwrite(VMCS_guest_cs_selector, SEL_USER_CODE);
	vmwrite(VMCS_guest_ss_selector, SEL_USER_DATA);
	for (u32 field = VMCS_guest_es_access_rights; field <= VMCS_guest_gs_access_rights; field += 2)
		vmwrite_bits(field, 0, AR_DPL3);
}

void snippet_code(struct snippet *s, const void *bytes, u32 length)
{
	ulong *reg = &s->v.g.ax;

	memcpy(s->code, bytes, length);
	memcpy(s->code + length, VMCALL, 3);
	s->length = length;
	for (u32 i = 0; i < sizeof(s->v.g) / sizeof(ulong); i++)
		reg[i] = SNIP_REGISTER(i);
	vmwrite(VMCS_guest_rip, (ulong)s->code);
	vmwrite(VMCS_guest_rsp, SNIP_SP(s));
	vmwrite(VMCS_guest_rflags, SNIP_FLAGS(s));
	vmwrite(VMCS_guest_activity_state, 0);
	vmwrite(VMCS_guest_interruptibility_state, 0);
}

struct exit snippet_run(struct snippet *s)
{
	return enter_once(&s->v);
}

bool snippet_passed(struct snippet *s, const struct exit *e)
{
	return e->entry.kind == OUT_OK && e->reason == EXIT_vmcall && e->ip == (ulong)s->code + s->length;
}

u64 snippet_rdmsr(struct snippet *s, u32 msr)
{
	struct exit e;

	snippet_code(s, "\x0f\x32", 2);
	s->v.g.cx = msr;
	e = snippet_run(s);
	expect(snippet_passed(s, &e));
	return (u32)s->v.g.ax | (u64)(u32)s->v.g.dx << 32;
}

bool snippet_faulted(const struct exit *e, u32 vector)
{
	return e->entry.kind == OUT_OK && e->reason == EXIT_exception_or_nmi &&
	       (vmread(VMCS_exit_interruption_info) & INFO_VECTOR) == (INFO_VALID | vector);
}
