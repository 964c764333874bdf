// SPDX-License-Identifier: BSD-2-Clause
#include "unit/unit.h"
#include "xmhf-nest/lru.h"

/* Model: lines with the time of their last use; 0 is an empty line. */
struct model_line {
	u64 key, time;
};

static int model_find(const struct model_line *m, u32 lines, u64 key)
{
	for (u32 i = 0; i < lines; i++)
		if (m[i].time && m[i].key == key)
			return (int)i;
	return -1;
}

static u32 model_oldest(const struct model_line *m, u32 lines)
{
	u32 oldest = 0;

	for (u32 i = 1; i < lines; i++)
		if (m[i].time < m[oldest].time)
			oldest = i;
	return oldest; /* the lowest empty line, if there is one */
}

static void fuzz(u32 lines, u64 keys)
{
	struct model_line m[LRU_MAX] = { { 0, 0 } };
	struct lru l;

	lru_init(&l, lines);
	for (u64 now = 1; now < 20000; now++) {
		u64 key = unit_random() % keys - 1, old = 0x5a5a; /* 0 and ~0 are keys as others are */
		int at = model_find(m, lines, key);
		u32 choice = unit_random() % 100, line;
		bool evicted;

		if (choice == 0) {
			lru_clear(&l);
			memset(m, 0, sizeof(m));
		} else if (choice < 20) {
			CHECK(lru_remove(&l, key) == at);
			if (at >= 0)
				m[at].time = 0;
			CHECK(lru_find(&l, key) == -1);
		} else if (choice < 60) {
			line = lru_insert(&l, key, &evicted, &old);
			CHECK(line == (at >= 0 ? (u32)at : model_oldest(m, lines)));
			CHECK(evicted == (at < 0 && m[line].time));
			CHECK(old == (evicted ? m[line].key : 0x5a5a));
			m[line] = (struct model_line){ key, now };
		} else {
			CHECK(lru_find(&l, key) == at);
			if (at >= 0)
				m[at].time = now;
		}
	}
}

static void test_fuzz(void)
{
	for (u32 lines = 1; lines <= LRU_MAX; lines++) {
		fuzz(lines, lines + 1);
		fuzz(lines, 3 * lines + 4);
	}
}

/* A hit on the oldest line is a hit, and saves it. */
static void test_oldest(void)
{
	struct lru l;
	bool evicted;
	u64 old = 0;

	lru_init(&l, 4);
	for (u64 key = 10; key < 14; key++)
		CHECK(lru_insert(&l, key, &evicted, &old) == key - 10 && !evicted);
	CHECK(lru_find(&l, 10) == 0);
	CHECK(lru_insert(&l, 14, &evicted, &old) == 1 && evicted && old == 11);
	CHECK(lru_find(&l, 11) == -1 && lru_find(&l, 10) == 0);
}

/* A key that was removed or cleared isn't found, and its line is the next to be filled. */
static void test_removed(void)
{
	struct lru l;
	bool evicted;
	u64 old = 0;

	lru_init(&l, 3);
	for (u64 key = 0; key < 3; key++)
		lru_insert(&l, key, &evicted, &old);
	CHECK(lru_remove(&l, 1) == 1 && lru_find(&l, 1) == -1 && lru_remove(&l, 1) == -1);
	CHECK(lru_insert(&l, 5, &evicted, &old) == 1 && !evicted);
	lru_clear(&l);
	CHECK(lru_find(&l, 0) == -1 && lru_find(&l, 2) == -1 && lru_find(&l, 5) == -1);
	CHECK(lru_insert(&l, 0, &evicted, &old) == 0 && !evicted);
}

const struct unit_case lru_cases[] = {
	{ "lru: fuzz against a model", test_fuzz },
	{ "lru: a hit on the oldest line", test_oldest },
	{ "lru: removed keys", test_removed },
	{ NULL, NULL },
};
