// SPDX-License-Identifier: BSD-2-Clause
/* Every field of a VMCS: that it exists if and only if it should, and that it keeps what is written to it. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "x86/msr.h"

/* IA32_VMX_MISC bit 29: VMWRITE may write to any field. */
#define MISC_VMWRITE_ANY (1ull << 29)

static bool exists(const struct vmcs_info *f)
{
	return !f->exists[0] || cap_have(f->exists);
}

/*
 * No capability of a control tells of these: a number in IA32_VMX_MISC does. Below it they are judged, beyond it neither
 * answer is.
 */
static bool judged(const struct vmcs_info *f)
{
	switch (f->encoding) {
	case VMCS_cr3_target_value0:
	case VMCS_cr3_target_value1:
	case VMCS_cr3_target_value2:
	case VMCS_cr3_target_value3:
		/* "The number of CR3-target values supported by the processor": IA32_VMX_MISC bits 24:16. */
		return ((u32)f->encoding - VMCS_cr3_target_value0) / 2 < (vmx_caps.misc >> 16 & 0x1ff);
	default:
		return true;
	}
}

static bool writable(const struct vmcs_info *f)
{
	return f->area != AREA_EXIT || vmx_caps.misc & MISC_VMWRITE_ANY;
}

#define for_each_field(f) for (const struct vmcs_info *f = vmcs_table; f < vmcs_table + vmcs_table_count; f++)

#define expect_field(f, outcome, want) \
	check_outcome(outcome, want, &(const struct where){ __FILE__, __LINE__, (f)->name })
#define expect_value(f, got, want) check_equal(got, want, &(const struct where){ __FILE__, __LINE__, (f)->name })

/*
 * The bits that a write keeps. SDM: "Guest Register State": reserved bits of access rights may be forced to 0,
 * and of an unusable register more than that.
 */
static u64 kept(const struct vmcs_info *f, u64 value)
{
	if (f->encoding >= VMCS_guest_es_access_rights && f->encoding <= VMCS_guest_tr_access_rights)
		return value & 0x1f0ff;
	switch (f->width) {
	case WIDTH_16:
		return value & 0xffff;
	case WIDTH_32:
		return value & 0xffffffff;
	case WIDTH_64:
		return value;
	default:
		return (ulong)value;
	}
}

/* Another one for each field and round. */
static u64 pattern(const struct vmcs_info *f, u32 round)
{
	u64 value = 0x9e3779b97f4a7c15ull * (f->encoding + 0x10001ull * round + 1);

	return kept(f, value ^ value >> 29);
}

static ulong read_field(const struct vmcs_info *f, u32 encoding)
{
	ulong value = 0x5a5a5a5a;

	expect_field(f, vmread_raw(encoding, &value), out_ok());
	return value;
}

static u64 read_whole(const struct vmcs_info *f)
{
	u64 value = read_field(f, f->encoding);

	if (sizeof(ulong) == 4 && f->width == WIDTH_64)
		value |= (u64)read_field(f, f->encoding + 1u) << 32;
	return value;
}

static void write_whole(const struct vmcs_info *f, u64 value)
{
	expect_field(f, vmwrite_raw(f->encoding, (ulong)value), out_ok());
	if (sizeof(ulong) == 4 && f->width == WIDTH_64)
		expect_field(f, vmwrite_raw(f->encoding + 1u, (ulong)(value >> 32)), out_ok());
}

/* Nothing of this VMCS is ever entered with. */
static u64 scratch_vmcs(void)
{
	u64 pa = (ulong)page_alloc();

	*(volatile u32 *)(ulong)pa = (u32)vmx_caps.basic & 0x7fffffff;
	if (expect_out(vmclear(pa), out_ok()))
		expect_out(vmptrld(pa), out_ok());
	return pa;
}

TEST(insn, fields_exist, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure",
     .rules = "insn.vmread.err-12 insn.vmread.exists insn.vmwrite.err-12 vmcs.encoding-access-type")
{
	struct outcome unsupported = out_valid(VMXERR_unsupported_component);
	u64 pa = scratch_vmcs();
	ulong value;

	for_each_field(f)
	{
		bool wide = f->width == WIDTH_64;

		if (!judged(f))
			continue;
		value = 0x5a5a5a5a;
		expect_field(f, vmread_raw(f->encoding, &value), exists(f) ? out_ok() : unsupported);
		if (!exists(f))
			expect_value(f, value, 0x5a5a5a5a);
		/* Only fields of 64 bits have a high half. */
		expect_field(f, vmread_raw(f->encoding + 1u, &value), exists(f) && wide ? out_ok() : unsupported);
		if (exists(f))
			continue;
		expect_field(f, vmwrite_raw(f->encoding, 0), unsupported);
	}
	expect_out(vmclear(pa), out_ok());
}

TEST(insn, fields_unsupported, .sdm = "Field Encoding in VMCS",
     .rules = "insn.vmread.err-12 insn.vmwrite.err-12 insn.vmread.encoding-high vmcs.encoding-reserved")
{
	static const u32 encodings[] = { 0x00fe, 0x08fe, 0x0cfe, 0x20fe, 0x24fe, 0x28fe, 0x2cfe, 0x40fe, 0x44fe, 0x48fe,
					 0x4cfe, 0x60fe, 0x64fe, 0x68fe, 0x6cfe,
					 /* reserved bits of the encoding of guest_rip */
					 0x781e, 0xe81e, 0x1681e, 0x8000681e };
	struct outcome unsupported = out_valid(VMXERR_unsupported_component);
	u64 pa = scratch_vmcs();
	ulong value = 0x5a5a5a5a;

	vmwrite(VMCS_guest_rip, 0x1234);
	for (u32 i = 0; i < ARRAY_SIZE(encodings); i++) {
		expect_out(vmread_raw(encodings[i], &value), unsupported);
		expect_out(vmwrite_raw(encodings[i], 0), unsupported);
	}
#ifdef __x86_64__
	/* "If bits 63:32 are not zero": the whole register names the field. */
	expect_out(vmx_outcome(vmx_read_raw(1ull << 32 | VMCS_guest_rip, &value)), unsupported);
	expect_out(vmx_outcome(vmx_write_raw(1ull << 63 | VMCS_guest_rip, 0)), unsupported);
#endif
	expect_eq(value, 0x5a5a5a5a);
	expect_eq(vmread(VMCS_guest_rip), 0x1234);
	expect_out(vmclear(pa), out_ok());
}

TEST(insn, fields_read_only, .sdm = "VMWRITE-Write Field to Virtual-Machine Control Structure",
     .rules = "insn.vmwrite.err-13")
{
	u64 pa = scratch_vmcs();

	if (vmx_caps.misc & MISC_VMWRITE_ANY)
		say_note("IA32_VMX_MISC says that VMWRITE may write to any field");
	for_each_field(f)
	{
		u64 before;

		if (f->area != AREA_EXIT || !exists(f) || f->encoding == VMCS_vm_instruction_error)
			continue;
		before = read_whole(f);
		expect_field(f, vmwrite_raw(f->encoding, (ulong)~before),
			     writable(f) ? out_ok() : out_valid(VMXERR_vmwrite_readonly_component));
		if (!writable(f))
			expect_value(f, read_whole(f), before);
	}
	expect_out(vmclear(pa), out_ok());
}

/* Writes all that is writable, and looks at everything afterwards: a field that shares its place with another shows. */
static void write_all(u32 round)
{
	for_each_field(f)
	{
		if (exists(f) && judged(f) && writable(f))
			write_whole(f, pattern(f, round));
	}
}

static void expect_all(u32 round)
{
	for_each_field(f)
	{
		/* Failing instructions change this one by themselves. */
		if (exists(f) && judged(f) && writable(f) && f->encoding != VMCS_vm_instruction_error)
			expect_value(f, kept(f, read_whole(f)), pattern(f, round));
	}
}

TEST(insn, fields_keep_values, .sdm = "VMREAD, VMWRITE, and Encodings of VMCS Fields",
     .rules = "insn.vmwrite.keeps insn.vmclear.writes-back vmcs.fields-survive")
{
	u64 a = scratch_vmcs(), b;

	write_all(1);
	expect_all(1);
	write_all(2);
	expect_all(2);
	/* Another VMCS, and back again: while current, made current without VMCLEAR between, and after VMCLEAR. */
	b = scratch_vmcs();
	write_all(3);
	expect_out(vmptrld(a), out_ok());
	expect_all(2);
	expect_out(vmptrld(b), out_ok());
	expect_all(3);
	expect_out(vmclear(a), out_ok());
	expect_out(vmclear(b), out_ok());
	expect_out(vmptrld(a), out_ok());
	expect_all(2);
	expect_out(vmptrld(b), out_ok());
	expect_all(3);
	expect_out(vmclear(a), out_ok());
	expect_out(vmclear(b), out_ok());
}

/* The register has more bits than the field, or the other way round. */
TEST(insn, fields_widths, .sdm = "VMREAD, VMWRITE, and Encodings of VMCS Fields",
     .rules = "insn.vmread.width insn.vmread.high insn.vmwrite.width insn.vmwrite.high "
	      "insn.vmwrite.full-32")
{
	u64 pa = scratch_vmcs();

	for_each_field(f)
	{
		u64 ones = kept(f, ~0ull);

		if (!exists(f) || !judged(f) || f->area == AREA_EXIT)
			continue;
		expect_field(f, vmwrite_raw(f->encoding, ~(ulong)0), out_ok());
		if (f->width != WIDTH_64) {
			/* Narrower ones lose the upper bits, and read as 0 there. */
			expect_value(f, kept(f, read_field(f, f->encoding)), ones);
			if (f->width != WIDTH_NAT)
				expect_value(
					f, (u64)read_field(f, f->encoding) >> (f->width == WIDTH_16 ? 16 : 31) >> 1, 0);
			continue;
		}
		/* Halves are written one by one, and a whole write on amd64 is both. */
		expect_field(f, vmwrite_raw(f->encoding + 1u, ~(ulong)0), out_ok());
		expect_value(f, read_whole(f), ~0ull);
		expect_field(f, vmwrite_raw(f->encoding + 1u, 0x12345678), out_ok());
		expect_value(f, read_whole(f), 0x12345678ffffffff);
		expect_value(f, read_field(f, f->encoding + 1u), 0x12345678);
#ifdef __x86_64__
		expect_field(f, vmwrite_raw(f->encoding + 1u, 0xabcdef0187654321), out_ok());
		expect_value(f, read_whole(f), 0x87654321ffffffff);
		expect_value(f, read_field(f, f->encoding + 1u), 0x87654321);
		expect_field(f, vmwrite_raw(f->encoding, 0x0fedcba987654321), out_ok());
		expect_value(f, read_field(f, f->encoding + 1u), 0x0fedcba9);
#else
		/* "If the VMCS field is longer, then the high bits of the field are cleared to 0." */
		expect_field(f, vmwrite_raw(f->encoding, 0x0badcafe), out_ok());
		expect_value(f, read_whole(f), 0x0badcafe);
		expect_field(f, vmwrite_raw(f->encoding + 1u, 0x12345678), out_ok());
		expect_value(f, read_whole(f), 0x123456780badcafe);
#endif
	}
	expect_out(vmclear(pa), out_ok());
}
