/* SPDX-License-Identifier: BSD-2-Clause */
/* The plan: which items run, in which order (docs/protocol.md), and going through it with all CPUs. */
#ifndef LHV_PLAN_H
#define LHV_PLAN_H

#include "core/cmdline.h"
#include "core/verdict.h"

/* CPU 0: runs the whole plan and prints everything from the plan line to the done line. */
void plan_run(const struct cmdline *c);
/* The other CPUs: take part, until the plan is done. */
void plan_follow(void);
/* The worst verdict of all. */
enum verdict plan_verdict(void);

#endif
