/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv.h - the device side of libhv: what a device model needs of /dev/hv.
 *
 * Thin wrappers of the calls of <uapi/hv.h> (Documentation/abi.rst describes each of them),
 * and "assists" that complete an exit by emulating its instruction with the caller's devices.
 * Documentation/libhv.rst is the guide.  Nothing else in the tree opens /dev/hv.
 *
 * Every function returning int gives 0 (or a count where stated) or a negative errno, prints
 * nothing and never ends the process.  gpa is a guest-physical address in bytes; sizes and
 * lengths are bytes.
 *
 * Threads: a vCPU belongs to the thread that runs it.  Only hv_vcpu_kick(), hv_vm_kick() and
 * the functions taking a struct hv_vm or hv_dev may be called from any thread at any time.
 * After fork a child must not use any of these objects (-EIO).
 */
#ifndef _HV_HV_H
#define _HV_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if __has_include(<uapi/hv.h>)
#include <uapi/hv.h>
#else
#include <hv/uapi.h>	/* where `make install` puts it */
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct hv_dev;
struct hv_vm;

/**
 * struct hv_callbacks - the guest's devices and memory, as the assists see them.
 * @opaque:	first argument of every callback.
 * @io:		port access of @size 1, 2 or 4 bytes.  @in: fill @data with @size bytes, else
 *		@data holds them.  Once per element of a string instruction.
 * @mem:	access to what @guest_read or @guest_write would not serve (device memory, a
 *		write to a read-only slot, a hole).  @size is 1 to 64 and never crosses a page;
 *		a device sees exactly the access the instruction makes.
 * @guest_read:	copy @len bytes of RAM (or ROM) at @gpa to @buf.  Never crosses a page.
 * @guest_write: copy to RAM.  Must refuse read-only slots.
 * @guest_cmpxchg: optional.  Atomically: if the @size (4 or 8) byte word of RAM at @gpa is
 *		@old, make it @new.  For accessed and dirty bits of guest page tables.
 *		-EAGAIN: it was something else.  Without it they are read, compared and written.
 *
 * All return 0 or a negative errno.  For the guest_ ones any error means "this is not RAM", and
 * the access goes to @mem.  An error of @io or @mem ends the assist with this error and leaves
 * the instruction uncompleted: for failures of the vmm, not for unclaimed addresses (read those
 * as all ones, ignore writes).  Callbacks run in the thread that called the assist.
 */
struct hv_callbacks {
	void *opaque;
	int (*io)(void *opaque, uint32_t vcpu, uint16_t port, bool in, uint32_t size, void *data);
	int (*mem)(void *opaque, uint32_t vcpu, uint64_t gpa, bool write, uint32_t size,
		   void *data);
	int (*guest_read)(void *opaque, uint64_t gpa, void *buf, size_t len);
	int (*guest_write)(void *opaque, uint64_t gpa, const void *buf, size_t len);
	int (*guest_cmpxchg)(void *opaque, uint64_t gpa, uint64_t old, uint64_t new_value,
			     uint32_t size);
};

/**
 * struct hv_vcpu - a vCPU.  Allocated by hv_vcpu_create(); these fields are for reading.
 * @run:	the run area; the exit and its details, the want fields.
 * @group:	the state groups in it, by HV_GROUP_*; NULL if the module has none.
 * @vm:		its VM.
 * @id:		as given at creation.
 * @fd:		the vCPU's descriptor.
 */
struct hv_vcpu {
	struct hv_run *run;
	void *group[HV_GROUP_MAX];
	struct hv_vm *vm;
	uint32_t id;
	int fd;
};

/* ------------------------------------------------------------------ */
/* /dev/hv                                                              */
/* ------------------------------------------------------------------ */

/**
 * hv_open() - open the hypervisor device.
 * @path:	NULL for /dev/hv.
 * @dev:	result; hv_close() it after the last VM is destroyed.
 *
 * -ENOENT, -EACCES and what else open(2) gives; -EPROTO: not this library's interface.
 * hv_refusal() makes a line for the user of them.
 */
int hv_open(const char *path, struct hv_dev **dev);
void hv_close(struct hv_dev *dev);
int hv_dev_fd(const struct hv_dev *dev);

/**
 * hv_get_info() - what this host and module offer, and how busy they are, now.
 * status says why hv_vm_create() would fail, HV_STATUS_OK if it would not.
 */
int hv_get_info(struct hv_dev *dev, struct hv_info *info);

/**
 * hv_get_cpuid() - the most a guest's CPUID table may hold on this host.
 * @entries:	room for *@count entries.
 * @count:	in: room, at most hv_info.max_cpuid is needed; out: entries there are.
 *
 * -E2BIG: too little room; *@count tells how much it takes.
 */
int hv_get_cpuid(struct hv_dev *dev, struct hv_cpuid_entry *entries, uint32_t *count);

/**
 * hv_refusal() - one line for the user that says why hv could not be used, and the remedy.
 * @dev:	NULL if hv_open() failed.
 * @err:	what hv_open(), hv_vm_create() or hv_vcpu_create() returned; or 0, then the line
 *		is about hv_info.status and empty if a VM could be created.
 * @buf, @len:	for the line; no newline.  256 bytes always suffice.
 *
 * Returns @buf.
 */
const char *hv_refusal(struct hv_dev *dev, int err, char *buf, size_t len);

/* Names for reports: "MMIO" of HV_EXIT_MMIO, "halt_ns" of HV_STAT_HALT_NS; NULL out of range. */
const char *hv_exit_name(uint32_t reason);
const char *hv_stat_name(uint32_t counter);

/* ------------------------------------------------------------------ */
/* VM                                                                   */
/* ------------------------------------------------------------------ */

/**
 * hv_vm_create() - create a VM without memory or vCPUs.
 * @cb:		copied.  May be NULL if no assist will be called.
 * @features:	HV_FEATURE_* the caller relies on.
 * @vm:		result.
 *
 * -EBUSY: another hypervisor owns SVM or VMX; -ENODEV: the CPU or firmware cannot;
 * -EINVAL: a feature this host does not have.
 */
int hv_vm_create(struct hv_dev *dev, const struct hv_callbacks *cb, uint64_t features,
		 struct hv_vm **vm);
/* All vCPUs of it must be destroyed before. */
void hv_vm_destroy(struct hv_vm *vm);
int hv_vm_fd(const struct hv_vm *vm);

/** hv_vm_set_cpuid() - the guest's CPUID table, before the first vCPU; the module filters it. */
int hv_vm_set_cpuid(struct hv_vm *vm, const struct hv_cpuid_entry *entries, uint32_t count);

/**
 * hv_set_slots() - change the memory map; all of @slots or nothing, as one change.
 * Size 0 removes a slot.  hva, gpa and size are multiples of 4096.
 */
int hv_set_slots(struct hv_vm *vm, const struct hv_slot *slots, uint32_t count);

/**
 * hv_prefault() - populate nested page tables for [@gpa, @gpa + @len).
 * @write:	fault the backing in for writing.
 *
 * -EINTR: a signal came and a part is done; calling again is harmless.
 * -EFAULT: a part has no slot or its backing cannot be faulted in.
 */
int hv_prefault(struct hv_vm *vm, uint64_t gpa, uint64_t len, bool write);

/**
 * hv_get_dirty() - pages of a logged slot written since they were last cleared.
 * @first:	page within the slot, a multiple of 64.
 * @count:	pages.
 * @bitmap:	@count bits, bit n of word m is page @first + 64 * m + n.
 * @clear:	forget what is reported.
 *
 * What the vmm itself and vhost back ends wrote is not in it (contract 5).
 */
int hv_get_dirty(struct hv_vm *vm, uint32_t slot, uint64_t first, uint64_t count,
		 uint64_t *bitmap, bool clear);

/**
 * hv_send_msi() - put an MSI on the guest's bus.  Data bit 15 set: level-triggered.
 * Returns the number of targets reached (0: none is listening).  Safe in any thread.
 */
int hv_send_msi(struct hv_vm *vm, uint64_t address, uint32_t data);

/** hv_set_line() - set the level of HV_LINE_INTR, the 8259's output. */
int hv_set_line(struct hv_vm *vm, uint32_t line, bool level);

/**
 * hv_irqfd_assign() - deliver an MSI in the kernel whenever @eventfd is signalled.
 * @masked:	signals are latched and delivered by an update that unmasks.
 */
int hv_irqfd_assign(struct hv_vm *vm, int eventfd, uint64_t address, uint32_t data, bool masked);

/**
 * hv_irqfd_update() - a new target or mask, atomically.
 * @pending:	may be NULL; set to whether a signal is latched.
 */
int hv_irqfd_update(struct hv_vm *vm, int eventfd, uint64_t address, uint32_t data, bool masked,
		    bool *pending);
int hv_irqfd_deassign(struct hv_vm *vm, int eventfd);

/**
 * hv_doorbell_add() - signal @eventfd in the kernel when the guest writes to @address.
 * @flags:	HV_DOORBELL_PORT: @address is a port; HV_DOORBELL_MATCH: only writes of @data.
 * @len:	1, 2, 4 or 8 bytes; 0: a write of any size (not with MATCH).
 *
 * -EEXIST: the same doorbell is there; -ENOSPC: more than hv_info.max_doorbells.
 * Remove with the same arguments.
 */
int hv_doorbell_add(struct hv_vm *vm, uint32_t flags, uint64_t address, uint32_t len,
		    uint64_t data, int eventfd);
int hv_doorbell_remove(struct hv_vm *vm, uint32_t flags, uint64_t address, uint32_t len,
		       uint64_t data, int eventfd);

/** hv_get_stats() - counters of vCPU @vcpu, or of the VM with HV_STATS_VM. */
int hv_get_stats(struct hv_vm *vm, uint32_t vcpu, struct hv_stats *stats);

/** hv_get_clock() - guest TSC, kvmclock, host TSC and real time of one instant. */
int hv_get_clock(struct hv_vm *vm, struct hv_vm_clock *clock);

/** hv_set_clock() - what @clock->flags say (HV_CLOCK_SET_*), as of now. */
int hv_set_clock(struct hv_vm *vm, const struct hv_vm_clock *clock);

/**
 * hv_vcpu_kick() - make a vCPU's current or next hv_vcpu_run() return with HV_EXIT_KICK.
 * Sticky, lock-free, from any thread.
 */
int hv_vcpu_kick(struct hv_vcpu *vcpu);
int hv_vm_kick(struct hv_vm *vm);

/* ------------------------------------------------------------------ */
/* vCPU                                                                 */
/* ------------------------------------------------------------------ */

/**
 * hv_vcpu_create() - create a vCPU and map its run area.
 * @id:		0 to hv_info.max_vcpus - 1; the initial APIC id.
 *
 * It starts in the state after reset (APs wait for SIPI).
 * -ENODATA: the VM has no CPUID table yet; -EEXIST: there is a vCPU of this id.
 */
int hv_vcpu_create(struct hv_vm *vm, uint32_t id, struct hv_vcpu **vcpu);
void hv_vcpu_destroy(struct hv_vcpu *vcpu);

/**
 * hv_vcpu_run() - apply what is marked dirty and the retirement, then run the guest.
 *
 * 0: an exit is in vcpu->run->exit_reason.  -EINTR: a signal (exit reason HV_EXIT_SIGNAL).
 * -EBUSY: another thread is using the vCPU.  -EIO: called after fork.
 */
int hv_vcpu_run(struct hv_vcpu *vcpu);

/** hv_vcpu_group() - a state group in the run area, NULL if there is none. */
static inline void *hv_vcpu_group(const struct hv_vcpu *vcpu, unsigned int n)
{
	return n < HV_GROUP_MAX ? vcpu->group[n] : NULL;
}

static inline struct hv_regs *hv_vcpu_regs(const struct hv_vcpu *vcpu)
{
	return (struct hv_regs *)vcpu->group[HV_GROUP_REGS];
}

static inline struct hv_segs *hv_vcpu_segs(const struct hv_vcpu *vcpu)
{
	return (struct hv_segs *)vcpu->group[HV_GROUP_SEGS];
}

static inline struct hv_control *hv_vcpu_control(const struct hv_vcpu *vcpu)
{
	return (struct hv_control *)vcpu->group[HV_GROUP_CONTROL];
}

static inline struct hv_events *hv_vcpu_events(const struct hv_vcpu *vcpu)
{
	return (struct hv_events *)vcpu->group[HV_GROUP_EVENTS];
}

/** hv_vcpu_mark_dirty() - the next run takes these groups (HV_GROUP() bits) from the run area. */
static inline void hv_vcpu_mark_dirty(struct hv_vcpu *vcpu, uint64_t groups)
{
	vcpu->run->dirty |= groups;
}

/** hv_vcpu_get_state() - copy @groups from the CPU to the run area, whatever is there. */
int hv_vcpu_get_state(struct hv_vcpu *vcpu, uint64_t groups);

/** hv_vcpu_set_state() - copy @groups from the run area to the CPU now.  -EINVAL: bad state. */
int hv_vcpu_set_state(struct hv_vcpu *vcpu, uint64_t groups);

/** hv_vcpu_need() - get those of @groups that the run area does not hold current. */
int hv_vcpu_need(struct hv_vcpu *vcpu, uint64_t groups);

/**
 * hv_vcpu_sync() - give the CPU everything that is marked dirty and the retirement, without
 * running.  Before hv_vcpu_get_state() for a snapshot, so that no completed exit is lost.
 */
int hv_vcpu_sync(struct hv_vcpu *vcpu);

/**
 * hv_vcpu_retire() - the instruction of the current exit is done: the next run steps over it.
 * For IO, MSR and any exit whose length the module gave; -EINVAL if it gave none.
 */
int hv_vcpu_retire(struct hv_vcpu *vcpu);

/**
 * hv_vcpu_raise() - raise an exception as a fault of the current instruction.
 * @vector:	8, 10 to 14, 17, 21, 29, 30 carry @error_code.
 * @payload:	CR2 for #PF (14), DR6 bits for #DB (1), else ignored.
 */
int hv_vcpu_raise(struct hv_vcpu *vcpu, uint8_t vector, uint32_t error_code, uint64_t payload);

/** hv_vcpu_inject_extint() - answer HV_EXIT_EXTINT with the vector the 8259 gave. */
int hv_vcpu_inject_extint(struct hv_vcpu *vcpu, uint8_t vector);

/** hv_vcpu_msr_done() - complete HV_EXIT_MSR; @value is the result of a RDMSR. */
int hv_vcpu_msr_done(struct hv_vcpu *vcpu, uint64_t value);

/** hv_vcpu_msr_refuse() - answer HV_EXIT_MSR with #GP(0). */
int hv_vcpu_msr_refuse(struct hv_vcpu *vcpu);

/** hv_vcpu_apic_access() - read or write a register of the vCPU's local APIC page. */
int hv_vcpu_apic_access(struct hv_vcpu *vcpu, uint32_t offset, bool write, uint32_t *value);

/**
 * hv_vcpu_translate() - guest-linear to guest-physical, as the vCPU's page tables stand now.
 * @access:	HV_ACCESS_* wanted; 0 asks as a supervisor for any mapping.
 *
 * Changes nothing.  -EFAULT: not mapped, or not for this access.
 */
int hv_vcpu_translate(struct hv_vcpu *vcpu, uint64_t gva, uint32_t access, uint64_t *gpa);

/* ------------------------------------------------------------------ */
/* Assists                                                              */
/* ------------------------------------------------------------------ */

/**
 * hv_assist_io() - complete HV_EXIT_IO, string and REP forms included.
 *
 * 0: done, run again.  That includes faults, which the guest gets with the next run, and long
 * REP instructions, which are done in bounded pieces so that kicks are seen.
 * -ENOTSUP: an instruction libhv does not know; hv_vcpu_error() has its bytes.
 * Else: the error of a callback.
 */
int hv_assist_io(struct hv_vcpu *vcpu);

/** hv_assist_mem() - complete HV_EXIT_MMIO, HV_EXIT_APIC or HV_EXIT_INSN; as hv_assist_io(). */
int hv_assist_mem(struct hv_vcpu *vcpu);

/**
 * hv_vcpu_error() - why the last assist failed: one line with RIP, mode and bytes.
 * Valid until the next assist of this vCPU; empty if it did not fail.
 */
const char *hv_vcpu_error(const struct hv_vcpu *vcpu);

#ifdef __cplusplus
}
#endif

#endif /* _HV_HV_H */
