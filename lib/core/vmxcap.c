// SPDX-License-Identifier: BSD-2-Clause
#include "core/vmxcap.h"

const struct ctl_info ctl_table[] = {
#define CONTROL(word, bit, name, text, nested) { CTL_##word, bit, NESTED_##nested, #name, text },
#include "x86/vmx_controls.def"
#undef CONTROL
};
const u32 ctl_table_count = ARRAY_SIZE(ctl_table);

bool ctl_allowed(const struct vmx_caps *c, enum ctl_word w, u32 bits)
{
	return !(bits & ~(u32)(c->ctl[w] >> 32));
}

static const char *ctl_text(enum ctl_word w, u32 bits)
{
	for (u32 i = 0; i < ctl_table_count; i++)
		if (ctl_table[i].word == w && bits >> ctl_table[i].bit & 1)
			return ctl_table[i].text;
	return "a control without a name";
}

u32 ctl_adjust(const struct vmx_caps *c, enum ctl_word w, u32 want, u32 forbid, const char **missing)
{
	u32 must = (u32)c->ctl[w], may = (u32)(c->ctl[w] >> 32);
	u32 value = (want | must) & may;
	u32 wrong = (want & ~value) | (forbid & value);

	if (missing)
		*missing = wrong ? ctl_text(w, wrong & (0 - wrong)) : NULL;
	return value;
}

const char *exit_reason_name(u32 basic_reason)
{
	switch (basic_reason) {
#define REASON(number, name, text) \
	case number:               \
		return #name;
#include "x86/exit_reasons.def"
#undef REASON
	default:
		return "?";
	}
}

const char *vmx_error_name(u32 number)
{
	switch (number) {
#define VMXERR(number_, name, text) \
	case number_:               \
		return text;
#include "x86/vmx_errors.def"
#undef VMXERR
	default:
		return "?";
	}
}
