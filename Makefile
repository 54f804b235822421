# SPDX-License-Identifier: GPL-2.0-only
#
# hv: hv.ko, libhv.so and vmm. "make help" lists the targets.
#
# Everything made lies in $(BUILD). Sources are found by wildcard. The module is built in
# $(BUILD)/kmod-RELEASE, a directory of links to its sources, so that several kernels' builds lie
# side by side (kbuild writes its objects beside the sources).

HV_VERSION := 0.1
SONAME := libhv.so.0

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
BUILD ?= build
$(if $(strip $(BUILD)),,$(error BUILD= names no directory))
KDIR ?= /lib/modules/$(shell uname -r)/build

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
# Users of other compilers build with warnings; the checks do not pass with one.
ifneq ($(CI),)
WARNINGS += -Werror
endif
CPPFLAGS += -Iinclude -I. -D_GNU_SOURCE -DHV_VERSION='"$(HV_VERSION)"'
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS) -fstack-protector-strong -fno-strict-aliasing -pthread
LIBHV_LIBS := -lZydis -ljson-c
VMM_LIBS := -luring -lcap-ng -ljson-c

# "make demo SHELL=1" means the demo's shell; to make the name means its own, here and below.
ifeq ($(origin SHELL),command line)
demo_shell := $(SHELL)
override SHELL := /bin/sh
MAKEOVERRIDES := $(filter-out SHELL=%,$(MAKEOVERRIDES))
endif

kernels := selftests/testbed/kernels
release = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(1)/include/generated/utsrelease.h 2>/dev/null)

# Without headers of the running kernel the rest is built; a KDIR that was asked for must be one.
all: libhv vmm libvirt-if-ready $(if $(wildcard $(KDIR)/Makefile),module,module-missing)
	@$(if $(and $(filter command,$(origin KDIR)),$(if $(wildcard $(KDIR)/Makefile),,no)),exit 1)

# What a recipe runs by + is run by make -n too.
unless_dry = $(if $(findstring n,$(firstword -$(MAKEFLAGS))),: not run:)

# -- help -----------------------------------------------------------------------------------

help:
	@echo 'all             hv.ko for the running kernel (or KDIR=), libhv.so, vmm [default]'
	@echo 'module          hv.ko alone; KDIR=DIR names the kernel headers to build against'
	@echo 'module-NAME     hv.ko for a kernel of the emulated hosts: 5.10, 6.1, 6.12, newest, sanitizer'
	@echo 'libhv, vmm      one of the two alone'
	@echo 'libvirt         the libvirt driver and virthvd, fetching the source of the installed'
	@echo '                libvirt0 first (9 MB; or LIBVIRT_SRC=DIR); "all" builds them once it is there'
	@echo 'selftests       the test programs and test guests'
	@echo 'install         into DESTDIR= PREFIX= (/usr/local); the module only where it was built'
	@echo 'uninstall       remove what install put there; same DESTDIR= PREFIX='
	@echo 'deb             Debian packages (hv-dkms, libhv0, libhv-dev, hv-vmm) in $(BUILD)/deb'
	@echo 'clean           remove what was made in $(BUILD)/ (the cache of kernels and disks is not in it)'
	@echo 'setup           install the packages that building and testing need, by apt-get'
	@echo 'demo            boot a Debian guest under hv; SHELL=1 stays at its login'
	@echo 'check           the bounded test set; TEST=NAME runs one test'
	@echo 'check-libvirt   all tests of the libvirt driver'
	@echo 'check-full      every test'
	@echo 'check-sanitizer the kernel tests on a kernel with KASAN, lockdep and others'
	@echo 'check-kernels   the kernel tests and a guest on every host kernel; KERNELS="5.10 newest"'
	@echo 'sanitizer-kernel  build that kernel (once, about 10 minutes)'
	@echo 'bench           measure exits beside KVM, write bench.json'
	@echo 'Variables: BUILD=DIR (build), KDIR=DIR, CI=1 (warnings are errors), V=1 (show commands)'

# -- user space -----------------------------------------------------------------------------

ifeq ($(V),)
Q := @
say = @printf '  %-8s%s\n' $(1) $(2);
else
Q :=
say =
endif

libhv_src := $(wildcard libhv/*.c libhv/x86/*.c libhv/control/*.c)
libhv_obj := $(libhv_src:%.c=$(BUILD)/%.o)
vmm_src := $(wildcard vmm/*.c vmm/*/*.c)
vmm_obj := $(vmm_src:%.c=$(BUILD)/%.o)
vmm_main := $(BUILD)/vmm/main.o
libhv_so := $(BUILD)/libhv/$(SONAME)
libhv_a := $(BUILD)/libhv/libhv.a
vmm_a := $(BUILD)/vmm/libvmm.a

libhv: $(libhv_so) $(BUILD)/libhv/libhv.so $(libhv_a)
	@:
vmm: $(BUILD)/vmm/vmm
	@:

$(BUILD)/libhv/%.o: libhv/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fPIC -MMD -MP -c -o $@ $<

$(BUILD)/vmm/%.o: vmm/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -fPIE -MMD -MP -c -o $@ $<

libhv_map := $(wildcard libhv/libhv.map)

$(libhv_so): $(libhv_obj) $(libhv_map)
	@mkdir -p $(@D)
	$(call say,LD,$@) $(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) \
		-Wl,--no-undefined $(libhv_map:%=-Wl,--version-script=%) -o $@ $(libhv_obj) $(LIBHV_LIBS)

$(BUILD)/libhv/libhv.so: $(libhv_so)
	$(Q)ln -sf $(SONAME) $@

$(libhv_a): $(libhv_obj)
$(vmm_a): $(filter-out $(vmm_main),$(vmm_obj))
$(libhv_a) $(vmm_a):
	@mkdir -p $(@D)
	$(call say,AR,$@) rm -f $@ && $(AR) rcs $@ $^

vmm_link = $(CC) $(ALL_CFLAGS) $(LDFLAGS) -pie -o $(1) $(vmm_obj) -L$(BUILD)/libhv -lhv $(VMM_LIBS)

# It finds the library of its own build; "install" links it once more without that path.
$(BUILD)/vmm/vmm: $(vmm_obj) $(libhv_so) $(BUILD)/libhv/libhv.so
	@mkdir -p $(@D)
	$(call say,LD,$@) $(call vmm_link,$@) '-Wl,-rpath,$$ORIGIN/../libhv'

# -- the libvirt driver ---------------------------------------------------------------------

# It has a Makefile of its own: it is built with the headers and flags of libvirt, not with ours.
libvirt_make = $(MAKE) --no-print-directory -f libhv/libvirt/Makefile BUILD=$(BUILD) \
	PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) HV_VERSION=$(HV_VERSION) SRC=

libvirt: libhv
	+@src=$$(libhv/libvirt/source) && libhv/libvirt/ready && $(libvirt_make)"$$src"

libvirt-if-ready: libhv
	+@if why=$$(libhv/libvirt/source --cached 2>&1 >/dev/null && libhv/libvirt/ready 2>&1); \
	then $(libvirt_make)"$$(libhv/libvirt/source --cached)"; \
	else echo "the libvirt driver was not built: $${why#libhv/libvirt/*: }"; fi

# -- the module -----------------------------------------------------------------------------

# $(1): headers, $(2): directory to build in. Links whose source is gone go, so that nothing
# stale is compiled; a link is made only where it is missing.
define build-module
	$(Q)mkdir -p $(2)
	$(Q)find $(2) -xtype l -delete
	$(Q)find Kbuild kmod include -type d -exec mkdir -p $(2)/{} \;
	$(Q)find Kbuild kmod include -type f -exec sh -c \
		'for f; do [ -L $(2)/$$f ] || ln -s "$(CURDIR)/$$f" $(2)/$$f; done' sh {} +
	+$(Q)$(KBUILD_IN) $(MAKE) $(if $(V),,-s) -C $(1) M=$(abspath $(2)) CONFIG_DEBUG_INFO_BTF_MODULES= \
		$(if $(CI),KCFLAGS=-Werror) modules
endef

module:
	@test -f $(KDIR)/Makefile || { $(MAKE) -s module-missing; exit 1; }
	$(call build-module,$(KDIR),$(BUILD)/kmod-$(call release,$(KDIR)))

module-missing:
	@echo "hv.ko was not built: no kernel headers in $(KDIR)." \
		"Install linux-headers-$$(uname -r), or say make KDIR=DIR with those of the kernel you want," \
		"e.g. KDIR=/usr/src/linux-headers-VERSION." >&2

# Another release's kernel is built with that release's tools; KBUILD_IN is the way in.
module-5.10 module-6.1 module-6.12 module-newest module-sanitizer: module-%:
	+@kdir=$$($(kernels) $* kdir) && BUILD="$(abspath $(BUILD))" $(MAKE) --no-print-directory module \
		KDIR="$$kdir" KBUILD_IN="$(CURDIR)/$(kernels) $* run"

# -- tests ----------------------------------------------------------------------------------

tests_built = $(patsubst %.c,$(BUILD)/%,$(wildcard $(1)/*.c))
unit := $(call tests_built,selftests/unit)
kernel := $(call tests_built,selftests/kernel)
guest_src := $(wildcard selftests/guests/*.S selftests/guests/*.c)
guests := $(addsuffix .elf,$(basename $(guest_src:%=$(BUILD)/%)))
guest_lib := $(addsuffix .o,$(basename $(patsubst %,$(BUILD)/%,\
	$(wildcard selftests/guests/lib/*.S selftests/guests/lib/*.c))))
test_lib := $(patsubst %.c,$(BUILD)/%.o,$(wildcard selftests/lib/*.c))

selftests: $(unit) $(kernel) $(guests)
	@:

$(BUILD)/selftests/lib/%.o: selftests/lib/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(CPPFLAGS) -Iselftests $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# A unit test may use the parts of the vmm and of libhv that nobody outside them sees.
$(unit): $(BUILD)/%: %.c $(test_lib) $(vmm_a) $(libhv_a)
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(CPPFLAGS) -Iselftests $(ALL_CFLAGS) -MMD -MP -o $@ $< $(test_lib) \
		$(vmm_a) $(libhv_a) $(LIBHV_LIBS) $(VMM_LIBS)

$(kernel): $(BUILD)/%: %.c $(test_lib) $(libhv_a)
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(CPPFLAGS) -Iselftests $(ALL_CFLAGS) -MMD -MP -o $@ $< $(test_lib) \
		$(libhv_a) $(LIBHV_LIBS)

# Bare-metal guests: 64-bit code in the 32-bit ELF that multiboot asks for.
guest_cflags := -std=gnu11 -m64 -O2 -g -Wall -Wextra -ffreestanding -fno-pic -mno-red-zone \
	-mgeneral-regs-only -mcmodel=small -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -fno-builtin

$(BUILD)/selftests/guests/%.o: selftests/guests/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<) $(CC) $(guest_cflags) -Iinclude -Iselftests -MMD -MP -c -o $@ $<

$(BUILD)/selftests/guests/%.o: selftests/guests/%.S
	@mkdir -p $(@D)
	$(call say,AS,$<) $(CC) $(guest_cflags) -Iinclude -Iselftests -MMD -MP -c -o $@ $<

$(guests): %.elf: %.o $(guest_lib) selftests/guests/guest.ld
	$(call say,LD,$@) $(LD) -m elf_x86_64 -nostdlib -static --no-warn-rwx-segments -z noexecstack \
		-z max-page-size=4096 -T selftests/guests/guest.ld -o $@.64 $< $(guest_lib) && \
		$(OBJCOPY) -I elf64-x86-64 -O elf32-i386 $@.64 $@

OBJCOPY ?= objcopy

setup:
	@selftests/setup

# What every check needs. setup comes first, so the rest is a make of its own, with all CPUs unless
# the caller said how many.
jobs = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

unknown_kernels = $(if $(KERNELS),$(filter-out $(shell $(kernels) --list),$(KERNELS)))

check-names: setup
	@$(if $(TEST),BUILD=$(BUILD) selftests/run --list $(TEST) >/dev/null)
	@$(if $(unknown_kernels),echo 'KERNELS: no kernel $(unknown_kernels); $(kernels) --list names them' >&2; exit 2)

check-build: setup check-names
	$(if $(filter sanitizer,$(CHECK_KERNELS)),@selftests/testbed/sanitizer-kernel)
	+@$(MAKE) --no-print-directory $(jobs) CI=1 libhv vmm selftests
	+@if libhv/libvirt/source >/dev/null; then $(MAKE) --no-print-directory $(jobs) CI=1 libvirt; \
	else echo 'without the source of libvirt the tests of its driver are skipped'; fi
	+@for k in $(CHECK_KERNELS); do $(MAKE) --no-print-directory $(jobs) CI=1 module-$$k || exit; done

check: CHECK_KERNELS := 6.1 6.12
check-full: CHECK_KERNELS := 6.1 6.12 newest
check-libvirt: CHECK_KERNELS := 6.1
check-sanitizer: CHECK_KERNELS := sanitizer

# Compiled against as well, so that the next Debian's libvirt is no surprise.
check-libvirt: check-build
	@libhv/libvirt/source 11.3.0 >/dev/null || echo 'so the driver is not compiled for libvirt 11.3.0'
	+@$(unless_dry) BUILD=$(BUILD) selftests/run --set=check-full 'libvirt_*'

check check-full check-sanitizer: check-build
	+@$(unless_dry) BUILD=$(BUILD) selftests/run $(@:check%=--set=check%) $(TEST)

# It builds the modules itself, to see that the builds are silent.
check-kernels: check-build
	+@$(unless_dry) BUILD=$(BUILD) selftests/check-kernels $(KERNELS)

sanitizer-kernel: setup
	@selftests/testbed/sanitizer-kernel

demo: setup
	+@$(unless_dry) BUILD=$(BUILD) DEMO_SHELL=$(demo_shell) selftests/demo/demo

bench: setup
	+@$(unless_dry) BUILD=$(BUILD) selftests/bench/bench

# -- Debian packages ------------------------------------------------------------------------

# dpkg wants its directory at the root of a source tree, so one is made of copies. Its sources lie
# with the vmm because hv-vmm is the package that a user asks for and the others serve.
deb_src := Makefile Kbuild COPYING README.md Documentation include kmod libhv vmm
deb_dir := $(BUILD)/deb/hv-$(HV_VERSION)
deb_version = $(shell sed -n '1s/.*(\(.*\)).*/\1/p' vmm/debian/changelog)

deb: setup
	@[ "$(deb_version)" = "$(HV_VERSION)" ] || \
		{ echo "vmm/debian/changelog is of version $(deb_version), the tree of $(HV_VERSION)" >&2; exit 1; }
	@rm -rf $(BUILD)/deb && mkdir -p $(deb_dir)
	@cp -r $(deb_src) $(deb_dir) && mv $(deb_dir)/vmm/debian $(deb_dir)/debian
	@cd $(deb_dir) && env -u MAKEFLAGS -u MAKELEVEL -u BUILD -u CI \
		dpkg-buildpackage --build=binary --no-sign $(jobs) >../log 2>&1 || \
		{ tail -n 30 ../log >&2; exit 1; }
	@cd $(BUILD)/deb && lintian --fail-on error,warning --allow-root --tag-display-limit 0 *.changes
	@ls $(BUILD)/deb/*.deb

# -- install --------------------------------------------------------------------------------

RELEASE = $(call release,$(KDIR))
KO = $(wildcard $(BUILD)/kmod-$(RELEASE)/kmod/hv.ko)
KO_DIR = $(DESTDIR)/lib/modules/$(RELEASE)/updates
MAN1 := $(wildcard Documentation/man/*.1)

# What is there once "make libvirt" has run. The driver's place is libvirt's, whatever PREFIX is.
LIBVIRT_BUILT = $(firstword $(wildcard $(BUILD)/libvirt-*/virthvd))
LIBVIRT_DRIVERS = $(DESTDIR)/usr/lib/$(shell $(CC) -print-multiarch)/libvirt/connection-driver
SBIN = $(DESTDIR)$(PREFIX)/sbin
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
# Kept if it is there and changed: it is the administrator's.
VIRTHVD_CONF = $(DESTDIR)/etc/libvirt/virthvd.conf
SOCKETS := $(wildcard libhv/libvirt/systemd/*.socket)

ifneq ($(words $(DESTDIR)$(PREFIX)),1)
$(error DESTDIR and PREFIX cannot have a space in them)
endif

install: libhv vmm
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include/hv
	$(call vmm_link,$(BUILD)/vmm/vmm.install)
	install -m 755 $(BUILD)/vmm/vmm.install $(DESTDIR)$(PREFIX)/bin/vmm
	install -m 755 $(libhv_so) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libhv.so
	install -m 644 include/hv/*.h $(DESTDIR)$(PREFIX)/include/hv
	install -m 644 include/uapi/hv.h $(DESTDIR)$(PREFIX)/include/hv/uapi.h
	printf '%s\n' 'Name: libhv' 'Description: library of the hv hypervisor' \
		'Version: $(HV_VERSION)' 'Cflags: -I$(PREFIX)/include' 'Libs: -L$(LIBDIR) -lhv' \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/libhv.pc
	$(if $(MAN1),install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(MAN1))
	$(if $(KO),install -D -m 644 -t $(KO_DIR) $(KO) && \
	{ tail -c 28 $(KO) | grep -q 'Module signature' || strip --strip-debug $(KO_DIR)/hv.ko; },@echo 'no hv.ko for $(KDIR) was built, none installed')
	$(if $(LIBVIRT_BUILT),install -D -m 644 -t $(LIBVIRT_DRIVERS) $(dir $(LIBVIRT_BUILT))libvirt_driver_hv.so)
	$(if $(LIBVIRT_BUILT),install -D -m 755 -t $(SBIN) $(LIBVIRT_BUILT))
	$(if $(LIBVIRT_BUILT),test -e $(VIRTHVD_CONF) || install -D -m 644 libhv/libvirt/virthvd.conf $(VIRTHVD_CONF))
	$(if $(LIBVIRT_BUILT),install -D -m 644 -t $(UNITS) $(SOCKETS))
	$(if $(LIBVIRT_BUILT),sed 's|@SBINDIR@|$(PREFIX)/sbin|' libhv/libvirt/systemd/virthvd.service.in >$(UNITS)/virthvd.service)
	$(if $(DESTDIR),,ldconfig $(if $(KO),&& depmod $(RELEASE)))

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/vmm $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/libhv.so \
		$(DESTDIR)$(LIBDIR)/pkgconfig/libhv.pc $(MAN1:Documentation/man/%=$(DESTDIR)$(PREFIX)/share/man/man1/%)
	rm -rf $(DESTDIR)$(PREFIX)/include/hv
	! cmp -s libhv/libvirt/virthvd.conf $(VIRTHVD_CONF) || rm $(VIRTHVD_CONF)
	rm -f $(LIBVIRT_DRIVERS)/libvirt_driver_hv.so $(SBIN)/virthvd \
		$(SOCKETS:libhv/libvirt/systemd/%=$(UNITS)/%) $(UNITS)/virthvd.service
	for ko in $(DESTDIR)/lib/modules/*/updates/hv.ko; do \
		[ -e "$$ko" ] || continue; rm "$$ko"; r=$${ko%/updates/hv.ko}; \
		[ "$(DESTDIR)" ] || depmod "$${r##*/}"; \
	done
	$(if $(DESTDIR),,ldconfig)

# By name: BUILD may be a directory that holds other things.
made := bench check check-kernels deb demo guest kmod-* libhv libvirt-* selftests vmm \
	hw_power.* mmu_flush.* packages.* runner.* runner_vmx.*

clean:
	rm -rf $(made:%=$(BUILD)/%)
	@[ ! -d $(BUILD) ] || rmdir $(BUILD) 2>/dev/null || echo 'clean: $(BUILD) has more in it than the build makes: left'

.PHONY: check-names all help libhv vmm libvirt libvirt-if-ready module module-missing module-5.10 module-6.1 module-6.12 \
	module-newest module-sanitizer selftests setup check-build check check-full check-libvirt \
	check-sanitizer check-kernels sanitizer-kernel demo bench deb install uninstall clean
.DELETE_ON_ERROR:
.SECONDARY:

-include $(libhv_obj:.o=.d) $(vmm_obj:.o=.d) $(unit:=.d) $(kernel:=.d) $(test_lib:.o=.d) \
	$(guests:.elf=.d) $(guest_lib:.o=.d)
