// SPDX-License-Identifier: BSD-2-Clause
/*
 * With virtual-interrupt delivery: EOI, self-IPI and changes of the task priority by L2, by the APIC-access page, by x2APIC
 * MSRs and by CR8, and what they deliver.
 */
#include "testcases/entry_rows.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define NEEDS "use TPR shadow; virtual-interrupt delivery; external-interrupt exiting; " TIMER
#define BY_PAGE NEEDS "; virtualize APIC accesses"
#define BY_MSR NEEDS "; virtualize x2APIC mode"
#define MSR_TPR 0x808u
#define MSR_EOI 0x80bu
#define MSR_SELF_IPI 0x83fu
#define NOP_BEHIND "\x90"

/* How L2 writes a register. All have a NOP behind. */
enum way { WAY_PAGE, WAY_MSR };

/* L2 stands before the write of `value` to the register at `offset`; the instruction's length. */
static u32 stand_write(struct vapic *a, enum way way, u32 offset, u32 value, u32 flags, u32 status)
{
	if (way == WAY_PAGE)
		vapic_stand(a, MOV_TO_APIC NOP_BEHIND, 3, flags, status);
	else
		vapic_stand(a, WRMSR NOP_BEHIND, 3, flags, status);
	a->s.v.g.ax = value;
	a->s.v.g.dx = 0;
	a->s.v.g.bx = VAPIC_LINEAR + offset;
	a->s.v.g.cx = 0x800 + offset / 16;
	return 2;
}

/* --- EOI --- */

/* SVI, and what else is in service; the vector that is next in service; the task priority, and what is VPPR then. */
static const struct {
	u8 svi, others[3], next, tpr, ppr;
} eois[] = {
	{ 0x61, { 0 }, 0, 0, 0 },
	{ 0x61, { 0x31, 0x52 }, 0x52, 0, 0x50 },
	{ 0x61, { 0x31, 0x60 }, 0x60, 0x72, 0x72 },
	{ 0xff, { 0xfe, 0x1f, 0x20 }, 0xfe, 0, 0xf0 },
	{ 0x20, { 0x1f }, 0x1f, 0x0f, 0x10 },
	{ 0x42, { 0 }, 0, 0x3c, 0x3c },
	/* What is in service beyond SVI counts, too. */
	{ 0x42, { 0x91 }, 0x91, 0, 0x90 },
};

static void judge_eoi(struct vapic *a, enum way way, u32 i, bool exits)
{
	u32 vector = eois[i].svi, length = stand_write(a, way, VAPIC_EOI, 0, 0, VAPIC_STATUS(vector, 0));
	struct exit e;

	for (u32 k = 0; k < 3; k++)
		if (eois[i].others[k])
			vapic_bit_set(a, VAPIC_ISR, eois[i].others[k]);
	vapic_set(a, VAPIC_TPR, eois[i].tpr);
	for (u32 k = 0; k < 4; k++)
		vmwrite(VMCS_eoi_exit_bitmap0 + 2 * k, exits == (vector / 64 == k) ?
							       (exits ? 1ull << vector % 64 : ~0ull) :
						       exits ? 0 :
							       ~(1ull << vector % 64));
	e = snippet_run(&a->s);
	if (exits) {
		JUDGE("apic.eoi.exits", e.reason, EXIT_virtualized_eoi);
		JUDGE("apic.eoi.exit-vector", e.qualification, vector);
		JUDGE("apic.eoi.exit-trap", e.ip, (ulong)a->s.code + length);
	} else {
		JUDGE("apic.eoi.stays", snippet_passed(&a->s, &e), true);
	}
	JUDGE("apic.eoi.status", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(eois[i].next, 0));
	JUDGE("apic.eoi.visr", vapic_bit(a, VAPIC_ISR, vector), false);
	for (u32 k = 0; k < 3; k++)
		if (eois[i].others[k])
			JUDGE("apic.eoi.visr", vapic_bit(a, VAPIC_ISR, eois[i].others[k]), true);
	JUDGE("apic.eoi.ppr", vapic_get(a, VAPIC_PPR), eois[i].ppr);
}

/* An EOI lets a vector through that was below; or doesn't; or exits first. */
static void judge_eoi_delivers(struct vapic *a, enum way way)
{
	struct exit e;

	for (u32 k = 0; k < 4; k++)
		vmwrite(VMCS_eoi_exit_bitmap0 + 2 * k, 0);
	stand_write(a, way, VAPIC_EOI, 0, RFLAGS_IF, VAPIC_STATUS(0x61, 0x51));
	e = snippet_run(&a->s);
	DELIVERED("apic.eoi.delivers", a, e, 0x51, 2);
	JUDGE("apic.eoi.delivers", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x51, 0));
	stand_write(a, way, VAPIC_EOI, 0, RFLAGS_IF, VAPIC_STATUS(0x61, 0x51));
	vapic_bit_set(a, VAPIC_ISR, 0x55);
	e = snippet_run(&a->s);
	JUDGE("apic.eoi.delivers", snippet_passed(&a->s, &e), true);
	JUDGE("apic.eoi.delivers", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x55, 0x51));
	vmwrite(VMCS_eoi_exit_bitmap1, 1ull << (0x61 - 64));
	stand_write(a, way, VAPIC_EOI, 0, RFLAGS_IF, VAPIC_STATUS(0x61, 0x51));
	e = snippet_run(&a->s);
	JUDGE("apic.eoi.exits", e.reason, EXIT_virtualized_eoi);
	JUDGE("apic.eoi.exit-trap", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0, 0x51));
	vmwrite(VMCS_eoi_exit_bitmap1, 0);
	e = snippet_run(&a->s);
	JUDGE("apic.eoi.delivers", vapic_vector(a, &e), 0x51);
}

static void judge_eois(struct vapic *a, enum way way)
{
	for (u32 i = 0; i < ARRAY_SIZE(eois); i++) {
		judge_about("its bit in the EOI-exit bitmaps is 1", NULL);
		judge_eoi(a, way, i, true);
		judge_about("the others' bits are 1", NULL);
		judge_eoi(a, way, i, false);
	}
	judge_about("another one waits", NULL);
	judge_eoi_delivers(a, way);
}

#define EOI_RULES                                                                \
	"apic.eoi.exits apic.eoi.exit-vector apic.eoi.exit-trap apic.eoi.stays " \
	"apic.eoi.status apic.eoi.visr apic.eoi.ppr apic.eoi.delivers"

VAPIC_TEST(eoi_page, vapic_delivery(a, c, PROC2_virtualize_apic_accesses), .sdm = "EOI Virtualization",
	   .needs = BY_PAGE, .rules = EOI_RULES " apic.eoi.veoi apic.access.hidden")
{
	struct exit e;

	judge_eois(a, WAY_PAGE);
	stand_write(a, WAY_PAGE, VAPIC_EOI, 0x12345678, 0, VAPIC_STATUS(0x61, 0));
	e = snippet_run(&a->s);
	JUDGE("apic.eoi.veoi", snippet_passed(&a->s, &e), true);
	JUDGE("apic.eoi.veoi", vapic_get(a, VAPIC_EOI), 0);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

VAPIC_TEST(eoi_msr, vapic_delivery(a, c, PROC2_virtualize_x2apic_mode), .sdm = "EOI Virtualization", .needs = BY_MSR,
	   .rules = EOI_RULES " apic.x2.reserved")
{
	struct exit e;

	judge_eois(a, WAY_MSR);
	judge_about("WRMSR of anything but 0", NULL);
	for (u32 bit = 0; bit < 64; bit++) {
		stand_write(a, WAY_MSR, VAPIC_EOI, 0, 0, VAPIC_STATUS(0x61, 0));
		if (bit < 32)
			a->s.v.g.ax = 1u << bit;
		else
			a->s.v.g.dx = 1u << (bit - 32);
		e = snippet_run(&a->s);
		JUDGE("apic.x2.reserved", snippet_faulted(&e, VEC_GP), true);
		JUDGE("apic.x2.reserved", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x61, 0));
	}
}

/* --- Self-IPI --- */

static void judge_self(struct vapic *a, enum way way, u32 rvi, u32 vector, u32 tpr)
{
	u32 offset = way == WAY_PAGE ? VAPIC_ICR_LOW : VAPIC_SELF_IPI;
	u32 value = way == WAY_PAGE ? 0x40000u | vector : vector;
	u32 highest = vector > rvi ? vector : rvi;
	bool delivered = highest >> 4 > tpr >> 4;
	struct exit e;

	stand_write(a, way, offset, value, RFLAGS_IF, rvi);
	vapic_set(a, VAPIC_TPR, rvi ? 0xf0 : tpr);
	e = snippet_run(&a->s);
	if (!rvi && delivered) {
		DELIVERED("apic.self.delivers", a, e, vector, 2);
		return;
	}
	JUDGE("apic.self.waits", snippet_passed(&a->s, &e), true);
	JUDGE("apic.self.rvi", vmread(VMCS_guest_interrupt_status), highest);
	JUDGE("apic.self.virr", vapic_bit(a, VAPIC_IRR, vector), true);
}

static void judge_selves(struct vapic *a, enum way way)
{
	static const u8 vectors[] = { 0x10, 0x1f, 0x20, 0x61, 0x7f, 0x80, 0xff };

	judge_about("", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(vectors); i++) {
		judge_self(a, way, 0, vectors[i], 0);
		judge_self(a, way, 0, vectors[i], 0x60);
		judge_self(a, way, 0x65, vectors[i], 0);
	}
}

/* Values of ICR that aren't a fixed, edge-triggered interrupt to itself. */
static const struct {
	const char *name;
	u32 value;
} commands[] = {
	{ "vector below 16", 0x4000fu },
	{ "no shorthand", 0x00061u },
	{ "all", 0x80061u },
	{ "all but itself", 0xc0061u },
	{ "level-triggered", 0x48061u },
	{ "lowest priority", 0x40161u },
	{ "SMI", 0x40261u },
	{ "NMI", 0x40461u },
	{ "INIT", 0x40561u },
	{ "SIPI", 0x40661u },
	{ "delivery status", 0x41061u },
	{ "bit 13", 0x42061u },
	{ "bit 16", 0x50061u },
	{ "bit 17", 0x60061u },
	{ "bit 20", 0x140061u },
	{ "bit 31", 0x80040061u },
};

#define SELF_RULES "apic.self.delivers apic.self.waits apic.self.rvi apic.self.virr"

VAPIC_TEST(self_page, vapic_delivery(a, c, PROC2_virtualize_apic_accesses), .sdm = "Self-IPI Virtualization",
	   .needs = BY_PAGE,
	   .rules = SELF_RULES " apic.self.other-commands apic.self.icr-kept apic.self.destination-ignored")
{
	struct exit e;

	judge_selves(a, WAY_PAGE);
	for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
		judge_about(commands[i].name, NULL);
		stand_write(a, WAY_PAGE, VAPIC_ICR_LOW, commands[i].value, RFLAGS_IF, 0);
		e = snippet_run(&a->s);
		JUDGE("apic.self.other-commands", e.reason, EXIT_apic_write);
		JUDGE("apic.self.other-commands", e.qualification, VAPIC_ICR_LOW);
		JUDGE("apic.self.other-commands", e.ip, (ulong)a->s.code + 2);
		JUDGE("apic.self.other-commands", vmread(VMCS_guest_interrupt_status), 0);
		JUDGE("apic.self.icr-kept", vapic_get(a, VAPIC_ICR_LOW), commands[i].value);
	}
	judge_about("logical destination, level assert", NULL);
	stand_write(a, WAY_PAGE, VAPIC_ICR_LOW, 0x44861, RFLAGS_IF, 0);
	e = snippet_run(&a->s);
	JUDGE("apic.self.destination-ignored", vapic_vector(a, &e), 0x61);
	JUDGE("apic.self.icr-kept", vapic_get(a, VAPIC_ICR_LOW), 0x44861);
}

VAPIC_TEST(self_msr, vapic_delivery(a, c, PROC2_virtualize_x2apic_mode), .sdm = "Self-IPI Virtualization",
	   .needs = BY_MSR, .rules = SELF_RULES " apic.x2.self-low apic.x2.reserved")
{
	struct exit e;

	judge_selves(a, WAY_MSR);
	for (u32 vector = 0; vector < 16; vector += 5) {
		stand_write(a, WAY_MSR, VAPIC_SELF_IPI, vector, RFLAGS_IF, 0);
		e = snippet_run(&a->s);
		JUDGE("apic.x2.self-low", e.reason, EXIT_apic_write);
		JUDGE("apic.x2.self-low", e.qualification, VAPIC_SELF_IPI);
		JUDGE("apic.x2.self-low", e.ip, (ulong)a->s.code + 2);
		JUDGE("apic.x2.self-low", vapic_get(a, VAPIC_SELF_IPI), vector);
		JUDGE("apic.x2.self-low", vmread(VMCS_guest_interrupt_status), 0);
	}
	for (u32 bit = 8; bit < 64; bit += 3) {
		stand_write(a, WAY_MSR, VAPIC_SELF_IPI, 0x61, RFLAGS_IF, 0);
		if (bit < 32)
			a->s.v.g.ax |= 1u << bit;
		else
			a->s.v.g.dx = 1u << (bit - 32);
		e = snippet_run(&a->s);
		JUDGE("apic.x2.reserved", snippet_faulted(&e, VEC_GP), true);
		JUDGE("apic.x2.reserved", vmread(VMCS_guest_interrupt_status), 0);
	}
}

/* --- The task priority --- */

static void judge_tpr(struct vapic *a, u32 length, u32 before, u32 after, u32 status)
{
	u32 svi = status >> 8, rvi = status & 0xff;
	u32 ppr = after >> 4 >= svi >> 4 ? after : svi & 0xf0;
	struct exit e;

	vapic_set(a, VAPIC_TPR, before);
	/* The threshold doesn't matter. */
	vmwrite(VMCS_tpr_threshold, 0xf);
	e = snippet_run(&a->s);
	JUDGE("apic.tpr.value", vapic_get(a, VAPIC_TPR), after);
	if (rvi >> 4 > ppr >> 4) {
		DELIVERED("apic.tpr.delivers", a, e, rvi, length);
		return;
	}
	JUDGE("apic.tpr.no-threshold", snippet_passed(&a->s, &e), true);
	JUDGE("apic.tpr.ppr", vapic_get(a, VAPIC_PPR), ppr);
	JUDGE("apic.tpr.no-threshold", vmread(VMCS_guest_interrupt_status), status);
}

static const u16 statuses[] = { 0x0000, 0x0061, 0x4061, 0x6161, 0x4000 };
#define TPR_RULES "apic.tpr.value apic.tpr.delivers apic.tpr.ppr apic.tpr.no-threshold"

static void judge_tprs(struct vapic *a, enum way way)
{
	judge_about("", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(statuses); i++)
		for (u32 after = 0x05; after < 0x100; after += 0x1b) {
			u32 length = stand_write(a, way, VAPIC_TPR, after, RFLAGS_IF, statuses[i]);

			judge_tpr(a, length, 0xf0, after, statuses[i]);
		}
}

VAPIC_TEST(tpr_page, vapic_delivery(a, c, PROC2_virtualize_apic_accesses), .sdm = "TPR Virtualization",
	   .needs = BY_PAGE, .rules = TPR_RULES)
{
	judge_tprs(a, WAY_PAGE);
}

VAPIC_TEST(tpr_msr, vapic_delivery(a, c, PROC2_virtualize_x2apic_mode), .sdm = "TPR Virtualization", .needs = BY_MSR,
	   .rules = TPR_RULES)
{
	judge_tprs(a, WAY_MSR);
}

VAPIC_TEST(tpr_cr8, vapic_delivery(a, c, 0), .sdm = "TPR Virtualization", .needs = NEEDS, .flags = TEST_AMD64,
	   .rules = TPR_RULES)
{
	for (u32 i = 0; i < ARRAY_SIZE(statuses); i++)
		for (u32 value = 0; value < 16; value++) {
			vapic_stand(a, MOV_CR8_AX NOP_BEHIND, 5, RFLAGS_IF, statuses[i]);
			a->s.v.g.ax = value;
			judge_tpr(a, 4, 0xf0, value << 4, statuses[i]);
		}
}

/* --- Which writes virtual-interrupt delivery virtualizes --- */

VAPIC_TEST(delivery_writes, vapic_delivery(a, c, PROC2_virtualize_apic_accesses),
	   .sdm = "Determining Whether a Write Access is Virtualized", .needs = BY_PAGE,
	   .rules = "apic.write.delivery-others apic.read.others")
{
	struct exit e;

	for (u32 offset = 0; offset < 0x400; offset += 16) {
		if (offset != VAPIC_TPR) {
			e = vapic_run(a, MOV_FROM_APIC, 2, offset, 0);
			JUDGE("apic.read.others", e.reason, EXIT_apic_access);
		}
		if (offset == VAPIC_TPR || offset == VAPIC_EOI || offset == VAPIC_ICR_LOW)
			continue;
		e = vapic_run(a, MOV_TO_APIC, 2, offset, 0);
		JUDGE("apic.write.delivery-others", e.reason, EXIT_apic_access);
		JUDGE("apic.write.delivery-others", e.qualification, offset | APIC_LINEAR_WRITE);
	}
}
