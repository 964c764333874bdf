// SPDX-License-Identifier: BSD-2-Clause
/*
 * Task switches exit, whatever the controls, after the checks on gate, selector and descriptor that may fault; nothing of the switch has
 * happened then. In IA-32e mode there are none: only faults. SDM: "Treatment of Task Switches".
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define TREATMENT "Treatment of Task Switches"
#define INFO_JUDGED (INFO_VALID | 0xfffu)
#define EXT 1u
#define IDT 2u
#define INT_VECTOR 0x41u
#define ERROR_CODE 0x24u
#define AR_DPL3 0x60u
#define AR_TSS 0x89u /* available, 32 bits */
#define AR_TSS_BUSY_32 0x8bu
#define AR_TSS_16 0x81u
#define AR_ABSENT_TSS 0x09u
#define AR_TASK_GATE 0x85u
#define TSS_MIN 0x67u

/* The GDT's entries for this; SEL_LDT_TASK isn't in the GDT. */
#define SEL_TASK ESEL_FREE
#define SEL_BUSY (ESEL_FREE + 8)
#define SEL_TASK_16 (ESEL_FREE + 16)
#define SEL_ABSENT_TASK (ESEL_FREE + 24)
#define SEL_SHORT (ESEL_FREE + 32)
#define SEL_GATE (ESEL_FREE + 40)
#define SEL_USER_TASK (ESEL_FREE + 48)
#define SEL_ABSENT_GATE (ESEL_FREE + 56)
#define SEL_USER_GATE (ESEL_FREE + 64)
#define SEL_LDT_TASK (SEL_TASK | 4)

enum source { BY_CALL, BY_IRET, BY_JMP, BY_GATE };

struct task {
	struct eguest g;
	u8 *other; /* the other task's state */
	u8 before[3 * PAGE_SIZE];
};

static void descriptors(struct task *t)
{
	u64 *gdt = t->g.gdt;
	const u32 base = (u32)(ulong)t->other;

	gdt[SEL_TASK >> 3] = descriptor(base, TSS_MIN, AR_TSS);
	gdt[SEL_BUSY >> 3] = descriptor(base, TSS_MIN, AR_TSS_BUSY_32);
	gdt[SEL_TASK_16 >> 3] = descriptor(base, 0x2b, AR_TSS_16);
	gdt[SEL_ABSENT_TASK >> 3] = descriptor(base, TSS_MIN, AR_ABSENT_TSS);
	gdt[SEL_SHORT >> 3] = descriptor(base, TSS_MIN - 1, AR_TSS);
	gdt[SEL_GATE >> 3] = descriptor(SEL_TASK, 0, AR_TASK_GATE);
	gdt[SEL_USER_TASK >> 3] = descriptor(base, TSS_MIN, AR_TSS | AR_DPL3);
	gdt[SEL_ABSENT_GATE >> 3] = descriptor(SEL_TASK, 0, AR_TASK_GATE & ~GATE_PRESENT);
	gdt[SEL_USER_GATE >> 3] = descriptor(SEL_TASK, 0, AR_TASK_GATE | AR_DPL3);
}

static struct task *begin(struct cpu *c)
{
	static struct task task;

	judge_begin();
	eguest_begin(&task.g, c, 0);
	task.other = page_alloc();
	return &task;
}

static void set_mode(struct task *t, enum snip_mode mode, bool user)
{
	eguest_mode(&t->g, mode, user);
	descriptors(t);
	judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
}

static void end(struct task *t)
{
	vcpu_destroy(&t->g.s.v);
	judge_done();
	try_ud2();
}

/* Modes that have task switches. */
static enum snip_mode legacy(enum snip_mode mode)
{
	return mode == SNIP_COMPAT ? SNIP_32 : mode;
}
#define FIRST_LEGACY (sizeof(ulong) == 8 ? SNIP_32 : SNIP_NATIVE)

/* Far CALL (opcode 9a) or JMP (ea) to the selector; the offset doesn't count. 7 bytes, 5 in 16-bit code. */
static u32 far_code(u8 *code, u8 opcode, enum snip_mode mode, u32 selector)
{
	const u32 offset = mode == SNIP_16 ? 2 : 4;

	code[0] = opcode;
	memset(code + 1, 0, offset);
	code[1 + offset] = (u8)selector;
	code[2 + offset] = (u8)(selector >> 8);
	return offset + 3;
}

static struct exit run_far(struct task *t, u8 opcode, u32 selector)
{
	u8 code[8];

	eguest_again(&t->g);
	eguest_exits(&t->g, ~0u);
	snippet_code(&t->g.s, code, far_code(code, opcode, t->g.s.mode, selector));
	return snippet_run(&t->g.s);
}

/* IRET with NT: to the task whose selector stands in the current TSS. */
static struct exit run_iret(struct task *t, u32 selector)
{
	*(u16 *)t->g.tss = (u16)selector;
	eguest_again(&t->g);
	eguest_exits(&t->g, ~0u);
	snippet_code(&t->g.s, "\xcf", 1);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_NT);
	return snippet_run(&t->g.s);
}

static void remember(struct task *t)
{
	memcpy(t->before, t->g.gdt, PAGE_SIZE);
	memcpy(t->before + PAGE_SIZE, t->g.tss, PAGE_SIZE);
	memcpy(t->before + 2 * PAGE_SIZE, t->other, PAGE_SIZE);
}

/* SDM: "Architectural State Before a VM Exit" */
static bool unchanged(const struct task *t)
{
	return !memcmp(t->before, t->g.gdt, PAGE_SIZE) && !memcmp(t->before + PAGE_SIZE, t->g.tss, PAGE_SIZE) &&
	       !memcmp(t->before + 2 * PAGE_SIZE, t->other, PAGE_SIZE);
}

static void judge_exit(struct task *t, const struct exit *e, enum source source, u32 selector, u32 flags)
{
	JUDGE("exit.info.task-switch", e->qualification, selector | (u32)source << 30);
	JUDGE("exit.info.interruption-clear", vmread(VMCS_exit_interruption_info) & INFO_VALID, 0);
	JUDGE("task.nothing-done", unchanged(t), true);
	JUDGE("task.nothing-done", vmread(VMCS_guest_tr_selector), SEL_TSS2);
	JUDGE("task.nothing-done", vmread(VMCS_guest_tr_base), (ulong)t->g.tss);
	JUDGE("task.nothing-done", vmread(VMCS_guest_cr0) & CR0_TS, 0);
	JUDGE("task.nothing-done", vmread(VMCS_guest_rflags) & RFLAGS_NT, flags & RFLAGS_NT);
	JUDGE("task.rip", e->ip, (ulong)t->g.s.code);
	JUDGE("task.rip", vmread(VMCS_guest_rsp), SNIP_SP(&t->g.s));
}

static void judge_by_instruction(struct task *t, struct exit e, enum source source, u32 selector, u32 flags)
{
	if (!JUDGE("task.exits", e.reason, EXIT_task_switch))
		return;
	judge_exit(t, &e, source, selector, flags);
	JUDGE("task.length", e.length, t->g.s.length);
	JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
}

TEST(task, instructions, .sdm = TREATMENT,
     .rules = "task.exits exit.info.task-switch task.nothing-done task.rip task.length "
	      "exit.info.interruption-clear exit.info.idt-vectoring-clear")
{
	struct task *t = begin(c);

	for (enum snip_mode mode = FIRST_LEGACY; mode < SNIP_MODES; mode = legacy(snippet_next(mode))) {
		set_mode(t, mode, false);
		remember(t);
		judge_by_instruction(t, run_far(t, 0x9a, SEL_TASK), BY_CALL, SEL_TASK, 0);
		judge_by_instruction(t, run_far(t, 0xea, SEL_TASK), BY_JMP, SEL_TASK, 0);
		judge_by_instruction(t, run_far(t, 0x9a, SEL_TASK_16), BY_CALL, SEL_TASK_16, 0);
		judge_by_instruction(t, run_far(t, 0xea, SEL_TASK_16), BY_JMP, SEL_TASK_16, 0);
		judge_by_instruction(t, run_far(t, 0x9a, SEL_GATE), BY_CALL, SEL_TASK, 0);
		judge_by_instruction(t, run_far(t, 0xea, SEL_GATE), BY_JMP, SEL_TASK, 0);
		*(u16 *)t->g.tss = SEL_BUSY;
		remember(t);
		judge_by_instruction(t, run_iret(t, SEL_BUSY), BY_IRET, SEL_BUSY, RFLAGS_NT);
		set_mode(t, mode, true);
		remember(t);
		judge_by_instruction(t, run_far(t, 0x9a, SEL_USER_TASK | 3), BY_CALL, SEL_USER_TASK | 3, 0);
		judge_by_instruction(t, run_far(t, 0xea, SEL_USER_GATE | 3), BY_JMP, SEL_TASK, 0);
	}
	end(t);
}

/* The first checks fail: a fault, no task switch. */
static void judge_fault(struct exit e, u32 vector, u32 error)
{
	if (JUDGE("task.fault-first", snippet_faulted(&e, vector), true))
		JUDGE("task.fault-first", vmread(VMCS_exit_interruption_error_code), error);
}

TEST(task, faults_first, .sdm = TREATMENT, .rules = "task.fault-first")
{
	struct task *t = begin(c);

	for (enum snip_mode mode = FIRST_LEGACY; mode < SNIP_MODES; mode = legacy(snippet_next(mode))) {
		for (u32 jump = 0; jump < 2; jump++) {
			const u8 opcode = jump ? 0xea : 0x9a;

			set_mode(t, mode, false);
			judge_fault(run_far(t, opcode, SEL_BUSY), VEC_GP, SEL_BUSY);
			judge_fault(run_far(t, opcode, SEL_ABSENT_TASK), VEC_NP, SEL_ABSENT_TASK);
			judge_fault(run_far(t, opcode, SEL_SHORT), VEC_TS, SEL_SHORT);
			judge_fault(run_far(t, opcode, SEL_ABSENT_GATE), VEC_NP, SEL_ABSENT_GATE);
			judge_fault(run_far(t, opcode, ESEL_BEYOND), VEC_GP, ESEL_BEYOND);
			judge_fault(run_far(t, opcode, SEL_TASK | 3), VEC_GP, SEL_TASK);
			set_mode(t, mode, true);
			judge_fault(run_far(t, opcode, SEL_TASK), VEC_GP, SEL_TASK);
			judge_fault(run_far(t, opcode, SEL_GATE), VEC_GP, SEL_GATE);
		}
		set_mode(t, mode, false);
		judge_fault(run_iret(t, SEL_TASK), VEC_TS, SEL_TASK);
		judge_fault(run_iret(t, ESEL_BEYOND), VEC_TS, ESEL_BEYOND);
		judge_fault(run_iret(t, SEL_LDT_TASK), VEC_TS, SEL_LDT_TASK);
	}
	end(t);
}

struct gated {
	const char *name;
	u32 info;
	const char *bytes; /* NULL: injected */
	u32 length;        /* of a software event's instruction */
	u32 error;
	ulong ax;
	bool fault; /* RF is saved as 1 */
};

static const struct gated gated[] = {
	{ "INT n", TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, "\xcd\x41", 2, 0, 0, false },
	{ "INT3", TYPE_SOFTWARE | VEC_BP, "\xcc", 1, 0, 0, false },
	{ "#UD", TYPE_HARDWARE | VEC_UD, "\x0f\x0b", 0, 0, 0, true },
	{ "#GP", TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP, "\x8e\xd8", 0, ESEL_BEYOND, ESEL_BEYOND, true },
	{ "injected interrupt", TYPE_EXTERNAL | INT_VECTOR, NULL, 0, 0, 0, false },
	{ "injected NMI", TYPE_NMI | VEC_NMI, NULL, 0, 0, 0, false },
	{ "injected #UD", TYPE_HARDWARE | VEC_UD, NULL, 0, 0, 0, false },
	{ "injected #GP", TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP, NULL, 0, ERROR_CODE, 0, false },
	{ "injected #DF", TYPE_HARDWARE | INFO_HAS_ERROR | VEC_DF, NULL, 0, 0, 0, false },
	{ "injected INT n", TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, NULL, 5, 0, 0, false },
	{ "injected INT3", TYPE_SOFTWARE | VEC_BP, NULL, 3, 0, 0, false },
};
static const struct gated gated_int1[] = {
	{ "INT1", TYPE_PRIVILEGED | VEC_DB, "\xf1", 1, 0, 0, false },
	{ "injected INT1", TYPE_PRIVILEGED | VEC_DB, NULL, 7, 0, 0, false },
};

static struct exit run_gated(struct task *t, const struct gated *e, u32 selector, u32 type, u32 bitmap)
{
	const u32 vector = e->info & 0xff;
	struct eguest *g = &t->g;

	eguest_task_gate(g, vector, selector, type);
	remember(t);
	eguest_again(g);
	eguest_exits(g, bitmap);
	snippet_code(&g->s, e->bytes ? e->bytes : "\x0f\x0b", e->bytes && !e->bytes[1] ? 1 : 2);
	g->s.v.g.ax = e->ax;
	if ((e->info & INFO_TYPE) == TYPE_EXTERNAL)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	if (!e->bytes)
		eguest_inject(e->info, e->error, e->length);
	return snippet_run(&g->s);
}

static void judge_vectoring(const struct gated *e, const struct exit *x)
{
	JUDGE("exit.info.idt-vectoring", vmread(VMCS_idt_vectoring_info) & INFO_JUDGED, INFO_VALID | e->info);
	if (e->info & INFO_HAS_ERROR)
		JUDGE("exit.info.idt-vectoring", vmread(VMCS_idt_vectoring_error_code), e->error);
	if (e->length)
		JUDGE("exit.info.idt-vectoring-length", x->length, e->length);
}

static void judge_gated(struct task *t, const struct gated *e)
{
	struct exit x = run_gated(t, e, SEL_TASK, GATE_TASK | GATE_DPL3, ~(1u << (e->info & 31)));

	if (!JUDGE("task.exits", x.reason, EXIT_task_switch))
		return;
	judge_exit(t, &x, BY_GATE, SEL_TASK, 0);
	judge_vectoring(e, &x);
	JUDGE("task.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, e->fault ? RFLAGS_RF : 0);
}

static u32 gate_error(const struct gated *e, u32 selector)
{
	const u32 type = e->info & INFO_TYPE;
	const bool software = type == TYPE_SOFTWARE_INTERRUPT || type == TYPE_SOFTWARE;

	return (selector ? selector : (e->info & 0xff) * 8 + IDT) | (software ? 0 : EXT);
}

/* What a gate or a task's descriptor is bad for. A double fault's would be a triple fault. */
static void judge_gated_fault(struct task *t, const struct gated *e, u32 selector, u32 type, u32 vector, u32 told)
{
	struct exit x;

	if ((e->info & 0xff) == VEC_DF || (e->bytes && (e->info & 0xff) == vector))
		return;
	x = run_gated(t, e, selector, type, 1u << vector);
	if (!JUDGE("task.fault-first", snippet_faulted(&x, vector), true))
		return;
	JUDGE("task.fault-first", vmread(VMCS_exit_interruption_error_code), gate_error(e, told));
	judge_vectoring(e, &x);
	JUDGE("task.rip", x.ip, (ulong)t->g.s.code);
}

static void check_gated(struct cpu *c, const struct gated *e, u32 count)
{
	const u32 open = GATE_TASK | GATE_DPL3;
	struct task *t = begin(c);

	for (enum snip_mode mode = FIRST_LEGACY; mode < SNIP_MODES; mode = legacy(snippet_next(mode))) {
		for (u32 user = 0; user < 2; user++) {
			for (u32 i = 0; i < count; i++) {
				set_mode(t, mode, user);
				judge_about(e[i].name, snippet_name(mode));
				judge_gated(t, &e[i]);
				judge_gated_fault(t, &e[i], SEL_TASK, open & ~GATE_PRESENT, VEC_NP, 0);
				judge_gated_fault(t, &e[i], SEL_ABSENT_TASK, open, VEC_NP, SEL_ABSENT_TASK);
				judge_gated_fault(t, &e[i], SEL_SHORT, open, VEC_TS, SEL_SHORT);
				judge_gated_fault(t, &e[i], SEL_BUSY, open, VEC_GP, SEL_BUSY);
				judge_gated_fault(t, &e[i], ESEL_BEYOND, open, VEC_GP, ESEL_BEYOND);
			}
		}
	}
	end(t);
}

#define GATED                                                                           \
	"task.exits exit.info.task-switch task.nothing-done task.rip task.resume-flag " \
	"exit.info.interruption-clear exit.info.idt-vectoring exit.info.idt-vectoring-length task.fault-first"

TEST(task, gates, .sdm = TREATMENT, .rules = GATED)
{
	check_gated(c, gated, ARRAY_SIZE(gated));
}

TEST(task, gates_int1, .sdm = TREATMENT, .rules = GATED)
{
	check_gated(c, gated_int1, ARRAY_SIZE(gated_int1));
}

/* In IA-32e mode there are no tasks. */
TEST(task, none_in_ia32e_mode, .sdm = TREATMENT, .flags = TEST_AMD64, .rules = "task.ia32e")
{
	struct task *t = begin(c);
	struct exit e;

	set_mode(t, SNIP_NATIVE, false);
	e = run_iret(t, SEL_BUSY);
	JUDGE("task.ia32e", snippet_faulted(&e, VEC_GP), true);
	JUDGE("task.ia32e", vmread(VMCS_exit_interruption_error_code), 0);
	set_mode(t, SNIP_COMPAT, false);
	e = run_iret(t, SEL_BUSY);
	JUDGE("task.ia32e", snippet_faulted(&e, VEC_GP), true);
	e = run_far(t, 0x9a, SEL_TASK);
	JUDGE("task.ia32e", snippet_faulted(&e, VEC_GP), true);
	JUDGE("task.ia32e", vmread(VMCS_exit_interruption_error_code), SEL_TASK);
	e = run_far(t, 0xea, SEL_TASK);
	JUDGE("task.ia32e", snippet_faulted(&e, VEC_GP), true);
	for (u32 i = 0; i < ARRAY_SIZE(gated); i++) {
		if ((gated[i].info & 0xff) == VEC_GP || (gated[i].info & 0xff) == VEC_DF)
			continue;
		judge_about(gated[i].name, NULL);
		set_mode(t, SNIP_NATIVE, false);
		e = run_gated(t, &gated[i], SEL_TASK, GATE_TASK | GATE_DPL3, 1u << VEC_GP);
		JUDGE("task.ia32e", snippet_faulted(&e, VEC_GP), true);
		JUDGE("task.ia32e", vmread(VMCS_exit_interruption_error_code), gate_error(&gated[i], 0));
		JUDGE("task.ia32e", vmread(VMCS_idt_vectoring_info) & INFO_JUDGED, INFO_VALID | gated[i].info);
	}
	end(t);
}
