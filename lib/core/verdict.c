// SPDX-License-Identifier: BSD-2-Clause
#include "core/verdict.h"

enum verdict verdict_worse(enum verdict a, enum verdict b)
{
	return a > b ? a : b;
}

const char *verdict_name(enum verdict v)
{
	static const char *const names[] = { "GOOD", "SKIP", "ERROR", "BAD" };

	return names[v];
}
