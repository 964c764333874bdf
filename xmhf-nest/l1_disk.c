// SPDX-License-Identifier: BSD-2-Clause
/*
 * L1 from a BIOS disk: starts in real mode as behind the BIOS. INT 15h is hooked, in a KiB taken from the end of
 * conventional memory, so that the BIOS doesn't tell about L0's memory.
 */
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/seg.h"
#include "xmhf-nest/l1_start.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

#define STUB_AT 0x600u
#define IVT_15 (4 * 0x15u)
#define BDA_MEMORY 0x413u /* KiB of conventional memory */
#define MAP_MAX 72u
#define SMAP 0x534d4150u

extern const u8 disk_stub[], disk_stub_end[], disk_stub_drive[];
extern const u8 disk_int15[], disk_int15_end[], disk_int15_old[], disk_int15_call[];

static struct multiboot_mmap map[MAP_MAX];
static u32 map_count;
static u32 hook; /* physical address of the code behind INT 15h; 0: none */

/* L1's map, with the hook's KiB out of RAM. */
static void make_map(void)
{
	u32 n = mem_l1_map(map, MAP_MAX - 1);

	for (u32 i = 0; i < n; i++) {
		u64 end = map[i].base + map[i].length;

		if (map[i].type != MULTIBOOT_MMAP_RAM || map[i].base > hook || end <= hook)
			continue;
		memmove(&map[i + 2], &map[i + 1], (n - i - 1) * sizeof(map[0]));
		map[i].length = hook - map[i].base;
		map[i + 1] = (struct multiboot_mmap){ 20, hook, end - hook, 2 };
		n++;
		break;
	}
	map_count = n;
}

static void put16(u32 at, u32 value)
{
	*(volatile u16 *)low_memory(at) = (u16)value;
}

static u32 get16(u32 at)
{
	return *(volatile u16 *)low_memory(at);
}

static void hook_int15(void)
{
	u32 kib = get16(BDA_MEMORY) - 1, old = (u32)(disk_int15_old - disk_int15);

	if (kib < 256 || kib > 639)
		panic("the BIOS says %u KiB of conventional memory", kib + 1);
	hook = kib << 10;
	put16(BDA_MEMORY, kib);
	memcpy(low_memory(hook), disk_int15, (size_t)(disk_int15_end - disk_int15));
	put16(hook + old, get16(IVT_15));
	put16(hook + old + 2, get16(IVT_15 + 2));
	put16(IVT_15, 0);
	put16(IVT_15 + 2, hook >> 4);
	make_map();
}

void l1_start_disk(struct cpu *c, u32 drive)
{
	u32 at = (u32)(disk_stub_drive - disk_stub);

	hook_int15();
	memcpy(low_memory(STUB_AT), disk_stub, (size_t)(disk_stub_end - disk_stub));
	put16(STUB_AT + at, drive);
	vmcs01_sipi(c, 0);
	vmcs_write(VMCS_guest_rip, STUB_AT);
	vmcs_write(VMCS_guest_idtr_limit, 0x3ff);
}

/* 32-bit real-mode registers: the upper half of a 64-bit one becomes 0. */
static void set16(ulong *r, u32 value)
{
	*r = (*r & ~(ulong)0xffff) | (value & 0xffff);
}

static bool e820(struct gregs *g)
{
	u32 i = (u32)g->bx, bytes = (u32)g->cx < 24 ? 20 : 24;
	u64 to = vmcs_read(VMCS_guest_es_base) + (g->di & 0xffff);
	struct {
		u64 base, length;
		u32 type, attributes;
	} __attribute__((packed)) entry;

	if ((u32)g->dx != SMAP || i >= map_count || (u32)g->cx < 20)
		return false;
	entry.base = map[i].base;
	entry.length = map[i].length;
	entry.type = map[i].type;
	entry.attributes = 1;
	if (!gpa_write(to, &entry, bytes))
		return false;
	g->ax = SMAP;
	g->cx = bytes;
	g->bx = i + 1 < map_count ? i + 1 : 0;
	return true;
}

/* KiB of RAM in [from, to) that continues from `from`. */
static u32 kib_from(u64 from, u64 to)
{
	for (u32 i = 0; i < map_count; i++) {
		u64 end = map[i].base + map[i].length;

		if (map[i].type == MULTIBOOT_MMAP_RAM && map[i].base <= from && end > from)
			return (u32)(((end < to ? end : to) - from) >> 10);
	}
	return 0;
}

static bool answer(struct gregs *g)
{
	u32 ax = (u32)g->ax & 0xffff, low, high;

	if (ax == 0xe820)
		return e820(g);
	if (ax >> 8 == 0x88) {
		low = kib_from(0x100000, 0x4000000);
		set16(&g->ax, low > 0xffff ? 0xffff : low);
		return true;
	}
	low = kib_from(0x100000, 0x1000000);
	high = kib_from(0x1000000, 1ull << 32) >> 6;
	if (ax == 0xe881) {
		g->ax = g->cx = low;
		g->bx = g->dx = high;
		return true;
	}
	set16(&g->ax, low);
	set16(&g->cx, low);
	set16(&g->bx, high > 0xffff ? 0xffff : high);
	set16(&g->dx, high > 0xffff ? 0xffff : high);
	return true;
}

bool l1_disk_vmcall(struct cpu *c)
{
	u64 at = vmcs_read(VMCS_guest_cs_base) + vmcs_read(VMCS_guest_rip);
	u64 flags_at;
	u16 flags;

	if (!hook || vmcs_read(VMCS_guest_cr0) & CR0_PE)
		return false;
	if (at > STUB_AT && at < STUB_AT + (u32)(disk_stub_end - disk_stub)) {
		log_line("L1: no bootable second disk");
		return true;
	}
	if (at != hook + (u32)(disk_int15_call - disk_int15))
		return false;
	/* The INT's frame: IP, CS, FLAGS. Carry says how it went. */
	flags_at = vmcs_read(VMCS_guest_ss_base) + ((vmcs_read(VMCS_guest_rsp) + 4) & 0xffff);
	if (!gpa_read(flags_at, &flags, 2))
		return true;
	if (answer(c->regs)) {
		flags &= (u16)~RFLAGS_CF;
	} else {
		flags |= RFLAGS_CF;
		c->regs->ax = (c->regs->ax & ~(ulong)0xff00) | 0x8600;
	}
	gpa_write(flags_at, &flags, 2);
	return true;
}
