// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/fetch.h"

#include "core/mem.h"
#include "x86/cr.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/guest.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/paging.h"

static u64 word_at(const void *p, u32 bytes)
{
	return bytes == 8 ? *(const volatile u64 *)p : *(const volatile u32 *)p;
}

static void record(struct fetch_line *l, const void *p, u64 value, u32 bytes)
{
	if (l->reads == FETCH_READS) {
		l->whole = false;
		return;
	}
	l->read[l->reads].at = p;
	l->read[l->reads].value = value;
	l->read[l->reads++].bytes = (u8)bytes;
}

struct context {
	struct cpu *c;
	struct fetch_line *line;
	bool ept;
};

/* An aligned word of the guest's physical memory. */
static bool read_word(void *ctx, u64 gpa, void *to, u32 bytes)
{
	struct context *x = ctx;
	const void *p;
	u64 value;

	if (x->ept && !ept12_translate(x->c->nested.v[VI_ept_pointer], gpa, &gpa))
		return false;
	p = gpa_ptr(gpa, bytes);
	if (!p)
		return false;
	value = word_at(p, bytes);
	record(x->line, p, value, bytes);
	memcpy(to, &value, bytes);
	return true;
}

/* Up to 15 bytes of code, page by page; how many there were. */
static u32 code_bytes(struct context *x, u64 linear, u8 *to)
{
	struct paging s = { .read = read_word, .ctx = x };
	u32 n = 0, access = PAGING_FETCH | (l1_cpl() == 3 ? PAGING_USER : 0);

	guest_paging(&s);
	while (n < DECODE_MAX) {
		struct paging_walk w = paging_walk(&s, linear + n, access);
		u64 end = (w.pa | (PAGE_SIZE - 1)) + 1;

		if (w.end != PAGING_OK)
			break;
		for (u64 at = w.pa & ~3ull; at < end && n < DECODE_MAX; at += 4) {
			u8 word[4];

			if (!read_word(x, at, word, 4))
				return n;
			for (u64 i = w.pa > at ? w.pa - at : 0; i < 4 && n < DECODE_MAX; i++)
				to[n++] = word[i];
		}
	}
	return n;
}

static enum decode_mode mode(void)
{
	if (l1_code64())
		return DECODE_64;
	return vmcs_get(VMCS_guest_cs_access_rights) >> 14 & 1 ? DECODE_32 : DECODE_16;
}

static bool still_valid(const struct fetch_line *l)
{
	for (u32 i = 0; i < l->reads; i++)
		if (word_at(l->read[i].at, l->read[i].bytes) != l->read[i].value)
			return false;
	return true;
}

struct decode_insn fetch_insn(struct cpu *c)
{
	struct context x = { .c = c, .ept = c->l2 && nested_ept(c) };
	u64 rip = vmcs_read(VMCS_guest_rip), cr3 = vmcs_read(VMCS_guest_cr3);
	u64 linear = rip + vmcs_read(VMCS_guest_cs_base), eptp = x.ept ? c->nested.v[VI_ept_pointer] : 0;
	u32 state = (u32)vmcs_get(VMCS_guest_cs_access_rights) ^ ((u32)vmcs_get(VMCS_guest_cr0) & (CR0_PG | CR0_PE)) ^
		    l1_cpl() << 20;
	struct fetch_line *l = &c->fetch[(rip ^ rip >> 4) % FETCH_LINES];
	u8 bytes[DECODE_MAX];

	if (l->reads && l->linear == linear && l->cr3 == cr3 && l->eptp == eptp && l->state == state && still_valid(l))
		return l->insn;
	l->linear = linear;
	l->cr3 = cr3;
	l->eptp = eptp;
	l->state = state;
	l->reads = 0;
	/* The entries of EPT12 aren't recorded: code of L2 on EPT is read anew each time. */
	l->whole = !x.ept;
	x.line = l;
	l->insn = decode(bytes, code_bytes(&x, l1_code64() ? linear : (u32)linear, bytes), mode());
	if (!l->whole)
		l->reads = 0;
	return l->insn;
}
