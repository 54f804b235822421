/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * hv.h - the interface between hv.ko and its one client, libhv.
 *
 * Objects are file descriptors: /dev/hv -> VM -> vCPU.  All are close-on-exec;
 * guest memory and the run area are not inherited over fork.
 *
 * Rules that hold for every ioctl here:
 *   - Every argument struct starts with @size, the caller's sizeof.  A smaller
 *     or larger size than the module knows is -EINVAL; growth happens by new
 *     structs or by the reserved words, announced by a feature bit.
 *   - Reserved fields and undefined flag bits must be zero, else -EINVAL.
 *   - A process whose mm is not the VM creator's gets -EIO.
 *   - Errors are negative errno values, as returned by ioctl(2).
 *
 * Documentation/abi.rst describes each call in full.
 */
#ifndef _UAPI_HV_H
#define _UAPI_HV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HV_DEVICE		"/dev/hv"
#define HV_IOC			0xB7

/* ------------------------------------------------------------------ */
/* Feature bits: hv_info.features, and hv_create_vm.features to use.   */
/* ------------------------------------------------------------------ */
#define HV_FEATURE_DIRTY_LOG	(1ULL << 0)	/* HV_SLOT_LOG_DIRTY, HV_GET_DIRTY */
#define HV_FEATURE_READONLY	(1ULL << 1)	/* HV_SLOT_READONLY */
#define HV_FEATURE_IRQFD	(1ULL << 2)
#define HV_FEATURE_DOORBELL	(1ULL << 3)
#define HV_FEATURE_KVMCLOCK	(1ULL << 4)
#define HV_FEATURE_X2APIC	(1ULL << 5)
#define HV_FEATURE_TSC_DEADLINE	(1ULL << 6)
#define HV_FEATURE_PREFAULT	(1ULL << 7)

#define HV_VENDOR_SVM		1
#define HV_VENDOR_VMX		2

#define HV_MODE_OWN		1	/* hv.ko switches SVM/VMX on itself */
#define HV_MODE_BORROW		2	/* a KVM VM fd keeps it on */

/* hv_info.mode_why */
#define HV_WHY_FREE		0	/* own: nobody else has it on */
#define HV_WHY_KERNEL		1	/* borrow: this kernel lets nobody but KVM switch it on */
#define HV_WHY_FORCED		2	/* borrow: the module's parameter vmx_borrow */
#define HV_WHY_KVM		3	/* borrow: KVM has it on */

/* hv_info.status: why HV_CREATE_VM would fail now; 0 is "it would not". */
#define HV_STATUS_OK		0
#define HV_STATUS_NO_CPU	1	/* CPU lacks SVM/VMX or nested paging */
#define HV_STATUS_FIRMWARE	2	/* switched off in firmware */
#define HV_STATUS_IN_USE	3	/* another hypervisor (KVM) owns it; SVM only */

/* ------------------------------------------------------------------ */
/* State groups of the run area.  Offsets and sizes: hv_info.group[].   */
/* ------------------------------------------------------------------ */
#define HV_GROUP_REGS		0	/* struct hv_regs */
#define HV_GROUP_SEGS		1	/* struct hv_segs */
#define HV_GROUP_CONTROL	2	/* struct hv_control */
#define HV_GROUP_DEBUG		3	/* struct hv_debug */
#define HV_GROUP_MSRS		4	/* struct hv_msrs */
#define HV_GROUP_EVENTS		5	/* struct hv_events */
#define HV_GROUP_MP		6	/* struct hv_mp */
#define HV_GROUP_CLOCK		7	/* struct hv_clock */
#define HV_GROUP_APIC_TIMER	8	/* struct hv_apic_timer */
#define HV_GROUP_APIC		9	/* 4096 bytes, xAPIC register layout */
#define HV_GROUP_XSAVE		10	/* standard (non-compacted) XSAVE image */
#define HV_GROUP_COUNT		11
#define HV_GROUP_MAX		16
#define HV_GROUP(n)		(1ULL << (n))
#define HV_GROUPS_ALL		(HV_GROUP(HV_GROUP_COUNT) - 1)

/* Order of gpr[]: the ModRM/REX encoding of x86. */
enum {
	HV_RAX, HV_RCX, HV_RDX, HV_RBX, HV_RSP, HV_RBP, HV_RSI, HV_RDI,
	HV_R8, HV_R9, HV_R10, HV_R11, HV_R12, HV_R13, HV_R14, HV_R15,
};

struct hv_regs {
	__u64 gpr[16];
	__u64 rip;
	__u64 rflags;
};

/*
 * attr holds the descriptor's bits 40-55 (type 3:0, S 4, DPL 6:5, P 7,
 * AVL 12, L 13, D/B 14, G 15), bits 11:8 zero; limit is in bytes, expanded.
 */
#define HV_SEG_TYPE		0x000f
#define HV_SEG_S		0x0010
#define HV_SEG_DPL_SHIFT	5
#define HV_SEG_DPL		0x0060
#define HV_SEG_P		0x0080
#define HV_SEG_AVL		0x1000
#define HV_SEG_L		0x2000
#define HV_SEG_DB		0x4000
#define HV_SEG_G		0x8000
#define HV_SEG_UNUSABLE		0x10000

struct hv_seg {
	__u64 base;
	__u32 limit;
	__u32 attr;
	__u16 selector;
	__u16 reserved[3];
};

struct hv_dtable {
	__u64 base;
	__u16 limit;
	__u16 reserved[3];
};

/* Index into hv_segs.seg[]: the x86 encoding order, then LDTR and TR. */
enum { HV_ES, HV_CS, HV_SS, HV_DS, HV_FS, HV_GS, HV_LDTR, HV_TR, HV_SEG_COUNT };

/* The CPL is the DPL of SS. */
struct hv_segs {
	struct hv_seg seg[HV_SEG_COUNT];
	struct hv_dtable gdtr;
	struct hv_dtable idtr;
};

struct hv_control {
	__u64 cr0;
	__u64 cr2;
	__u64 cr3;
	__u64 cr4;
	__u64 cr8;		/* 0..15 */
	__u64 efer;
	__u64 xcr0;
	__u64 apic_base;	/* IA32_APIC_BASE */
	__u64 pdpte[4];		/* PAE only, and only where the CPU keeps them (VMX) */
	__u64 reserved[4];
};

struct hv_debug {
	__u64 dr[4];
	__u64 dr6;
	__u64 dr7;
	__u64 debugctl;
	__u64 reserved;
};

#define HV_MTRR_VAR		8
#define HV_MC_BANKS		4

/* Model-specific registers that are not kept in another group. */
struct hv_msrs {
	__u64 star, lstar, cstar, sfmask;
	__u64 kernel_gs_base;
	__u64 sysenter_cs, sysenter_esp, sysenter_eip;
	__u64 pat;
	__u64 tsc_aux;
	__u64 spec_ctrl;
	__u64 virt_spec_ctrl;
	__u64 misc_enable;
	__u64 ucode_rev;
	__u64 xss;
	__u64 mtrr_def_type;
	__u64 mtrr_fixed[11];
	__u64 mtrr_var[HV_MTRR_VAR][2];
	__u64 mcg_status, mcg_ctl;
	__u64 mc[HV_MC_BANKS][4];	/* CTL, STATUS, ADDR, MISC */
	__u64 hwcr;
	__u64 syscfg;
	__u64 reserved[62];
};

#define HV_EXC_PENDING		0x01	/* not yet delivered: payload not yet in CR2/DR6 */
#define HV_EXC_INJECTED		0x02	/* delivery had begun when the vCPU stopped */
#define HV_EXC_ERROR_CODE	0x04
#define HV_EXC_PAYLOAD		0x08	/* @exc_payload is CR2 (#PF) or DR6 bits (#DB) */

#define HV_INT_INJECTED		0x01	/* external interrupt being delivered */
#define HV_INT_SOFT		0x02	/* INT n / INT3 / INTO being delivered */

#define HV_SHADOW_STI		0x01
#define HV_SHADOW_MOV_SS	0x02

struct hv_events {
	__u8  exc_flags;
	__u8  exc_vector;
	__u8  int_flags;
	__u8  int_vector;
	__u32 exc_error_code;
	__u64 exc_payload;
	__u8  int_length;	/* of the INT n instruction, soft interrupts only */
	__u8  nmi_injected;
	__u8  nmi_pending;	/* 0..2 */
	__u8  nmi_masked;
	__u8  shadow;		/* HV_SHADOW_* */
	__u8  triple_fault;
	__u8  reserved[10];
};

#define HV_MP_RUNNABLE		0
#define HV_MP_HALTED		1	/* in HLT */
#define HV_MP_WAIT_SIPI		2	/* after INIT; an application processor starts so */

struct hv_mp {
	__u32 state;
	__u8  init_latched;
	__u8  sipi_latched;
	__u8  sipi_vector;
	__u8  pv_unhalt;	/* KVM_HC_KICK_CPU arrived: HLT ends. 0 takes none back that did */
	__u8  reserved[8];
};

/*
 * Guest TSC = host TSC + VM's base offset (hv_vm_clock) + @tsc_offset.
 * KVM paravirtual MSRs, with their enable bits, as the guest wrote them.
 */
struct hv_clock {
	__s64 tsc_offset;
	__u64 tsc_adjust;
	__u64 kvm_system_time;
	__u64 kvm_wall_clock;
	__u64 kvm_steal_time;
	__u64 kvm_pv_eoi;
	__u64 kvm_poll_control;
	__u64 steal_ns;
	__u64 reserved[8];
};

struct hv_apic_timer {
	__u64 remaining_ns;	/* to the next expiry; 0: not armed (one-shot, periodic) */
	__u64 tsc_deadline;	/* IA32_TSC_DEADLINE; 0: not armed */
	__u64 pending;		/* expiries not yet turned into interrupts */
	__u64 reserved[5];
};

/* ------------------------------------------------------------------ */
/* The run area: mmap(vcpu_fd, offset 0, hv_info.run_size).            */
/* ------------------------------------------------------------------ */
#define HV_EXIT_NONE		0
#define HV_EXIT_KICK		1	/* HV_KICK consumed */
#define HV_EXIT_SIGNAL		2	/* HV_RUN also returned -EINTR */
#define HV_EXIT_IO		3	/* .io */
#define HV_EXIT_MMIO		4	/* .mem: access with no slot, or write to a read-only one */
#define HV_EXIT_MEMORY_FAULT	5	/* .fault: slot whose backing cannot serve the access */
#define HV_EXIT_MSR		6	/* .msr */
#define HV_EXIT_EOI		7	/* .eoi: EOI of a level-triggered vector */
#define HV_EXIT_EXTINT		8	/* 8259 may be acknowledged now: inject by events group */
#define HV_EXIT_WINDOW		9	/* a window asked for in .want_windows is open */
#define HV_EXIT_APIC		10	/* .mem: access to the APIC page the module does not decode */
#define HV_EXIT_INSN		11	/* .mem: intercepted instruction left to userspace */
#define HV_EXIT_SHUTDOWN	12	/* triple fault */
#define HV_EXIT_FAIL_ENTRY	13	/* .fail: the CPU refused the state */
#define HV_EXIT_DEBUG		14	/* .debug */
#define HV_EXIT_INTERNAL	15	/* .fail: an exit the module did not expect */
#define HV_EXIT_COUNT		16

/* hv_run.want_windows / hv_run.windows */
#define HV_WINDOW_INTR		0x1	/* EXTINT-class interrupt can be taken */
#define HV_WINDOW_NMI		0x2

#define HV_RETIRE_RIP		0xff	/* hv_run.retire: next RIP is hv_run.retire_rip */

#define HV_ACCESS_READ		0x1
#define HV_ACCESS_WRITE		0x2
#define HV_ACCESS_EXEC		0x4
#define HV_ACCESS_PT		0x8	/* the guest's own page walk touched it */

/* hv_exit_fault.cause: negative errno of the host fault, as a positive number,
 * e.g. EFAULT (no mapping, PROT_NONE, past end of file), EHWPOISON. */

struct hv_exit_io {
	__u16 port;
	__u8  size;		/* 1, 2, 4 bytes */
	__u8  in;		/* 1: IN/INS */
	__u8  string;		/* INS/OUTS: libhv emulates from the registers */
	__u8  rep;
	__u8  length;		/* bytes of the instruction */
	__u8  reserved;
	__u32 data;		/* OUT: the value written */
	__u32 reserved2;
};

struct hv_exit_mem {
	__u64 gpa;
	__u32 access;		/* HV_ACCESS_* */
	__u8  insn_len;		/* bytes valid in insn[]; 0 when they could not be read */
	__u8  length;		/* of the instruction where known, else 0 */
	__u8  reserved[2];
	__u8  insn[16];
	__u64 code;		/* HV_EXIT_INSN: vendor's exit code */
};

struct hv_exit_fault {
	__u64 gpa;
	__u32 access;
	__u32 cause;
};

struct hv_exit_msr {
	__u32 index;
	__u8  write;
	__u8  length;
	__u8  reserved[2];
	__u64 data;
};

struct hv_exit_eoi {
	__u32 vector;
	__u32 reserved;
};

struct hv_exit_fail {
	__u64 reason;		/* vendor's exit or failure code */
	__u64 info[3];
	__u32 cpu;
	__u32 reserved;
};

struct hv_exit_debug {
	__u64 dr6;
	__u64 rip;
	__u32 vector;
	__u32 reserved;
};

/*
 * First bytes of the run area.  The module reads each field once per call:
 * another thread may be writing it.
 *
 * Before HV_RUN userspace may set: dirty (groups to take from the run area),
 * want (groups to fill on every return besides REGS), want_windows, retire.
 * On return the module sets: valid, exit_reason, the exit's struct, windows.
 * REGS is always valid after HV_RUN; SEGS and CONTROL too for MMIO, APIC, INSN
 * and string IO exits.  dirty and retire are zero on return.
 *
 * Every exit is precise: RIP is that of the instruction.  When libhv has
 * completed it, it sets @retire to the instruction's length (1..15) or to
 * HV_RETIRE_RIP; the next HV_RUN or HV_SET_STATE then advances RIP, ends the
 * interrupt shadow, clears RF and raises the single-step #DB for TF.
 */
struct hv_run {
	__u64 dirty;
	__u64 want;
	__u32 want_windows;
	__u32 retire;
	__u64 retire_rip;
	__u64 reserved_in[4];

	__u64 valid;
	__u32 exit_reason;
	__u32 windows;
	__u64 reserved_out[2];
	union {
		struct hv_exit_io io;
		struct hv_exit_mem mem;
		struct hv_exit_fault fault;
		struct hv_exit_msr msr;
		struct hv_exit_eoi eoi;
		struct hv_exit_fail fail;
		struct hv_exit_debug debug;
		__u8 pad[128];
	};
};

/* ------------------------------------------------------------------ */
/* /dev/hv                                                              */
/* ------------------------------------------------------------------ */
struct hv_group_info {
	__u32 offset;
	__u32 size;
};

struct hv_info {
	__u32 size;
	__u32 vendor;
	__u64 features;
	__u32 mode;		/* HV_MODE_* of a VM created now */
	__u32 status;
	__u32 max_vcpus;
	__u32 max_slots;
	__u32 max_irqfds;
	__u32 max_doorbells;
	__u32 max_cpuid;
	__u32 gpa_bits;
	__u32 npt_levels;
	__u32 tsc_khz;
	__u32 run_size;		/* bytes to mmap from a vCPU fd */
	__u32 xsave_size;	/* bytes of the XSAVE group */
	__u64 xcr0;		/* XCR0 bits a guest may set */
	__u64 mitigations;	/* HV_MIT_* in force while guests run */
	__u64 hw_features;	/* HV_HW_* of this CPU that the module uses */
	__u32 vms;		/* VMs alive now, all users */
	__u32 vcpus;
	__u64 min_timer_ns;	/* floor of a periodic APIC timer */
	struct hv_group_info group[HV_GROUP_MAX];
	__u32 mode_why;		/* HV_WHY_* */
	__u32 reserved0;
	__u64 reserved[7];
};

#define HV_MIT_RSB_FILL		(1ULL << 0)
#define HV_MIT_SPEC_CTRL	(1ULL << 1)
#define HV_MIT_IBPB		(1ULL << 2)
#define HV_MIT_VERW		(1ULL << 3)
#define HV_MIT_UNTRAIN_RET	(1ULL << 4)
#define HV_MIT_CLEAR_GPR	(1ULL << 5)
#define HV_MIT_L1D_FLUSH	(1ULL << 6)
#define HV_MIT_BHB		(1ULL << 7)
#define HV_MIT_VMSCAPE		(1ULL << 8)
#define HV_MIT_NX_LARGE		(1ULL << 9)	/* large leaves are not executable */
#define HV_MIT_BP_REDUCE	(1ULL << 10)	/* BP_CFG.BpSpecReduce while there are guests (AMD, SRSO) */
#define HV_MIT_DIV0		(1ULL << 11)	/* a division before entry (Zen 1) */

#define HV_HW_NRIPS		(1ULL << 0)
#define HV_HW_DECODE_ASSIST	(1ULL << 1)
#define HV_HW_FLUSH_BY_ASID	(1ULL << 2)
#define HV_HW_CLEAN_BITS	(1ULL << 3)
#define HV_HW_VGIF		(1ULL << 4)
#define HV_HW_LA57		(1ULL << 5)
#define HV_HW_PAGE_1G		(1ULL << 6)
#define HV_HW_APICV		(1ULL << 7)	/* interrupts, without an exit each, in x2APIC mode */
#define HV_HW_PML		(1ULL << 8)	/* the dirty log, without a fault for each page */

struct hv_create_vm {
	__u32 size;
	__u32 flags;
	__u64 features;		/* subset of hv_info.features the caller relies on */
	__s32 kvm_fd;		/* borrow mode: a KVM VM fd; else -1 */
	__u32 reserved[3];
};

#define HV_CPUID_SUBLEAF	0x1	/* @subleaf selects */

struct hv_cpuid_entry {
	__u32 leaf;
	__u32 subleaf;
	__u32 flags;
	__u32 eax, ebx, ecx, edx;
	__u32 reserved;
};

/* HV_GET_CPUID: @count is room on entry, entries on return (-E2BIG: too small,
 * @count tells).  HV_SET_CPUID: the VM's table, before its first vCPU. */
struct hv_cpuid {
	__u32 size;
	__u32 count;
	__u64 entries;		/* pointer to struct hv_cpuid_entry[count] */
	__u64 reserved[2];
};

#define HV_GET_INFO		_IOWR(HV_IOC, 0x00, struct hv_info)
#define HV_CREATE_VM		_IOW(HV_IOC, 0x01, struct hv_create_vm)	/* returns the VM fd */
#define HV_GET_CPUID		_IOWR(HV_IOC, 0x02, struct hv_cpuid)

/* ------------------------------------------------------------------ */
/* VM fd                                                                */
/* ------------------------------------------------------------------ */
struct hv_create_vcpu {
	__u32 size;
	__u32 id;		/* 0..max_vcpus-1; the initial APIC id */
	__u64 reserved[2];
};

#define HV_SLOT_READONLY	0x1
#define HV_SLOT_LOG_DIRTY	0x2

/* Maps [gpa, gpa + size) to the caller's [hva, hva + size); size 0 removes
 * slot @id.  gpa, hva and size are multiples of 4096. */
struct hv_slot {
	__u32 id;
	__u32 flags;
	__u64 gpa;
	__u64 size;
	__u64 hva;
	__u64 reserved;
};

struct hv_set_slots {
	__u32 size;
	__u32 count;
	__u64 slots;		/* pointer to struct hv_slot[count]: applied as one change */
	__u64 reserved[2];
};

/* On return gpa and len hold what is left. */
struct hv_prefault {
	__u32 size;
	__u32 flags;		/* HV_ACCESS_WRITE: fault for writing */
	__u64 gpa;
	__u64 len;
	__u64 reserved;
};

#define HV_DIRTY_CLEAR		0x1	/* forget what is reported */

struct hv_get_dirty {
	__u32 size;
	__u32 slot;
	__u32 flags;
	__u32 reserved;
	__u64 first;		/* page within the slot, multiple of 64 */
	__u64 count;		/* pages */
	__u64 bitmap;		/* pointer to count bits, in __u64 */
};

#define HV_KICK_ALL		0xffffffffU

struct hv_kick {
	__u32 size;
	__u32 vcpu;		/* id, or HV_KICK_ALL */
};

/* MSI as on the bus: data bit 15 set means level-triggered. */
struct hv_msi {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u32 data;
	__u32 reserved;
};

#define HV_LINE_INTR		0	/* the 8259's INTR output */

struct hv_line {
	__u32 size;
	__u32 line;
	__u32 level;
	__u32 reserved;
};

#define HV_IRQFD_ASSIGN		0
#define HV_IRQFD_UPDATE		1	/* new target or mask for an assigned eventfd */
#define HV_IRQFD_DEASSIGN	2
#define HV_IRQFD_MASKED		0x1	/* flags: latch signals, deliver on unmask */
#define HV_IRQFD_PENDING	0x2	/* flags, out: a signal is latched */

struct hv_irqfd {
	__u32 size;
	__u32 op;
	__s32 fd;		/* the eventfd is the key */
	__u32 flags;
	__u64 address;
	__u32 data;
	__u32 reserved;
};

#define HV_DOORBELL_PORT	0x1	/* address is an I/O port, else guest-physical */
#define HV_DOORBELL_MATCH	0x2	/* only writes of @data */
#define HV_DOORBELL_REMOVE	0x4

struct hv_doorbell {
	__u32 size;
	__u32 flags;
	__u64 address;
	__u64 data;
	__s32 fd;
	__u32 len;		/* 1, 2, 4, 8 bytes; 0: any (not with MATCH) */
	__u64 reserved;
};

/* Counters.  VM: sums and VM-wide ones; vCPU: its own. */
enum {
	HV_STAT_EXITS, HV_STAT_USER_EXITS,
	HV_STAT_IO, HV_STAT_MMIO, HV_STAT_CPUID, HV_STAT_MSR, HV_STAT_HLT,
	HV_STAT_NPF, HV_STAT_INTR, HV_STAT_IRQ_INJECTED, HV_STAT_NMI_INJECTED,
	HV_STAT_EXC_INJECTED, HV_STAT_WINDOWS, HV_STAT_DOORBELLS, HV_STAT_APIC,
	HV_STAT_HALT_NS, HV_STAT_KICKS, HV_STAT_TLB_FLUSHES, HV_STAT_FAST_EXITS,
	HV_STAT_IPIS, HV_STAT_TIMER,
	HV_STAT_MAPPED_4K, HV_STAT_MAPPED_2M, HV_STAT_MAPPED_1G,	/* VM: leaves now */
	HV_STAT_TABLE_PAGES,						/* VM: now */
	HV_STAT_INVALIDATIONS, HV_STAT_IRQFD, HV_STAT_MSI,		/* VM */
	HV_STAT_COUNT,
	HV_STAT_MAX = 48,
};

#define HV_STATS_VM		0xffffffffU

struct hv_stats {
	__u32 size;
	__u32 vcpu;		/* id, or HV_STATS_VM */
	__u64 valid;		/* out: bit n: counter[n] has meaning */
	__u64 counter[HV_STAT_MAX];
};

/*
 * The VM's clock.  HV_GET_CLOCK samples all at one instant.  HV_SET_CLOCK with
 * HV_CLOCK_SET_TSC makes vCPU TSCs with tsc_offset 0 read @guest_tsc now; with
 * HV_CLOCK_SET_NS sets kvmclock's nanoseconds now.
 */
#define HV_CLOCK_SET_TSC	0x1
#define HV_CLOCK_SET_NS		0x2
#define HV_CLOCK_STABLE		0x4	/* out: kvmclock carries the stable bit */

struct hv_vm_clock {
	__u32 size;
	__u32 flags;
	__u64 guest_tsc;
	__u64 kvmclock_ns;
	__u64 host_tsc;		/* out */
	__u64 realtime_ns;	/* out: host CLOCK_REALTIME */
	__u32 tsc_khz;		/* out: guest TSC frequency */
	__u32 reserved[3];
};

#define HV_CREATE_VCPU		_IOW(HV_IOC, 0x20, struct hv_create_vcpu) /* returns the vCPU fd */
#define HV_SET_CPUID		_IOW(HV_IOC, 0x21, struct hv_cpuid)
#define HV_SET_SLOTS		_IOW(HV_IOC, 0x22, struct hv_set_slots)
#define HV_PREFAULT		_IOWR(HV_IOC, 0x23, struct hv_prefault)
#define HV_GET_DIRTY		_IOW(HV_IOC, 0x24, struct hv_get_dirty)
#define HV_KICK			_IOW(HV_IOC, 0x25, struct hv_kick)
#define HV_SEND_MSI		_IOW(HV_IOC, 0x26, struct hv_msi)	/* returns targets reached */
#define HV_SET_LINE		_IOW(HV_IOC, 0x27, struct hv_line)
#define HV_SET_IRQFD		_IOWR(HV_IOC, 0x28, struct hv_irqfd)
#define HV_SET_DOORBELL		_IOW(HV_IOC, 0x29, struct hv_doorbell)
#define HV_GET_STATS		_IOWR(HV_IOC, 0x2a, struct hv_stats)
#define HV_GET_CLOCK		_IOWR(HV_IOC, 0x2b, struct hv_vm_clock)
#define HV_SET_CLOCK		_IOW(HV_IOC, 0x2c, struct hv_vm_clock)

/* ------------------------------------------------------------------ */
/* vCPU fd                                                              */
/* ------------------------------------------------------------------ */
struct hv_state {
	__u32 size;
	__u32 reserved;
	__u64 groups;		/* HV_GROUP() bits */
};

struct hv_apic_access {
	__u32 size;
	__u32 offset;		/* into the APIC page, multiple of 16 */
	__u32 write;
	__u32 value;		/* in for writes, out for reads */
	__u64 reserved;
};

#define HV_RUN			_IO(HV_IOC, 0x40)
#define HV_GET_STATE		_IOW(HV_IOC, 0x41, struct hv_state)	/* CPU -> run area */
#define HV_SET_STATE		_IOW(HV_IOC, 0x42, struct hv_state)	/* run area -> CPU */
#define HV_APIC_ACCESS		_IOWR(HV_IOC, 0x43, struct hv_apic_access)

#endif /* _UAPI_HV_H */
