// SPDX-License-Identifier: BSD-2-Clause
/* The tables of lib/x86 and the functions that look things up in them. */
#include "core/outcome.h"
#include "core/vmcs.h"
#include "core/vmxcap.h"
#include "unit/unit.h"

static void test_order(void)
{
	for (u32 i = 1; i < vmcs_table_count; i++) {
		CHECK(vmcs_table[i - 1].encoding < vmcs_table[i].encoding);
		for (u32 k = 0; k < i; k++)
			CHECK(strcmp(vmcs_table[i].name, vmcs_table[k].name) != 0);
	}
}

static void test_find(void)
{
	for (u32 e = 0; e < 0x12000; e++) {
		const struct vmcs_info *want = NULL;

		for (u32 i = 0; i < vmcs_table_count; i++)
			if (vmcs_table[i].encoding == e ||
			    (vmcs_table[i].width == WIDTH_64 && vmcs_table[i].encoding + 1u == e))
				want = &vmcs_table[i];
		CHECK(vmcs_find(e) == want);
		CHECK_STR(vmcs_name(e), want ? want->name : "?");
	}
	CHECK(VMCS_guest_rip == 0x681e && VMCS_host_rsp == 0x6c14 && VMCS_ept_pointer == 0x201a);
}

/* Controls of words that the table doesn't have (tertiary and VM-exit secondary ones), or that came later. */
static const char *const beyond[] = { "enable HLAT", "IPI virtualization", "clear UINV", "virtualize IA32_SPEC_CTRL" };

static void test_exists(void)
{
	for (u32 i = 0; i < vmcs_table_count; i++) {
		const char *need = vmcs_table[i].exists;
		bool known = !*need;

		for (u32 k = 0; k < ctl_table_count; k++)
			known = known || !strcmp(ctl_table[k].text, need);
		for (u32 k = 0; k < ARRAY_SIZE(beyond); k++)
			known = known || !strcmp(beyond[k], need);
		if (!known)
			CHECK_STR(need, "a control's text");
	}
}

static void test_controls(void)
{
	for (u32 i = 0; i < ctl_table_count; i++)
		for (u32 k = 0; k < i; k++) {
			CHECK(ctl_table[i].word != ctl_table[k].word || ctl_table[i].bit != ctl_table[k].bit);
			/* Capabilities are asked for by text, whatever the word. */
			CHECK(strcmp(ctl_table[i].text, ctl_table[k].text) != 0);
		}
	CHECK(PIN_external_interrupt_exiting == 1 && PROC2_enable_ept == 2);
	CHECK((u32)PROC_activate_secondary_controls == 0x80000000u);
}

/* One bit in all combinations of must, may, wanted, forbidden. */
static void test_adjust(void)
{
	for (u32 k = 0; k < 16; k++) {
		u32 must = k & 1, may = must | (k >> 1 & 1), want = k >> 2 & 1, forbid = k >> 3 & 1;
		struct vmx_caps c = { .ctl = { [CTL_PIN] = (u64)may << 32 | must } };
		const char *missing = "unset";
		u32 value = ctl_adjust(&c, CTL_PIN, want, forbid, &missing);

		CHECK(value == ((want | must) & may));
		CHECK((missing != NULL) == ((want && !may) || (forbid && value)));
		if (missing)
			CHECK_STR(missing, "external-interrupt exiting");
		CHECK(ctl_adjust(&c, CTL_PIN, want, forbid, NULL) == value);
		CHECK(ctl_allowed(&c, CTL_PIN, 1) == (may == 1));
	}
	CHECK(ctl_allowed(&(struct vmx_caps){ .misc = 0 }, CTL_PROC2, 0));
}

static void test_diff(void)
{
	static struct vmcs_dump a, b;

	CHECK(vmcs_diff(&a, &b, 0) == vmcs_table_count);
	b.value[5] = 1; /* not valid in either: no difference */
	CHECK(vmcs_diff(&a, &b, 0) == vmcs_table_count);
	a.valid[5] = 1;
	CHECK(vmcs_diff(&a, &b, 0) == 5);
	b.valid[5] = 1;
	CHECK(vmcs_diff(&a, &b, 0) == 5 && vmcs_diff(&a, &b, 6) == vmcs_table_count);
	a.value[5] = 1;
	CHECK(vmcs_diff(&a, &b, 0) == vmcs_table_count);
	a.valid[vmcs_table_count - 1] = 1;
	CHECK(vmcs_diff(&a, &b, 0) == vmcs_table_count - 1);
}

static void test_names(void)
{
	CHECK_STR(exit_reason_name(18), "vmcall");
	CHECK_STR(exit_reason_name(48), "ept_violation");
	CHECK_STR(exit_reason_name(35), "?");
	CHECK_STR(exit_reason_name(0xffff), "?");
	CHECK_STR(vmx_error_name(28), "invalid operand to INVEPT/INVVPID");
	CHECK_STR(vmx_error_name(14), "?");
}

static void test_outcome(void)
{
	struct outcome all[] = { out_ok(),         out_invalid(),   out_valid(7), out_valid(8), out_fault(13, 0),
				 out_fault(13, 1), out_fault(6, 0), out_exit(18), out_exit(19) };
	char text[100];

	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		for (u32 k = 0; k < ARRAY_SIZE(all); k++)
			CHECK(outcome_equal(all[i], all[k]) == (i == k));
	CHECK_STR(outcome_text(out_ok(), text, sizeof(text)), "ok");
	CHECK_STR(outcome_text(out_invalid(), text, sizeof(text)), "VMfailInvalid");
	CHECK_STR(outcome_text(out_valid(12), text, sizeof(text)),
		  "VMfailValid(12: VMREAD/VMWRITE from/to unsupported VMCS component)");
	CHECK_STR(outcome_text(out_fault(13, 0x18), text, sizeof(text)), "#GP(0x18)");
	CHECK_STR(outcome_text(out_fault(200, 0), text, sizeof(text)), "vector above 21(0x0)");
	CHECK_STR(outcome_text(out_exit(0x80000021), text, sizeof(text)), "exit 33 (invalid_guest_state)");
	CHECK_STR(outcome_text(out_exit(18), text, 6), "exit ");
}

const struct unit_case vmcs_cases[] = {
	{ "vmcs: fields are sorted and unique", test_order },
	{ "vmcs: find", test_find },
	{ "vmcs: exists names controls", test_exists },
	{ "vmcs: diff", test_diff },
	{ "controls: unique", test_controls },
	{ "controls: adjust", test_adjust },
	{ "names of exits and errors", test_names },
	{ "outcome", test_outcome },
	{ NULL, NULL },
};
