// SPDX-License-Identifier: BSD-2-Clause
#include "core/cmdline.h"

#include "core/fmt.h"
#include "core/mem.h"
#include "core/opt.h"

/* Where the result and the reason of a failure go. */
struct parse {
	struct cmdline *c;
	const char **rule;
	char *why;
	size_t size;
};

static bool refuse(struct parse *p, const char *rule, const char *word)
{
	*p->rule = rule;
	fmt(p->why, p->size, "%s: %.100s", rule, word);
	return false;
}

static int digit_of(char ch, u32 base)
{
	int d = ch >= '0' && ch <= '9' ? ch - '0' :
		ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 :
		ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 :
					 99;

	return d < (int)base ? d : -1;
}

/* Decimal or 0x...; false if it is anything else or more than max. */
static bool parse_number(const char *text, u64 max, u64 *value)
{
	u32 base = 10;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	*value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		int d = digit_of(*text, base);
		u64 next;

		if (d < 0 || __builtin_mul_overflow(*value, base == 16 ? (u64)16 : (u64)10, &next) ||
		    __builtin_add_overflow(next, (u64)d, &next) || next > max)
			return false;
		*value = next;
	}
	return true;
}

static bool number_between(struct parse *p, const char *text, u64 min, u64 max, u64 *value)
{
	if (!parse_number(text, ~0ull, value))
		return refuse(p, "bad value", text);
	if (*value < min || *value > max)
		return refuse(p, "out of range", text);
	return true;
}

static u32 bit_named(const char *name, size_t n)
{
	for (u32 i = 0; i < OPT_COUNT; i++)
		if (strlen(opt_table[i].name) == n && !strncmp(opt_table[i].name, name, n))
			return opt_table[i].bit;
	return 0;
}

static bool mask_legal(struct parse *p, u32 mask)
{
	char why[100];

	if (opt_legal(mask, why, sizeof(why)))
		return true;
	*p->rule = "illegal mask";
	fmt(p->why, p->size, "illegal mask 0x%x: %s", mask, why);
	return false;
}

/* A number, or names joined by '+'. */
static bool parse_mask(struct parse *p, const char *text, u32 *mask)
{
	u64 value;

	*mask = 0;
	if (parse_number(text, 0xffffffff, &value)) {
		*mask = (u32)value;
	} else {
		for (const char *name = text;; name++) {
			size_t n = 0;
			u32 bit;

			while (name[n] && name[n] != '+')
				n++;
			bit = bit_named(name, n);
			if (!bit)
				return refuse(p, "bad value", text);
			*mask |= bit;
			name += n;
			if (!*name)
				break;
		}
	}
	return mask_legal(p, *mask);
}

/* Cuts the text at the first comma; returns what is behind it, or NULL. */
static char *cut_list(char *text)
{
	for (; *text; text++)
		if (*text == ',') {
			*text = 0;
			return text + 1;
		}
	return NULL;
}

static bool set_opt(struct parse *p, char *value)
{
	for (char *next; value; value = next) {
		next = cut_list(value);
		if (p->c->mask_count == CMDLINE_MASKS)
			return refuse(p, "too many", "opt=");
		if (!parse_mask(p, value, &p->c->masks[p->c->mask_count++]))
			return false;
	}
	return true;
}

static bool set_test(struct parse *p, char *value)
{
	for (char *next; value; value = next) {
		next = cut_list(value);
		if (!*value)
			return refuse(p, "bad value", "test=");
		if (p->c->glob_count == CMDLINE_GLOBS)
			return refuse(p, "too many", "test=");
		p->c->globs[p->c->glob_count++] = value;
	}
	return true;
}

static bool set_iter(struct parse *p, char *value)
{
	u64 n;

	if (!number_between(p, value, 1, 1000000, &n))
		return false;
	p->c->iter = (u32)n;
	return true;
}

static bool set_cpus(struct parse *p, char *value)
{
	u64 n;

	if (!number_between(p, value, 0, CMDLINE_CPUS, &n))
		return false;
	p->c->cpus = (u32)n;
	return true;
}

static bool set_seed(struct parse *p, char *value)
{
	return number_between(p, value, 0, ~0ull, &p->c->seed);
}

static bool set_from(struct parse *p, char *value)
{
	u64 n;

	if (!number_between(p, value, 0, 0xffffffff, &n))
		return false;
	p->c->from = (u32)n;
	return true;
}

static bool set_dump(struct parse *p, char *value)
{
	u64 n;

	if (!number_between(p, value, 0, 1, &n))
		return false;
	p->c->dump = n;
	return true;
}

static bool set_exit(struct parse *p, char *value)
{
	static const char *const names[] = { "none", "bochs", "qemu" };

	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(value, names[i])) {
			p->c->exit = (enum exit_how)i;
			return true;
		}
	return refuse(p, "bad value", value);
}

static bool set_run(struct parse *p, char *value)
{
	size_t n = strlen(value);

	if (!n || n >= sizeof(p->c->run))
		return refuse(p, "bad value", value);
	for (size_t i = 0; i < n; i++) {
		char ch = value[i];

		if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')))
			return refuse(p, "bad value", value);
	}
	memcpy(p->c->run, value, n + 1);
	return true;
}

static const struct {
	const char *name; /* with '=' */
	bool (*set)(struct parse *p, char *value);
} options[] = {
	{ "opt=", set_opt },   { "test=", set_test }, { "iter=", set_iter },
	{ "cpus=", set_cpus }, { "seed=", set_seed }, { "from=", set_from },
	{ "dump=", set_dump }, { "exit=", set_exit }, { "run=", set_run },
};

static bool parse_word(struct parse *p, char *word, u32 *given)
{
	for (u32 i = 0; i < ARRAY_SIZE(options); i++) {
		size_t n = strlen(options[i].name);

		if (strncmp(word, options[i].name, n) != 0)
			continue;
		if (*given & 1u << i)
			return refuse(p, "given twice", options[i].name);
		*given |= 1u << i;
		return options[i].set(p, word + n);
	}
	return refuse(p, "unknown option", word);
}

static bool has_equals(const char *word)
{
	for (; *word; word++)
		if (*word == '=')
			return true;
	return false;
}

static bool parse_words(struct parse *p, char *at)
{
	u32 given = 0;

	for (bool first = true;; first = false) {
		char *word;

		while (*at == ' ')
			at++;
		if (!*at)
			return true;
		word = at;
		while (*at && *at != ' ')
			at++;
		if (*at)
			*at++ = 0;
		/* QEMU puts the kernel's file name in front. */
		if (first && !has_equals(word))
			continue;
		if (!parse_word(p, word, &given))
			return false;
	}
}

bool cmdline_parse(struct cmdline *c, const char *text, u32 default_mask, const char **rule, char *why, size_t size)
{
	struct parse p = { c, rule, why, size };
	size_t n = strlen(text);

	memset(c, 0, sizeof(*c));
	c->iter = 20;
	c->seed = 1;
	memcpy(c->run, "none", 5);
	if (n >= sizeof(c->text))
		return refuse(&p, "too long", "command line");
	memcpy(c->text, text, n + 1);
	if (!parse_words(&p, c->text))
		return false;
	if (c->mask_count || c->glob_count)
		return true;
	c->masks[c->mask_count++] = default_mask;
	return mask_legal(&p, default_mask);
}
