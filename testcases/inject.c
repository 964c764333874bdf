// SPDX-License-Identifier: BSD-2-Clause
/*
 * Events whose delivery needs a page that isn't there (yet).
 *
 * L2's IDT, GDT, TSS and stack are pages of their own, at guest-physical addresses that nothing has touched before. If
 * one of them is absent from L1's EPT, there is an EPT violation that tells of the event; L1 maps and injects it again.
 * If nothing is absent, an L0 that fills its own tables when they are needed must do so without L1: the same code runs
 * with all pages there. Either way the handler runs once, and finds the frame of the first attempt.
 */
#include "arch/frame.h"
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "x86/cr.h"

/* lib/arch/l2_inject.asm */
extern u8 inject_ud2[], inject_int[], inject_int3[], inject_int1[], inject_bad_selector[], inject_read[];
extern u8 inject_ipi[], inject_ipi_arrives[], inject_ipi_hlt[], inject_hlt_ends[], inject_nmi[], inject_nothing[];
extern u8 inject_handler[], inject_handler_error[];
extern volatile u32 inject_count;
extern volatile struct {
	ulong error, ip, cs, flags, sp, ss;
} inject_frame;

/* Interruption information (SDM: "Information for VM Exits That Occur During Event Delivery"). */
#define INFO_VALID 0x80000000u
#define INFO_HAS_ERROR 0x800u
#define INFO_JUDGED 0x80000fffu /* bit 12 is undefined here */
#define INFO_TYPE 0x700u
#define TYPE_EXTERNAL (0u << 8)
#define TYPE_NMI (2u << 8)
#define TYPE_HARDWARE (3u << 8)
#define TYPE_SOFTWARE_INTERRUPT (4u << 8)
#define TYPE_PRIVILEGED (5u << 8)
#define TYPE_SOFTWARE (6u << 8)

#define QUAL_READ 0x1u
#define QUAL_WRITE 0x2u
#define QUAL_FETCH 0x4u
#define QUAL_LINEAR_VALID 0x80u
#define QUAL_TRANSLATED 0x100u

#define BLOCKED_BY_STI_OR_MOV_SS 0x3u
#define BLOCKED_BY_NMI 0x8u
#define RFLAGS_RF 0x10000u

#define INT_VECTOR 0x41u
#define IPI_VECTOR (IRQ_VECTOR + IRQ_SELF)
#define ICR_LOW (APIC_PAGE + 0x300)
#define ICR_HIGH (APIC_PAGE + 0x310)
#define ICR_SELF_FIXED 0x44000u
#define ICR_NMI 0x4400u

/* Pages of L2, in L2_WINDOW in this order. The stack grows down from the end of its page. */
enum { PAGE_IDT, PAGE_GDT, PAGE_TSS, PAGE_STACK, PAGE_ABOVE, PAGE_ABSENT, PAGES };
#define LINEAR(page) (L2_WINDOW + (ulong)(page)*PAGE_SIZE)
#define STACK_TOP LINEAR(PAGE_ABOVE)
#define USER_SP (STACK_TOP + 0x800)
#define GPA_PAGES GPA_LARGE_A

/* Pages that are absent at first: a bit each. */
#define WITHOUT(page) (1u << (page))

#define VECTOR_OF(info) ((info)&0xff)

struct event {
	const u8 *at;     /* L2 starts here */
	const u8 *stands; /* RIP when the event is delivered; NULL: not judged */
	u32 info;         /* vector, type, error code's bit */
	u32 error;
	u32 length;   /* of the instruction, which the handler returns behind */
	bool user;    /* CPL 3 */
	bool injects; /* L1 injects it */
	ulong ax, dx;
	ulong flags; /* RFLAGS at first */
	bool judges_rf;
	ulong rf; /* what the delivery would push, so that a violation saves it */
};

struct machine {
	struct vcpu v;
	u8 *page[PAGES];
	u64 gpa; /* of the pages; others for each case */
};

static void fill_tables(struct machine *m, const struct cpu *c)
{
	static const struct {
		u8 vector, dpl;
		bool error;
	} handlers[] = {
		{ VEC_DB, 0, false }, { VEC_NMI, 0, false }, { VEC_BP, 3, false },     { VEC_UD, 0, false },
		{ VEC_GP, 0, true },  { VEC_PF, 0, true },   { INT_VECTOR, 3, false }, { IPI_VECTOR, 0, false },
	};
	struct gate *idt = (struct gate *)(ulong)m->page[PAGE_IDT];
	struct tss *t = (struct tss *)(ulong)m->page[PAGE_TSS];

	memcpy(idt, (const void *)cpu_idt_base(), CPU_IDT_LIMIT + 1);
	for (u32 i = 0; i < ARRAY_SIZE(handlers); i++)
		idt[handlers[i].vector] = gate_make((ulong)(handlers[i].error ? inject_handler_error : inject_handler),
						    SEL_CODE, handlers[i].dpl);
	memcpy(m->page[PAGE_GDT], c->gdt, sizeof(c->gdt));
	*t = c->tss[LEVEL_L2];
	t->sp0[0] = (u32)STACK_TOP;
	memset(m->page[PAGE_STACK], 0, PAGE_SIZE);
}

static void set_user(void)
{
	vmwrite(VMCS_guest_cs_selector, SEL_USER_CODE);
	vmwrite(VMCS_guest_ss_selector, SEL_USER_DATA);
	vmwrite_bits(VMCS_guest_cs_access_rights, 0, 0x60);
	vmwrite_bits(VMCS_guest_ss_access_rights, 0, 0x60);
	vmwrite(VMCS_guest_rsp, USER_SP);
}

/* New guest-physical pages, some of them absent; L2 stands before the instruction that causes the event. */
static void prepare(struct machine *m, const struct event *ev, u32 absent)
{
	struct vcpu *v = &m->v;

	m->gpa += (u64)PAGES * PAGE_SIZE;
	for (u32 i = 0; i < PAGES; i++) {
		u64 gpa = m->gpa + (u64)i * PAGE_SIZE;

		ept_map_page(v->eptp & EPT_ADDR, gpa, (ulong)m->page[i], absent & WITHOUT(i) ? 0 : EPT_RWX);
		v->l2_window[i] = i == PAGE_ABSENT ? 0 : gpa | PTE_P | PTE_W | PTE_U;
	}
	vcpu_write_guest_state(v);
	vmwrite(VMCS_guest_gdtr_base, LINEAR(PAGE_GDT));
	vmwrite(VMCS_guest_idtr_base, LINEAR(PAGE_IDT));
	vmwrite(VMCS_guest_tr_base, LINEAR(PAGE_TSS));
	vmwrite(VMCS_guest_rip, (ulong)ev->at);
	vmwrite(VMCS_guest_rsp, STACK_TOP);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | ev->flags);
	if (ev->user)
		set_user();
	v->g.ax = ev->ax;
	v->g.dx = ev->dx;
	if (ev->injects) {
		v->again_info = INFO_VALID | ev->info;
		v->again_error = ev->error;
		v->again_length = ev->length;
	}
	inject_count = 0;
	write_cr2(0);
}

/* Which page the violation is about; PAGES if none of ours. */
static u32 page_of(const struct machine *m)
{
	u64 page = (vmread(VMCS_guest_physical_address) - m->gpa) >> PAGE_SHIFT;

	return page < PAGES ? (u32)page : PAGES;
}

/* SDM: "Architectural State Before a VM Exit": what an event has changed already, though it wasn't delivered. */
static void check_state(const struct event *ev, ulong sp)
{
	u32 blocked = (u32)vmread(VMCS_guest_interruptibility_state);

	expect_eq(vmread(VMCS_guest_rsp), sp);
	expect_eq(vmread(VMCS_guest_activity_state), 0);
	expect_eq(blocked & BLOCKED_BY_STI_OR_MOV_SS, 0);
	if ((ev->info & 0x7ff) == (TYPE_HARDWARE | VEC_PF))
		expect_eq(read_cr2(), ev->injects ? 0 : ev->dx);
	if (ev->info == (TYPE_NMI | VEC_NMI) && !ev->injects)
		expect_eq(blocked & BLOCKED_BY_NMI, BLOCKED_BY_NMI);
}

/* The violation is the right one and tells of the event; L1 maps the page. The bit of the page, 0 if it's none. */
static u32 check_violation(struct machine *m, const struct event *ev, const struct exit *e, u32 absent)
{
	u32 page = page_of(m);

	if (!expect(page < PAGES) || !expect(absent & WITHOUT(page)))
		return 0;
	expect_eq(e->qualification & (QUAL_READ | QUAL_WRITE | QUAL_FETCH),
		  page == PAGE_STACK ? QUAL_WRITE : QUAL_READ);
	expect_eq(e->qualification & (QUAL_LINEAR_VALID | QUAL_TRANSLATED), QUAL_LINEAR_VALID | QUAL_TRANSLATED);
	expect_eq(vmread(VMCS_guest_linear_address) >> PAGE_SHIFT, LINEAR(page) >> PAGE_SHIFT);
	expect_eq(vmread(VMCS_idt_vectoring_info) & INFO_JUDGED, INFO_VALID | ev->info);
	if (ev->info & INFO_HAS_ERROR)
		expect_eq(vmread(VMCS_idt_vectoring_error_code), ev->error);
	if (ev->length)
		expect_eq(e->length, ev->length);
	if (ev->stands)
		expect_eq(e->ip, (ulong)ev->stands);
	check_state(ev, ev->user ? USER_SP : STACK_TOP);
	if (ev->judges_rf)
		expect_eq(vmread(VMCS_guest_rflags) & RFLAGS_RF, ev->rf);
	ept_map_page(m->v.eptp & EPT_ADDR, m->gpa + (u64)page * PAGE_SIZE, (ulong)m->page[page], EPT_RWX);
	return WITHOUT(page);
}

/* What the CPU pushed, as the handler found it. */
static void check_frame(const struct event *ev, ulong ip)
{
	/* External interrupts come only when IF is 1, whatever L2 started with. */
	ulong flags = (ev->info & INFO_TYPE) == TYPE_EXTERNAL ? RFLAGS_IF : 0;

	expect_eq(inject_frame.error, ev->info & INFO_HAS_ERROR ? ev->error : 0);
	if (ip)
		expect_eq(inject_frame.ip, ip + ev->length);
	expect_eq(inject_frame.cs & 0xffff, ev->user ? SEL_USER_CODE : SEL_CODE);
	expect_eq(inject_frame.flags & (RFLAGS_IF | RFLAGS_FIXED), flags | RFLAGS_FIXED);
	if (ev->judges_rf)
		expect_eq(inject_frame.flags & RFLAGS_RF, ev->rf);
	if (sizeof(ulong) == 4 && !ev->user)
		return;
	expect_eq(inject_frame.sp, ev->user ? USER_SP : STACK_TOP);
	expect_eq(inject_frame.ss & 0xffff, ev->user ? SEL_USER_DATA : SEL_DATA);
}

static void check_case(struct machine *m, const struct event *ev, u32 absent)
{
	ulong ip = (ulong)ev->stands;
	struct exit e;
	u32 left = absent;

	prepare(m, ev, absent);
	for (e = enter(&m->v); e.reason == EXIT_ept_violation && left; e = enter(&m->v)) {
		u32 done = check_violation(m, ev, &e, left);

		if (!done)
			return;
		left &= ~done;
		/* Each attempt starts anew, at the same place. */
		if (ip)
			expect_eq(e.ip, ip);
		ip = e.ip;
	}
	require_call(&m->v, e, L2_STEP);
	expect_eq(left, 0);
	expect_eq(inject_count, 1);
	check_frame(ev, ip);
	/* However many attempts it took. What L1 injects doesn't block: see nmi.c. */
	if (ev->info == (TYPE_NMI | VEC_NMI) && !ev->injects)
		expect_eq(vmread(VMCS_guest_interruptibility_state) & BLOCKED_BY_NMI, BLOCKED_BY_NMI);
	e = enter(&m->v);
	require_call(&m->v, e, L2_RETURN);
	expect_eq(m->v.g.dx, 1);
	if (ev->info == IPI_VECTOR && !ev->injects)
		apic_eoi();
	/* An NMI blocks the next until an IRET; this exception's handler has one. Not every host unblocks at VM entry. */
	if (ev->info == (TYPE_NMI | VEC_NMI))
		try_ud2();
}

static void check_event(struct cpu *c, const struct event *ev)
{
	u32 tss = ev->user ? WITHOUT(PAGE_TSS) : 0;
	struct machine m;

	test_vcpu(&m.v, c, OPT_ept);
	m.v.l2_takes = VECTOR_OF(ev->info) < 32 ? 1u << VECTOR_OF(ev->info) : 0;
	vcpu_write_controls(&m.v);
	m.gpa = GPA_PAGES;
	for (u32 i = 0; i < PAGES; i++)
		m.page[i] = page_alloc();
	fill_tables(&m, c);
	check_case(&m, ev, 0);
	check_case(&m, ev, WITHOUT(PAGE_IDT));
	check_case(&m, ev, WITHOUT(PAGE_GDT));
	check_case(&m, ev, WITHOUT(PAGE_STACK));
	if (tss)
		check_case(&m, ev, tss);
	check_case(&m, ev, WITHOUT(PAGE_IDT) | WITHOUT(PAGE_GDT) | WITHOUT(PAGE_STACK) | tss);
}

#define INJECT(name_, rules_, ...)                                                                              \
	TEST(inject, name_, .sdm = "Information for VM Exits That Occur During Event Delivery", .opt = OPT_ept, \
	     .rules = rules_)                                                                                   \
	{                                                                                                       \
		const struct event ev = { __VA_ARGS__ };                                                        \
                                                                                                                \
		check_event(c, &ev);                                                                            \
	}

INJECT(exception,
       "exit.info.idt-vectoring exit.info.delivery-restartable exit.info.ept-translated "
       "inject.hardware-exception inject.frame",
       .at = inject_ud2, .stands = inject_ud2, .info = TYPE_HARDWARE | VEC_UD)
INJECT(exception_error,
       "exit.info.idt-vectoring exit.info.idt-vectoring-error exit.info.delivery-restartable "
       "inject.hardware-exception inject.frame",
       .at = inject_bad_selector, .stands = inject_bad_selector, .info = TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP,
       .error = 0xff8, .ax = 0xff8)
INJECT(page_fault, "exit.info.idt-vectoring exit.info.idt-vectoring-error exit.info.delivery-restartable",
       .at = inject_read, .stands = inject_read, .info = TYPE_HARDWARE | INFO_HAS_ERROR | VEC_PF,
       .dx = LINEAR(PAGE_ABSENT) + 0x123)
INJECT(int_n,
       "exit.info.idt-vectoring exit.info.idt-vectoring-length exit.info.delivery-restartable "
       "inject.software",
       .at = inject_int, .stands = inject_int, .info = TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, .length = 2)
INJECT(int3,
       "exit.info.idt-vectoring exit.info.idt-vectoring-length exit.info.delivery-restartable "
       "inject.software",
       .at = inject_int3, .stands = inject_int3, .info = TYPE_SOFTWARE | VEC_BP, .length = 1)
INJECT(int1,
       "exit.info.idt-vectoring exit.info.idt-vectoring-length exit.info.delivery-restartable "
       "inject.software",
       .at = inject_int1, .stands = inject_int1, .info = TYPE_PRIVILEGED | VEC_DB, .length = 1)
INJECT(interrupt, "exit.info.idt-vectoring exit.info.delivery-restartable inject.external", .at = inject_ipi,
       .stands = inject_ipi_arrives, .info = TYPE_EXTERNAL | IPI_VECTOR, .ax = ICR_SELF_FIXED | IPI_VECTOR,
       .dx = ICR_LOW)
INJECT(interrupt_ends_hlt, "exit.info.idt-vectoring exit.info.delivery-restartable inject.external",
       .at = inject_ipi_hlt, .stands = inject_hlt_ends, .info = TYPE_EXTERNAL | IPI_VECTOR,
       .ax = ICR_SELF_FIXED | IPI_VECTOR, .dx = ICR_LOW)

/* RF that the violation saves: a fault's is 1, of interrupts it's what it was. */
#define RF_RULES "exit.save.resume-flag exit.info.delivery-restartable"
INJECT(rf_of_fault, RF_RULES, .at = inject_ud2, .stands = inject_ud2, .info = TYPE_HARDWARE | VEC_UD, .judges_rf = true,
       .rf = RFLAGS_RF)
INJECT(rf_of_int_n, RF_RULES, .at = inject_int, .stands = inject_int, .info = TYPE_SOFTWARE_INTERRUPT | INT_VECTOR,
       .length = 2, .judges_rf = true)
INJECT(rf_of_interrupt, RF_RULES, .at = inject_ipi, .stands = inject_ipi_arrives, .info = TYPE_EXTERNAL | IPI_VECTOR,
       .ax = ICR_SELF_FIXED | IPI_VECTOR, .dx = ICR_LOW, .judges_rf = true)
INJECT(rf_of_injected_interrupt, RF_RULES, .at = inject_nothing, .stands = inject_nothing,
       .info = TYPE_EXTERNAL | INT_VECTOR, .flags = RFLAGS_IF, .injects = true, .judges_rf = true)

/* From CPL 3: the stack is the TSS's. */
INJECT(user_exception, "exit.info.idt-vectoring exit.info.delivery-restartable inject.stack-tss", .at = inject_ud2,
       .stands = inject_ud2, .info = TYPE_HARDWARE | VEC_UD, .user = true)
INJECT(user_exception_error, "exit.info.idt-vectoring exit.info.idt-vectoring-error inject.stack-tss",
       .at = inject_bad_selector, .stands = inject_bad_selector, .info = TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP,
       .error = 0xff8, .ax = 0xff8, .user = true)
INJECT(user_int_n, "exit.info.idt-vectoring exit.info.idt-vectoring-length inject.stack-tss inject.software",
       .at = inject_int, .stands = inject_int, .info = TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, .length = 2, .user = true)
INJECT(user_int3, "exit.info.idt-vectoring exit.info.idt-vectoring-length inject.stack-tss inject.software",
       .at = inject_int3, .stands = inject_int3, .info = TYPE_SOFTWARE | VEC_BP, .length = 1, .user = true)

/* L1 injects, and the delivery that is part of the VM entry meets the absent page. */
INJECT(injected_exception,
       "inject.hardware-exception inject.frame inject.no-intercept inject.once "
       "exit.info.idt-vectoring",
       .at = inject_nothing, .stands = inject_nothing, .info = TYPE_HARDWARE | VEC_UD, .injects = true)
INJECT(injected_exception_error, "inject.hardware-exception inject.frame inject.once exit.info.idt-vectoring-error",
       .at = inject_nothing, .stands = inject_nothing, .info = TYPE_HARDWARE | INFO_HAS_ERROR | VEC_GP, .error = 0x1234,
       .injects = true)
INJECT(injected_page_fault,
       "inject.hardware-exception inject.page-fault-cr2 inject.frame inject.once "
       "exit.info.idt-vectoring-error",
       .at = inject_nothing, .stands = inject_nothing, .info = TYPE_HARDWARE | INFO_HAS_ERROR | VEC_PF, .error = 2,
       .injects = true)
INJECT(injected_int_n, "inject.software inject.frame inject.once exit.info.idt-vectoring-length", .at = inject_nothing,
       .stands = inject_nothing, .info = TYPE_SOFTWARE_INTERRUPT | INT_VECTOR, .length = 3, .injects = true)
INJECT(injected_int3, "inject.software inject.frame inject.once exit.info.idt-vectoring-length", .at = inject_nothing,
       .stands = inject_nothing, .info = TYPE_SOFTWARE | VEC_BP, .length = 1, .injects = true)
INJECT(injected_int1, "inject.software inject.frame inject.once exit.info.idt-vectoring-length", .at = inject_nothing,
       .stands = inject_nothing, .info = TYPE_PRIVILEGED | VEC_DB, .length = 1, .injects = true)
INJECT(injected_interrupt, "inject.external inject.frame inject.once exit.info.idt-vectoring", .at = inject_nothing,
       .stands = inject_nothing, .info = TYPE_EXTERNAL | INT_VECTOR, .flags = RFLAGS_IF, .injects = true)
INJECT(injected_user_interrupt, "inject.external inject.stack-tss inject.once exit.info.idt-vectoring",
       .at = inject_nothing, .stands = inject_nothing, .info = TYPE_EXTERNAL | INT_VECTOR, .flags = RFLAGS_IF,
       .user = true, .injects = true)

INJECT(injected_nmi, "inject.nmi inject.frame inject.once exit.info.idt-vectoring", .at = inject_nothing,
       .stands = inject_nothing, .info = TYPE_NMI | VEC_NMI, .injects = true)

TEST(inject, nmi, .sdm = "Information for VM Exits That Occur During Event Delivery", .opt = OPT_ept,
     .rules = "exit.info.idt-vectoring exit.info.delivery-restartable nmi.delivered")
{
	const struct event ev = { .at = inject_nmi, .info = TYPE_NMI | VEC_NMI, .ax = ICR_NMI, .dx = ICR_LOW };

	*(volatile u32 *)(ulong)ICR_HIGH = c->apic_id << 24;
	check_event(c, &ev);
}
