/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_VERDICT_H
#define CORE_VERDICT_H

/* Least severe first; see docs/protocol.md. */
enum verdict { VERDICT_GOOD, VERDICT_SKIP, VERDICT_ERROR, VERDICT_BAD };

enum verdict verdict_worse(enum verdict a, enum verdict b);
const char *verdict_name(enum verdict v);

#endif
