// SPDX-License-Identifier: BSD-2-Clause
/* L1 as a multiboot kernel (Multiboot Specification 0.6.96), ELF or with addresses in its header. */
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/seg.h"
#include "xmhf-nest/l1_start.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version, entry, phoff, shoff, flags;
	u16 ehsize, phentsize, phnum;
} __attribute__((packed));

struct elf_segment {
	u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

#define ELF_LOAD 1u
#define HEADER_SEARCH 8192u
#define MMAP_MAX 64u
#define LOADER_NAME "xmhf-nest"

/* What L1 gets to read: multiboot information and everything that it points to but modules. */
struct handover {
	struct multiboot_info info;
	struct multiboot_module modules[L1_MODULES];
	struct multiboot_mmap map[MMAP_MAX];
	char loader[16];
	char strings[L1_MODULES][L1_STRING];
};

static void place(u64 to, const u8 *from, u32 bytes, u32 clear)
{
	u8 *p = bytes + clear ? gpa_ptr(to, 1) : NULL;

	/* Both ends and no L0 in between: the range is below L0 or not at all. */
	if (!p || to + bytes + clear > mem_l0.start || !gpa_ptr(to + bytes + clear - 1, 1))
		panic("L1's kernel wants memory at 0x%llx that isn't there", (unsigned long long)to);
	memmove(p, from, bytes);
	memset(p + bytes, 0, clear);
}

static const struct multiboot_header *find_header(const u8 *file, u32 size)
{
	for (u32 at = 0; at + 12 <= size && at < HEADER_SEARCH; at += 4) {
		const struct multiboot_header *h = (const struct multiboot_header *)(file + at);

		if (h->magic == MULTIBOOT_HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return h;
	}
	panic("the module is no multiboot kernel");
}

static u32 load_elf(const u8 *file, u32 size)
{
	static const u8 elf32[5] = { 0x7f, 'E', 'L', 'F', 1 };
	const struct elf_header *e = (const struct elf_header *)file;

	if (size < sizeof(*e) || memcmp(e->ident, elf32, sizeof(elf32)) != 0 ||
	    e->phentsize != sizeof(struct elf_segment))
		panic("the module is no ELF file of 32 bits");
	for (u32 i = 0; i < e->phnum; i++) {
		u64 at = (u64)e->phoff + i * sizeof(struct elf_segment);
		const struct elf_segment *s = (const struct elf_segment *)(file + at);

		if (at + sizeof(*s) > size)
			panic("the module's ELF headers are cut");
		if (s->type != ELF_LOAD || !s->memsz)
			continue;
		if ((u64)s->offset + s->filesz > size || s->filesz > s->memsz)
			panic("the module's ELF segments are cut");
		place(s->paddr, file + s->offset, s->filesz, s->memsz - s->filesz);
	}
	return e->entry;
}

static u32 load_addresses(const u8 *file, u32 size, const struct multiboot_header *h)
{
	u32 skip = (u32)((const u8 *)h - file) - (h->header_addr - h->load_addr);
	u32 bytes = h->load_end_addr ? h->load_end_addr - h->load_addr : size - skip;
	u32 clear = h->bss_end_addr ? h->bss_end_addr - h->load_addr - bytes : 0;

	if ((u64)skip + bytes > size)
		panic("the module is shorter than its header says");
	place(h->load_addr, file + skip, bytes, clear);
	return h->entry_addr;
}

/* KiB of RAM from 1 MiB up to the first hole. */
static u32 mem_upper(const struct multiboot_mmap *map, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (map[i].type == MULTIBOOT_MMAP_RAM && map[i].base <= 0x100000 &&
		    map[i].base + map[i].length > 0x100000)
			return (u32)((map[i].base + map[i].length - 0x100000) >> 10);
	return 0;
}

/* The structures and the other modules go right below L0, from the top down. */
static u32 hand_over(const struct l1_boot *b)
{
	u64 at = (mem_l0.start - sizeof(struct handover)) & ~(u64)(PAGE_SIZE - 1);
	struct handover *h = gpa_ptr(at, 1);
	u32 n;

	if (!h)
		panic("no memory below L0");
	memset(h, 0, sizeof(*h));
	n = mem_l1_map(h->map, MMAP_MAX);
	for (u32 i = 0; i < b->count; i++)
		memcpy(h->strings[i], b->module[i].string, L1_STRING);
	for (u32 i = 1; i < b->count; i++) {
		u32 bytes = b->module[i].bytes;

		at = (at - bytes) & ~(u64)(PAGE_SIZE - 1);
		place(at, b->module[i].data, bytes, 0);
		h->modules[i - 1] = (struct multiboot_module){ (u32)at, (u32)at + bytes, (u32)(ulong)h->strings[i], 0 };
	}
	memcpy(h->loader, LOADER_NAME, sizeof(LOADER_NAME));
	h->info = (struct multiboot_info){
		.flags = MULTIBOOT_HAS_MEMORY | MULTIBOOT_HAS_CMDLINE | MULTIBOOT_HAS_MODULES | MULTIBOOT_HAS_MMAP |
			 MULTIBOOT_HAS_LOADER_NAME | (b->info.flags & MULTIBOOT_HAS_BOOT_DEVICE),
		.mem_lower = b->info.mem_lower,
		.mem_upper = mem_upper(h->map, n),
		.boot_device = b->info.boot_device,
		.cmdline = (u32)(ulong)h->strings[0],
		.mods_count = b->count - 1,
		.mods_addr = (u32)(ulong)h->modules,
		.mmap_length = n * (u32)sizeof(struct multiboot_mmap),
		.mmap_addr = (u32)(ulong)h->map,
		.loader_name = (u32)(ulong)h->loader,
	};
	return (u32)(ulong)&h->info;
}

static void segment(u32 n, u32 selector, u32 rights)
{
	vmcs_write(VMCS_guest_es_selector + 2 * n, selector);
	vmcs_write(VMCS_guest_es_base + 2 * n, 0);
	vmcs_write(VMCS_guest_es_limit + 2 * n, 0xffffffffu);
	vmcs_write(VMCS_guest_es_access_rights + 2 * n, rights);
}

/* Multiboot Specification: "I386 machine state" */
void l1_start_multiboot(struct cpu *c, const struct l1_boot *b)
{
	const u8 *file = b->module[0].data;
	u32 size = b->module[0].bytes, entry;
	const struct multiboot_header *h = find_header(file, size);

	entry = h->flags & MULTIBOOT_HEADER_ADDRESSES ? load_addresses(file, size, h) : load_elf(file, size);
	vmcs01_sipi(c, 0);
	for (u32 n = 0; n < 6; n++)
		segment(n, n == 1 ? SEL_CODE : SEL_DATA, n == 1 ? AR_CODE32 : AR_DATA32);
	vmcs_write(VMCS_guest_cr0, CR0_PE | CR0_ET | CR0_NE);
	vmcs_write(VMCS_cr0_read_shadow, CR0_PE | CR0_ET);
	vmcs_write(VMCS_guest_rip, entry);
	c->regs->ax = MULTIBOOT_MAGIC;
	c->regs->bx = hand_over(b);
}
