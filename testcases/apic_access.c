// SPDX-License-Identifier: BSD-2-Clause
/* Accesses to the APIC-access page that exit: which, in what order with other faults, and what the exit tells. */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define SECTION "Virtualizing Memory-Mapped APIC Accesses"
#define PRIORITY "Priority of APIC-Access VM Exits"
#define QUALIFICATION "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses"
#define INFO_VALID 0x80000000u

/* One instruction that accesses [EBX], of this size. */
struct access {
	const char *name, *bytes;
	u32 length;
	u32 size;
	u32 type;
	bool amd64; /* only there */
};

#define CODE(text) .bytes = (text), .length = sizeof(text) - 1
static const struct access accesses[] = {
	{ "MOV from, 1 byte", CODE("\x8a\x03"), 1, APIC_LINEAR_READ, false },
	{ "MOV from, 2 bytes", CODE("\x66\x8b\x03"), 2, APIC_LINEAR_READ, false },
	{ "MOV from, 4 bytes", CODE("\x8b\x03"), 4, APIC_LINEAR_READ, false },
	{ "MOV from, 8 bytes", CODE("\x48\x8b\x03"), 8, APIC_LINEAR_READ, true },
	{ "MOV to, 1 byte", CODE("\x88\x03"), 1, APIC_LINEAR_WRITE, false },
	{ "MOV to, 2 bytes", CODE("\x66\x89\x03"), 2, APIC_LINEAR_WRITE, false },
	{ "MOV to, 4 bytes", CODE("\x89\x03"), 4, APIC_LINEAR_WRITE, false },
	{ "MOV to, 8 bytes", CODE("\x48\x89\x03"), 8, APIC_LINEAR_WRITE, true },
	{ "ADD from", CODE("\x03\x03"), 4, APIC_LINEAR_READ, false },
	{ "TEST", CODE("\x85\x03"), 4, APIC_LINEAR_READ, false },
	{ "CMP with a constant", CODE("\x83\x3b\x05"), 4, APIC_LINEAR_READ, false },
	{ "MOVZX", CODE("\x0f\xb7\x03"), 2, APIC_LINEAR_READ, false },
	{ "SETC", CODE("\x0f\x92\x03"), 1, APIC_LINEAR_WRITE, false },
	{ "PUSH from", CODE("\xff\x33"), sizeof(ulong), APIC_LINEAR_READ, false },
	{ "JMP through", CODE("\xff\x23"), sizeof(ulong), APIC_LINEAR_READ, false },
	{ "POP to", CODE("\x8f\x03"), sizeof(ulong), APIC_LINEAR_WRITE, false },
	{ "LODSB", CODE("\xac"), 1, APIC_LINEAR_READ, false },
	{ "STOSD", CODE("\xab"), 4, APIC_LINEAR_WRITE, false },
	{ "REP STOSB", CODE("\xf3\xaa"), 1, APIC_LINEAR_WRITE, false },
	{ "FLD", CODE("\xdd\x03"), 8, APIC_LINEAR_READ, false },
	{ "FNSTCW", CODE("\xd9\x3b"), 2, APIC_LINEAR_WRITE, false },
};

/* These read and write; as for a page fault, that counts as a write. */
static const struct access modifying[] = {
	{ "OR to", CODE("\x09\x03"), 4, APIC_LINEAR_WRITE, false },
	{ "LOCK INC", CODE("\xf0\xff\x03"), 4, APIC_LINEAR_WRITE, false },
	{ "XCHG", CODE("\x87\x03"), 4, APIC_LINEAR_WRITE, false },
	{ "LOCK CMPXCHG", CODE("\xf0\x0f\xb1\x0b"), 4, APIC_LINEAR_WRITE, false },
	{ "LOCK CMPXCHG8B", CODE("\xf0\x0f\xc7\x0b"), 8, APIC_LINEAR_WRITE, false },
};

static void stand(struct vapic *a, const struct access *x, u32 offset)
{
	vapic_code(a, x->bytes, x->length, offset, 0x1234);
	a->s.v.g.si = a->s.v.g.di = VAPIC_LINEAR + offset;
	a->s.v.g.cx = 3;
}

/* The access exits, fault-like: nothing has happened. */
static void judge_access(struct vapic *a, const struct access *x, u32 offset)
{
	struct exit e;

	stand(a, x, offset);
	e = snippet_run(&a->s);
	if (!JUDGE("apic.access.exits", e.reason, EXIT_apic_access))
		return;
	JUDGE("apic.access.offset", e.qualification & 0xfff, offset);
	JUDGE("apic.access.type", e.qualification & ~0xfffull, x->type);
	JUDGE("apic.access.fault-like", e.ip, (ulong)a->s.code);
	JUDGE("apic.access.fault-like", vmread(VMCS_guest_rsp), SNIP_SP(&a->s));
	JUDGE("apic.access.fault-like", a->s.v.g.cx, 3);
	JUDGE("apic.access.fault-like", a->s.v.g.ax, 0x1234);
	JUDGE("apic.access.no-event", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
}

static void judge_accesses(struct vapic *a, const struct access *table, u32 count)
{
	static const u32 offsets[] = { 0, 0x7c, 0x80, 0x381, 0x802 };

	/* No FPU exception from before. */
	vapic_run(a, "\xdb\xe3", 2, 0, 0);
	for (u32 i = 0; i < count; i++) {
		const struct access *x = &table[i];

		if (x->amd64 && sizeof(ulong) == 4)
			continue;
		judge_about(x->name, NULL);
		for (u32 k = 0; k < ARRAY_SIZE(offsets); k++)
			judge_access(a, x, offsets[k]);
		judge_access(a, x, PAGE_SIZE - x->size);
	}
	judge_about("", NULL);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

#define ACCESS_RULES                                                                    \
	"apic.access.exits apic.access.offset apic.access.type apic.access.fault-like " \
	"apic.access.no-event apic.access.hidden"

VAPIC_TEST(access, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .rules = ACCESS_RULES)
{
	judge_accesses(a, accesses, ARRAY_SIZE(accesses));
}

VAPIC_TEST(access_ept, vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .opt = OPT_ept, .rules = ACCESS_RULES)
{
	judge_accesses(a, accesses, ARRAY_SIZE(accesses));
}

VAPIC_TEST(access_modify, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = QUALIFICATION,
	   .needs = "virtualize APIC accesses", .rules = ACCESS_RULES)
{
	judge_accesses(a, modifying, ARRAY_SIZE(modifying));
}

/* The page where the local APIC itself is, as most hypervisors have it. */
static void judge_real_page(struct vapic *a)
{
	volatile u32 *esr = (volatile u32 *)(ulong)(APIC_PAGE + 0x370), before = *esr;
	static const struct access both[] = { { "MOV from", CODE(MOV_FROM_APIC), 4, APIC_LINEAR_READ, false },
					      { "MOV to", CODE(MOV_TO_APIC), 4, APIC_LINEAR_WRITE, false } };

	vapic_access_page(a, APIC_PAGE);
	for (u32 k = 0; k < ARRAY_SIZE(both); k++) {
		judge_about(both[k].name, "the local APIC's page");
		judge_access(a, &both[k], 0x80);
		judge_access(a, &both[k], 0x300);
		judge_access(a, &both[k], 0x370);
	}
	JUDGE("apic.access.hidden", *esr, before);
}

VAPIC_TEST(access_real_page, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .rules = ACCESS_RULES)
{
	judge_real_page(a);
}

VAPIC_TEST(access_real_page_ept, vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .opt = OPT_ept, .rules = ACCESS_RULES)
{
	judge_real_page(a);
}

/* --- The local APIC's page, where another one is virtualized --- */

#define LVT_ERROR 0x370u
#define ICR_LOW 0x300u
#define ICR_HIGH 0x310u
#define ICR_INIT 0x4500u /* no shorthand: with "self" only fixed interrupts are valid */

/* L2 writes to the local APIC of L1's: a register, and an INIT for itself. VAPIC_BEHIND is the page. */
static void judge_other_page(struct vapic *a)
{
	volatile u32 *lvt = (volatile u32 *)(ulong)(APIC_PAGE + LVT_ERROR);
	u32 before = *lvt;
	struct exit e;

	a->s.v.l2_window[(VAPIC_BEHIND - L2_WINDOW) >> PAGE_SHIFT] = APIC_PAGE | PTE_P | PTE_W;
	judge_about("a register", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, PAGE_SIZE + LVT_ERROR, before ^ 0x11);
	JUDGE("apic.access.only-page", snippet_passed(&a->s, &e), true);
	JUDGE("apic.access.only-page", *lvt, before ^ 0x11);
	*lvt = before;
	judge_about("INIT", NULL);
	*(volatile u32 *)(ulong)(APIC_PAGE + ICR_HIGH) = a->s.v.cpu->apic_id << 24;
	e = vapic_run(a, MOV_TO_APIC "\x90\x90\x90", 5, PAGE_SIZE + ICR_LOW, ICR_INIT);
	JUDGE("apic.access.init", e.reason, EXIT_init);
}

VAPIC_TEST(access_other_page, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .rules = "apic.access.only-page apic.access.init")
{
	judge_other_page(a);
}

/* The same EPT pointer, with the local APIC's page virtualized and not by turns; and EPT changes meanwhile. */
VAPIC_TEST(access_other_page_ept, vapic_begin(a, c, OPT_ept, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses; INVEPT", .opt = OPT_ept,
	   .rules = ACCESS_RULES " apic.access.only-page apic.access.init apic.access.invept")
{
	struct exit e;
	u64 root;

	root = a->s.v.eptp & EPT_ADDR;
	for (u32 i = 0; i < 2; i++) {
		judge_real_page(a);
		judge_about("EPT changes", NULL);
		a->s.v.l2_window[(VAPIC_BEFORE - L2_WINDOW) >> PAGE_SHIFT] = GPA_ALIAS | PTE_P | PTE_W;
		ept_map_page(root, GPA_ALIAS, (ulong)a->before, EPT_RWX);
		*(u32 *)(void *)a->before = 0x11;
		*(u32 *)(void *)a->behind = 0x22;
		invept(INVEPT_SINGLE, a->s.v.eptp, 0);
		e = vapic_run(a, MOV_FROM_APIC, 2, 0u - PAGE_SIZE, 0);
		JUDGE("apic.access.invept", snippet_passed(&a->s, &e), true);
		JUDGE("apic.access.invept", a->s.v.g.ax, 0x11);
		ept_map_page(root, GPA_ALIAS, (ulong)a->behind, EPT_RWX);
		invept(INVEPT_SINGLE, a->s.v.eptp, 0);
		e = vapic_run(a, MOV_FROM_APIC, 2, 0u - PAGE_SIZE, 0);
		JUDGE("apic.access.invept", a->s.v.g.ax, 0x22);
		vapic_access_page(a, (ulong)a->access);
		judge_other_page(a);
	}
}

/* --- Neighbours, and no control --- */

VAPIC_TEST(access_neighbours, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses",
	   .rules = "apic.access.only-page apic.access.not-accessed apic.access.control-off")
{
	static const char address_only[] = "\x8d\x03\x0f\x01\x3b"; /* lea eax, [ebx]; invlpg [ebx] */
	struct exit e;

	judge_about("the last word before", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, (u32)-4, 0x11223344);
	JUDGE("apic.access.only-page", snippet_passed(&a->s, &e), true);
	judge_about("the first word behind", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, PAGE_SIZE, 0x55667788);
	JUDGE("apic.access.only-page", snippet_passed(&a->s, &e), true);
	JUDGE("apic.access.only-page", *(u32 *)(void *)a->behind, 0x55667788);
	judge_about("LEA and INVLPG", NULL);
	e = vapic_run(a, address_only, sizeof(address_only) - 1, 0x80, 0);
	JUDGE("apic.access.not-accessed", snippet_passed(&a->s, &e), true);
	/* SDM, "Instruction-Specific Considerations": it may exit, or flush the line of the virtual-APIC page. */
	e = vapic_run(a, "\x0f\xae\x3b", 3, 0x80, 0);
	say_note("CLFLUSH of the APIC-access page %s", e.reason == EXIT_apic_access ? "exits" : "doesn't exit");
	judge_about("without the control", NULL);
	a->s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_virtualize_apic_accesses;
	vcpu_write_controls(&a->s.v);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x80, 0x99aabbcc);
	JUDGE("apic.access.control-off", snippet_passed(&a->s, &e), true);
	JUDGE("apic.access.control-off", *(u32 *)(void *)(a->access + 0x80), 0x99aabbcc);
}

VAPIC_TEST(access_straddles, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = PRIORITY,
	   .needs = "virtualize APIC accesses", .rules = "apic.access.straddles apic.access.straddles-nothing")
{
	struct exit e;

	*(u32 *)(void *)(a->before + PAGE_SIZE - 4) = 0x11223344;
	*(u32 *)(void *)a->behind = 0x55667788;
	judge_about("2 bytes before, 2 bytes in the page", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, (u32)-2, 0xffffffff);
	JUDGE("apic.access.straddles", e.reason, EXIT_apic_access);
	JUDGE("apic.access.straddles", e.qualification & APIC_TYPE, APIC_LINEAR_WRITE);
	JUDGE("apic.access.straddles-nothing", *(u32 *)(void *)(a->before + PAGE_SIZE - 4), 0x11223344);
	judge_about("2 bytes in the page, 2 bytes behind", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, PAGE_SIZE - 2, 0xffffffff);
	JUDGE("apic.access.straddles", e.reason, EXIT_apic_access);
	JUDGE("apic.access.straddles-nothing", *(u32 *)(void *)a->behind, 0x55667788);
	judge_about("read of 2 bytes before, 2 bytes in the page", NULL);
	e = vapic_run(a, MOV_FROM_APIC, 2, (u32)-2, 0);
	JUDGE("apic.access.straddles", e.reason, EXIT_apic_access);
	JUDGE("apic.access.straddles", e.qualification & APIC_TYPE, APIC_LINEAR_READ);
}

/* An iteration of a string instruction that exits leaves the ones before done. */
VAPIC_TEST(access_string, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = PRIORITY,
	   .needs = "virtualize APIC accesses", .rules = "apic.access.string")
{
	struct exit e;

	vapic_code(a, "\xf3\xaa", 2, 0, 0x77); /* rep stosb */
	a->s.v.g.di = VAPIC_LINEAR - 5;
	a->s.v.g.cx = 9;
	e = snippet_run(&a->s);
	JUDGE("apic.access.string", e.reason, EXIT_apic_access);
	JUDGE("apic.access.string", e.qualification, APIC_LINEAR_WRITE);
	JUDGE("apic.access.string", a->s.v.g.cx, 4);
	JUDGE("apic.access.string", a->s.v.g.di, VAPIC_LINEAR);
	JUDGE("apic.access.string", e.ip, (ulong)a->s.code);
	JUDGE("apic.access.string", a->before[PAGE_SIZE - 1], 0x77);
	JUDGE("apic.access.string", a->before[PAGE_SIZE - 5], 0x77);
	JUDGE("apic.access.string", vapic_hidden_untouched(a), true);
}

/* --- Priority --- */

static volatile u64 *pte_of(struct vapic *a)
{
	return &a->s.v.l2_window[(VAPIC_LINEAR - L2_WINDOW) >> PAGE_SHIFT];
}

VAPIC_TEST(access_after_page_fault, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = PRIORITY,
	   .needs = "virtualize APIC accesses",
	   .rules = "apic.access.after-page-fault apic.access.accessed-first apic.access.dirty-first")
{
	volatile u64 *pte;
	struct exit e;

	pte = pte_of(a);
	judge_about("read of a page that isn't present", NULL);
	*pte = (ulong)a->access;
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", snippet_faulted(&e, VEC_PF), true);
	judge_about("write to a read-only page", NULL);
	*pte = (ulong)a->access | PTE_P;
	vmwrite_bits(VMCS_guest_cr0, 0, CR0_WP);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", snippet_faulted(&e, VEC_PF), true);
	judge_about("read", NULL);
	*pte = (ulong)a->access | PTE_P | PTE_W;
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", e.reason, EXIT_apic_access);
	JUDGE("apic.access.accessed-first", *pte & (PTE_A | PTE_D), PTE_A);
	judge_about("write", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", e.reason, EXIT_apic_access);
	JUDGE("apic.access.dirty-first", *pte & (PTE_A | PTE_D), PTE_A | PTE_D);
	judge_about("CPL 3, supervisor page", NULL);
	snippet_mode(&a->s, SNIP_NATIVE, true);
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", snippet_faulted(&e, VEC_PF), true);
	judge_about("CPL 3, user page", NULL);
	*pte |= PTE_U;
	e = vapic_run(a, MOV_FROM_APIC, 2, 0x80, 0);
	JUDGE("apic.access.after-page-fault", e.reason, EXIT_apic_access);
}

/* An address that isn't memory's. Nothing is accessed there, by entries or by what L2 does elsewhere. */
VAPIC_TEST(access_page_anywhere, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = SECTION,
	   .needs = "virtualize APIC accesses", .rules = "apic.access.anywhere")
{
	/* The BIOS, a hole, the I/O APIC, and far above. */
	static const u64 pages[] = { 0xf0000, 0xd0000000, 0xfec00000, 0xff0000000 };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		vmwrite(VMCS_apic_access_address, pages[i]);
		e = vapic_run(a, MOV_TO_APIC, 2, 0x80, 0x11);
		JUDGE("apic.access.anywhere", snippet_passed(&a->s, &e), true);
	}
}

/* --- Fetches --- */

/* Bochs ends at such a fetch, with what was said before and didn't get out yet. */
VAPIC_TEST(access_fetch, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = QUALIFICATION,
	   .needs = "virtualize APIC accesses", .flags = TEST_NAMED,
	   .rules = "apic.access.fetch apic.access.fetch-shadow")
{
	struct exit e;

	for (u32 offset = 0; offset < PAGE_SIZE; offset += 0x7f0) {
		vapic_code(a, "\xff\xe3", 2, offset, 0); /* jmp ebx */
		e = snippet_run(&a->s);
		JUDGE("apic.access.fetch", e.reason, EXIT_apic_access);
		JUDGE("apic.access.fetch", e.qualification, offset | APIC_LINEAR_FETCH);
		JUDGE("apic.access.fetch", e.ip, VAPIC_LINEAR + offset);
	}
	if (cap_have("use TPR shadow")) {
		vapic_shadow(a);
		e = vapic_run(a, "\xff\xe3", 2, VAPIC_TPR, 0);
		JUDGE("apic.access.fetch-shadow", e.reason, EXIT_apic_access);
		JUDGE("apic.access.fetch-shadow", e.qualification, VAPIC_TPR | APIC_LINEAR_FETCH);
	} else {
		judge_absent("apic.access.fetch-shadow");
	}
}
