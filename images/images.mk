# SPDX-License-Identifier: BSD-2-Clause
# Disk images of lhv and xmhf-nest in build/images: USB sticks with a menu, ISOs for one command line.
# Included by the top Makefile after lhv/build.mk and xmhf-nest/build.mk.

# The command line that the ISO boots.
ISO_CMDLINE ?= exit=none

IMAGES_DIR := build/images
IMAGES_PY := $(wildcard images/*.py)
# The options' names for the menu.
TABLES := build/tables.json

.PHONY: images iso
images: $(foreach name,lhv xmhf-nest xmhf-nest-lhv,$(IMAGES_DIR)/$(name)-i386.img $(IMAGES_DIR)/$(name)-amd64.img) ## USB sticks in build/images: lhv, xmhf-nest, or both; menus of masks
iso: $(IMAGES_DIR)/lhv-i386.iso $(IMAGES_DIR)/lhv-amd64.iso ## CD images that boot ISO_CMDLINE, in build/images

$(IMAGES_DIR)/lhv-%.img: build/lhv/lhv-%.elf $(IMAGES_PY) $(TABLES)
	$(PYTHON) images/mkimage.py menu -o $@ --tables $(TABLES) $<

# Boots the second BIOS disk.
$(IMAGES_DIR)/xmhf-nest-%.img: build/xmhf-nest/xmhf-nest-%.elf $(IMAGES_PY)
	$(PYTHON) images/mkimage.py menu -o $@ $(NEST_ENTRIES) $<

NEST_ENTRIES := --entry 'Boot the second disk on xmhf-nest' exit=none \
	--entry 'The same, for hosts on which an INIT never goes away (Bochs 2.7)' 'exit=none kick=timer'

# Both layers; of the patterns that fit, make takes the one that leaves least for the %.
$(IMAGES_DIR)/xmhf-nest-lhv-%.img: build/xmhf-nest/xmhf-nest-%.elf build/lhv/lhv-%.elf $(IMAGES_PY) $(TABLES)
	$(PYTHON) images/mkimage.py menu -o $@ --tables $(TABLES) --l0 $< exit=none build/lhv/lhv-$*.elf

$(IMAGES_DIR)/lhv-%.iso: build/lhv/lhv-%.elf $(IMAGES_PY) $(IMAGES_DIR)/iso-cmdline
	$(PYTHON) images/mkimage.py iso -o $@ $< '$(ISO_CMDLINE)'

# A new command line makes new ISOs.
.PHONY: images-always
$(IMAGES_DIR)/iso-cmdline: images-always
	@mkdir -p $(@D)
	@printf '%s\n' '$(ISO_CMDLINE)' | cmp -s - $@ || printf '%s\n' '$(ISO_CMDLINE)' > $@
