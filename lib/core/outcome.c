// SPDX-License-Identifier: BSD-2-Clause
#include "core/outcome.h"

#include "core/fmt.h"
#include "core/vmxcap.h"

bool outcome_equal(struct outcome a, struct outcome b)
{
	return a.kind == b.kind && a.vector == b.vector && a.number == b.number;
}

static const char *fault_name(u8 vector)
{
	static const char *const names[] = {
		"#DE", "#DB", "NMI", "#BP", "#OF",       "#BR", "#UD", "#NM", "#DF", "vector 9", "#TS",
		"#NP", "#SS", "#GP", "#PF", "vector 15", "#MF", "#AC", "#MC", "#XM", "#VE",      "#CP",
	};

	return vector < ARRAY_SIZE(names) ? names[vector] : "vector above 21";
}

char *outcome_text(struct outcome o, char *buf, size_t size)
{
	switch (o.kind) {
	case OUT_OK:
		fmt(buf, size, "ok");
		break;
	case OUT_FAIL_INVALID:
		fmt(buf, size, "VMfailInvalid");
		break;
	case OUT_FAIL_VALID:
		fmt(buf, size, "VMfailValid(%u: %s)", o.number, vmx_error_name(o.number));
		break;
	case OUT_FAULT:
		fmt(buf, size, "%s(0x%x)", fault_name(o.vector), o.number);
		break;
	default:
		fmt(buf, size, "exit %u (%s)", o.number & 0xffff, exit_reason_name(o.number & 0xffff));
	}
	return buf;
}
