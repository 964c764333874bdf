// SPDX-License-Identifier: BSD-2-Clause
/* The VMCS as a thing: its region, its encodings, several at once, and from CPU to CPU. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define REVISION ((u32)vmx_caps.basic & 0x7fffffff)
#define OUTCOME(o) ((u64)(o).kind << 48 | (u64)(o).vector << 32 | (o).number)
#define RESUME_OF_CLEAR OUTCOME(out_valid(VMXERR_vmresume_nonlaunched_vmcs))
#define LAUNCH_OF_LAUNCHED OUTCOME(out_valid(VMXERR_vmlaunch_nonclear_vmcs))
#define RESUME_WRONG OUTCOME(out_valid(VMXERR_entry_invalid_control_fields))

static volatile u32 *words(u64 pa)
{
	return (volatile u32 *)(ulong)pa;
}

static u64 new_vmcs(void)
{
	u64 pa = (ulong)page_alloc();

	*words(pa) = REVISION;
	expect_out(vmclear(pa), out_ok());
	return pa;
}

/* --- Encodings --- */

#define INDEX_BITS 9u

/* Every width, every type, every index that is near to one in use, and all powers of two above. */
static u32 highest_index(void)
{
	u32 highest = 0;
	ulong value;

	for (u32 group = 0; group < 16; group++)
		for (u32 index = 0; index < 1u << INDEX_BITS; index = index < 64 ? index + 1 : index * 2) {
			u32 encoding = (group >> 2) << 13 | (group & 3) << 10 | index << 1;

			if (!vmx_read_raw(encoding, &value) && index > highest)
				highest = index;
		}
	return highest;
}

/*
 * A field above the number that the MSR has breaks it. One that says more than there is may know of fields that this CPU
 * lacks: that is told, not judged.
 */
TEST(vmcs, enum_covers_fields, .sdm = "VMCS Enumeration", .rules = "vmcs.encoding-index-max")
{
	u64 a = new_vmcs();
	u32 highest, said = vmx_caps.vmcs_enum >> 1 & 0x1ff;

	judge_begin();
	expect_out(vmptrld(a), out_ok());
	highest = highest_index();
	judge_about("IA32_VMX_VMCS_ENUM", NULL);
	JUDGE("vmcs.encoding-index-max", highest <= said, true);
	JUDGE("vmcs.encoding-index-max", highest >= 0x15, true);
	if (highest < said)
		say_note("IA32_VMX_VMCS_ENUM: 0x%x, highest index of a field: 0x%x", said, highest);
	expect_out(vmclear(a), out_ok());
	judge_done();
}

/* --- The region --- */

static ulong l2_nothing(ulong x)
{
	return x;
}

static bool run_once(struct vcpu *v)
{
	struct exit e;

	guest(v, l2_nothing, 1);
	e = enter(v);
	return e.entry.kind == OUT_OK && e.reason == EXIT_vmcall && v->g.ax == L2_RETURN;
}

/* Software writes the revision, the processor never does; nor the abort indicator, while nothing aborts. */
TEST(vmcs, region_header, .sdm = "Format of the VMCS Region", .rules = "vmcs.revision vmcs.header-kept")
{
	struct vcpu v;
	u64 other;

	judge_begin();
	test_vcpu(&v, c, 0);
	other = new_vmcs();
	judge_about("VMPTRLD", "each bit of the revision wrong");
	for (u32 bit = 0; bit < 31; bit++) {
		*words(other) = REVISION ^ 1u << bit;
		JUDGE("vmcs.revision", OUTCOME(vmptrld(other)), OUTCOME(out_valid(VMXERR_vmptrld_wrong_revision)));
	}
	*words(other) = REVISION;
	JUDGE("vmcs.revision", OUTCOME(vmptrld(other)), OUTCOME(out_ok()));
	expect_out(vmclear(other), out_ok());
	expect_out(vmptrld(v.vmcs_pa), out_ok());
	expect(run_once(&v));
	expect_out(vmclear(v.vmcs_pa), out_ok());
	judge_about("a VMCS that ran and was cleared", NULL);
	JUDGE("vmcs.header-kept", words(v.vmcs_pa)[0], REVISION);
	JUDGE("vmcs.header-kept", words(v.vmcs_pa)[1], 0);
	judge_about("the VMXON region", NULL);
	JUDGE("vmcs.header-kept", words(c->vmxon_pa)[0], REVISION);
	/* What VMCLEAR finds there it leaves there. */
	words(other)[0] = 0x6f6f6f6f;
	words(other)[1] = 0x55;
	expect_out(vmclear(other), out_ok());
	judge_about("VMCLEAR", "of a region with another revision");
	JUDGE("vmcs.header-kept", words(other)[0], 0x6f6f6f6f);
	JUDGE("vmcs.header-kept", words(other)[1], 0x55);
	judge_done();
}

/* --- Several on one CPU --- */

#define MANY 24u

/* Nothing is written through but what is asked for: values, launch state, error. The VMCSs are entered with at most once. */
TEST(vmcs, many_active, .sdm = "Software Use of Virtual-Machine Control Structures",
     .rules = "vmcs.active-several vmcs.launch-state-survives insn.vmclear.other")
{
	static struct vcpu v[MANY];

	judge_begin();
	for (u32 n = 0; n < MANY; n++) {
		test_vcpu(&v[n], c, 0);
		vmwrite(VMCS_guest_sysenter_esp, 0x4440000 + n);
		vmwrite(VMCS_tsc_offset, 0x123456780000ull + n);
		if (n & 1)
			expect(run_once(&v[n]));
		/* No entry from here on. */
		vmwrite(VMCS_pin_based_controls, 0);
	}
	for (u32 round = 0; round < 2; round++)
		for (u32 k = 0; k < MANY; k++) {
			u32 n = k * 7 % MANY;
			bool launched = (n & 1) && (round == 0 || n % 3);

			judge_about("VMPTRLD by turns", NULL);
			JUDGE("vmcs.active-several", OUTCOME(vmptrld(v[n].vmcs_pa)), OUTCOME(out_ok()));
			JUDGE("vmcs.active-several", vmread(VMCS_guest_sysenter_esp), 0x4440000 + n);
			JUDGE("vmcs.active-several", vmread(VMCS_tsc_offset), 0x123456780000ull + n);
			JUDGE("vmcs.launch-state-survives", OUTCOME(vmx_outcome(vmx_resume_raw())),
			      launched ? RESUME_WRONG : RESUME_OF_CLEAR);
			if (launched)
				JUDGE("vmcs.launch-state-survives", OUTCOME(vmx_outcome(vmx_launch_raw())),
				      LAUNCH_OF_LAUNCHED);
			/* In the first round every third one is cleared, while another is current. */
			if (round == 0 && k == MANY - 1)
				for (u32 m = 0; m < MANY; m += 3)
					JUDGE("insn.vmclear.other", OUTCOME(vmclear(v[m].vmcs_pa)), OUTCOME(out_ok()));
		}
	for (u32 n = 0; n < MANY; n++)
		expect_out(vmclear(v[n].vmcs_pa), out_ok());
	c->vcpu = NULL;
	judge_done();
}

/* What L2 has changed is in the VMCS, whether or not L1 reads it before another one becomes current. */
TEST(vmcs, guest_state_over_vmptrld, .sdm = "Software Use of Virtual-Machine Control Structures",
     .needs = "use MSR bitmaps", .rules = "vmcs.fields-survive insn.vmclear.writes-back")
{
	u64 other = new_vmcs();
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
	for (u32 round = 0; round < 2; round++) {
		struct exit e;

		/* WRMSR; PUSH AX; STC */
		snippet_code(&s, "\x0f\x30\x50\xf9", 4);
		s.v.g.cx = MSR_SYSENTER_ESP;
		s.v.g.ax = 0x2468ac0 + round;
		s.v.g.dx = 0;
		e = snippet_run(&s);
		judge_about(round ? "VMCLEAR and VMPTRLD" : "VMPTRLD of another and back", "behind an exit");
		if (round) {
			expect_out(vmclear(s.v.vmcs_pa), out_ok());
			s.v.launched = false;
		} else {
			expect_out(vmptrld(other), out_ok());
		}
		expect_out(vmptrld(s.v.vmcs_pa), out_ok());
		expect(snippet_passed(&s, &e));
		JUDGE("vmcs.fields-survive", vmread(VMCS_guest_sysenter_esp), 0x2468ac0 + round);
		JUDGE("vmcs.fields-survive", vmread(VMCS_guest_rsp), SNIP_SP(&s) - sizeof(ulong));
		JUDGE("vmcs.fields-survive", vmread(VMCS_guest_rflags) & RFLAGS_CF, RFLAGS_CF);
		JUDGE("vmcs.fields-survive", vmread(VMCS_guest_rip), (ulong)s.code + 4);
		JUDGE("vmcs.fields-survive", vmread(VMCS_exit_reason), EXIT_vmcall);
		JUDGE("vmcs.fields-survive", vmread(VMCS_exit_instruction_length), 3);
		if (round)
			JUDGE("insn.vmclear.writes-back", vmread(VMCS_guest_rip), (ulong)s.code + 4);
	}
	vcpu_destroy(&s.v);
	judge_done();
}

/* --- From CPU to CPU --- */

#define FIELDS_MAX 256u

static struct {
	struct vcpu v;
	u64 value[FIELDS_MAX];
	bool same_launch_state, ran, all_same;
	u32 different; /* encoding of the last one that isn't the same */
} moving;

static bool comparable(const struct vmcs_info *f)
{
	return (!f->exists[0] || cap_have(f->exists)) && f->encoding != VMCS_vm_instruction_error;
}

static bool read_field(const struct vmcs_info *f, u64 *value)
{
	ulong low = 0, high = 0;

	if (vmx_read_raw(f->encoding, &low))
		return false;
	if (sizeof(ulong) == 4 && f->width == WIDTH_64 && vmx_read_raw(f->encoding + 1u, &high))
		return false;
	*value = low | (u64)high << 16 << 16;
	return true;
}

static void remember_fields(void)
{
	for (u32 n = 0; n < vmcs_table_count && n < FIELDS_MAX; n++)
		if (!comparable(&vmcs_table[n]) || !read_field(&vmcs_table[n], &moving.value[n]))
			moving.value[n] = 0;
}

static void compare_fields(void)
{
	u64 value;

	moving.all_same = true;
	for (u32 n = 0; n < vmcs_table_count && n < FIELDS_MAX; n++)
		if (comparable(&vmcs_table[n]) && read_field(&vmcs_table[n], &value) && value != moving.value[n]) {
			moving.all_same = false;
			moving.different = vmcs_table[n].encoding;
		}
}

/* Takes over the VMCS, runs L2, and gives it away. On the CPU that gets it. */
static void take_over(struct cpu *c, void *arg)
{
	struct vcpu *v = &moving.v;

	(void)arg;
	expect_out(vmptrld(v->vmcs_pa), out_ok());
	compare_fields();
	moving.same_launch_state = OUTCOME(vmx_outcome(vmx_resume_raw())) == RESUME_OF_CLEAR;
	v->cpu = c;
	v->launched = false;
	c->vcpu = v;
	vcpu_write(v);
	vmwrite(VMCS_guest_sysenter_esp, 0x7000 + c->number);
	moving.ran = run_once(v);
	moving.ran &= run_once(v);
	remember_fields();
	expect_out(vmclear(v->vmcs_pa), out_ok());
	c->vcpu = NULL;
}

static void judge_move(const char *where)
{
	judge_about("VMCS from another CPU", where);
	JUDGE("vmcs.migrate", moving.all_same ? 0 : moving.different, 0);
	JUDGE("vmcs.migrate", moving.same_launch_state, true);
	JUDGE("vmcs.migrate", moving.ran, true);
}

TEST(vmcs, migrate, .sdm = "Software Use of Virtual-Machine Control Structures", .flags = TEST_TWO_CPUS,
     .rules = "vmcs.migrate")
{
	judge_begin();
	memset(&moving, 0, sizeof(moving));
	test_vcpu(&moving.v, c, 0);
	vmwrite(VMCS_guest_sysenter_esp, 0x7000);
	expect(run_once(&moving.v));
	remember_fields();
	expect_out(vmclear(moving.v.vmcs_pa), out_ok());
	for (u32 turn = 1; turn < 2 * cpu_count; turn++) {
		u32 to = turn % cpu_count;

		if (to) {
			on_cpu(to, take_over, NULL);
			join_cpu(to);
		} else {
			take_over(c, NULL);
		}
		judge_move(to ? "on another CPU" : "back again");
	}
	judge_done();
}

/* --- Two CPUs at once --- */

#define CHURN 40u

static u8 *shared_msr_bitmap;
static u32 churn_wrong[MAX_CPUS];

/* VMXON, VMCLEAR, VMPTRLD, launch, RDMSR that exits by the bitmap that all share, VMXOFF: over and over. */
static void churn(struct cpu *c, void *arg)
{
	struct vcpu *v = &((struct vcpu *)arg)[c->number];
	u32 wrong = 0;

	for (u32 n = 0; n < CHURN; n++) {
		u64 mine = 0x5550000u + 0x100u * c->number + n;

		if (n) {
			wrong += vmptrld(v->vmcs_pa).kind != OUT_OK;
			v->launched = false;
			c->vcpu = v;
		} else {
			test_vcpu(v, c, 0);
			v->ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
			vcpu_write_controls(v);
			vmwrite(VMCS_msr_bitmap_address, (ulong)shared_msr_bitmap);
		}
		wrong += n && vmread(VMCS_guest_sysenter_esp) != mine - 1;
		vmwrite(VMCS_guest_sysenter_esp, mine);
		guest(v, (ulong(*)(ulong))(ulong)try_rdmsr, MSR_SYSENTER_ESP);
		wrong += enter(v).reason != EXIT_rdmsr;
		wrong += v->g.cx != MSR_SYSENTER_ESP;
		wrong += vmread(VMCS_guest_sysenter_esp) != mine;
		wrong += vmclear(v->vmcs_pa).kind != OUT_OK;
		c->vcpu = NULL;
		wrong += vmx_off(c).kind != OUT_OK;
		wrong += vmx_on(c).kind != OUT_OK;
	}
	churn_wrong[c->number] = wrong;
}

TEST(vmcs, churn_on_all_cpus, .sdm = "Software Use of Virtual-Machine Control Structures", .needs = "use MSR bitmaps",
     .flags = TEST_TWO_CPUS, .rules = "vmcs.shared-structures vmcs.cpus-independent")
{
	static struct vcpu v[MAX_CPUS];

	judge_begin();
	shared_msr_bitmap = page_alloc();
	shared_msr_bitmap[MSR_SYSENTER_ESP / 8] |= 1u << MSR_SYSENTER_ESP % 8;
	for (u32 n = 1; n < cpu_count; n++)
		on_cpu(n, churn, v);
	churn(c, v);
	for (u32 n = 1; n < cpu_count; n++)
		join_cpu(n);
	for (u32 n = 0; n < cpu_count; n++) {
		judge_about("VMX instructions on all CPUs at once", NULL);
		JUDGE("vmcs.cpus-independent", churn_wrong[n], 0);
		JUDGE("vmcs.shared-structures", v[n].g.cx, MSR_SYSENTER_ESP);
	}
	judge_done();
}
