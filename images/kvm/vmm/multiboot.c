// SPDX-License-Identifier: BSD-2-Clause
#include "multiboot.h"

#include <elf.h>
#include <string.h>

#define HEADER_SEARCH 8192u
#define HEADER_MAGIC 0x1badb002u
#define HEADER_ADDRESSES 0x10000u
#define HAS_MEMORY 0x1u
#define HAS_CMDLINE 0x4u
#define HAS_MODULES 0x8u
#define HAS_MMAP 0x40u
#define HAS_LOADER_NAME 0x200u
#define RAM 1u

#define LOW_END 0xa0000u
#define HIGH_START 0x100000u
/* Boot information and texts: above what a boot sector and the BIOS use, below where kernels go. */
#define INFO 0x10000u
#define INFO_END 0x20000u
#define PAGE 4096u

struct header {
	uint32_t magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name, apm_table, vbe[4];
};

struct module_entry {
	uint32_t start, end, string, reserved;
};

struct mmap_entry {
	uint32_t size;
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

struct loader {
	struct guest_memory mem;
	uint32_t info_next; /* free part of the information's page */
	uint32_t high;      /* end of what was loaded */
};

static int put(struct loader *l, uint64_t at, const void *data, uint64_t size, uint64_t zeros)
{
	uint64_t room = l->mem.size;

	if (at > room || size > room - at || zeros > room - at - size)
		return 0;
	if (at < INFO_END && at + size + zeros > INFO)
		return 0; /* the information is there */
	memcpy(l->mem.bytes + at, data, size);
	memset(l->mem.bytes + at + size, 0, zeros);
	if (at + size + zeros > l->high)
		l->high = (uint32_t)(at + size + zeros);
	return 1;
}

static int find_header(struct blob k, struct header *h, size_t *offset)
{
	for (size_t at = 0; at + 12 <= k.size && at + 12 <= HEADER_SEARCH; at += 4) {
		memset(h, 0, sizeof(*h));
		memcpy(h, k.bytes + at, k.size - at < sizeof(*h) ? k.size - at : sizeof(*h));
		*offset = at;
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return 1;
	}
	return 0;
}

static const char *load_flat(struct loader *l, struct blob k, const struct header *h, size_t offset, uint32_t *entry)
{
	uint64_t start, size, zeros = 0;

	if (h->load_addr > h->header_addr || h->header_addr - h->load_addr > offset)
		return "the multiboot header's addresses make no sense";
	start = offset - (h->header_addr - h->load_addr);
	size = k.size - start;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > size)
			return "the multiboot header's load_end_addr is outside of the file";
		size = h->load_end_addr - h->load_addr;
	}
	if (h->bss_end_addr > h->load_addr + size)
		zeros = h->bss_end_addr - (h->load_addr + size);
	if (!put(l, h->load_addr, k.bytes + start, size, zeros))
		return "the kernel doesn't fit into the machine's memory";
	*entry = h->entry_addr;
	return NULL;
}

static const char *load_segment(struct loader *l, struct blob k, uint64_t paddr, uint64_t offset, uint64_t filesz,
				uint64_t memsz)
{
	if (offset > k.size || filesz > k.size - offset || memsz < filesz)
		return "a segment of the ELF file is outside of the file";
	if (!put(l, paddr, k.bytes + offset, filesz, memsz - filesz))
		return "the kernel doesn't fit into the machine's memory";
	return NULL;
}

/* The two containers differ in their types only. */
#define LOAD_ELF(bits)                                                                            \
	static const char *load_elf##bits(struct loader *l, struct blob k, uint32_t *entry)       \
	{                                                                                         \
		const char *wrong = NULL;                                                         \
		Elf##bits##_Ehdr e;                                                               \
		Elf##bits##_Phdr p;                                                               \
                                                                                                  \
		if (k.size < sizeof(e))                                                           \
			return "the ELF file is cut off";                                         \
		memcpy(&e, k.bytes, sizeof(e));                                                   \
		if (e.e_phentsize != sizeof(p) || e.e_phoff > k.size ||                           \
		    (uint64_t)e.e_phnum * sizeof(p) > k.size - e.e_phoff)                         \
			return "the ELF file's program headers are outside of the file";          \
		*entry = (uint32_t)e.e_entry;                                                     \
		for (size_t i = 0; i < e.e_phnum && !wrong; i++) {                                \
			memcpy(&p, k.bytes + e.e_phoff + i * sizeof(p), sizeof(p));               \
			if (p.p_type != PT_LOAD || !p.p_memsz)                                    \
				continue;                                                         \
			wrong = load_segment(l, k, p.p_paddr, p.p_offset, p.p_filesz, p.p_memsz); \
			/* e_entry is virtual; the machine starts without paging. */              \
			if (e.e_entry >= p.p_vaddr && e.e_entry - p.p_vaddr < p.p_memsz)          \
				*entry = (uint32_t)(e.e_entry - p.p_vaddr + p.p_paddr);           \
		}                                                                                 \
		return wrong;                                                                     \
	}
LOAD_ELF(32)
LOAD_ELF(64)

/* Part of the information's page, zeroed; 0 if it is full. */
static uint32_t info_room(struct loader *l, size_t n)
{
	uint32_t at = (l->info_next + 7u) & ~7u;

	if (n > INFO_END - INFO || at > INFO_END - n)
		return 0;
	l->info_next = at + (uint32_t)n;
	memset(l->mem.bytes + at, 0, n);
	return at;
}

static uint32_t info_text(struct loader *l, const char *text)
{
	size_t n = strlen(text) + 1;
	uint32_t at = info_room(l, n);

	if (at)
		memcpy(l->mem.bytes + at, text, n);
	return at;
}

static const char *load_modules(struct loader *l, const struct blob *modules, size_t count, struct info *info)
{
	struct module_entry m = { 0 };

	info->mods_count = (uint32_t)count;
	if (!count)
		return NULL;
	info->mods_addr = info_room(l, count * sizeof(m));
	if (!info->mods_addr)
		return "no room for the modules' list";
	for (size_t i = 0; i < count; i++) {
		m.start = (l->high + PAGE - 1) & ~(PAGE - 1);
		if (m.start < HIGH_START)
			m.start = HIGH_START;
		m.end = m.start + (uint32_t)modules[i].size;
		m.string = info_text(l, modules[i].text);
		if (!m.string)
			return "no room for a module's command line";
		if (!put(l, m.start, modules[i].bytes, modules[i].size, 0))
			return "a module doesn't fit into the machine's memory";
		memcpy(l->mem.bytes + info->mods_addr + i * sizeof(m), &m, sizeof(m));
	}
	info->flags |= HAS_MODULES;
	return NULL;
}

static const char *write_info(struct loader *l, struct blob kernel, const struct blob *modules, size_t count,
			      uint32_t *at)
{
	struct info info = { .flags = HAS_MEMORY | HAS_CMDLINE | HAS_MMAP | HAS_LOADER_NAME };
	const struct mmap_entry map[] = {
		{ 20, 0, LOW_END, RAM },
		{ 20, HIGH_START, l->mem.size - HIGH_START, RAM },
	};
	const char *wrong;

	*at = info_room(l, sizeof(info));
	info.mem_lower = LOW_END >> 10;
	info.mem_upper = (uint32_t)((l->mem.size - HIGH_START) >> 10);
	info.cmdline = info_text(l, kernel.text);
	info.loader_name = info_text(l, "lhv's VMM for KVM");
	info.mmap_addr = info_room(l, sizeof(map));
	info.mmap_length = sizeof(map);
	if (!info.cmdline || !info.mmap_addr)
		return "no room for the command line";
	memcpy(l->mem.bytes + info.mmap_addr, map, sizeof(map));
	wrong = load_modules(l, modules, count, &info);
	memcpy(l->mem.bytes + *at, &info, sizeof(info));
	return wrong;
}

const char *multiboot_load(struct guest_memory mem, struct blob kernel, const struct blob *modules, size_t module_count,
			   struct boot_state *out)
{
	struct loader l = { .mem = mem, .info_next = INFO };
	const char *wrong;
	struct header h;
	size_t offset;

	if (mem.size < 2u << 20 || mem.size > 0xc0000000u)
		return "the machine's memory must be 2 MiB to 3 GiB";
	if (!find_header(kernel, &h, &offset))
		return "the kernel has no multiboot header";
	if (h.flags & HEADER_ADDRESSES)
		wrong = load_flat(&l, kernel, &h, offset, &out->entry);
	else if (kernel.size < EI_NIDENT || memcmp(kernel.bytes, ELFMAG, SELFMAG))
		wrong = "the kernel is no ELF file, and its multiboot header has no addresses";
	else if (kernel.bytes[EI_CLASS] == ELFCLASS32)
		wrong = load_elf32(&l, kernel, &out->entry);
	else
		wrong = load_elf64(&l, kernel, &out->entry);
	if (wrong)
		return wrong;
	return write_info(&l, kernel, modules, module_count, &out->info);
}
