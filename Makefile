# SPDX-License-Identifier: BSD-2-Clause
# What there is: make help.

# Debian's python3, because Debian's modules (pytest, rich, ...) are installed for that one: another may come first in PATH.
PYTHON ?= /usr/bin/python3
# make's own default is cc, whatever that is.
ifeq ($(origin CC),default)
CC := gcc
endif
JOBS ?= $(shell nproc)
# For run, test and test-all: more options for run_tests.py, for example ARGS="--arch amd64 --opt 0x3c".
ARGS ?=
# Set to see the compilers' commands in run, test, bench and lint.
V ?=
# Empty: the compiler's warnings are no errors (make breaks, make mutants).
WERROR ?= -Werror
# Set to skip the look at Debian's packages, for systems that have the tools from elsewhere.
NO_DEPS ?=

# make test's share of the nested runs: test-all has the rest.
NESTED := --stack bochs --stack bochs/xmhf-nest
# Its share of Linux with KVM: the oldest bug of the kind, a mask, tests of each area. SKIP without network and cache.
KVM_SHARE := --stack bochs/kvm-6.1 --cpus 1 --opt 0x4,0x3c --test 'ept/*,insn/*,vmx/*,smp/*'
KVM_ALL := $(foreach line,5.10 6.1 6.12 7.2,--stack bochs/kvm-$(line))
ALL_L0 := --stack bochs/xmhf-nest --stack bochs/xmhf-nest-i386
REPORT := build/report
REPORTS = --json $(REPORT)/report.json --junit $(REPORT)/report.xml --html $(REPORT)/report.html

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@echo 'Targets:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | sort -u | \
		while IFS='|' read -r target text; do printf '  %-11s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'Variables: ARGS="..." for run_tests.py, LHV_OPT=0x3c (mask without a command line), CC=clang, JOBS=N,'
	@echo '           V=1 (show commands), NO_DEPS=1 (no look at Debian packages)'

.PHONY: all
all: lhv images iso ## kernels, disk images, ISOs

-include lhv/build.mk xmhf-nest/build.mk lib/tools/tools.mk unit/unit.mk
include images/images.mk images/kvm/kvm.mk
lhv: ## the kernels, build/lhv/lhv-{i386,amd64}.elf
xmhf-nest: ## the nested-capable L0, build/xmhf-nest/xmhf-nest-{i386,amd64}.elf
unit: ## tests of the pure code, built for and run on this machine

# The package names are in one file, by group.
packages = $(shell sed -n 's/^$(1) *//p' images/packages.txt)
need = $(if $(NO_DEPS),@true,@images/deps.sh $(call packages,$(1)))
# The build is a second make, so that nothing is built before the packages are there, whatever -j says.
build = $(MAKE) $(if $(V),,-s) $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS)) --no-print-directory

.PHONY: deps
deps: ## installs missing Debian packages (by sudo if not root), says which
	$(call need,run)

.PHONY: deps-lint
deps-lint:
	$(call need,lint)

.PHONY: run
run: deps ## boots lhv in Bochs and prints a verdict for every option mask
	@$(build) products
	$(PYTHON) run_tests.py --stack bochs $(ARGS)

.PHONY: test
test: deps ## unit tests, self-tests, and the default runs
	@$(build) products
	@$(build) unit
	$(PYTHON) -m pytest -q -n $(JOBS) images/tests harness/tests
	@mkdir -p $(REPORT)
	$(PYTHON) run_tests.py $(REPORTS) $(NESTED) $(ARGS)
	$(PYTHON) run_tests.py $(KVM_SHARE) || [ $$? -eq 4 ]
	$(PYTHON) -m harness.bench_ops --no-save

.PHONY: test-all
test-all: test lint ## everything: 1, 2, 4 CPUs, both L0s and ways to boot L1, KVM, Bochs 2.7, 2,000 iterations, breaks
	$(PYTHON) run_tests.py --stack bochs $(ALL_L0) --cpus 1,2,4 $(ARGS)
	$(PYTHON) run_tests.py $(ALL_L0) --l1-boot disk --cpus 1,2,4 $(ARGS)
	$(PYTHON) run_tests.py --stack bochs@2.7 $(ALL_L0:bochs%=bochs@2.7%) --cpus 1,2 $(ARGS)
	$(PYTHON) run_tests.py $(ALL_L0) --opt 0xfffd --iter 2000 --cpus 2 --timeout 600 $(ARGS)
	$(PYTHON) run_tests.py $(KVM_ALL) --cpus 1,2 --cpu-model corei7_haswell_4770,corei7_skylake_x $(ARGS)
	$(PYTHON) run_tests.py --stack bochs/kvm-6.1/qemu --stack bochs@2.7/kvm-6.1 --cpus 1 $(ARGS)
	$(PYTHON) -m harness.breaks

.PHONY: bench
bench: deps ## measures boot, default run and tests; prints a table
	@$(build) products
	$(PYTHON) -m harness.bench $(ARGS)

# What the harness needs to run lhv.
.PHONY: products
products: lhv xmhf-nest kvm $(TABLES)

.PHONY: bochs
bochs: ## builds Bochs 3.0 into your cache folder, several times faster than Debian's package
	$(if $(NO_DEPS),,@images/deps.sh python3)
	$(PYTHON) images/build_bochs.py $(ARGS)

.PHONY: bochs-fixes
bochs-fixes: ## the same with our patches, for stacks with Linux KVM (made by itself when one is run)
	$(if $(NO_DEPS),,@images/deps.sh python3)
	$(PYTHON) images/build_bochs.py --fixes $(ARGS)

.PHONY: breaks
breaks: deps ## makes wrong changes in a copy of the tree and sees each one noticed
	$(PYTHON) -m harness.breaks $(ARGS)

.PHONY: mutants
mutants: deps ## makes wrong changes to xmhf-nest in a copy of the tree and sees lhv notice each one; two hours
	$(PYTHON) -m harness.mutants $(ARGS)

.PHONY: coverage
coverage: deps ## counts which lines of xmhf-nest's nested code the suite executes
	@$(build) products xmhf-nest-coverage
	$(PYTHON) -m harness.coverage $(ARGS)

C_FILES = $(shell git ls-files '*.c' '*.h')
C_SOURCES = $(shell git ls-files 'lib/core/*.c' 'lib/dev/*.c' 'lhv/*.c' 'xmhf-nest/*.c' 'testcases/*.c' 'unit/*.c')

.PHONY: format
format: deps-lint ## clang-format on all C files
	clang-format -i $(C_FILES)

.PHONY: lint
lint: deps deps-lint ## clang-format check, clang-tidy, mypy, and a build by clang
	@clang-format --dry-run -Werror $(C_FILES)
	@echo $(C_SOURCES) | xargs -n 1 -P $(JOBS) sh -c 'clang-tidy --quiet "$$1" -- $(TIDY_CFLAGS)' tidy
	$(PYTHON) -m mypy -p images -p harness
	@$(build) $(CLANG) lhv xmhf-nest

# Both architectures differ in nothing that clang-tidy looks at.
TIDY_CFLAGS = $(filter-out -M%,$(LHV_CFLAGS)) $(LHV_CFLAGS_amd64) -DLHV_OPT=$(LHV_OPT)u
# Its own folder; and an option fewer: clang aligns stacks as gcc has to be told to.
CLANG = CC=clang LHV_DIR=build/clang NEST_DIR=build/clang-nest LHV_CFLAGS_i386='$(filter-out -mpreferred-stack-boundary%,$(LHV_CFLAGS_i386))'

.PHONY: clean
clean: ## removes everything that was built here (not Bochs in the cache folder)
	rm -rf build .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
