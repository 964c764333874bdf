// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/event_guest.h"
#include "core/mem.h"
#include "lhv/mem.h"
#include "x86/cr.h"

#define HANDLER_BYTES 8u
#define VECTORS 256u
#define AR_DPL3 0x60u
#define TSS_LIMIT 0x1fffu /* the bitmaps' page included */
#define GDT_LIMIT 0xffu
#define TSS_IO_MAP 102u /* offset of the I/O map's offset */

u64 descriptor(u32 base, u32 limit, u32 rights)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(rights & 0xff) << 40 |
	       (u64)(limit >> 16 & 15) << 48 | (u64)(rights >> 12 & 15) << 52 | (u64)(base >> 24) << 56;
}

bool vector_has_error(u32 vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC;
}

void eguest_begin(struct eguest *g, struct cpu *c, u32 opt)
{
	memset(g, 0, sizeof(*g));
	snippet_begin(&g->s, c, opt);
	g->idt = page_alloc();
	g->stack = page_alloc();
	g->gdt = page_alloc();
	g->tss = pages_alloc_aligned(2, 2 * PAGE_SIZE);
}

static bool low(const struct eguest *g)
{
	return g->s.mode == SNIP_REAL;
}

static bool ia32e(const struct eguest *g)
{
	return sizeof(ulong) == 8 && (g->s.mode == SNIP_NATIVE || g->s.mode == SNIP_COMPAT);
}

/*
 * NOP, VMCALL: what exits of the first instruction behind an exception tell is a matter of its own, intr/external_exit_after_exception.
 * Handlers of real mode must be below 64 KiB; there is room behind the snippet.
 */
static void fill_handlers(struct eguest *g)
{
	g->handlers = low(g) ? g->s.data : g->handlers ? g->handlers : page_alloc();
	for (u32 v = 0; v < VECTORS; v++)
		memcpy(g->handlers + v * HANDLER_BYTES, "\x90\x0f\x01\xc1", 4);
}

static void fill_gdt(struct eguest *g)
{
	memset(g->gdt, 0, PAGE_SIZE);
	memcpy(g->gdt, g->s.v.cpu->gdt, sizeof(g->s.v.cpu->gdt));
	if (!ia32e(g)) {
		g->gdt[SEL_CODE >> 3] = descriptor(0, 0xfffff, AR_CODE32);
		g->gdt[SEL_USER_CODE >> 3] = descriptor(0, 0xfffff, AR_CODE32 | AR_DPL3);
	}
	g->gdt[ESEL_ABSENT >> 3] = descriptor(0, 0xfffff, AR_DATA32 & ~0x80);
	g->gdt[ESEL_ABSENT_USER >> 3] = descriptor(0, 0xfffff, (AR_DATA32 | AR_DPL3) & ~0x80);
}

static void fill_tss(struct eguest *g)
{
	memset(g->tss, 0, 2 * PAGE_SIZE);
	g->tss[1] = (u32)(ulong)(g->stack + PAGE_SIZE);
	g->tss[2] = ia32e(g) ? 0 : SEL_DATA;
	((u16 *)g->tss)[TSS_IO_MAP / 2] = PAGE_SIZE;
}

void eguest_gate(struct eguest *g, u32 vector, u32 type)
{
	ulong handler = eguest_handler(g, vector);
	u8 *gate;

	if (low(g)) {
		((u32 *)(ulong)g->idt)[vector] = (u32)handler;
		return;
	}
	gate = g->idt + vector * (ia32e(g) ? 16 : 8);
	((u16 *)(ulong)gate)[0] = (u16)handler;
	((u16 *)(ulong)gate)[1] = SEL_CODE;
	gate[4] = 0;
	gate[5] = (u8)type;
	((u16 *)(ulong)gate)[3] = (u16)(handler >> 16);
	if (ia32e(g))
		((u64 *)(ulong)gate)[1] = handler >> 16 >> 16;
}

void eguest_task_gate(struct eguest *g, u32 vector, u32 selector, u32 type)
{
	u8 *gate = g->idt + vector * (ia32e(g) ? 16 : 8);

	eguest_gate(g, vector, type);
	((u16 *)(ulong)gate)[0] = 0;
	((u16 *)(ulong)gate)[1] = (u16)selector;
	((u16 *)(ulong)gate)[3] = 0;
}

static void point_at_tables(struct eguest *g)
{
	vmwrite(VMCS_guest_idtr_base, (ulong)g->idt);
	vmwrite(VMCS_guest_idtr_limit, VECTORS * (low(g) ? 4 : ia32e(g) ? 16 : 8) - 1);
	vmwrite(VMCS_guest_gdtr_base, (ulong)g->gdt);
	vmwrite(VMCS_guest_gdtr_limit, GDT_LIMIT);
	vmwrite(VMCS_guest_tr_base, (ulong)g->tss);
	vmwrite(VMCS_guest_tr_limit, TSS_LIMIT);
}

void eguest_mode(struct eguest *g, enum snip_mode mode, bool user)
{
	snippet_mode(&g->s, mode, user);
	fill_handlers(g);
	for (u32 v = 0; v < VECTORS; v++)
		eguest_gate(g, v, GATE_INTERRUPT | GATE_DPL3);
	fill_gdt(g);
	fill_tss(g);
	point_at_tables(g);
}

void eguest_again(struct eguest *g)
{
	snippet_mode(&g->s, g->s.mode, g->s.user);
	point_at_tables(g);
}

void eguest_exits(struct eguest *g, u32 bitmap)
{
	g->s.v.l2_takes = ~bitmap;
	vmwrite(VMCS_exception_bitmap, bitmap);
}

void eguest_inject(u32 info, u32 error, u32 length)
{
	vmwrite(VMCS_vm_entry_interruption_info, INFO_VALID | info);
	vmwrite(VMCS_vm_entry_exception_error_code, error);
	vmwrite(VMCS_vm_entry_instruction_length, length);
}

ulong eguest_handler(const struct eguest *g, u32 vector)
{
	return (ulong)(g->handlers + vector * HANDLER_BYTES);
}

u32 eguest_vector(const struct eguest *g, const struct exit *e)
{
	ulong offset = e->ip - 1 - (ulong)g->handlers;

	if (e->entry.kind != OUT_OK || e->reason != EXIT_vmcall || offset % HANDLER_BYTES ||
	    offset / HANDLER_BYTES >= VECTORS)
		return EGUEST_NONE;
	return (u32)(offset / HANDLER_BYTES);
}

struct eframe eguest_frame(const struct eguest *g, bool error)
{
	const ulong sp = (ulong)vmread(VMCS_guest_rsp);
	const u16 *word = (const u16 *)sp;
	const u32 *dword = (const u32 *)sp;
	const u64 *qword = (const u64 *)sp;
	u32 i = 0;

	if (low(g))
		return (struct eframe){ 0, word[0], word[1], word[2], 0, 0 };
	if (ia32e(g)) {
		struct eframe f = { error ? (ulong)qword[i++] : 0, 0, 0, 0, 0, 0 };

		f.ip = (ulong)qword[i++];
		f.cs = (ulong)qword[i++];
		f.flags = (ulong)qword[i++];
		f.sp = (ulong)qword[i++];
		f.ss = (ulong)qword[i];
		return f;
	}
	return (struct eframe){ error ? dword[0] : 0, dword[error],     dword[error + 1],
				dword[error + 2],     dword[error + 3], dword[error + 4] };
}
