// SPDX-License-Identifier: BSD-2-Clause
/*
 * Events whose delivery faults: injected ones and the guest's own. What the first exception does depends on the classes of both: it's
 * delivered, or makes a double fault, whose own failure is a triple fault. SDM: "VM Exits During Event Injection",
 * "Information for VM Exits That Occur During Event Delivery", "Interrupt 8-Double Fault Exception (#DF)".
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define DURING "Information for VM Exits That Occur During Event Delivery"
#define INJECTION "VM Exits During Event Injection"
#define INFO_JUDGED (INFO_VALID | 0xfffu)
#define ERROR_CODE 0x2468u
#define EXT 1u
#define IDT 2u
#define INT_VECTOR 0x41u
#define GATE_BAD_TYPE 0x80u /* a gate of no kind */

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

struct first {
	const char *name;
	u32 info; /* vector, type, error code's bit */
	enum class class;
	u32 length;        /* of a software event's instruction */
	const char *bytes; /* the guest's own: this instruction; NULL: injected */
	u32 error;
	ulong ax;
};

#define HW(vector) (TYPE_HARDWARE | (vector))
#define HWE(vector) (TYPE_HARDWARE | INFO_HAS_ERROR | (vector))

static const struct first injected[] = {
	{ "interrupt", TYPE_EXTERNAL | INT_VECTOR, BENIGN, 0, NULL, 0, 0 },
	{ "NMI", TYPE_NMI | VEC_NMI, BENIGN, 0, NULL, 0, 0 },
	{ "#DE", HW(VEC_DE), CONTRIBUTORY, 0, NULL, 0, 0 },
	{ "#DB", HW(VEC_DB), BENIGN, 0, NULL, 0, 0 },
	{ "#BR", HW(VEC_BR), BENIGN, 0, NULL, 0, 0 },
	{ "#UD", HW(VEC_UD), BENIGN, 0, NULL, 0, 0 },
	{ "#NM", HW(VEC_NM), BENIGN, 0, NULL, 0, 0 },
	{ "#DF", HWE(VEC_DF), DOUBLE_FAULT, 0, NULL, 0, 0 },
	{ "#TS", HWE(VEC_TS), CONTRIBUTORY, 0, NULL, ERROR_CODE, 0 },
	{ "#SS", HWE(VEC_SS), CONTRIBUTORY, 0, NULL, ERROR_CODE, 0 },
	{ "#PF", HWE(VEC_PF), PAGE_FAULT, 0, NULL, 2, 0 },
	{ "#MF", HW(VEC_MF), BENIGN, 0, NULL, 0, 0 },
	{ "#AC", HWE(VEC_AC), BENIGN, 0, NULL, 0, 0 },
	{ "INT n", TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, BENIGN, 2, NULL, 0, 0 },
	{ "INT n of an exception's vector", TYPE_SOFTWARE_INTERRUPT | VEC_SS, BENIGN, 3, NULL, 0, 0 },
	{ "INT3", TYPE_SOFTWARE | VEC_BP, BENIGN, 1, NULL, 0, 0 },
	{ "INTO", TYPE_SOFTWARE | VEC_OF, BENIGN, 15, NULL, 0, 0 },
};
static const struct first injected_int1[] = {
	{ "INT1", TYPE_PRIVILEGED | VEC_DB, BENIGN, 4, NULL, 0, 0 },
};

static const struct first own[] = {
	{ "own #DE", HW(VEC_DE), CONTRIBUTORY, 0, "\xf7\xf0", 0, 0 },
	{ "own #UD", HW(VEC_UD), BENIGN, 0, "\x0f\x0b", 0, 0 },
	{ "own #GP", HWE(VEC_GP), CONTRIBUTORY, 0, "\x8e\xd8", ESEL_BEYOND, ESEL_BEYOND },
	{ "own #PF", HWE(VEC_PF), PAGE_FAULT, 0, "\x8b\x08", 0, L2_WINDOW },
	{ "own INT n", TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, BENIGN, 2, "\xcd\x41", 0, 0 },
	{ "own INT3", TYPE_SOFTWARE | VEC_BP, BENIGN, 1, "\xcc", 0, 0 },
};
static const struct first own_int1[] = {
	{ "own INT1", TYPE_PRIVILEGED | VEC_DB, BENIGN, 1, "\xf1", 0, 0 },
};

/* What delivery meets. The page fault is one of the stack. */
enum second { ABSENT_GATE, BAD_GATE, NO_STACK, SECONDS };
static const char *const second_names[SECONDS] = { "gate absent", "gate of no kind", "no stack" };
static const u32 second_vectors[SECONDS] = { VEC_NP, VEC_GP, VEC_PF };

static u32 vector_of(const struct first *f)
{
	return f->info & 0xff;
}

/* SDM: "Error Code": the IDT's entry; EXT unless a software interrupt is to blame. */
static u32 second_error(const struct first *f, enum second s)
{
	const u32 type = f->info & INFO_TYPE;

	if (s == NO_STACK)
		return 2;
	return vector_of(f) * 8 + IDT + (type == TYPE_SOFTWARE_INTERRUPT || type == TYPE_SOFTWARE ? 0 : EXT);
}

static bool makes_double_fault(const struct first *f, enum second s)
{
	return f->class == PAGE_FAULT || (f->class == CONTRIBUTORY && s != NO_STACK);
}

/* L2 runs into it, with that bitmap. further: vectors whose gates are absent as well. */
static struct exit run(struct eguest *g, const struct first *f, enum second s, u32 bitmap, u32 further)
{
	eguest_again(g);
	for (u32 v = 0; v < 256; v++)
		if (v < 32 || v == INT_VECTOR)
			eguest_gate(g, v, GATE_INTERRUPT | GATE_DPL3);
	if (s == ABSENT_GATE)
		eguest_gate(g, vector_of(f), (GATE_INTERRUPT | GATE_DPL3) & ~GATE_PRESENT);
	if (s == BAD_GATE)
		eguest_gate(g, vector_of(f), GATE_BAD_TYPE | GATE_DPL3);
	for (u32 v = 0; v < 32; v++)
		if (further >> v & 1)
			eguest_gate(g, v, GATE_INTERRUPT & ~GATE_PRESENT);
	snippet_code(&g->s, f->bytes ? f->bytes : "\x0f\x0b", f->bytes && !f->bytes[1] ? 1 : 2);
	if (vector_of(f) == VEC_DE)
		g->s.v.g.cx = 0;
	g->s.v.g.ax = f->ax;
	if (s == NO_STACK)
		vmwrite(VMCS_guest_rsp, L2_WINDOW + 0x800);
	if ((f->info & INFO_TYPE) == TYPE_EXTERNAL)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	if (!f->bytes)
		eguest_inject(f->info, f->error, f->length);
	eguest_exits(g, bitmap);
	return snippet_run(&g->s);
}

static void judge_vectoring(const struct first *f, const struct exit *e)
{
	JUDGE("exit.info.idt-vectoring", vmread(VMCS_idt_vectoring_info) & INFO_JUDGED, INFO_VALID | f->info);
	if (f->info & INFO_HAS_ERROR)
		JUDGE("exit.info.idt-vectoring-error", vmread(VMCS_idt_vectoring_error_code), f->error);
	if (f->length)
		JUDGE("exit.info.idt-vectoring-length", e->length, f->length);
}

/* The second exception's bit is set: it exits, and both are told. */
static void judge_second_exits(struct eguest *g, const struct first *f, enum second s)
{
	const u32 vector = second_vectors[s];
	struct exit e;

	/* With this bit the guest's own first would exit itself. */
	if (f->bytes && vector == vector_of(f))
		return;
	e = run(g, f, s, 1u << vector, 0);
	if (!JUDGE("event.nested.exits", e.reason, EXIT_exception_or_nmi))
		return;
	JUDGE("event.nested.exits", vmread(VMCS_exit_interruption_info) & INFO_JUDGED,
	      INFO_VALID | INFO_HAS_ERROR | TYPE_HARDWARE | vector);
	JUDGE("event.nested.exits", vmread(VMCS_exit_interruption_error_code), second_error(f, s));
	if (!f->bytes)
		JUDGE("inject.nested-exception", snippet_faulted(&e, vector), true);
	JUDGE("event.nested.rip", e.ip, (ulong)g->s.code);
	JUDGE("event.nested.rip", vmread(VMCS_guest_rsp), s == NO_STACK ? L2_WINDOW + 0x800 : SNIP_SP(&g->s));
	judge_vectoring(f, &e);
}

/* No bit is set: the handler of the second, or of a double fault, finds where the guest stood. */
static void judge_delivered(struct eguest *g, const struct first *f, enum second s)
{
	const bool twice = makes_double_fault(f, s);
	struct exit e;

	if (s == NO_STACK)
		return;
	/* Bits of the first event don't count once its delivery has begun. */
	e = run(g, f, s, f->bytes ? 0 : (1u << vector_of(f) & ~(1u << VEC_DF)), 0);
	if (!JUDGE("event.nested.delivered", eguest_vector(g, &e), twice ? VEC_DF : second_vectors[s]))
		return;
	if (!f->bytes)
		JUDGE("inject.nested-exception", eguest_vector(g, &e), twice ? VEC_DF : second_vectors[s]);
	JUDGE("event.nested.delivered", eguest_frame(g, true).error, twice ? 0 : second_error(f, s));
	JUDGE("event.nested.delivered", eguest_frame(g, true).ip, (ulong)g->s.code);
}

/* A double fault that exits isn't told as one of a delivery. */
static void judge_double(struct eguest *g, const struct first *f, enum second s)
{
	/* Without classes that make one, the second's own gate must be bad, too. */
	const u32 further = makes_double_fault(f, s) ? 0 : 1u << second_vectors[s];
	struct exit e = run(g, f, s, 1u << VEC_DF, further);

	if (!JUDGE("event.double-fault.exits", e.reason, EXIT_exception_or_nmi))
		return;
	JUDGE("event.double-fault.exits", vmread(VMCS_exit_interruption_info) & INFO_JUDGED,
	      INFO_VALID | INFO_HAS_ERROR | TYPE_HARDWARE | VEC_DF);
	JUDGE("event.double-fault.exits", vmread(VMCS_exit_interruption_error_code), 0);
	JUDGE("event.double-fault.no-delivery", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	JUDGE("event.nested.rip", e.ip, (ulong)g->s.code);
}

static void judge_triple(struct eguest *g, const struct first *f, enum second s)
{
	struct exit e = run(g, f, s, 0, 1u << VEC_DF | 1u << VEC_NP | 1u << VEC_GP | 1u << VEC_PF);

	if (!JUDGE("event.triple-fault.exits", e.reason, EXIT_triple_fault))
		return;
	JUDGE("event.triple-fault.exits", e.qualification, 0);
	JUDGE("event.triple-fault.no-delivery", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	JUDGE("event.triple-fault.no-delivery", vmread(VMCS_exit_interruption_info) & INFO_VALID, 0);
	JUDGE("event.triple-fault.rip", e.ip, (ulong)g->s.code);
	JUDGE("event.triple-fault.rip", vmread(VMCS_guest_rsp), s == NO_STACK ? L2_WINDOW + 0x800 : SNIP_SP(&g->s));
}

static void judge_first(struct eguest *g, const struct first *f)
{
	for (u32 s = 0; s < SECONDS; s++) {
		judge_about(f->name, second_names[s]);
		judge_second_exits(g, f, s);
		/* A page fault of the stack comes again for every handler. */
		if (f->class == DOUBLE_FAULT) {
			judge_triple(g, f, s);
			continue;
		}
		judge_delivered(g, f, s);
		judge_double(g, f, s);
		judge_triple(g, f, s);
	}
}

static void end(struct eguest *g)
{
	vcpu_destroy(&g->s.v);
	judge_done();
	/* Not every host unblocks NMIs at an entry; this exception's handler has an IRET. */
	try_ud2();
}

static void judge_firsts(struct cpu *c, const struct first *f, u32 count)
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_16; mode = snippet_next(mode)) {
		eguest_mode(&g, mode, false);
		for (u32 i = 0; i < count; i++)
			judge_first(&g, &f[i]);
	}
	end(&g);
}

#define RULES                                                                                     \
	"event.nested.exits event.nested.delivered event.nested.rip event.double-fault.exits "    \
	"event.double-fault.no-delivery event.triple-fault.exits event.triple-fault.no-delivery " \
	"event.triple-fault.rip exit.info.idt-vectoring exit.info.idt-vectoring-length"
#define RULES_ERROR RULES " exit.info.idt-vectoring-error"

TEST(inject, injection_faults, .sdm = INJECTION, .rules = RULES_ERROR " inject.nested-exception")
{
	judge_firsts(c, injected, ARRAY_SIZE(injected));
}

TEST(inject, injection_faults_int1, .sdm = INJECTION, .rules = RULES " inject.nested-exception")
{
	judge_firsts(c, injected_int1, ARRAY_SIZE(injected_int1));
}

TEST(event, delivery_faults, .sdm = DURING, .rules = RULES_ERROR)
{
	judge_firsts(c, own, ARRAY_SIZE(own));
}

TEST(event, delivery_faults_int1, .sdm = DURING, .rules = RULES)
{
	judge_firsts(c, own_int1, ARRAY_SIZE(own_int1));
}

/* The fault's frame would have RF at 1, whatever the first event was. */
static void judge_resume_flag(struct cpu *c, const struct first *f, u32 count)
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_NATIVE, false);
	for (u32 i = 0; i < count; i++) {
		struct exit e;

		judge_about(f[i].name, second_names[ABSENT_GATE]);
		e = run(&g, &f[i], ABSENT_GATE, 1u << VEC_NP, 0);
		if (JUDGE("exit.save.resume-flag", snippet_faulted(&e, VEC_NP), true))
			JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, RFLAGS_RF);
	}
	end(&g);
}

TEST(inject, injection_resume_flag, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .rules = "exit.save.resume-flag")
{
	judge_resume_flag(c, injected, ARRAY_SIZE(injected));
}

TEST(event, delivery_resume_flag, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .rules = "exit.save.resume-flag")
{
	judge_resume_flag(c, own, ARRAY_SIZE(own));
}

/* A gate with DPL 0, at CPL 3: for software events only it's closed. */
static void judge_dpl(struct eguest *g, u32 info, bool checked)
{
	const u32 vector = info & 0xff;

	for (u32 exits = 0; exits < 2; exits++) {
		struct exit e;

		eguest_again(g);
		snippet_code(&g->s, "\x0f\x0b", 2);
		eguest_gate(g, vector, GATE_INTERRUPT);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
		eguest_exits(g, exits ? ~0u : 0);
		eguest_inject(info, ERROR_CODE & 0xff, 2);
		e = snippet_run(&g->s);
		eguest_gate(g, vector, GATE_INTERRUPT | GATE_DPL3);
		if (!checked) {
			JUDGE("inject.dpl-other", eguest_vector(g, &e), vector);
			continue;
		}
		if (!exits) {
			JUDGE("inject.dpl-software", eguest_vector(g, &e), VEC_GP);
			JUDGE("inject.dpl-software", eguest_frame(g, true).error, vector * 8 + IDT);
			JUDGE("inject.dpl-software", eguest_frame(g, true).ip, (ulong)g->s.code);
			continue;
		}
		if (!JUDGE("inject.dpl-software", snippet_faulted(&e, VEC_GP), true))
			continue;
		JUDGE("inject.dpl-software", vmread(VMCS_exit_interruption_error_code), vector * 8 + IDT);
		JUDGE("inject.dpl-software", vmread(VMCS_idt_vectoring_info) & INFO_JUDGED, INFO_VALID | info);
		JUDGE("inject.dpl-software", e.length, 2);
		JUDGE("inject.dpl-software", e.ip, (ulong)g->s.code);
	}
}

TEST(inject, dpl, .sdm = "Details of Vectored-Event Injection", .rules = "inject.dpl-software inject.dpl-other")
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		eguest_mode(&g, mode, true);
		judge_about(snippet_name(mode), "CPL 3");
		judge_dpl(&g, TYPE_SOFTWARE_INTERRUPT | 0x45, true);
		judge_dpl(&g, TYPE_SOFTWARE_INTERRUPT | VEC_PF, true);
		judge_dpl(&g, TYPE_SOFTWARE | VEC_BP, true);
		judge_dpl(&g, TYPE_SOFTWARE | VEC_OF, true);
		judge_dpl(&g, TYPE_EXTERNAL | 0x45, false);
		judge_dpl(&g, TYPE_NMI | VEC_NMI, false);
		judge_dpl(&g, HW(VEC_UD), false);
		judge_dpl(&g, HWE(VEC_GP), false);
	}
	end(&g);
}

TEST(inject, dpl_int1, .sdm = "Details of Vectored-Event Injection", .rules = "inject.dpl-other")
{
	struct eguest g;

	judge_begin();
	eguest_begin(&g, c, 0);
	eguest_mode(&g, SNIP_NATIVE, true);
	judge_dpl(&g, TYPE_PRIVILEGED | VEC_DB, false);
	end(&g);
}
