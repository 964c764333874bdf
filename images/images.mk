# SPDX-License-Identifier: BSD-2-Clause
# Disk images of lhv in build/images: USB sticks with a menu, ISOs for one command line.
# Included by the top Makefile after lhv/build.mk.

# The command line that the ISO boots.
ISO_CMDLINE ?= exit=none

IMAGES_DIR := build/images
IMAGES_PY := $(wildcard images/*.py)
# The options' names for the menu.
TABLES := build/tables.json

.PHONY: images iso
images: $(IMAGES_DIR)/lhv-i386.img $(IMAGES_DIR)/lhv-amd64.img ## USB sticks with a menu of masks, in build/images
iso: $(IMAGES_DIR)/lhv-i386.iso $(IMAGES_DIR)/lhv-amd64.iso ## CD images that boot ISO_CMDLINE, in build/images

$(IMAGES_DIR)/lhv-%.img: build/lhv/lhv-%.elf $(IMAGES_PY) $(TABLES)
	$(PYTHON) images/mkimage.py menu -o $@ --tables $(TABLES) $<

$(IMAGES_DIR)/lhv-%.iso: build/lhv/lhv-%.elf $(IMAGES_PY) $(IMAGES_DIR)/iso-cmdline
	$(PYTHON) images/mkimage.py iso -o $@ $< '$(ISO_CMDLINE)'

# A new command line makes new ISOs.
.PHONY: images-always
$(IMAGES_DIR)/iso-cmdline: images-always
	@mkdir -p $(@D)
	@printf '%s\n' '$(ISO_CMDLINE)' | cmp -s - $@ || printf '%s\n' '$(ISO_CMDLINE)' > $@
