// SPDX-License-Identifier: BSD-2-Clause
/*
 * VMCS shadowing: L2's VMREAD and VMWRITE that don't exit, because L1's bitmaps say so, go to the shadow VMCS that the link
 * pointer leads to. And what a shadow VMCS is to L1.
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define SHADOWING "VMCS shadowing"
#define INDICATOR 0x80000000u
#define REVISION ((u32)vmx_caps.basic & 0x7fffffff)
#define MISC_VMWRITE_ANY (1ull << 29)
#define NO_FIELD 0x6c20u
#define OUTCOME(o) ((u64)(o).kind << 48 | (u64)(o).vector << 32 | (o).number)

/* In L2: AX names the field, CX is the value; in memory it's where DI points to. */
#define READ "\x0f\x78\xc1"
#define WRITE "\x0f\x79\xc1"
#define READ_MEMORY "\x0f\x78\x07"
#define WRITE_MEMORY "\x0f\x79\x07"

struct shadow {
	struct snippet s;
	u64 region;
	u8 *read_bitmap, *write_bitmap;
};

#define for_each_field(f) for (const struct vmcs_info *f = vmcs_table; f < vmcs_table + vmcs_table_count; f++)

static bool exists(const struct vmcs_info *f)
{
	ulong value;

	/* Of some, IA32_VMX_MISC tells. */
	return (!f->exists[0] || cap_have(f->exists)) && !vmx_read_raw(f->encoding, &value);
}

static bool writable(const struct vmcs_info *f)
{
	return f->area != AREA_EXIT || vmx_caps.misc & MISC_VMWRITE_ANY;
}

/* Another one for each field, in bits that all of its kind keep. */
static ulong pattern(const struct vmcs_info *f, u32 round)
{
	u32 value = (f->encoding + round) * 0x9e3779b1u;

	if (f->width == WIDTH_16)
		return value & 0xffff;
	return f->encoding >= VMCS_guest_es_access_rights && f->encoding <= VMCS_guest_tr_access_rights ?
		       value & 0x1f0ff :
		       value;
}

static u64 new_region(u32 indicator)
{
	u64 pa = (ulong)page_alloc();

	*(volatile u32 *)(ulong)pa = REVISION | indicator;
	expect_out(vmclear(pa), out_ok());
	return pa;
}

/* The shadow VMCS is current meanwhile, and its data in memory afterwards. */
static void open_region(struct shadow *t)
{
	expect_out(vmptrld(t->region), out_ok());
}

static void close_region(struct shadow *t)
{
	expect_out(vmclear(t->region), out_ok());
	expect_out(vmptrld(t->s.v.vmcs_pa), out_ok());
}

static void fill_region(struct shadow *t, u32 round)
{
	open_region(t);
	for_each_field(f)
	{
		if (exists(f) && writable(f))
			vmx_write_raw(f->encoding, pattern(f, round));
	}
	close_region(t);
}

static void shadow_begin(struct shadow *t, struct cpu *c)
{
	judge_begin();
	snippet_begin(&t->s, c, 0);
	t->read_bitmap = page_alloc();
	t->write_bitmap = page_alloc();
	t->region = new_region(INDICATOR);
	t->s.v.ctl[CTL_PROC2] |= PROC2_vmcs_shadowing;
	vcpu_write_controls(&t->s.v);
	vmwrite(VMCS_vmread_bitmap_address, (ulong)t->read_bitmap);
	vmwrite(VMCS_vmwrite_bitmap_address, (ulong)t->write_bitmap);
	fill_region(t, 1);
	vmwrite(VMCS_vmcs_link_pointer, t->region);
}

static void shadow_end(struct shadow *t)
{
	vcpu_destroy(&t->s.v);
	judge_done();
}

#define SHADOWED(name_, ...) TEST_WITH(shadow, name_, struct shadow, t, shadow_begin(t, c), shadow_end(t), __VA_ARGS__)

static struct exit run(struct shadow *t, const char *bytes, ulong encoding, ulong value)
{
	snippet_code(&t->s, bytes, 3);
	t->s.v.g.ax = encoding;
	t->s.v.g.cx = value;
	t->s.v.g.di = (ulong)t->s.data;
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_ARITH);
	return snippet_run(&t->s);
}

/* Did L2's instruction end with VMsucceed (0), CF, or ZF? */
static u64 status(void)
{
	return vmread(VMCS_guest_rflags) & RFLAGS_ARITH;
}

/* --- Reading and writing --- */

SHADOWED(read, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .needs = SHADOWING,
	 .rules = "shadow.read shadow.read-memory")
{
	for_each_field(f)
	{
		struct exit e;

		if (!exists(f) || !writable(f) || f->encoding == VMCS_vm_instruction_error)
			continue;
		judge_about(f->name, NULL);
		e = run(t, READ, f->encoding, 0x5a5a);
		JUDGE("shadow.read", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.read", status(), 0);
		JUDGE("shadow.read", t->s.v.g.cx, pattern(f, 1));
		memset(t->s.data, 0x5a, 16);
		e = run(t, READ_MEMORY, f->encoding, 0);
		JUDGE("shadow.read-memory", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.read-memory", *(volatile ulong *)t->s.data, pattern(f, 1));
		JUDGE("shadow.read-memory", t->s.data[sizeof(ulong)], 0x5a);
	}
}

SHADOWED(write, .sdm = "VMWRITE-Write Field to Virtual-Machine Control Structure", .needs = SHADOWING,
	 .rules = "shadow.write shadow.write-read-only shadow.current-untouched")
{
	u64 ldtr;

	ldtr = vmread(VMCS_guest_ldtr_base);
	for_each_field(f)
	{
		bool in_memory = f->encoding & 4;
		struct exit e;

		if (!exists(f) || f->encoding == VMCS_vm_instruction_error)
			continue;
		judge_about(f->name, in_memory ? "from memory" : NULL);
		*(volatile ulong *)t->s.data = pattern(f, 2);
		e = run(t, in_memory ? WRITE_MEMORY : WRITE, f->encoding, pattern(f, 2));
		JUDGE("shadow.write", snippet_passed(&t->s, &e), true);
		if (writable(f))
			JUDGE("shadow.write", status(), 0);
		else
			JUDGE("shadow.write-read-only", status(), RFLAGS_ZF);
	}
	if (vmx_caps.misc & MISC_VMWRITE_ANY)
		judge_absent("shadow.write-read-only");
	judge_about("the VMCS that L2 runs on", NULL);
	JUDGE("shadow.current-untouched", vmread(VMCS_guest_ldtr_base), ldtr);
	JUDGE("shadow.current-untouched", vmread(VMCS_vmcs_link_pointer), t->region);
	open_region(t);
	for_each_field(f)
	{
		ulong value = 0;

		if (!exists(f) || !writable(f) || f->encoding == VMCS_vm_instruction_error)
			continue;
		judge_about(f->name, "as L1 reads it");
		JUDGE("shadow.write", vmx_read_raw(f->encoding, &value), 0);
		JUDGE("shadow.write", value, pattern(f, 2));
	}
	close_region(t);
}

/* --- What exits --- */

static const u32 encodings[] = { VMCS_guest_es_selector,
				 VMCS_tsc_offset,
				 VMCS_tsc_offset + 1,
				 VMCS_exit_reason,
				 VMCS_guest_rip,
				 VMCS_host_rip,
				 NO_FIELD,
				 0x0000,
				 0x0007,
				 0x0008,
				 0x7fff };

/* The bit of one encoding in one bitmap: it exits, its neighbours and the other instruction don't. */
SHADOWED(bitmaps, .sdm = "VMCS-Shadowing Bitmap Addresses", .needs = SHADOWING,
	 .rules = "shadow.read-bitmap shadow.write-bitmap")
{
	struct exit e;

	for (u32 n = 0; n < ARRAY_SIZE(encodings); n++) {
		u32 encoding = encodings[n];

		t->read_bitmap[encoding / 8] = (u8)(1u << encoding % 8);
		judge_about("bit in the VMREAD bitmap", NULL);
		e = run(t, READ, encoding, 0);
		JUDGE("shadow.read-bitmap", e.reason, EXIT_vmread);
		e = run(t, WRITE, encoding, 0);
		JUDGE("shadow.write-bitmap", snippet_passed(&t->s, &e), true);
		e = run(t, READ, encoding ^ 1, 0);
		JUDGE("shadow.read-bitmap", snippet_passed(&t->s, &e), true);
		e = run(t, READ, encoding ^ 8, 0);
		JUDGE("shadow.read-bitmap", snippet_passed(&t->s, &e), true);
		t->write_bitmap[encoding / 8] = t->read_bitmap[encoding / 8];
		t->read_bitmap[encoding / 8] = 0;
		judge_about("bit in the VMWRITE bitmap", NULL);
		e = run(t, WRITE_MEMORY, encoding, 0);
		JUDGE("shadow.write-bitmap", e.reason, EXIT_vmwrite);
		e = run(t, READ_MEMORY, encoding, 0);
		JUDGE("shadow.read-bitmap", snippet_passed(&t->s, &e), true);
		e = run(t, WRITE, encoding ^ 1, 0);
		JUDGE("shadow.write-bitmap", snippet_passed(&t->s, &e), true);
		t->write_bitmap[encoding / 8] = 0;
	}
}

/* Encodings that the bitmaps have no bit for, and all of them where the control is off. */
SHADOWED(beyond_bitmaps, .sdm = "Instructions That Cause VM Exits Conditionally", .needs = SHADOWING,
	 .rules = "shadow.encoding-high shadow.off")
{
	struct exit e;

	for (u32 bit = 15; bit < 8 * sizeof(ulong); bit++) {
		judge_about("a bit of the encoding above 14", NULL);
		e = run(t, READ, VMCS_guest_rip | (ulong)1 << bit, 0);
		JUDGE("shadow.encoding-high", e.reason, EXIT_vmread);
		e = run(t, WRITE, VMCS_guest_rip | (ulong)1 << bit, 0);
		JUDGE("shadow.encoding-high", e.reason, EXIT_vmwrite);
	}
	t->s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_vmcs_shadowing;
	vcpu_write_controls(&t->s.v);
	vmwrite(VMCS_vmcs_link_pointer, ~0ull);
	judge_about("VMCS shadowing off", NULL);
	for (u32 n = 0; n < ARRAY_SIZE(encodings); n++) {
		e = run(t, READ, encodings[n], 0);
		JUDGE("shadow.off", e.reason, EXIT_vmread);
		e = run(t, WRITE, encodings[n], 0);
		JUDGE("shadow.off", e.reason, EXIT_vmwrite);
	}
}

/* --- How it ends --- */

SHADOWED(no_link_pointer, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .needs = SHADOWING,
	 .rules = "shadow.no-link")
{
	struct exit e;

	vmwrite(VMCS_vmcs_link_pointer, ~0ull);
	for (u32 n = 0; n < ARRAY_SIZE(encodings); n++) {
		judge_about("VMREAD", NULL);
		e = run(t, READ, encodings[n], 0x5a5a);
		JUDGE("shadow.no-link", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.no-link", status(), RFLAGS_CF);
		JUDGE("shadow.no-link", t->s.v.g.cx, 0x5a5a);
		judge_about("VMWRITE", NULL);
		e = run(t, WRITE, encodings[n], 0);
		JUDGE("shadow.no-link", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.no-link", status(), RFLAGS_CF);
	}
}

/* Which VMCS gets the error's number isn't said. */
SHADOWED(no_such_field, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .needs = SHADOWING,
	 .rules = "shadow.err-12 shadow.err-place")
{
	static const u32 none[] = { NO_FIELD, 0x00fe, VMCS_guest_rip + 1, 0x7fff };
	bool in_current, in_shadow;
	struct exit e;

	/* Another number, to begin with. */
	expect_out(vmptrld(t->region + 1), out_valid(VMXERR_vmptrld_invalid_address));
	for (u32 n = 0; n < ARRAY_SIZE(none); n++) {
		judge_about("VMREAD", NULL);
		e = run(t, READ, none[n], 0x5a5a);
		JUDGE("shadow.err-12", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.err-12", status(), RFLAGS_ZF);
		JUDGE("shadow.err-12", t->s.v.g.cx, 0x5a5a);
		judge_about("VMWRITE", NULL);
		e = run(t, WRITE, none[n], 0);
		JUDGE("shadow.err-12", snippet_passed(&t->s, &e), true);
		JUDGE("shadow.err-12", status(), RFLAGS_ZF);
	}
	in_current = vmread(VMCS_vm_instruction_error) == VMXERR_unsupported_component;
	open_region(t);
	in_shadow = vmread(VMCS_vm_instruction_error) == VMXERR_unsupported_component;
	close_region(t);
	judge_about("the error's number", NULL);
	JUDGE("shadow.err-place", in_current || in_shadow, true);
	say_note("VMREAD in L2 of no field: its error is in the %s VMCS", in_current ? "current" : "shadow");
}

/* #GP comes behind the exit, #UD before it. */
TEST(shadow, privilege, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .needs = SHADOWING,
     .rules = "shadow.cpl shadow.exit-before-cpl shadow.ud-compatibility")
{
	struct shadow t;
	struct exit e;

	shadow_begin(&t, c);
	snippet_mode(&t.s, SNIP_NATIVE, true);
	vmwrite(VMCS_vmcs_link_pointer, t.region);
	judge_about("CPL 3", NULL);
	e = run(&t, READ, VMCS_guest_rip, 0);
	JUDGE("shadow.cpl", snippet_faulted(&e, VEC_GP), true);
	JUDGE("shadow.cpl", status(), RFLAGS_ARITH);
	e = run(&t, WRITE, VMCS_guest_rip, 0);
	JUDGE("shadow.cpl", snippet_faulted(&e, VEC_GP), true);
	memset(t.read_bitmap, 0xff, PAGE_SIZE);
	memset(t.write_bitmap, 0xff, PAGE_SIZE);
	judge_about("CPL 3", "bits of the bitmaps set");
	e = run(&t, READ, VMCS_guest_rip, 0);
	JUDGE("shadow.exit-before-cpl", e.reason, EXIT_vmread);
	e = run(&t, WRITE, VMCS_guest_rip, 0);
	JUDGE("shadow.exit-before-cpl", e.reason, EXIT_vmwrite);
	if (sizeof(ulong) == 4) {
		judge_absent("shadow.ud-compatibility");
		shadow_end(&t);
		return;
	}
	for (u32 user = 0; user < 2; user++) {
		snippet_mode(&t.s, SNIP_COMPAT, user);
		vmwrite(VMCS_vmcs_link_pointer, t.region);
		judge_about("compatibility mode", "bits of the bitmaps set");
		e = run(&t, READ, VMCS_guest_rip, 0);
		JUDGE("shadow.ud-compatibility", snippet_faulted(&e, VEC_UD), true);
		e = run(&t, WRITE, VMCS_guest_rip, 0);
		JUDGE("shadow.ud-compatibility", snippet_faulted(&e, VEC_UD), true);
	}
	shadow_end(&t);
}

/* An operand in memory that faults, faults in L2; the shadow VMCS and the flags stay. */
SHADOWED(operand_faults, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .needs = SHADOWING,
	 .rules = "shadow.operand-fault")
{
	struct exit e;

	for (u32 write = 0; write < 2; write++) {
		snippet_code(&t->s, write ? WRITE_MEMORY : READ_MEMORY, 3);
		t->s.v.g.ax = VMCS_guest_ldtr_base;
		t->s.v.g.di = L2_WINDOW;
		t->s.v.l2_window[0] = 0;
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_ARITH);
		e = snippet_run(&t->s);
		judge_about(write ? "VMWRITE" : "VMREAD", "operand absent");
		JUDGE("shadow.operand-fault", snippet_faulted(&e, VEC_PF), true);
		JUDGE("shadow.operand-fault", vmread(VMCS_exit_qualification), L2_WINDOW);
		JUDGE("shadow.operand-fault", vmread(VMCS_exit_interruption_error_code), write ? 0 : 2);
		JUDGE("shadow.operand-fault", e.ip, (ulong)t->s.code);
		JUDGE("shadow.operand-fault", status(), RFLAGS_ARITH);
	}
}

/* --- A shadow VMCS in L1 --- */

TEST(shadow, root, .sdm = "VMCS Types: Ordinary and Shadow", .needs = SHADOWING,
     .rules = "shadow.vmptrld shadow.root-access shadow.vmptrst")
{
	u64 region = new_region(INDICATOR), pa = 0;

	judge_begin();
	judge_about("VMPTRLD of a shadow VMCS", NULL);
	JUDGE("shadow.vmptrld", OUTCOME(vmptrld(region)), OUTCOME(out_ok()));
	expect_out(vmptrst(&pa), out_ok());
	JUDGE("shadow.vmptrst", pa, region);
	vmwrite(VMCS_guest_ldtr_base, 0x123450);
	vmwrite(VMCS_host_rip, 0x765430);
	judge_about("VMREAD and VMWRITE in VMX root operation", NULL);
	JUDGE("shadow.root-access", vmread(VMCS_guest_ldtr_base), 0x123450);
	expect_out(vmclear(region), out_ok());
	JUDGE("shadow.vmptrld", *(volatile u32 *)(ulong)region, REVISION | INDICATOR);
	expect_out(vmptrld(region), out_ok());
	JUDGE("shadow.root-access", vmread(VMCS_guest_ldtr_base), 0x123450);
	JUDGE("shadow.root-access", vmread(VMCS_host_rip), 0x765430);
	expect_out(vmclear(region), out_ok());
	/* Cleared, it may become an ordinary one. A wrong revision is wrong with the indicator, too. */
	*(volatile u32 *)(ulong)region = (REVISION + 1) | INDICATOR;
	judge_about("another revision", NULL);
	JUDGE("shadow.vmptrld", OUTCOME(vmptrld(region)), OUTCOME(out_invalid()));
	*(volatile u32 *)(ulong)region = REVISION;
	judge_about("an ordinary one again", NULL);
	JUDGE("shadow.vmptrld", OUTCOME(vmptrld(region)), OUTCOME(out_ok()));
	expect_out(vmclear(region), out_ok());
	judge_done();
}

/* VMfailInvalid, before anything of it is looked at. Its controls are wrong, so it couldn't be entered with anyhow. */
TEST(shadow, entry_refused, .sdm = "Basic VM-Entry Checks", .needs = SHADOWING, .rules = "shadow.entry")
{
	u64 region = new_region(INDICATOR);

	judge_begin();
	expect_out(vmptrld(region), out_ok());
	vmwrite(VMCS_pin_based_controls, 0);
	judge_about("a shadow VMCS is current", "VMLAUNCH");
	JUDGE("shadow.entry", OUTCOME(vmx_outcome(vmx_launch_raw())), OUTCOME(out_invalid()));
	judge_about("a shadow VMCS is current", "VMRESUME");
	JUDGE("shadow.entry", OUTCOME(vmx_outcome(vmx_resume_raw())), OUTCOME(out_invalid()));
	expect_out(vmclear(region), out_ok());
	judge_done();
}
