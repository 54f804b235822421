// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_stats.c - figures of a running domain (hv_stats.h).
 *
 * The vmm's own figures are in Documentation/control.rst, "stats" and "info".
 */
#include <config.h>

#include "hv_stats.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>

#include "hv_monitor.h"
#include "virerror.h"
#include "virfile.h"
#include "virnetdevtap.h"
#include "virprocess.h"
#include "virstring.h"

#define VIR_FROM_THIS HV_FROM

/* ---- from the vmm ---- */

struct json_object *hv_stats_get(virDomainObj *vm)
{
	struct json_object *stats = NULL;

	if (hv_monitor_call(vm, "stats", NULL, &stats, NULL) < 0)
		return NULL;
	if (virDomainObjCheckActive(vm) < 0)
		g_clear_pointer(&stats, json_object_put);
	return stats;
}

static struct json_object *item(struct json_object *obj, const char *list, size_t i)
{
	struct json_object *array = json_object_object_get(obj, list);

	if (!json_object_is_type(array, json_type_array) || i >= json_object_array_length(array))
		return NULL;
	return json_object_array_get_idx(array, i);
}

/* Of "disk0", "net1": the vmm counts as its configuration does, and that is in our order. */
static struct json_object *device_stats(struct json_object *stats, const char *list, size_t n)
{
	g_autofree char *id = g_strdup_printf("%s%zu", list, n);
	struct json_object *dev;
	size_t i;

	for (i = 0; (dev = item(stats, "devices", i)); i++)
		if (STREQ_NULLABLE(json_object_get_string(json_object_object_get(dev, "id")), id))
			return json_object_object_get(dev, "statistics");
	return NULL;
}

static unsigned long long number(struct json_object *obj, const char *key)
{
	return json_object_get_uint64(json_object_object_get(obj, key));
}

void hv_stats_block(struct json_object *stats, size_t disk, struct hv_block_stats *out)
{
	struct json_object *s = device_stats(stats, "disk", disk);

	*out = (struct hv_block_stats){
		.reads = number(s, "reads"), .read_bytes = number(s, "read_bytes"),
		.writes = number(s, "writes"), .write_bytes = number(s, "write_bytes"),
		.flushes = number(s, "flushes"), .errors = number(s, "errors"),
	};
}

int hv_stats_disk_index(const virDomainDef *def, const char *name)
{
	int i = virDomainDiskIndexByName((virDomainDef *)def, name, true);

	if (i < 0)
		virReportError(VIR_ERR_INVALID_ARG, _("there is no disk '%s'"), name);
	return i;
}

int hv_stats_interface_index(virDomainDef *def, const char *name)
{
	const virDomainNetDef *net = virDomainNetFind(def, name);
	size_t i;

	for (i = 0; net && i < def->nnets; i++)
		if (def->nets[i] == net)
			return i;
	virReportError(VIR_ERR_INVALID_ARG, _("there is no interface '%s'"), name);
	return -1;
}

int hv_stats_interface(virDomainObj *vm, struct json_object *stats, size_t net,
		       virDomainInterfaceStatsPtr out)
{
	const virDomainNetDef *def = vm->def->nets[net];
	struct json_object *s;

	memset(out, 0xff, sizeof(*out));		/* -1: not known */
	/* The host's end counts what the guest sends as received: swapped. */
	if (def->ifname)
		return virNetDevTapInterfaceStats(def->ifname, out, true);
	s = device_stats(stats, "net", net);
	if (!s)
		return 0;
	out->rx_bytes = number(s, "rx_bytes");
	out->rx_packets = number(s, "rx_packets");
	out->rx_drop = number(s, "rx_dropped");
	out->tx_bytes = number(s, "tx_bytes");
	out->tx_packets = number(s, "tx_packets");
	out->tx_drop = number(s, "tx_dropped");
	return 0;
}

/* ---- from the host ---- */

int hv_stats_cpu(virDomainObj *vm, struct hv_cpu_time *out)
{
	return virProcessGetStatInfo(&out->total, &out->user, &out->system, NULL, NULL, vm->pid, 0);
}

int hv_stats_memory_rss(virDomainObj *vm, unsigned long long *kib)
{
#if LIBVIR_VERSION_NUMBER >= 10000000
	unsigned long long rss;
#else
	long rss;
#endif

	if (virProcessGetStatInfo(NULL, NULL, NULL, NULL, &rss, vm->pid, 0) < 0)
		return -1;
	*kib = rss;
	return 0;
}

int hv_stats_vcpus(virDomainObj *vm, virVcpuInfoPtr info, unsigned long long *wait, int max,
		   unsigned char *maps, int maplen)
{
	struct hv_domain *domain = hv_domain(vm);
	int i;

	if (!domain->nr_vcpu_tid) {
		virReportError(VIR_ERR_OPERATION_INVALID, "%s",
			       _("the threads of the vCPUs are not known yet"));
		return -1;
	}
	for (i = 0; i < max && i < (int)domain->nr_vcpu_tid; i++) {
		const pid_t tid = domain->vcpu_tid[i];

		if (info) {
			memset(&info[i], 0, sizeof(info[i]));
			info[i].number = i;
			info[i].state = VIR_VCPU_RUNNING;
			if (virProcessGetStatInfo(&info[i].cpuTime, NULL, NULL, &info[i].cpu, NULL,
						  vm->pid, tid) < 0) {
				virReportSystemError(errno, "%s", _("cannot read a vCPU's times"));
				return -1;
			}
		}
		if (maps) {
			g_autoptr(virBitmap) map = virProcessGetAffinity(tid);

			if (!map)
				return -1;
			virBitmapToDataBuf(map, VIR_GET_CPUMAP(maps, maplen, i), maplen);
		}
		if (wait && virProcessGetSchedInfo(&wait[i], vm->pid, tid) < 0)
			return -1;
	}
	return i;
}

int hv_stats_block_info(const virDomainDiskDef *disk, virDomainBlockInfoPtr out)
{
	const char *path = disk->src->path;
	struct stat st;
	int fd;

	memset(out, 0, sizeof(*out));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		virReportSystemError(errno, _("cannot open %s"), path);
		VIR_FORCE_CLOSE(fd);
		return -1;
	}
	if (S_ISBLK(st.st_mode)) {
		uint64_t bytes = 0;

		if (ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
			virReportSystemError(errno, _("cannot get the size of %s"), path);
			VIR_FORCE_CLOSE(fd);
			return -1;
		}
		out->capacity = out->allocation = out->physical = bytes;
	} else {
		out->capacity = st.st_size;
		out->allocation = st.st_blocks * 512ULL;
		out->physical = st.st_size;
	}
	VIR_FORCE_CLOSE(fd);
	return 0;
}

/* ---- all of them ---- */

struct record {
	virTypedParameterPtr *params;
	int *n, max;
	int ret;
};

/* The first error stays; out of memory does not come back. */
#define ADD(rec, type, value, ...) do { \
	g_autofree char *name_ = g_strdup_printf(__VA_ARGS__); \
	if ((rec)->ret == 0) \
		(rec)->ret = virTypedParamsAdd##type((rec)->params, (rec)->n, &(rec)->max, name_, \
						     value); \
} while (0)

static void record_state(struct record *rec, virDomainObj *vm)
{
	int reason, state = virDomainObjGetState(vm, &reason);

	ADD(rec, Int, state, "state.state");
	ADD(rec, Int, reason, "state.reason");
}

static void record_cpu(struct record *rec, virDomainObj *vm)
{
	struct hv_cpu_time t;

	if (!virDomainObjIsActive(vm) || hv_stats_cpu(vm, &t) < 0)
		return;
	ADD(rec, ULLong, t.total, "cpu.time");
	ADD(rec, ULLong, t.user, "cpu.user");
	ADD(rec, ULLong, t.system, "cpu.system");
}

static void record_balloon(struct record *rec, virDomainObj *vm)
{
	unsigned long long kib;

	if (virDomainObjIsActive(vm))
		ADD(rec, ULLong, (unsigned long long)vm->def->mem.cur_balloon, "balloon.current");
	ADD(rec, ULLong, (unsigned long long)virDomainDefGetMemoryTotal(vm->def),
	    "balloon.maximum");
	if (virDomainObjIsActive(vm) && hv_stats_memory_rss(vm, &kib) == 0)
		ADD(rec, ULLong, kib, "balloon.rss");
}

static void record_vcpus(struct record *rec, virDomainObj *vm, struct json_object *stats)
{
	const int nr = virDomainDefGetVcpusMax(vm->def);
	g_autofree unsigned long long *wait = g_new0(unsigned long long, nr);
	g_autofree virVcpuInfo *info = g_new0(virVcpuInfo, nr);
	struct json_object *vcpu;
	int i, n;

	ADD(rec, UInt, (unsigned int)virDomainDefGetVcpus(vm->def), "vcpu.current");
	ADD(rec, UInt, (unsigned int)nr, "vcpu.maximum");
	if (!virDomainObjIsActive(vm))
		return;
	n = hv_stats_vcpus(vm, info, wait, nr, NULL, 0);
	if (n < 0)
		virResetLastError();
	for (i = 0; i < n; i++) {
		ADD(rec, Int, info[i].state, "vcpu.%d.state", i);
		ADD(rec, ULLong, info[i].cpuTime, "vcpu.%d.time", i);
		ADD(rec, ULLong, wait[i], "vcpu.%d.wait", i);
		vcpu = item(stats, "vcpus", i);
		if (vcpu) {
			ADD(rec, ULLong, number(vcpu, "exits"), "vcpu.%d.exits.sum", i);
			ADD(rec, ULLong, number(vcpu, "halt_ns"), "vcpu.%d.halt_ns.sum", i);
		}
	}
}

static void record_interfaces(struct record *rec, virDomainObj *vm, struct json_object *stats)
{
	virDomainInterfaceStatsStruct s;
	size_t i;

	if (!virDomainObjIsActive(vm))
		return;
	ADD(rec, UInt, (unsigned int)vm->def->nnets, "net.count");
	for (i = 0; i < vm->def->nnets; i++) {
		if (vm->def->nets[i]->ifname)
			ADD(rec, String, vm->def->nets[i]->ifname, "net.%zu.name", i);
		if (hv_stats_interface(vm, stats, i, &s) < 0) {
			virResetLastError();
			continue;
		}
#define COUNTER(member, name) \
		if (s.member >= 0) \
			ADD(rec, ULLong, (unsigned long long)s.member, "net.%zu." name, i)
		COUNTER(rx_bytes, "rx.bytes");
		COUNTER(rx_packets, "rx.pkts");
		COUNTER(rx_errs, "rx.errs");
		COUNTER(rx_drop, "rx.drop");
		COUNTER(tx_bytes, "tx.bytes");
		COUNTER(tx_packets, "tx.pkts");
		COUNTER(tx_errs, "tx.errs");
		COUNTER(tx_drop, "tx.drop");
#undef COUNTER
	}
}

static void record_blocks(struct record *rec, virDomainObj *vm, struct json_object *stats)
{
	struct hv_block_stats s;
	virDomainBlockInfo info;
	size_t i;

	ADD(rec, UInt, (unsigned int)vm->def->ndisks, "block.count");
	for (i = 0; i < vm->def->ndisks; i++) {
		const virDomainDiskDef *disk = vm->def->disks[i];

		ADD(rec, String, disk->dst, "block.%zu.name", i);
		ADD(rec, String, disk->src->path, "block.%zu.path", i);
		if (stats) {
			hv_stats_block(stats, i, &s);
			ADD(rec, ULLong, s.reads, "block.%zu.rd.reqs", i);
			ADD(rec, ULLong, s.read_bytes, "block.%zu.rd.bytes", i);
			ADD(rec, ULLong, s.writes, "block.%zu.wr.reqs", i);
			ADD(rec, ULLong, s.write_bytes, "block.%zu.wr.bytes", i);
			ADD(rec, ULLong, s.flushes, "block.%zu.fl.reqs", i);
			ADD(rec, ULLong, s.errors, "block.%zu.errors", i);
		}
		if (hv_stats_block_info(disk, &info) < 0) {
			virResetLastError();
			continue;
		}
		ADD(rec, ULLong, info.allocation, "block.%zu.allocation", i);
		ADD(rec, ULLong, info.capacity, "block.%zu.capacity", i);
		ADD(rec, ULLong, info.physical, "block.%zu.physical", i);
	}
}

int hv_stats_record(virDomainObj *vm, struct json_object *stats, unsigned int wanted,
		    virTypedParameterPtr *params, int *nparams)
{
	struct record rec = { .params = params, .n = nparams };

	if (wanted & VIR_DOMAIN_STATS_STATE)
		record_state(&rec, vm);
	if (wanted & VIR_DOMAIN_STATS_CPU_TOTAL)
		record_cpu(&rec, vm);
	if (wanted & VIR_DOMAIN_STATS_BALLOON)
		record_balloon(&rec, vm);
	if (wanted & VIR_DOMAIN_STATS_VCPU)
		record_vcpus(&rec, vm, stats);
	if (wanted & VIR_DOMAIN_STATS_INTERFACE)
		record_interfaces(&rec, vm, stats);
	if (wanted & VIR_DOMAIN_STATS_BLOCK)
		record_blocks(&rec, vm, stats);
	return rec.ret;
}
