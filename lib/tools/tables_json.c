// SPDX-License-Identifier: BSD-2-Clause
/* Host program: prints the tables of lib/x86 as JSON, so that Python needn't parse C. */
#include <stdio.h>

static const char *comma; /* before the next row */

static void begin(const char *name, const char *before)
{
	printf("%s \"%s\": [", before, name);
	comma = "\n  ";
}

static void end(void)
{
	printf("\n ]");
}

static void row(void)
{
	printf("%s", comma);
	comma = ",\n  ";
}

static void options(void)
{
	begin("options", "");
#define OPT(bit, name, requires, conflicts, text)                                                                    \
	row();                                                                                                       \
	printf("{\"bit\": %u, \"name\": \"%s\", \"requires\": %u, \"conflicts\": %u, \"text\": \"%s\"}", bit, #name, \
	       requires, conflicts, text);
#include "x86/lhv_opt.def"
#undef OPT
	end();
}

static void fields(void)
{
	begin("fields", ",\n");
#define FIELD(width, encoding, name, area, exists, in, back)                                                    \
	row();                                                                                                  \
	printf("{\"encoding\": %u, \"name\": \"%s\", \"width\": \"%s\", \"area\": \"%s\", \"exists\": \"%s\", " \
	       "\"in\": \"%s\", \"back\": \"%s\"}",                                                             \
	       encoding, #name, #width, #area, exists, #in, #back);
#include "x86/vmcs_fields.def"
#undef FIELD
	end();
}

static void controls(void)
{
	begin("controls", ",\n");
#define CONTROL(word, bit, name, text, nested)                                                                        \
	row();                                                                                                        \
	printf("{\"word\": \"%s\", \"bit\": %d, \"name\": \"%s\", \"text\": \"%s\", \"nested\": \"%s\"}", #word, bit, \
	       #name, text, #nested);
#include "x86/vmx_controls.def"
#undef CONTROL
	end();
}

static void numbered(int number, const char *name, const char *text)
{
	row();
	printf("{\"number\": %d, \"name\": \"%s\", \"text\": \"%s\"}", number, name, text);
}

int main(void)
{
	printf("{\n");
	options();
	fields();
	controls();
	begin("exit_reasons", ",\n");
#define REASON(number, name, text) numbered(number, #name, text);
#include "x86/exit_reasons.def"
#undef REASON
	end();
	begin("vmx_errors", ",\n");
#define VMXERR(number, name, text) numbered(number, #name, text);
#include "x86/vmx_errors.def"
#undef VMXERR
	end();
	printf("\n}\n");
	return fflush(stdout) ? 1 : 0;
}
