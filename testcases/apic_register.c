// SPDX-License-Identifier: BSD-2-Clause
/* Which reads of and writes to the APIC-access page are virtualized: by the TPR shadow alone, and by APIC-register virtualization. */
#include "testcases/vapic.h"

#define READS "Virtualizing Reads from the APIC-Access Page"
#define WRITES "Determining Whether a Write Access is Virtualized"
#define EMULATION "APIC-Write Emulation"
#define REGISTERS (PROC2_virtualize_apic_accesses | PROC2_apic_register_virtualization)
#define REGISTER_NEEDS "virtualize APIC accesses; use TPR shadow; APIC-register virtualization"

/* A bit per register that a read or a write is virtualized for: bit n of word i is offset 200H * i + 10H * n. */
static const u32 readable[8] = {
	/* 20 30 80 B0 D0 E0 F0, ISR 100-170, TMR 180-1F0 */
	0xffffe90cu,
	/* IRR 200-270, 280, 300 310, LVT 320-370, 380, 3E0 */
	0x41ff01ffu,
};
static const u32 writable[8] = {
	/* 20 80 B0 D0 E0 F0 */
	0x0000e904u,
	/* 280, 300 310, LVT 320-370, 380, 3E0 */
	0x41ff0100u,
};

static bool listed(const u32 *list, u32 offset)
{
	return list[offset / 0x200] >> (offset % 0x200 / 16) & 1;
}

/* An offset for every register, and some behind them. */
static u32 next_offset(u32 offset)
{
	return offset < 0x400 ? offset + 16 : offset + 0x130;
}

/* By size: 1, 2, 4 bytes, and 8 by the FPU, initialized first, which both architectures have. */
static const struct {
	const char *name, *read, *write;
	u32 read_length, write_length;
	u32 size;
} sizes[] = {
	{ "1 byte", "\x8a\x03", "\x88\x03", 2, 2, 1 },
	{ "2 bytes", "\x66\x8b\x03", "\x66\x89\x03", 3, 3, 2 },
	{ "4 bytes", "\x8b\x03", "\x89\x03", 2, 2, 4 },
	{ "8 bytes", "\xdb\xe3\xdd\x03", "\xdb\xe3\xd9\xee\xdd\x1b", 4, 6, 8 },
};
#define BYTES4 2u

static void judge_exit(const char *rule, const struct exit *e, u32 offset, u32 type)
{
	judge_equal(WHERE(rule), "reason", e->reason, EXIT_apic_access);
	judge_equal(WHERE(rule), "qualification", e->qualification, offset | type);
}

static u32 mask_of(u32 k)
{
	return sizes[k].size == 1 ? 0xff : sizes[k].size == 2 ? 0xffff : 0xffffffff;
}

static void judge_read(struct vapic *a, const char *rule, u32 k, u32 offset, bool virtualized)
{
	struct exit e = vapic_run(a, sizes[k].read, sizes[k].read_length, offset, 0);
	const volatile u8 *bytes = (const volatile u8 *)a->page;
	u32 want = 0;

	if (!virtualized) {
		judge_exit(rule, &e, offset, APIC_LINEAR_READ);
		return;
	}
	for (u32 i = 0; i < sizes[k].size; i++)
		want |= (u32)bytes[offset + i] << 8 * i;
	judge_equal(WHERE(rule), "read goes through", snippet_passed(&a->s, &e), true);
	judge_equal(WHERE(rule), "value", a->s.v.g.ax & mask_of(k), want);
}

static void judge_write_refused(struct vapic *a, const char *rule, u32 k, u32 offset)
{
	u32 word = offset & ~3u, before = vapic_get(a, word);
	ulong start;
	struct exit e;

	vapic_code(a, sizes[k].write, sizes[k].write_length, offset, 0x01020304);
	start = (ulong)a->s.code + (sizes[k].size == 8 ? 4 : 0);
	e = snippet_run(&a->s);
	judge_exit(rule, &e, offset, APIC_LINEAR_WRITE);
	judge_equal(WHERE(rule), "rip", e.ip, start);
	judge_equal(WHERE(rule), "word in the virtual-APIC page", vapic_get(a, word), before);
}

/* --- The TPR shadow alone --- */

VAPIC_TEST(read_tpr, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = READS,
	   .needs = "virtualize APIC accesses; use TPR shadow",
	   .rules = "apic.read.tpr apic.read.others apic.read.size apic.read.within-register apic.access.hidden")
{
	static const u32 inside[] = { 0x7d, 0x7e, 0x7f, 0x81, 0x82, 0x83, 0x84 };

	vapic_shadow(a);
	vapic_fill(a);
	for (u32 k = 0; k < ARRAY_SIZE(sizes); k++) {
		judge_about("read of offset 80H", sizes[k].name);
		judge_read(a, sizes[k].size > 4 ? "apic.read.size" : "apic.read.tpr", k, VAPIC_TPR, sizes[k].size <= 4);
		judge_about("read near offset 80H", sizes[k].name);
		for (u32 i = 0; i < ARRAY_SIZE(inside); i++)
			judge_read(a, "apic.read.within-register", k, inside[i], false);
	}
	judge_about("read", NULL);
	for (u32 offset = 0; offset < PAGE_SIZE; offset = next_offset(offset))
		if (offset != VAPIC_TPR)
			judge_read(a, "apic.read.others", BYTES4, offset, false);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

VAPIC_TEST(write_refused, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = WRITES,
	   .needs = "virtualize APIC accesses; use TPR shadow",
	   .rules = "apic.write.others apic.write.size apic.write.within-register apic.access.hidden")
{
	static const u32 inside[] = { 0x7d, 0x7f, 0x81, 0x82, 0x83, 0x84 };

	vapic_shadow(a);
	judge_about("write to offset 80H", "8 bytes");
	judge_write_refused(a, "apic.write.size", 3, VAPIC_TPR);
	for (u32 k = 0; k < ARRAY_SIZE(sizes); k++) {
		judge_about("write near offset 80H", sizes[k].name);
		for (u32 i = 0; i < ARRAY_SIZE(inside); i++)
			judge_write_refused(a, "apic.write.within-register", k, inside[i]);
	}
	judge_about("write", NULL);
	for (u32 offset = 0; offset < PAGE_SIZE; offset = next_offset(offset))
		if (offset != VAPIC_TPR)
			judge_write_refused(a, "apic.write.others", BYTES4, offset);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* --- APIC-register virtualization --- */

VAPIC_TEST(register_reads, vapic_begin(a, c, 0, REGISTERS), .sdm = READS, .needs = REGISTER_NEEDS,
	   .rules = "apic.register.read apic.register.read-others apic.register.read-part apic.register.read-outside "
		    "apic.read.size apic.access.hidden")
{
	static const u32 some[] = { VAPIC_ID, VAPIC_TPR, VAPIC_EOI, 0x110, 0x3e0 };

	vapic_fill(a);
	judge_about("read", NULL);
	for (u32 offset = 0; offset < PAGE_SIZE; offset = next_offset(offset))
		judge_read(a, listed(readable, offset) ? "apic.register.read" : "apic.register.read-others", BYTES4,
			   offset, listed(readable, offset));
	for (u32 i = 0; i < ARRAY_SIZE(some); i++) {
		judge_about("read of a part of a register", NULL);
		for (u32 byte = 0; byte < 4; byte++)
			judge_read(a, "apic.register.read-part", 0, some[i] + byte, true);
		for (u32 byte = 0; byte < 3; byte++)
			judge_read(a, "apic.register.read-part", 1, some[i] + byte, true);
		judge_about("read beyond a register", NULL);
		judge_read(a, "apic.register.read-outside", 0, some[i] + 4, false);
		judge_read(a, "apic.register.read-outside", 1, some[i] + 3, false);
		judge_read(a, "apic.register.read-outside", BYTES4, some[i] + 1, false);
		judge_read(a, "apic.register.read-outside", BYTES4, some[i] + 12, false);
		judge_read(a, "apic.read.size", 3, some[i], false);
	}
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* The write is done, and what comes of it: nothing, or an exit behind the instruction. */
static void judge_write(struct vapic *a, const char *rule, u32 k, u32 offset, bool exits)
{
	volatile u8 *bytes = (volatile u8 *)a->page;
	struct exit e = vapic_run(a, sizes[k].write, sizes[k].write_length, offset, 0x71a2b3c4);

	for (u32 i = 0; i < sizes[k].size; i++)
		judge_equal(WHERE(rule), "byte in the virtual-APIC page", bytes[offset + i],
			    (u8)(0x71a2b3c4u >> 8 * i));
	if (!exits) {
		judge_equal(WHERE(rule), "write goes through", snippet_passed(&a->s, &e), true);
		return;
	}
	JUDGE("apic.register.write-exits", e.reason, EXIT_apic_write);
	JUDGE("apic.register.write-offset", e.qualification, offset);
	JUDGE("apic.register.write-trap", e.ip, (ulong)a->s.code + sizes[k].write_length);
}

#define WRITE_RULES                                                                                     \
	"apic.register.write apic.register.write-exits apic.register.write-offset "                     \
	"apic.register.write-trap apic.register.write-others apic.register.write-part apic.write.size " \
	"apic.register.icr-high apic.write.tpr apic.access.hidden"

VAPIC_TEST(register_writes, vapic_begin(a, c, 0, REGISTERS), .sdm = EMULATION, .needs = REGISTER_NEEDS,
	   .rules = WRITE_RULES)
{
	static const u32 some[] = { VAPIC_ID, 0xd0, VAPIC_ICR_LOW, 0x370, 0x380 };
	struct exit e;

	judge_about("write", NULL);
	for (u32 offset = 0; offset < PAGE_SIZE; offset = next_offset(offset)) {
		if (offset == VAPIC_TPR || offset == VAPIC_ICR_HIGH)
			continue;
		if (listed(writable, offset))
			judge_write(a, "apic.register.write", BYTES4, offset, true);
		else
			judge_write_refused(a, "apic.register.write-others", BYTES4, offset);
	}
	for (u32 i = 0; i < ARRAY_SIZE(some); i++) {
		judge_about("write to a part of a register", NULL);
		for (u32 byte = 0; byte < 4; byte++)
			judge_write(a, "apic.register.write-part", 0, some[i] + byte, true);
		judge_write(a, "apic.register.write-part", 1, some[i] + 2, true);
		judge_about("write beyond a register", NULL);
		judge_write_refused(a, "apic.register.write-others", BYTES4, some[i] + 2);
		judge_write_refused(a, "apic.register.write-others", 0, some[i] + 5);
		judge_write_refused(a, "apic.write.size", 3, some[i]);
	}
	judge_about("write to the high half of ICR", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, VAPIC_ICR_HIGH, 0x8899aabb);
	JUDGE("apic.register.icr-high", snippet_passed(&a->s, &e), true);
	JUDGE("apic.register.icr-high", vapic_get(a, VAPIC_ICR_HIGH), 0x88000000);
	e = vapic_run(a, "\x88\x03", 2, VAPIC_ICR_HIGH + 3, 0x44);
	JUDGE("apic.register.icr-high", snippet_passed(&a->s, &e), true);
	JUDGE("apic.register.icr-high", vapic_get(a, VAPIC_ICR_HIGH), 0x44000000);
	judge_about("write to TPR", NULL);
	e = vapic_run(a, MOV_TO_APIC, 2, VAPIC_TPR, 0x8899aa4b);
	JUDGE("apic.write.tpr", snippet_passed(&a->s, &e), true);
	JUDGE("apic.write.tpr", vapic_get(a, VAPIC_TPR), 0x4b);
	JUDGE("apic.access.hidden", vapic_hidden_untouched(a), true);
}

/* The exit doesn't wait for anything that holds up interrupts, and what reads and writes is virtualized as a whole. */
VAPIC_TEST(register_write_unblocked, vapic_begin(a, c, 0, REGISTERS), .sdm = EMULATION, .needs = REGISTER_NEEDS,
	   .rules = "apic.register.write-unblocked apic.register.write-exits apic.register.modify")
{
	static const struct {
		const char *name, *bytes;
		u32 length, written;
		u32 blocked;
	} behind[] = {
		{ "behind STI", "\xfb\x89\x03", 3, 3, 0 },
		{ "behind MOV SS", "\x8e\xd1\x89\x03", 4, 4, 0 },
		{ "with another instruction behind", "\x89\x03\x0f\x0b", 4, 2, 0 },
	};
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(behind); i++) {
		judge_about(behind[i].name, NULL);
		vapic_code(a, behind[i].bytes, behind[i].length, 0x320, 0x10042);
		a->s.v.g.cx = (ulong)vmread(VMCS_guest_ss_selector);
		e = snippet_run(&a->s);
		JUDGE("apic.register.write-exits", e.reason, EXIT_apic_write);
		JUDGE("apic.register.write-unblocked", e.ip, (ulong)a->s.code + behind[i].written);
		JUDGE("apic.register.write-unblocked", vmread(VMCS_guest_interruptibility_state), 0);
	}
	judge_about("XCHG", NULL);
	vapic_set(a, 0x320, 0x777);
	e = vapic_run(a, "\x87\x03", 2, 0x320, 0x888);
	JUDGE("apic.register.write-exits", e.reason, EXIT_apic_write);
	JUDGE("apic.register.modify", a->s.v.g.ax, 0x777);
	JUDGE("apic.register.modify", vapic_get(a, 0x320), 0x888);
	judge_about("LOCK OR", NULL);
	e = vapic_run(a, "\xf0\x09\x03", 3, 0x320, 0x111);
	JUDGE("apic.register.write-exits", e.reason, EXIT_apic_write);
	JUDGE("apic.register.modify", vapic_get(a, 0x320), 0x999);
}
