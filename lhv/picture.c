// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/picture.h"

#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/report.h"
#include "lhv/vmx.h"
#include "x86/cr.h"
#include "x86/msr.h"

/* Loading a TSS makes it busy, and LGDT and VM exits leave accessed bits and limits behind: no test's doing. */
#define GDT_BUSY (2ull << 40)
#define PTE_ACCESSED_DIRTY 0x60ull

/* --- Registers and MSRs: a name and a value each --- */

static const struct {
	const char *name;
	ulong (*read)(void);
	void (*write)(ulong value);
} registers[] = {
	{ "CR0", read_cr0, write_cr0 }, { "CR3", read_cr3, write_cr3 }, { "CR4", read_cr4, write_cr4 },
	{ "DR0", read_dr0, write_dr0 }, { "DR1", read_dr1, write_dr1 }, { "DR2", read_dr2, write_dr2 },
	{ "DR3", read_dr3, write_dr3 }, { "DR7", read_dr7, write_dr7 },
};

static const struct {
	const char *name;
	u32 number;
} msrs[] = {
	{ "IA32_APIC_BASE", MSR_APIC_BASE },
	{ "IA32_SYSENTER_CS", MSR_SYSENTER_CS },
	{ "IA32_SYSENTER_ESP", MSR_SYSENTER_ESP },
	{ "IA32_SYSENTER_EIP", MSR_SYSENTER_EIP },
	{ "IA32_DEBUGCTL", MSR_DEBUGCTL },
	{ "IA32_PAT", MSR_PAT },
	{ "IA32_MTRR_DEF_TYPE", MSR_MTRR_DEF_TYPE },
	{ "IA32_PERF_GLOBAL_CTRL", MSR_PERF_GLOBAL_CTRL },
	{ "IA32_XSS", MSR_XSS },
	{ "IA32_EFER", MSR_EFER },
	{ "IA32_STAR", MSR_STAR },
	{ "IA32_LSTAR", MSR_LSTAR },
	{ "IA32_CSTAR", MSR_CSTAR },
	{ "IA32_FMASK", MSR_FMASK },
	{ "IA32_FS_BASE", MSR_FS_BASE },
	{ "IA32_GS_BASE", MSR_GS_BASE },
	{ "IA32_KERNEL_GS_BASE", MSR_KERNEL_GS_BASE },
	{ "IA32_TSC_AUX", MSR_TSC_AUX },
};

#define PTES 512u
#define TABLES_MAX 8u

struct picture {
	ulong reg[ARRAY_SIZE(registers)];
	u64 msr[ARRAY_SIZE(msrs)];
	u32 msr_there; /* a bit per MSR that the CPU has */
	u32 apic[APIC_REGISTERS];
	struct table_reg gdtr, idtr;
	u32 tr;
	u64 gdt[GDT_ENTRIES];
	u64 idt_sum;
};
_Static_assert(ARRAY_SIZE(msrs) <= 32, "a bit per MSR");

static struct picture pictures[MAX_CPUS];

/* What differs, for people; only the first few. */
struct told {
	char *text;
	size_t size;
	size_t used;
	u32 count;
};

static void tell(struct told *t, const char *name, u64 now, u64 before)
{
	if (t->count++ > 3)
		return;
	t->used += fmt(t->text + t->used, t->size - t->used, "%s%s 0x%llx for 0x%llx", t->used ? ", " : "", name,
		       (unsigned long long)now, (unsigned long long)before);
}

/* --- Tables in memory that all CPUs share --- */

static struct {
	u64 *table[TABLES_MAX]; /* L1's paging structures */
	u64 *copy[TABLES_MAX];
	u32 count;
	u64 ept_sum;
} shared;

/* On i386 the first table has only four entries; what is behind them is something else's. */
static u32 entries_of(u32 table)
{
	return sizeof(ulong) == 4 && table == 0 ? 4 : PTES;
}

static void remember_tables(u64 *table, u32 entries, int level)
{
	if (shared.count == TABLES_MAX)
		panic("more than %u tables of L1's paging", TABLES_MAX);
	shared.table[shared.count++] = table;
	for (u32 i = 0; i < entries && level > 2; i++)
		if (table[i] & PTE_P)
			remember_tables((u64 *)(ulong)(table[i] & PTE_ADDR), PTES, level - 1);
}

/* Of each CPU, the root is the same. L1 has 2 MiB pages: level 2 is the last. */
void picture_init(void)
{
	ulong root = read_cr3() & ~0x1ful;

	remember_tables((u64 *)root, entries_of(0), sizeof(ulong) == 8 ? 4 : 3);
	for (u32 i = 0; i < shared.count; i++)
		shared.copy[i] = page_alloc();
}

static void restore_tables(struct told *t)
{
	for (u32 n = 0; n < shared.count; n++)
		for (u32 i = 0; i < entries_of(n); i++) {
			u64 *now = &shared.table[n][i], before = shared.copy[n][i];

			if (!((*now ^ before) & ~PTE_ACCESSED_DIRTY))
				continue;
			tell(t, "entry of a page table", *now, before);
			*now = before;
		}
}

static u64 sum_of(const u64 *p, size_t bytes)
{
	u64 sum = 0;

	for (size_t i = 0; i < bytes / 8; i++)
		sum = (sum << 1 | sum >> 63) + p[i];
	return sum;
}

/* --- Taking and restoring --- */

static u64 idt_sum(void)
{
	return sum_of((const u64 *)cpu_idt_base(), CPU_IDT_LIMIT + 1);
}

void picture_take(struct cpu *c)
{
	struct picture *p = &pictures[c->number];

	for (u32 i = 0; i < ARRAY_SIZE(registers); i++)
		p->reg[i] = registers[i].read();
	p->msr_there = 0;
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		if (!msr_read_raw(msrs[i].number, &p->msr[i]))
			p->msr_there |= 1u << i;
	apic_registers(p->apic);
	store_gdt(&p->gdtr);
	store_idt(&p->idtr);
	p->tr = store_tr();
	memcpy(p->gdt, c->gdt, sizeof(p->gdt));
	if (c->number)
		return;
	p->idt_sum = idt_sum();
	for (u32 i = 0; i < shared.count; i++)
		memcpy(shared.copy[i], shared.table[i], entries_of(i) * sizeof(u64));
	shared.ept_sum = ept_identity_sum();
}

static void restore_registers(const struct picture *p, struct told *t)
{
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		ulong now = registers[i].read();

		if (now == p->reg[i])
			continue;
		tell(t, registers[i].name, now, p->reg[i]);
		registers[i].write(p->reg[i]);
	}
}

static void restore_msrs(const struct picture *p, struct told *t)
{
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		u64 now;

		if (!(p->msr_there >> i & 1) || msr_read_raw(msrs[i].number, &now) || now == p->msr[i])
			continue;
		tell(t, msrs[i].name, now, p->msr[i]);
		/* From x2APIC mode there is no direct way. */
		if (msrs[i].number == MSR_APIC_BASE)
			apic_init();
		msr_write_try(msrs[i].number, p->msr[i]);
	}
}

static void restore_apic(const struct picture *p, struct told *t)
{
	u32 now[APIC_REGISTERS];

	apic_registers(now);
	for (u32 i = 0; i < APIC_REGISTERS; i++)
		if (now[i] != p->apic[i])
			tell(t, apic_register_name(i), now[i], p->apic[i]);
	if (memcmp(now, p->apic, sizeof(now)) != 0)
		apic_registers_write(p->apic);
}

/* An exit gives GDTR and IDTR the limit FFFFH (SDM: "Loading Host Segment and Descriptor-Table Registers"); that is as usual. */
static void restore_segments(struct cpu *c, const struct picture *p, struct told *t)
{
	struct table_reg gdtr, idtr;

	store_gdt(&gdtr);
	store_idt(&idtr);
	if (gdtr.base != p->gdtr.base)
		tell(t, "GDTR", gdtr.base, p->gdtr.base);
	if (idtr.base != p->idtr.base)
		tell(t, "IDTR", idtr.base, p->idtr.base);
	for (u32 i = 0; i < GDT_ENTRIES; i++) {
		if ((c->gdt[i] ^ p->gdt[i]) & ~GDT_BUSY)
			tell(t, "descriptor", c->gdt[i], p->gdt[i]);
		c->gdt[i] = p->gdt[i];
	}
	load_gdt(&p->gdtr);
	load_idt(&p->idtr);
	if (store_tr() == p->tr)
		return;
	tell(t, "TR", store_tr(), p->tr);
	c->gdt[p->tr / 8] &= ~GDT_BUSY;
	load_tr(p->tr);
}

static bool restore_shared(const struct picture *p, struct told *t)
{
	restore_tables(t);
	if (ept_identity_sum() != shared.ept_sum) {
		tell(t, "sum of the shared EPT", ept_identity_sum(), shared.ept_sum);
		ept_forget_identity();
	}
	if (idt_sum() == p->idt_sum)
		return true;
	tell(t, "sum of the IDT", idt_sum(), p->idt_sum);
	return false;
}

static bool restore_all(struct cpu *c, struct told *t)
{
	const struct picture *p = &pictures[c->number];
	bool whole = true;

	/* The tables first: the others are used with them. */
	if (!c->number)
		whole = restore_shared(p, t);
	restore_segments(c, p, t);
	restore_registers(p, t);
	restore_msrs(p, t);
	restore_apic(p, t);
	return whole;
}

enum picture_result picture_restore(struct cpu *c, char *text, size_t size)
{
	char again[16];
	struct told first = { .text = text, .size = size }, second = { .text = again, .size = sizeof(again) };

	text[0] = 0;
	/* What an event leaves behind by itself isn't kept. */
	write_cr2(0);
	write_dr6(DR6_FIXED);
	if (!restore_all(c, &first))
		return PICTURE_SPOILT;
	/* The IRET of its handler unblocks NMIs. */
	try_ud2();
	if (!first.count)
		return PICTURE_SAME;
	if (!c->number)
		shared.ept_sum = ept_identity_sum();
	return restore_all(c, &second) && !second.count ? PICTURE_RESTORED : PICTURE_SPOILT;
}
