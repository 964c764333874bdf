// SPDX-License-Identifier: BSD-2-Clause
/* The pure parts of the VMM in the appliance with Linux KVM. */
#include <elf.h>

#include "images/kvm/vmm/devices.h"
#include "images/kvm/vmm/job.h"
#include "images/kvm/vmm/multiboot.h"
#include "unit/unit.h"

/* --- jobs --- */

static char text[JOB_BYTES + 1];

static const char *parse(struct job *job, const char *what)
{
	memset(text, 0, sizeof(text));
	memcpy(text, what, strlen(what) + 1);
	text[JOB_BYTES] = 'x'; /* whatever is behind it */
	return job_parse(job, text);
}

static void job_good(void)
{
	struct job j;

	CHECK(!parse(&j, "lhv-job 1\nkernel 32 1000 opt=0x3c run=a\nmodule 40 5 a b\nmodule 41 6\ndisk 50 1024\n"
			 "memory 96\ncpus 2\nstall 40\nparam ept=0 pml=0\nend\n"));
	CHECK(j.kernel.lba == 32 && j.kernel.size == 1000);
	CHECK_STR(j.kernel.text, "opt=0x3c run=a");
	CHECK(j.module_count == 2 && j.modules[1].lba == 41 && j.modules[1].size == 6);
	CHECK_STR(j.modules[0].text, "a b");
	CHECK_STR(j.modules[1].text, "");
	CHECK(j.disk.lba == 50 && j.disk.size == 1024);
	CHECK(j.memory_mb == 96 && j.cpus == 2 && j.stall == 40);
	CHECK_STR(j.params, "ept=0 pml=0");
	CHECK(!parse(&j, "lhv-job 1\nkernel 32 1\nend\n"));
	CHECK(j.memory_mb == 64 && j.cpus == 1 && !j.stall && !j.disk.size && !j.params[0]);
}

static void job_bad(void)
{
	static const char *const bad[] = {
		"",
		"\n",
		"lhv-job 2\nkernel 32 1\nend\n",
		"lhv-job 1\nend\n",
		"lhv-job 1\nkernel 32 1\n",
		"lhv-job 1\nkernel 31 1\nend\n",
		"lhv-job 1\nkernel 32 0\nend\n",
		"lhv-job 1\nkernel 32 268435457\nend\n",
		"lhv-job 1\nkernel 32\nend\n",
		"lhv-job 1\nkernel x 1\nend\n",
		"lhv-job 1\nkernel 32 1\ncpus 0\nend\n",
		"lhv-job 1\nkernel 32 1\ncpus 5\nend\n",
		"lhv-job 1\nkernel 32 1\nmemory 1\nend\n",
		"lhv-job 1\nkernel 32 1\nmemory 1025\nend\n",
		"lhv-job 1\nkernel 32 1\nmemory 64 64\nend\n",
		"lhv-job 1\nkernel 32 1\nmem 64\nend\n",
		"lhv-job 1\nkernel 99999999999999999999 1\nend\n",
		"lhv-job 1\nkernel 32 1\nmodule 1 1\nend\n",
		"kernel 32 1\nend\n",
	};
	char nine[256], copy[300];
	struct job j;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(parse(&j, bad[i]));
	strcpy(nine, "lhv-job 1\nkernel 32 1\n");
	for (int i = 0; i < JOB_MODULES_MAX + 1; i++) {
		snprintf(copy, sizeof(copy), "%send\n", nine);
		CHECK(!parse(&j, copy) == (i <= JOB_MODULES_MAX));
		strcat(nine, "module 40 1\n");
	}
	snprintf(copy, sizeof(copy), "%send\n", nine);
	CHECK(parse(&j, copy));
	memset(text, 'x', JOB_BYTES);
	CHECK(job_parse(&j, text));
}

static void job_fuzz(void)
{
	static const char good[] =
		"lhv-job 1\nkernel 32 1000 opt=0\nmodule 40 5 a\ndisk 50 9\nmemory 96\ncpus 2\nend\n";
	struct job j;

	for (int n = 0; n < 20000; n++) {
		memset(text, 0, sizeof(text));
		memcpy(text, good, sizeof(good));
		for (int k = 0; k < 3; k++)
			text[unit_random() % sizeof(good)] = (char)unit_random();
		if (!job_parse(&j, text))
			CHECK(j.kernel.size && j.kernel.lba >= JOB_SECTORS && j.cpus >= 1 && j.cpus <= JOB_CPUS_MAX);
	}
}

/* --- multiboot --- */

#define MEMORY (4u << 20)

static u8 guest[MEMORY], file[8192];

static struct guest_memory memory(void)
{
	memset(guest, 0xcc, sizeof(guest));
	return (struct guest_memory){ guest, sizeof(guest) };
}

static void put_header(size_t at, u32 flags)
{
	u32 h[3] = { 0x1badb002u, flags, -(0x1badb002u + flags) };

	memcpy(file + at, h, sizeof(h));
}

static struct blob elf64(void)
{
	Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 },
			 .e_phoff = 64,
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1,
			 .e_entry = 0xffffffff80100010ull };
	Elf64_Phdr p = { .p_type = PT_LOAD,
			 .p_offset = 0x200,
			 .p_paddr = 0x100000,
			 .p_vaddr = 0xffffffff80100000ull,
			 .p_filesz = 0x100,
			 .p_memsz = 0x300 };

	memset(file, 0x11, sizeof(file));
	memcpy(file, &e, sizeof(e));
	memcpy(file + 64, &p, sizeof(p));
	put_header(0x180, 3);
	return (struct blob){ file, sizeof(file), "one two" };
}

static u32 word(u32 at)
{
	u32 v;

	memcpy(&v, guest + at, 4);
	return v;
}

static void multiboot_elf64(void)
{
	const struct blob modules[] = { { (const u8 *)"abc", 3, "first" }, { (const u8 *)"defg", 4, "" } };
	struct boot_state s;
	u32 mods;

	CHECK(!multiboot_load(memory(), elf64(), modules, 2, &s));
	CHECK(s.entry == 0x100010); /* physical, although e_entry is virtual */
	CHECK(guest[0x100000] == 0x11 && guest[0x1000ff] == 0x11);
	CHECK(guest[0x100100] == 0 && guest[0x1002ff] == 0 && guest[0x100300] == 0xcc);
	CHECK((word(s.info) & 0x4d) == 0x4d);
	CHECK(word(s.info + 4) == 640 && word(s.info + 8) == (MEMORY >> 10) - 1024);
	CHECK_STR((char *)guest + word(s.info + 16), "one two");
	CHECK(word(s.info + 20) == 2);
	mods = word(s.info + 24);
	CHECK(word(mods) == 0x101000 && word(mods + 4) == 0x101003);
	CHECK_STR((char *)guest + word(mods + 8), "first");
	CHECK(memcmp(guest + word(mods + 16), "defg", 4) == 0 && word(mods + 16) == 0x102000);
	CHECK(word(s.info + 44) == 48 && word(word(s.info + 48) + 12) == 0xa0000);
	CHECK(word(word(s.info + 48) + 28) == 0x100000 && word(word(s.info + 48) + 36) == MEMORY - 0x100000);
}

static void multiboot_flat(void)
{
	u32 addresses[5] = { 0x100020, 0x100000, 0x100400, 0x100800, 0x100004 };
	struct boot_state s;

	memset(file, 0x22, sizeof(file));
	put_header(0x20, 0x10003);
	memcpy(file + 0x20 + 12, addresses, sizeof(addresses));
	CHECK(!multiboot_load(memory(), (struct blob){ file, 0x1000, "" }, NULL, 0, &s));
	CHECK(s.entry == 0x100004 && guest[0x100000] == 0x22 && guest[0x1003ff] == 0x22);
	CHECK(guest[0x100400] == 0 && guest[0x1007ff] == 0 && guest[0x100800] == 0xcc);
	addresses[2] = 0x102000; /* more than the file has */
	memcpy(file + 0x20 + 12, addresses, sizeof(addresses));
	CHECK(multiboot_load(memory(), (struct blob){ file, 0x1000, "" }, NULL, 0, &s));
}

static void multiboot_bad(void)
{
	struct blob k = elf64();
	struct boot_state s;
	static char longer[70000];
	Elf64_Phdr low;

	CHECK(multiboot_load((struct guest_memory){ guest, 1 << 20 }, k, NULL, 0, &s));
	put_header(0x180, 3);
	file[0x188] ^= 1; /* checksum */
	CHECK(multiboot_load(memory(), k, NULL, 0, &s));
	k = elf64();
	k.size = 0x200; /* cut off */
	CHECK(multiboot_load(memory(), k, NULL, 0, &s));
	k = elf64();
	memcpy(&low, file + 64, sizeof(low));
	low.p_paddr = 0x1ff00; /* where the boot information goes */
	memcpy(file + 64, &low, sizeof(low));
	CHECK(multiboot_load(memory(), k, NULL, 0, &s));
	k = elf64();
	file[0] = 0; /* no ELF file */
	CHECK(multiboot_load(memory(), k, NULL, 0, &s));
	memset(longer, 'a', sizeof(longer) - 1);
	k = elf64();
	k.text = longer;
	CHECK(multiboot_load(memory(), k, NULL, 0, &s));
}

static void multiboot_fuzz(void)
{
	struct boot_state s;

	for (int n = 0; n < 3000; n++) {
		struct blob k = elf64();

		for (int i = 0; i < 4; i++)
			file[unit_random() % 0x190] = (u8)unit_random();
		k.size = unit_random() % 4 ? sizeof(file) : unit_random() % sizeof(file);
		multiboot_load((struct guest_memory){ guest, sizeof(guest) }, k, NULL, 0, &s);
	}
}

/* --- devices --- */

static int irq[16];
static char serial[64];
static size_t serial_n;

void device_irq(unsigned line, int level)
{
	irq[line] = level;
}

void device_serial(uint8_t byte)
{
	if (serial_n < sizeof(serial))
		serial[serial_n++] = (char)byte;
}

static void device_uart(void)
{
	struct devices d;

	devices_init(&d, NULL, 0);
	serial_n = 0;
	devices_out(&d, COM1 + 7, 0x5a, 1);
	CHECK(devices_in(&d, COM1 + 7, 1) == 0x5a);
	devices_out(&d, COM1 + 3, 0x83, 1);
	devices_out(&d, COM1, 1, 1); /* divisor, not a byte */
	devices_out(&d, COM1 + 3, 0x03, 1);
	devices_out(&d, COM1, 'a', 1);
	devices_out(&d, COM1 + 4, 0x10, 1);
	devices_out(&d, COM1, 'b', 1); /* looped back */
	devices_out(&d, COM1 + 4, 0x08, 1);
	CHECK(serial_n == 1 && serial[0] == 'a');
	CHECK((devices_in(&d, COM1 + 5, 1) & 0x60) == 0x60);
	CHECK(!irq[IRQ_COM1]);
	devices_out(&d, COM1 + 1, 0x02, 1);
	CHECK(irq[IRQ_COM1]);
	CHECK((devices_in(&d, COM1 + 2, 1) & 0x0f) == 0x02 && !irq[IRQ_COM1]);
	CHECK((devices_in(&d, COM1 + 2, 1) & 0x0f) == 0x01);
}

static void device_i8042(void)
{
	struct devices d;

	devices_init(&d, NULL, 0);
	CHECK(!(devices_in(&d, 0x64, 1) & 1));
	devices_out(&d, 0x64, 0xd2, 1);
	devices_out(&d, 0x60, 0x1c, 1);
	CHECK((devices_in(&d, 0x64, 1) & 0x21) == 0x01 && irq[IRQ_KEYBOARD]);
	CHECK(devices_in(&d, 0x60, 1) == 0x1c && !irq[IRQ_KEYBOARD]);
	CHECK(!(devices_in(&d, 0x64, 1) & 1));
	devices_out(&d, 0x64, 0xd3, 1);
	devices_out(&d, 0x60, 0x09, 1);
	CHECK((devices_in(&d, 0x64, 1) & 0x21) == 0x21 && irq[IRQ_MOUSE] && !irq[IRQ_KEYBOARD]);
	CHECK(devices_in(&d, 0x60, 1) == 0x09 && !irq[IRQ_MOUSE]);
	devices_out(&d, 0x64, 0x60, 1);
	devices_out(&d, 0x60, 0x00, 1); /* no interrupts */
	devices_out(&d, 0x64, 0xd2, 1);
	devices_out(&d, 0x60, 0x1d, 1);
	CHECK(!irq[IRQ_KEYBOARD] && devices_in(&d, 0x60, 1) == 0x1d);
}

static void device_disk(void)
{
	static u8 image[8 * 512];
	struct devices d;

	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (u8)(i / 512 * 16 + i % 13);
	devices_init(&d, NULL, 0);
	CHECK(devices_in(&d, 0x1f7, 1) == ~0u);
	devices_init(&d, image, sizeof(image));
	devices_out(&d, 0x3f6, 2, 1);
	devices_out(&d, 0x1f6, 0xe0, 1);
	devices_out(&d, 0x1f2, 2, 1);
	devices_out(&d, 0x1f3, 6, 1);
	devices_out(&d, 0x1f4, 0, 1);
	devices_out(&d, 0x1f5, 0, 1);
	devices_out(&d, 0x1f7, 0x20, 1);
	for (u32 i = 0; i < 1024; i += 2) {
		CHECK(devices_in(&d, 0x1f7, 1) & 0x08);
		CHECK(devices_in(&d, 0x1f0, 2) == (u32)(image[6 * 512 + i] | image[6 * 512 + i + 1] << 8));
	}
	CHECK(!(devices_in(&d, 0x1f7, 1) & 0x09) && !irq[IRQ_DISK]);
	devices_out(&d, 0x1f7, 0x20, 1); /* again; then beyond the end */
	CHECK(devices_in(&d, 0x1f7, 1) & 0x08);
	devices_out(&d, 0x1f3, 7, 1);
	devices_out(&d, 0x1f7, 0x20, 1);
	CHECK((devices_in(&d, 0x1f7, 1) & 0x09) == 0x01);
	devices_out(&d, 0x1f7, 0x30, 1); /* a write */
	CHECK((devices_in(&d, 0x1f7, 1) & 0x01) && (devices_in(&d, 0x1f1, 1) & 0x04));
	devices_out(&d, 0x1f6, 0xf0, 1);
	CHECK(devices_in(&d, 0x1f7, 1) == 0); /* no slave */
}

static void device_fuzz(void)
{
	static u8 image[3 * 512];
	struct devices d;

	devices_init(&d, image, sizeof(image));
	for (int n = 0; n < 200000; n++) {
		static const u16 bases[] = { 0x1f0, 0x3f0, 0x3f8, 0x60, 0x1f0 };
		u16 port = (u16)(bases[unit_random() % 5] + unit_random() % 8);
		unsigned size = 1u << unit_random() % 3;

		if (unit_random() % 2)
			devices_out(&d, port, (u32)unit_random() % 64, size);
		else
			devices_in(&d, port, size);
	}
}

const struct unit_case vmm_cases[] = {
	{ "vmm: jobs", job_good },
	{ "vmm: bad jobs", job_bad },
	{ "vmm: jobs, fuzzed", job_fuzz },
	{ "vmm: ELF64 and modules", multiboot_elf64 },
	{ "vmm: kernels whose header has addresses", multiboot_flat },
	{ "vmm: bad kernels", multiboot_bad },
	{ "vmm: kernels, fuzzed", multiboot_fuzz },
	{ "vmm: UART", device_uart },
	{ "vmm: keyboard controller", device_i8042 },
	{ "vmm: disk", device_disk },
	{ "vmm: devices, fuzzed", device_fuzz },
	{ NULL, NULL },
};
