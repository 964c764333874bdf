// SPDX-License-Identifier: BSD-2-Clause
/* What of the machine's memory L0 takes for L1's: against a list of what each byte around the borders is. */
#include "unit/nest_stub.h"
#include "unit/unit.h"
#include "xmhf-nest/mem.h"

#define UNIT 0x600u /* borders are multiples of it: pages have several, some lie within one */
#define UNITS 64u
#define FRAGMENTS 12u

/* By unit from origin on. What is beyond is nothing. */
enum kind { NOTHING, RAM, RESERVED };
static enum kind kind[UNITS];
static bool l0[UNITS], unseen[UNITS];
static u64 origin;
static struct memmap map;

static u32 any(u32 below)
{
	return (u32)(unit_random() % below);
}

/* The same range is marked in the model and in the map. */
static struct range take(bool *marks)
{
	u32 first = any(UNITS), n = 1 + any(UNITS / 4);

	for (u32 u = first; u < first + n && u < UNITS; u++)
		marks[u] = true;
	return (struct range){ origin + first * UNIT, origin + (first + n < UNITS ? first + n : UNITS) * UNIT };
}

/* Pieces one behind the other with gaps in between, in any order in the map. */
static void make(void)
{
	/* The last one ends near 2^64: nothing of it may be taken for what is at 0. */
	static const u64 origins[] = { 0, 0x100000, 0xffff4000, 0x3fffff000, 0 - (UNITS + 1ull) * UNIT };
	u32 u = any(4);

	memset(&map, 0, sizeof(map));
	memset(kind, 0, sizeof(kind));
	memset(l0, 0, sizeof(l0));
	memset(unseen, 0, sizeof(unseen));
	origin = origins[any(ARRAY_SIZE(origins))];
	while (u < UNITS && map.count < FRAGMENTS) {
		u32 n = 1 + any(any(2) ? 3 : 30), at = any(map.count + 1);
		u32 type = any(4) ? 1 : 2;

		n = u + n < UNITS ? n : UNITS - u;
		map.entry[map.count++] = map.entry[at];
		map.entry[at] = (struct multiboot_mmap){ 20, origin + u * UNIT, (u64)n * UNIT, type };
		for (u32 i = u; i < u + n; i++)
			kind[i] = type == 1 ? RAM : RESERVED;
		u += n + (any(3) ? 0 : any(6));
	}
	map.l0 = take(l0);
	map.unseen = any(4) ? (struct range){ 0, 0 } : take(unseen);
}

/* The byte at a distance from origin. */
static bool model_byte(u64 distance)
{
	u32 u = (u32)(distance / UNIT);

	if (distance >= UNITS * UNIT || (sizeof(ulong) == 4 && (origin + distance) >> 32))
		return false;
	return kind[u] == RAM && !l0[u] && !unseen[u];
}

/* Byte by byte; what the addition of 64 bits makes of an address is no neighbour. */
static bool model(u64 gpa, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		if (gpa + i < gpa || !model_byte(gpa + i - origin))
			return false;
	return true;
}

static u64 any_gpa(void)
{
	switch (any(8)) {
	case 0:
		return origin + unit_random() % (UNITS * UNIT);
	case 1:
		return 0 - (u64)any(5000);
	case 2:
		return any(5000);
	default:
		return origin + any(UNITS + 4) * UNIT + any(17) - 8;
	}
}

static u32 any_size(void)
{
	static const u32 sizes[] = { 1, 2, 4, 8, 16, 4095, 4096 };

	return any(2) ? sizes[any(ARRAY_SIZE(sizes))] : 1 + any(4096);
}

static void *slow(u64 gpa, u32 bytes)
{
	/* Another pointer than gpa_ptr itself makes, and never NULL. */
	return memmap_is_l1(&map, gpa, bytes) ? &map : NULL;
}

static void test_fuzz(void)
{
	u32 yes = 0, plain = 0, total = 0;

	nest_stub.gpa_ptr_slow = slow;
	for (u32 round = 0; round < 1200; round++) {
		make();
		/* A 32-bit L0 is below 4 GiB. */
		gpa_plain = (struct range){ 0, 0 };
		if (sizeof(ulong) == 8 || map.l0.end <= 1ull << 32)
			gpa_plain = memmap_plain(&map);
		for (u32 i = 0; i < 60; i++) {
			u64 gpa = any_gpa();
			u32 bytes = any_size();
			bool want = model(gpa, bytes);
			void *p;

			CHECK(memmap_is_l1(&map, gpa, bytes) == want);
			p = gpa_ptr(gpa, bytes);
			/* NULL is what L1 has at 0, too. */
			CHECK(gpa ? !p == !want : want || p != &map);
			CHECK(p == NULL || p == &map || p == (void *)(ulong)gpa);
			yes += want;
			plain += p && p != &map;
			total++;
		}
	}
	gpa_plain = (struct range){ 0, 0 };
	CHECK(yes > total / 20 && yes < total / 2 && plain > 500);
}

/* All RAM up to L0, but for the last page's rest, is plain: that's where L1's memory nearly always is. */
static void test_plain(void)
{
	struct memmap m = { .count = 2, .l0 = { 0x7a00000, 0x8000000 } };
	struct range r;

	m.entry[0] = (struct multiboot_mmap){ 20, 0, 0x9fc00, 1 };
	m.entry[1] = (struct multiboot_mmap){ 20, 0x100000, 0x7f00000, 1 };
	r = memmap_plain(&m);
	CHECK(r.start == 0x100000 && r.end == 0x79ff001);
	m.entry[1].type = 2;
	r = memmap_plain(&m);
	CHECK(!r.start && !r.end);
	m.entry[1] = (struct multiboot_mmap){ 20, 0x79ff001, 0x600fff, 1 };
	r = memmap_plain(&m);
	CHECK(!r.start && !r.end);
	m.entry[1] = (struct multiboot_mmap){ 20, 0x79ff000, 0x601000, 1 };
	r = memmap_plain(&m);
	CHECK(r.start == 0x79ff000 && r.end == 0x79ff001);
}

/* Addresses near 2^64 aren't those near 0. */
static void test_wrap(void)
{
	nest_stub.gpa_ptr_slow = slow;
	memset(&map, 0, sizeof(map));
	map.count = 1;
	map.entry[0] = (struct multiboot_mmap){ 20, 0, 0x8000000, 1 };
	map.l0 = (struct range){ 0x7a00000, 0x8000000 };
	gpa_plain = memmap_plain(&map);
	CHECK(gpa_ptr(0x79ff000, 4096) == (void *)0x79ff000 && !gpa_ptr(0x79ff001, 4096));
	for (u32 bytes = 1; bytes <= 4096; bytes *= 2)
		for (u64 back = 1; back <= 8192; back *= 2)
			CHECK(!gpa_ptr(0 - back, bytes) && !memmap_is_l1(&map, 0 - back, bytes));
	gpa_plain = (struct range){ 0, 0 };
}

/* What a map says of a byte at a distance from origin; no entry: NOTHING. */
static enum kind look(const struct multiboot_mmap *e, u32 n, u64 distance)
{
	enum kind k = NOTHING;

	for (u32 i = 0; i < n; i++)
		if (origin + distance - e[i].base < e[i].length) {
			CHECK(k == NOTHING); /* no entry over another */
			k = e[i].type == 1 ? RAM : RESERVED;
		}
	return k;
}

static void test_for_l1(void)
{
	u32 split = 0, mine = 0;

	for (u32 round = 0; round < 600; round++) {
		struct multiboot_mmap to[FRAGMENTS * 3], few[FRAGMENTS * 3];
		u32 n, at, max = any(FRAGMENTS), first = any(UNITS), units = 1 + any(8);

		make();
		memset(l0, 0, sizeof(l0));
		/* As mem.c chooses: within one piece of RAM. */
		for (at = 0; at < map.count; at++) {
			const struct multiboot_mmap *e = &map.entry[at];

			if (e->type == 1 && origin + first * UNIT - e->base < e->length &&
			    e->length - (origin + first * UNIT - e->base) >= units * UNIT)
				break;
		}
		if (at == map.count)
			continue;
		map.l0 = (struct range){ origin + first * UNIT, origin + (first + units) * UNIT };
		n = memmap_for_l1(&map, to, ARRAY_SIZE(to));
		CHECK(n >= map.count && n <= map.count + 2);
		split += n == map.count + 2;
		for (u64 u = 0; u < UNITS; u++) {
			bool own = u >= first && u < first + units;

			CHECK(look(to, n, u * UNIT) == (own ? RESERVED : kind[u]));
			CHECK(look(to, n, u * UNIT + UNIT - 1) == (own ? RESERVED : kind[u]));
			mine += own;
		}
		for (u32 i = 0; i < n; i++)
			CHECK(to[i].size == 20 && to[i].length);
		/* Less room: the same ones, as many as there is room for. */
		memset(few, 0x5a, sizeof(few));
		CHECK(memmap_for_l1(&map, few, max) == (n < max ? n : max));
		CHECK(!memcmp(few, to, (n < max ? n : max) * sizeof(*to)));
		CHECK(n <= max || few[max].size == 0x5a5a5a5a);
	}
	CHECK(mine > 500 && split > 20);
}

const struct unit_case memmap_cases[] = {
	{ "memmap: fuzz against bytes", test_fuzz },
	{ "memmap: plain", test_plain },
	{ "memmap: around 2^64", test_wrap },
	{ "memmap: for L1", test_for_l1 },
	{ NULL, NULL },
};
