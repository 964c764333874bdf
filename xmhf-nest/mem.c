// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/mem.h"

#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "xmhf-nest/lock.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/private.h"

#define MIB 0x100000ull
#define GIB 0x40000000ull
#define IMAGE_WINDOW (2 * MIB)
#define LOW_LIMIT 0xf0000000ull /* the image's window on i386 */

extern u8 image_start[], image_end[];
extern u8 boot_end[]; /* physical */
void boot_move(u8 *to, const u8 *from, ulong bytes, ulong cr3);

struct range mem_l0, gpa_plain;
u64 mem_top;
u32 mem_cr3;

static struct memmap map;
static u32 pool_lock;
static u64 pool_next, image_pa;

void *pages_try(u32 count, u32 alignment)
{
	u64 start;

	lock_take(&pool_lock);
	start = (pool_next + alignment - 1) & ~(u64)(alignment - 1);
	if (start + count * 4096ull <= mem_l0.end)
		pool_next = start + count * 4096ull;
	else
		start = 0;
	lock_release(&pool_lock);
	if (!start)
		return NULL;
	return memset((void *)(ulong)start, 0, count * 4096);
}

void *pages_alloc(u32 count, u32 alignment)
{
	void *p = pages_try(count, alignment);

	if (!p)
		panic("no memory left in L0's range of %u KiB", (u32)((mem_l0.end - mem_l0.start) >> 10));
	return p;
}

void *low_memory(u32 pa)
{
	return (void *)(ulong)pa;
}

u64 pool_used(void)
{
	return pool_next - mem_l0.start;
}

u64 phys_of(const void *p)
{
	ulong offset = (ulong)p - (ulong)image_start;

	return offset < IMAGE_WINDOW ? image_pa + offset : (ulong)p;
}

static void map_read(const struct multiboot_info *info)
{
	const u8 *at = (const u8 *)(ulong)info->mmap_addr, *end = at + info->mmap_length;

	if (!(info->flags & MULTIBOOT_HAS_MMAP))
		panic("the boot loader gives no memory map");
	while (at < end && map.count < MEMMAP_MAX) {
		const struct multiboot_mmap *m = (const struct multiboot_mmap *)at;

		map.entry[map.count++] = *m;
		if (m->type == MULTIBOOT_MMAP_RAM && m->base + m->length > mem_top)
			mem_top = m->base + m->length;
		at += m->size + 4;
	}
}

/* The highest place below 4 GiB for that many bytes of RAM, 2 MiB aligned. */
static u64 find_place(u64 bytes)
{
	u64 best = 0;

	for (u32 i = 0; i < map.count; i++) {
		const struct multiboot_mmap *m = &map.entry[i];
		u64 end = m->base + m->length;

		if (m->type != MULTIBOOT_MMAP_RAM || m->base >= LOW_LIMIT)
			continue;
		end = (end < LOW_LIMIT ? end : LOW_LIMIT) & ~(IMAGE_WINDOW - 1);
		if (end >= bytes + 16 * MIB && end - bytes >= m->base && end - bytes > best)
			best = end - bytes;
	}
	if (!best)
		panic("no %u MiB of RAM for L0", (u32)(bytes / MIB));
	return best;
}

static bool have_1g_pages(void)
{
	u32 r[4];

	cpuid_raw(0x80000000, 0, r);
	if (r[0] < 0x80000001)
		return false;
	cpuid_raw(0x80000001, 0, r);
	return r[3] >> 26 & 1;
}

static void fill_2m(u64 *pd, u64 base)
{
	for (u64 i = 0; i < 512; i++)
		pd[i] = (base + (i << 21)) | PTE_P | PTE_W | PTE_PS;
}

/* Tables of the image's window: one page of 4 KiB leaves. */
static u64 window_table(void)
{
	u64 *pt = pages_alloc(1, 4096);

	for (u64 i = 0; i < 512; i++)
		pt[i] = (mem_l0.start + (i << 12)) | PTE_P | PTE_W;
	return (ulong)pt | PTE_P | PTE_W;
}

static u32 tables_amd64(void)
{
	u64 *pml4 = pages_alloc(1, 4096), *low = pages_alloc(1, 4096), *high = pages_alloc(1, 4096);
	u64 *window = pages_alloc(1, 4096);
	bool big = have_1g_pages();
	u64 top = mem_top > 4 * GIB ? mem_top : 4 * GIB;

	pml4[0] = (ulong)low | PTE_P | PTE_W;
	pml4[511] = (ulong)high | PTE_P | PTE_W;
	high[510] = (ulong)window | PTE_P | PTE_W;
	window[0] = window_table();
	for (u64 i = 0; i < 512 && (big || i * GIB < top); i++) {
		if (big) {
			low[i] = i * GIB | PTE_P | PTE_W | PTE_PS;
		} else {
			u64 *pd = pages_alloc(1, 4096);

			fill_2m(pd, i * GIB);
			low[i] = (ulong)pd | PTE_P | PTE_W;
		}
	}
	return (u32)(ulong)pml4;
}

static u32 tables_i386(void)
{
	u64 *pdpt = pages_alloc(1, 4096), *pd = pages_alloc(4, 4096);

	for (u64 i = 0; i < 4; i++) {
		fill_2m(pd + i * 512, i * GIB);
		pdpt[i] = (ulong)(pd + i * 512) | PTE_P;
	}
	pd[((ulong)image_start >> 21) & 2047] = window_table();
	return (u32)(ulong)pdpt;
}

void mem_init(const struct multiboot_info *info, u32 cpus)
{
	u64 bytes = 4 * MIB + cpus * 3 * MIB / 2;

	map_read(info);
	bytes = (bytes + IMAGE_WINDOW - 1) & ~(IMAGE_WINDOW - 1);
	mem_l0.start = find_place(bytes);
	mem_l0.end = mem_l0.start + bytes;
	pool_next = mem_l0.start + ((ulong)image_end - (ulong)image_start);
	mem_cr3 = sizeof(ulong) == 8 ? tables_amd64() : tables_i386();
	image_pa = mem_l0.start;
	map.l0 = mem_l0;
	if (sizeof(ulong) == 4)
		map.unseen = (struct range){ (ulong)image_start, (ulong)image_start + IMAGE_WINDOW };
	gpa_plain = memmap_plain(&map);
	boot_move((u8 *)(ulong)mem_l0.start, image_start, (ulong)image_end - (ulong)image_start, mem_cr3);
}

void *gpa_ptr_slow(u64 gpa, u32 bytes)
{
	return memmap_is_l1(&map, gpa, bytes) && !private_overlaps(gpa, gpa + bytes) ? (void *)(ulong)gpa : NULL;
}

bool gpa_read(u64 gpa, void *to, u32 bytes)
{
	const void *p = gpa_ptr(gpa, bytes);

	if (p)
		memcpy(to, p, bytes);
	return p;
}

bool gpa_write(u64 gpa, const void *from, u32 bytes)
{
	void *p = gpa_ptr(gpa, bytes);

	if (p)
		memcpy(p, from, bytes);
	return p;
}

u32 mem_l1_map(struct multiboot_mmap *to, u32 max)
{
	return memmap_for_l1(&map, to, max);
}
