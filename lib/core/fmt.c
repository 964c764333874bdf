// SPDX-License-Identifier: BSD-2-Clause
#include "core/fmt.h"

struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool left, zero;
	int width;
	int precision; /* -1: none */
	int longs;     /* l: 1, ll: 2, z: as a pointer */
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void put_padded(struct out *o, const struct spec *s, const char *prefix, const char *text, int n)
{
	int total = n;

	for (const char *p = prefix; *p; p++)
		total++;
	for (int i = total; !s->left && !s->zero && i < s->width; i++)
		put(o, ' ');
	while (*prefix)
		put(o, *prefix++);
	for (int i = total; !s->left && s->zero && i < s->width; i++)
		put(o, '0');
	for (int i = 0; i < n; i++)
		put(o, text[i]);
	for (int i = total; s->left && i < s->width; i++)
		put(o, ' ');
}

/* *v /= 10, returns the remainder; by 16-bit pieces, since i386 has no 64-bit division without a library. */
static u32 divide_by_10(u64 *v)
{
	u32 rest = 0;
	u64 quotient = 0;

	for (int shift = 48; shift >= 0; shift -= 16) {
		u32 piece = rest << 16 | (u32)(*v >> shift & 0xffff);

		quotient |= (u64)(piece / 10) << shift;
		rest = piece % 10;
	}
	*v = quotient;
	return rest;
}

static void put_number(struct out *o, const struct spec *s, const char *prefix, u64 v, bool hex, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	int at = sizeof(text);

	do {
		u32 digit = hex ? (u32)(v & 15) : divide_by_10(&v);

		if (hex)
			v >>= 4;
		text[--at] = digits[digit];
	} while (v);
	put_padded(o, s, prefix, text + at, (int)sizeof(text) - at);
}

static const char *parse_number(const char *f, int *n, va_list *ap)
{
	if (*f == '*') {
		*n = va_arg(*ap, int);
		return f + 1;
	}
	*n = 0;
	while (*f >= '0' && *f <= '9')
		*n = *n * 10 + *f++ - '0';
	return f;
}

static const char *parse_spec(const char *f, struct spec *s, va_list *ap)
{
	*s = (struct spec){ .precision = -1 };
	for (;; f++) {
		if (*f == '-')
			s->left = true;
		else if (*f == '0')
			s->zero = true;
		else
			break;
	}
	f = parse_number(f, &s->width, ap);
	if (*f == '.')
		f = parse_number(f + 1, &s->precision, ap);
	for (;; f++) {
		if (*f == 'l')
			s->longs++;
		else if (*f == 'z')
			s->longs = sizeof(size_t) > 4 ? 2 : 1;
		else if (*f != 'h')
			return f;
	}
}

static u64 unsigned_arg(const struct spec *s, va_list *ap)
{
	if (s->longs >= 2)
		return va_arg(*ap, unsigned long long);
	if (s->longs == 1)
		return va_arg(*ap, unsigned long);
	return va_arg(*ap, unsigned int);
}

static void put_signed(struct out *o, const struct spec *s, va_list *ap)
{
	long long v = s->longs >= 2 ? va_arg(*ap, long long) : s->longs == 1 ? va_arg(*ap, long) : va_arg(*ap, int);

	put_number(o, s, v < 0 ? "-" : "", v < 0 ? 0 - (u64)v : (u64)v, false, false);
}

static void put_string(struct out *o, struct spec *s, const char *text)
{
	int n = 0;

	s->zero = false;
	while ((s->precision < 0 || n < s->precision) && text[n])
		n++;
	put_padded(o, s, "", text, n);
}

static void convert(struct out *o, struct spec *s, char kind, va_list *ap)
{
	char c;

	switch (kind) {
	case 's':
		put_string(o, s, va_arg(*ap, const char *));
		break;
	case 'c':
		c = (char)va_arg(*ap, int);
		s->zero = false;
		put_padded(o, s, "", &c, 1);
		break;
	case 'd':
	case 'i':
		put_signed(o, s, ap);
		break;
	case 'u':
		put_number(o, s, "", unsigned_arg(s, ap), false, false);
		break;
	case 'x':
	case 'X':
		put_number(o, s, "", unsigned_arg(s, ap), true, kind == 'X');
		break;
	case 'p':
		put_number(o, s, "0x", (ulong)va_arg(*ap, void *), true, false);
		break;
	default:
		put(o, kind); /* %% */
	}
}

int fmt_v(char *buf, size_t size, const char *format, va_list arguments)
{
	struct out o = { buf, size, 0 };
	struct spec s;
	va_list ap;

	va_copy(ap, arguments);
	for (const char *f = format; *f; f++) {
		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f = parse_spec(f + 1, &s, &ap);
		if (!*f)
			break;
		convert(&o, &s, *f, &ap);
	}
	va_end(ap);
	if (size)
		buf[o.len < size ? o.len : size - 1] = 0;
	return (int)o.len;
}

int fmt(char *buf, size_t size, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = fmt_v(buf, size, format, ap);
	va_end(ap);
	return n;
}
