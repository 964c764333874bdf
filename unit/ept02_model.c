// SPDX-License-Identifier: BSD-2-Clause
#include "unit/ept02_model.h"

u64 ept12[FRAMES][512];
bool hidden[FRAMES], page_private[16], apic_on;
u64 address[ADDRESSES];
u32 root_now, count_old;

static bool far_filled[4];
static struct result history[ROOTS][ADDRESSES][HISTORY];
static u32 known[ROOTS][ADDRESSES];

u32 any(u32 below)
{
	return (u32)(unit_random() % below);
}

u64 eptp_of(u32 root)
{
	return (u64)root << 12 | 0x1e;
}

/* --- EPT01 --- */

/* 4 KiB pages in the first GiB, 2 MiB ones in the second, a large one of WB, one of UC; beyond, pages come on demand. */
struct ept_walk model_ept01_lookup(u64 gpa)
{
	static const u8 types[] = { MEMTYPE_WB, MEMTYPE_UC, MEMTYPE_WT, MEMTYPE_WB, MEMTYPE_WC, MEMTYPE_WP };
	u32 page = (u32)(gpa >> 12), gib = (u32)(gpa >> 30);
	struct ept_walk w = { .level = gib == 0 ? 1 : gib == 1 ? 2 : gib < 4 ? 3 : 1, .rights = EPT_RWX };
	u64 offset = (1ull << (12 + 9 * (w.level - 1))) - 1;
	u32 type = gib == 0 ? types[page % 16 % 6] :
		   gib == 1 ? types[page / 512 % 6] :
		   gib == 2 ? MEMTYPE_WB :
			      MEMTYPE_UC;

	w.present = gib == 0 ? !page_private[page % 16] : gib < 4 || (gpa < 1ull << 40 && far_filled[page % 4]);
	if (gib == 0 && page % 16 == 1 && apic_on)
		w.rights = EPT_R | EPT_X;
	w.pa = gpa | HPA;
	w.entry = w.present ? ept_leaf((gpa | HPA) & ~offset, w.level, w.rights, (enum memtype)type) : 0;
	w.rights = w.present ? w.rights : 0;
	return w;
}

bool model_ept01_fill(u64 gpa)
{
	CHECK(!model_ept01_lookup(gpa).present);
	if (gpa < 4 * GIB || gpa >= 1ull << 40)
		return false;
	far_filled[gpa >> 12 & 3] = true;
	return true;
}

void *model_gpa_ptr(u64 gpa, u32 bytes)
{
	CHECK(!(gpa & 0xfff) && bytes == PAGE_SIZE);
	return gpa >> 12 < FRAMES && !hidden[gpa >> 12] ? ept12[gpa >> 12] : NULL;
}

/* --- what EPT12 says --- */

enum ept02_verdict model_walk12(u32 root, u64 gpa, u64 *leaf, int *level, u32 *rights, u64 *gpa1)
{
	u64 frame = root;

	*rights = 7;
	*gpa1 = 0;
	for (*level = 4;; --*level) {
		u32 shift = 12 + 9 * (u32)(*level - 1);
		bool there = frame < FRAMES && !hidden[frame];
		u64 e = there ? ept12[frame][gpa >> shift & 511] : ~0ull;

		*leaf = e;
		*rights &= (u32)e & 7;
		if (!(e & 7))
			return EPT02_VIOLATION;
		/* any_entry makes no other mistakes, but where there is no memory all bits are wrong. */
		if ((e & 3) == 2 || !there || e >> 52)
			return EPT02_MISCONFIGURATION;
		if (*level == 1 || e & 0x80) {
			*gpa1 = (e & 0xffffffffff000) + (gpa & ((1ull << shift) - 1));
			return EPT02_FILLED;
		}
		frame = e >> 12;
	}
}

static u32 model_type(u32 type12, u32 type01)
{
	/* L1's word counts where memory is plain; elsewhere only if it is UC, the strictest. */
	return type01 == MEMTYPE_WB || type12 == MEMTYPE_UC ? type12 : type01;
}

enum ept02_verdict model(u32 root, u64 gpa, u32 access, struct result *r, u32 *rights12, u64 *gpa1)
{
	struct ept_walk w;
	u64 leaf;
	enum ept02_verdict v = model_walk12(root, gpa, &leaf, &r->level, rights12, gpa1);

	r->rights = 0;
	r->level12 = r->level;
	if (v != EPT02_FILLED)
		return v;
	if (access & ~*rights12)
		return EPT02_VIOLATION;
	w = model_ept01_lookup(*gpa1);
	if (!w.present && (*gpa1 < 4 * GIB || *gpa1 >= 1ull << 40))
		return EPT02_NOWHERE;
	if (!w.present) {
		/* As it will be when it's filled. */
		w.rights = 7;
		w.level = 1;
		w.entry = 0;
	}
	if (access & ~(u32)w.rights)
		return EPT02_APIC;
	r->hpa = (*gpa1 | HPA) & ~0xfffull;
	r->rights = *rights12 & (u32)w.rights;
	r->type = model_type(leaf >> 3 & 7, w.entry >> 3 & 7) << 3 | (leaf & 0x40);
	r->level = r->level < w.level ? r->level : w.level;
	return v;
}

bool same(const struct result *a, const struct result *b)
{
	return a->hpa == b->hpa && a->rights == b->rights && a->type == b->type;
}

/* --- what was true since the last INVEPT --- */

void note(u32 root, bool forget)
{
	for (u32 a = 0; a < ADDRESSES; a++) {
		struct result r;
		u32 rights12, *n = &known[root][a];
		u64 gpa1;

		model(root, address[a], 0, &r, &rights12, &gpa1);
		if (forget)
			*n = 0;
		if (r.rights && (!*n || !same(&history[root][a][*n - 1], &r)))
			history[root][a][(*n)++ % HISTORY] = r;
	}
}

void note_all(bool forget)
{
	for (u32 root = 0; root < ROOTS; root++)
		note(root, forget);
}

bool history_full(void)
{
	for (u32 root = 0; root < ROOTS; root++)
		for (u32 a = 0; a < ADDRESSES; a++)
			if (known[root][a] == HISTORY)
				return true;
	return false;
}

void check_known(u32 a, const struct result *r)
{
	u32 n = known[root_now][a], i = n;

	while (i && !same(&history[root_now][a][i - 1], r))
		i--;
	CHECK(i);
	count_old += i && i != n;
}
