// SPDX-License-Identifier: GPL-2.0-only
/*
 * platform_acpi.c - the ACPI tables of vmm/platform/acpi.c and dsdt.c.
 *
 * Found and followed as a guest does it: RSDP by its signature, tables by their pointers, all
 * checksums; the facts a kernel needs in them; and the DSDT through ACPICA's disassembler and
 * compiler, where they are installed.
 */
#include <unistd.h>

#include "platform_vm.h"

static struct vm *vm;

static uint32_t get(uint64_t gpa, unsigned int size)
{
	uint32_t value = 0;

	guest_read(vm, gpa, &value, size);
	return value;
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t value = 0;

	guest_read(vm, gpa, &value, 8);
	return value;
}

static bool sums_to_zero(uint64_t gpa, uint32_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += get(gpa++, 1);
	return !sum;
}

static bool is(uint64_t gpa, const char *signature)
{
	char s[4];

	return !guest_read(vm, gpa, s, 4) && !memcmp(s, signature, 4);
}

static bool in_area(uint64_t gpa, uint32_t len)
{
	return gpa >= PLATFORM_ACPI_BASE && gpa + len <= PLATFORM_ACPI_END;
}

static bool good_table(uint64_t gpa, const char *signature)
{
	uint32_t len = get(gpa + 4, 4);

	return is(gpa, signature) && len >= 36 && in_area(gpa, len) && sums_to_zero(gpa, len);
}

/* The table of the XSDT with this signature, 0 if there is none. */
static uint64_t table(uint64_t xsdt, const char *signature)
{
	uint32_t i, n = (get(xsdt + 4, 4) - 36) / 8;

	for (i = 0; i < n; i++)
		if (is(get64(xsdt + 36 + 8 * i), signature))
			return get64(xsdt + 36 + 8 * i);
	return 0;
}

static unsigned int madt_count(uint64_t madt, uint8_t type)
{
	uint64_t p = madt + 44, end = madt + get(madt + 4, 4);
	unsigned int n = 0;

	while (p + 2 <= end && get(p + 1, 1)) {
		n += get(p, 1) == type;
		p += get(p + 1, 1);
	}
	return p == end ? n : 1000;
}

static bool dump(uint64_t gpa, const char *path)
{
	uint32_t len = get(gpa + 4, 4);
	uint8_t *buf = malloc(len);
	FILE *f = fopen(path, "wb");
	bool ok = buf && f && !guest_read(vm, gpa, buf, len) && fwrite(buf, 1, len, f) == len;

	if (f)
		fclose(f);
	free(buf);
	return ok;
}

static bool run(const char *fmt, const char *a, const char *b)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), fmt, a, b);
	return system(cmd) == 0;
}

static void check_iasl(uint64_t dsdt)
{
	const char *say = "the DSDT disassembles, and compiles again without error";
	char dir[] = "/tmp/hv-acpi-XXXXXX", aml[64], dsl[64];

	if (!run("command -v iasl >/dev/null%s%s", "", "")) {
		ktap_skip(say, "iasl is not installed (package acpica-tools)");
		ktap_skip("names the guest needs are in the DSDT", "no iasl");
		return;
	}
	if (!mkdtemp(dir))
		ktap_bail("mkdtemp: %m");
	snprintf(aml, sizeof(aml), "%s/dsdt.aml", dir);
	snprintf(dsl, sizeof(dsl), "%s/dsdt.dsl", dir);
	ktap_check(dump(dsdt, aml) && run("iasl -d %s >%s/log 2>&1", aml, dir) &&
		   !run("grep -qi error %s/log%s", dir, "") &&
		   run("iasl -p %s/again %s >/dev/null 2>&1", dir, dsl), "%s", say);
	ktap_check(run("for n in PCI0 _PRT COM1 COM2 RTC PEVT _S5 C003 MBRD; do "
		       "grep -q \"$n\" %s || exit 1; done%s", dsl, "") &&
		   !run("grep -q C004 %s%s", dsl, ""),
		   "names the guest needs are in the DSDT, CPUs as many as there are");
	if (getenv("HV_KEEP"))
		ktap_note("kept %s", dir);
	else
		run("rm -rf %s%s", dir, "");
}

int main(void)
{
	static const char *const settings[] = { "memory", "3G", "cpus", "4", NULL };
	uint64_t rsdp = 0, xsdt, rsdt, fadt, madt, mcfg, dsdt, facs;
	uint8_t first[0x4000], again[0x4000];

	ktap_plan(13);
	vm = pv_create(settings);
	if (platform_create(vm))
		ktap_bail("platform_create failed");
	device_reset_all(vm);
	ktap_check(!platform_boot_prepare(vm, &rsdp) && rsdp == PLATFORM_ACPI_BASE,
		   "tables are written");
	ktap_check(is(rsdp, "RSD ") && get(rsdp + 15, 1) == 2 && sums_to_zero(rsdp, 20) &&
		   sums_to_zero(rsdp, 36), "RSDP: both checksums");
	xsdt = get64(rsdp + 24);
	rsdt = get(rsdp + 16, 4);
	ktap_check(good_table(xsdt, "XSDT") && good_table(rsdt, "RSDT") &&
		   (get(xsdt + 4, 4) - 36) / 8 == (get(rsdt + 4, 4) - 36) / 4,
		   "XSDT and RSDT have the same number of tables");
	fadt = table(xsdt, "FACP");
	madt = table(xsdt, "APIC");
	mcfg = table(xsdt, "MCFG");
	ktap_check(good_table(fadt, "FACP") && good_table(madt, "APIC") && good_table(mcfg, "MCFG"),
		   "FADT, MADT, MCFG are whole");
	dsdt = get64(fadt + 140);
	facs = get(fadt + 36, 4);
	ktap_check(good_table(dsdt, "DSDT") && dsdt == get(fadt + 40, 4), "DSDT is whole");
	ktap_check(is(facs, "FACS") && get(facs + 4, 4) == 64 && !(facs & 63) && in_area(facs, 64),
		   "FACS is there and aligned");
	ktap_check(get(fadt + 46, 2) == 9 && !get(fadt + 48, 4) && get64(fadt + 152) == 0x600 &&
		   get64(fadt + 176) == 0x604 && get64(fadt + 212) == 0x608 &&
		   get64(fadt + 120) == 0xcf9 && get(fadt + 128, 1) == 6,
		   "FADT: SCI 9, PM1 and timer at 0x600, reset by 0xcf9");
	ktap_check(!(get(fadt + 109, 2) & 2), "FADT: no keyboard controller");
	ktap_check(madt_count(madt, 0) == 4 && madt_count(madt, 1) == 1 && madt_count(madt, 2) == 2 &&
		   madt_count(madt, 4) == 1, "MADT: 4 CPUs, an I/O APIC, two overrides, an NMI");
	ktap_check(get64(mcfg + 44) == 0xb0000000 && get(mcfg + 54, 1) == 0 &&
		   get(mcfg + 55, 1) == 255, "MCFG: 256 buses at 0xb0000000");
	check_iasl(dsdt);

	guest_read(vm, rsdp, first, sizeof(first));
	guest_zero(vm, rsdp, PLATFORM_ACPI_END - PLATFORM_ACPI_BASE);
	device_reset_all(vm);
	platform_boot_prepare(vm, &rsdp);
	guest_read(vm, rsdp, again, sizeof(again));
	ktap_check(!memcmp(first, again, sizeof(first)), "after a reset they are the same");
	pv_destroy(vm);
	return ktap_finish();
}
