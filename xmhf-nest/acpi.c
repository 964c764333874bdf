// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/acpi.h"

#include "core/mem.h"
#include "xmhf-nest/mem.h"

#define SMALLEST_ADDRESS 0x400u
#define LARGEST 0x10000u /* bytes of a table that we believe */
#define MADT_LOCAL_APIC 0
#define MADT_LOCAL_X2APIC 9
#define MADT_ENABLED 1u

struct header {
	char signature[4];
	u32 length;
	u8 rest[28];
} __attribute__((packed));

static const u8 *at(u32 pa)
{
	return (const u8 *)(ulong)pa;
}

static bool sums_to_zero(const u8 *p, u32 n)
{
	u8 sum = 0;

	while (n--)
		sum = (u8)(sum + *p++);
	return !sum;
}

static const u8 *find_rsdp(u32 from, u32 to)
{
	for (u32 pa = from; pa < to; pa += 16)
		if (!memcmp(at(pa), "RSD PTR ", 8) && sums_to_zero(at(pa), 20))
			return at(pa);
	return NULL;
}

static u32 word(const u8 *p)
{
	u32 w;

	memcpy(&w, p, 4);
	return w;
}

static const struct header *table(u32 pa, const char *signature)
{
	const struct header *h = (const struct header *)at(pa);

	if (pa < SMALLEST_ADDRESS || memcmp(h->signature, signature, 4) != 0 || h->length < sizeof(*h) ||
	    h->length > LARGEST || !sums_to_zero(at(pa), h->length))
		return NULL;
	return h;
}

static u32 count_in(const struct header *madt)
{
	const u8 *p = (const u8 *)madt + 44, *end = (const u8 *)madt + madt->length;
	u32 n = 0;

	for (; p + 2 <= end && p[1] >= 2; p += p[1]) {
		if (p[0] == MADT_LOCAL_APIC && p + 8 <= end)
			n += word(p + 4) & MADT_ENABLED;
		if (p[0] == MADT_LOCAL_X2APIC && p + 12 <= end)
			n += word(p + 8) & MADT_ENABLED;
	}
	return n;
}

u32 acpi_cpu_count(void)
{
	const u8 *rsdp = find_rsdp((u32) * (const volatile u16 *)low_memory(0x40e) << 4, 0xa0000);
	const struct header *rsdt;

	if (!rsdp)
		rsdp = find_rsdp(0xe0000, 0x100000);
	rsdt = rsdp ? table(word(rsdp + 16), "RSDT") : NULL;
	for (u32 i = 0; rsdt && sizeof(*rsdt) + 4 * i + 4 <= rsdt->length; i++) {
		const struct header *madt = table(word((const u8 *)rsdt + sizeof(*rsdt) + 4 * i), "APIC");

		if (madt)
			return count_in(madt);
	}
	return 0;
}
