// SPDX-License-Identifier: BSD-2-Clause
/*
 * Page faults: which of them exit, by bit 14 of the exception bitmap and by the error code's mask and match, and what is told.
 * SDM: "Other Causes of VM Exits", "Exception Bitmap".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define PTE_RESERVED (1ull << 51) /* no CPU here has that many bits of physical addresses */
#define CR2_BEFORE 0x3a5a5000u
#define PF_INFO (INFO_VALID | INFO_HAS_ERROR | TYPE_HARDWARE | VEC_PF)
#define OFFSET 0x124u /* in the page */

/* Pages of L2's window. */
enum { ABSENT, READ_ONLY, SUPERVISOR, USER_READ_ONLY, RESERVED, PAGES };
enum access { READ, WRITE, FETCH };

struct fault {
	const char *name;
	u32 page;
	enum access access;
	bool user;
	u32 error;
};

/* All error codes that need neither NX nor other extensions. */
static const struct fault faults[] = {
	{ "read of an absent page", ABSENT, READ, false, 0 },
	{ "write to an absent page", ABSENT, WRITE, false, 2 },
	{ "user read of an absent page", ABSENT, READ, true, 4 },
	{ "user write to an absent page", ABSENT, WRITE, true, 6 },
	{ "fetch from an absent page", ABSENT, FETCH, false, 0 },
	{ "user fetch from an absent page", ABSENT, FETCH, true, 4 },
	{ "write to a read-only page", READ_ONLY, WRITE, false, 3 },
	{ "user read of a supervisor page", SUPERVISOR, READ, true, 5 },
	{ "user write to a read-only page", USER_READ_ONLY, WRITE, true, 7 },
	{ "read by a reserved bit", RESERVED, READ, false, 9 },
	{ "user write by a reserved bit", RESERVED, WRITE, true, 0xf },
};

static const char *const access_code[] = { "\x8b\x07", "\x89\x07",
					   "\xff\xe7" }; /* MOV AX, [DI]; MOV [DI], AX; JMP DI */

static void begin(struct eguest *g, struct cpu *c)
{
	static const u64 bits[PAGES] = { 0, PTE_P, PTE_P | PTE_W, PTE_P | PTE_U, PTE_P | PTE_W | PTE_U | PTE_RESERVED };

	judge_begin();
	eguest_begin(g, c, 0);
	for (u32 i = 0; i < PAGES; i++)
		g->s.v.l2_window[i] = bits[i] ? (ulong)page_alloc() | bits[i] : 0;
}

static ulong address_of(const struct fault *f)
{
	return L2_WINDOW + f->page * PAGE_SIZE + OFFSET;
}

static struct exit run(struct eguest *g, const struct fault *f)
{
	snippet_code(&g->s, access_code[f->access], 2);
	g->s.v.g.di = address_of(f);
	vmwrite_bits(VMCS_guest_cr0, 0, CR0_WP);
	write_cr2(CR2_BEFORE);
	return snippet_run(&g->s);
}

static void judge_exit(struct eguest *g, const struct fault *f, const struct exit *e)
{
	JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info), PF_INFO);
	JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_error_code), f->error);
	JUDGE("exit.info.page-fault", e->qualification, address_of(f));
	JUDGE("event.exception.cr2-stays", read_cr2(), CR2_BEFORE);
	JUDGE("exit.save.rip-exception", e->ip, f->access == FETCH ? address_of(f) : (ulong)g->s.code);
	JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
}

static void judge_delivered(struct eguest *g, const struct fault *f, const struct exit *e)
{
	if (!JUDGE("event.exception.delivered", eguest_vector(g, e), VEC_PF))
		return;
	JUDGE("event.exception.delivered", eguest_frame(g, true).error, f->error);
	JUDGE("event.exception.delivered", read_cr2(), address_of(f));
}

/* [DI] and JMP DI are what they are where addresses have 32 bits. */
static bool suits(enum snip_mode mode)
{
	return mode != SNIP_16;
}

TEST(event, page_fault, .sdm = "Basic VM-Exit Information",
     .rules = "event.exception.exits event.exception.delivered exit.info.page-fault exit.info.interruption "
	      "event.exception.cr2-stays exit.save.rip-exception "
	      "exit.info.idt-vectoring-clear")
{
	struct eguest g;

	begin(&g, c);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		for (u32 i = 0; suits(mode) && i < ARRAY_SIZE(faults); i++) {
			const struct fault *f = &faults[i];
			struct exit e;

			judge_about(f->name, snippet_name(mode));
			eguest_mode(&g, mode, f->user);
			eguest_exits(&g, 1u << VEC_PF);
			e = run(&g, f);
			if (JUDGE("event.exception.exits", e.reason, EXIT_exception_or_nmi))
				judge_exit(&g, f, &e);
			eguest_mode(&g, mode, f->user);
			eguest_exits(&g, ~(1u << VEC_PF));
			e = run(&g, f);
			judge_delivered(&g, f, &e);
		}
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

TEST(event, page_fault_resume_flag, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .rules = "exit.save.resume-flag")
{
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(faults); i++) {
		struct exit e;

		judge_about(faults[i].name, NULL);
		eguest_mode(&g, SNIP_NATIVE, faults[i].user);
		eguest_exits(&g, ~0u);
		e = run(&g, &faults[i]);
		if (JUDGE("exit.save.resume-flag", snippet_faulted(&e, VEC_PF), true))
			JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, RFLAGS_RF);
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

/* An address of more than 32 bits. */
TEST(event, page_fault_high, .sdm = "Basic VM-Exit Information", .flags = TEST_AMD64, .rules = "exit.info.page-fault")
{
	static const u64 addresses[] = { 0x00007ffffffff123ull, 0xffff800000000124ull, 0x100000000ull,
					 0xfffffffffffffff8ull };
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(addresses); i++) {
		struct exit e;

		eguest_mode(&g, SNIP_NATIVE, false);
		eguest_exits(&g, ~0u);
		snippet_code(&g.s, access_code[READ], 2);
		g.s.v.g.di = (ulong)addresses[i];
		e = snippet_run(&g.s);
		if (JUDGE("exit.info.page-fault", snippet_faulted(&e, VEC_PF), true))
			JUDGE("exit.info.page-fault", e.qualification, addresses[i]);
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

/* The matrix: the bit says whether the faults that match exit or the others. */
static void judge_filter(struct eguest *g, const struct fault *f, u32 mask, u32 match)
{
	for (u32 bit = 0; bit < 2; bit++) {
		const bool exits = ((f->error & mask) == match) == bit;
		struct exit e;

		eguest_mode(g, SNIP_NATIVE, f->user);
		eguest_exits(g, bit ? ~0u : ~(1u << VEC_PF));
		vmwrite(VMCS_page_fault_error_code_mask, mask);
		vmwrite(VMCS_page_fault_error_code_match, match);
		e = run(g, f);
		judge_equal(WHERE("event.page-fault.filter"), bit ? "exits, with bit 14" : "exits, without bit 14",
			    snippet_faulted(&e, VEC_PF), exits);
		if (!exits)
			JUDGE("event.page-fault.filter", eguest_vector(g, &e), VEC_PF);
	}
}

TEST(event, page_fault_filter, .sdm = "Exception Bitmap", .rules = "event.page-fault.filter")
{
	static const u32 masks[] = { 0, 1, 2, 4, 5, 8, 0x1f, 0xffffffff };
	static const u32 matches[] = { 0, 1, 2, 4, 0xf, 0x80000000 };
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(faults); i++) {
		judge_about(faults[i].name, NULL);
		for (u32 k = 0; k < ARRAY_SIZE(masks); k++)
			for (u32 m = 0; m < ARRAY_SIZE(matches); m++)
				judge_filter(&g, &faults[i], masks[k], matches[m]);
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}

/* Mask and match are for page faults only. */
TEST(event, page_fault_filter_others, .sdm = "Exception Bitmap", .rules = "event.page-fault.filter-others")
{
	struct eguest g;

	begin(&g, c);
	for (u32 bit = 0; bit < 2; bit++) {
		struct exit e;

		eguest_mode(&g, SNIP_NATIVE, false);
		eguest_exits(&g, bit ? ~0u : 0);
		vmwrite(VMCS_page_fault_error_code_mask, ~0u);
		vmwrite(VMCS_page_fault_error_code_match, ESEL_BEYOND);
		snippet_code(&g.s, "\x8e\xd8", 2);
		g.s.v.g.ax = ESEL_BEYOND;
		e = snippet_run(&g.s);
		JUDGE("event.page-fault.filter-others", snippet_faulted(&e, VEC_GP), bit);
		snippet_code(&g.s, "\x0f\x0b", 2);
		e = snippet_run(&g.s);
		JUDGE("event.page-fault.filter-others", snippet_faulted(&e, VEC_UD), bit);
	}
	vcpu_destroy(&g.s.v);
	judge_done();
}
