// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_exit.c - what an exit means, once the backend has told which it is.
 *
 * Functions marked section run with interrupts off inside the entry section;
 * the others may sleep.  Everything that is not hot and simple goes to
 * userspace, precisely: RIP and registers are those before the instruction.
 */
#include <uapi/linux/kvm_para.h>
#include <asm/mce.h>
#include <asm/segment.h>
#include "hv.h"
#include "hv_trace.h"

/* 16, 32 or 64: the default sizes of the code at RIP; section. */
int hv_code_mode(struct hv_vcpu *v)
{
	struct hv_seg cs;

	hv_ops->get_seg(v, HV_CS, &cs);
	if ((v->efer & EFER_LMA) && (cs.attr & HV_SEG_L))
		return 64;
	return cs.attr & HV_SEG_DB ? 32 : 16;
}

static u64 edx_eax(const struct hv_vcpu *v)
{
	return v->regs.gpr[HV_RDX] << 32 | (u32)v->regs.gpr[HV_RAX];
}

int hv_exit_ud(struct hv_vcpu *v)
{
	hv_queue_exception(v, X86_TRAP_UD);
	return HV_ENTER;
}

int hv_exit_gp(struct hv_vcpu *v)
{
	hv_queue_exception(v, X86_TRAP_GP);
	return HV_ENTER;
}

void hv_write_gpr(struct hv_vcpu *v, int n, u64 val, int size)
{
	u64 *r = &v->regs.gpr[n];

	*r = size == 2 ? (*r & ~0xffffULL) | (u16)val : size == 4 ? (u32)val : val;
}

int hv_exit_write_cr(struct hv_vcpu *v, int cr, u64 val, u64 next_rip)
{
	int ret;

	if (cr == HV_CR0_LMSW)	/* it can set PE but not clear it */
		ret = hv_set_cr0(v, (v->cr0 & ~0xeULL) | (val & 0xf));
	else
		ret = cr == 0 ? hv_set_cr0(v, val) : cr == 4 ? hv_set_cr4(v, val) : !!(val >> 4);
	if (ret)
		return hv_exit_gp(v);
	if (cr == 8) {
		hv_lapic_set_cr8(v, val);
		hv_ops->update_tpr(v);
	}
	hv_retire(v, next_rip);
	return HV_ENTER;
}

int hv_exit_pause(struct hv_vcpu *v, u64 next_rip)
{
	/* A spinning guest: whoever it waits for may need this CPU. */
	hv_retire(v, next_rip);
	yield();
	return HV_LOOP;
}

/* The host's handler judges it as if it had struck in user mode, which the guest is. */
void hv_machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = { .cs = __USER_CS, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#endif
}

int hv_insn_length(struct hv_vcpu *v, bool atomic)
{
	int len;

	if (v->next_rip)
		return v->next_rip - v->regs.rip;
	if (!v->insn.avail && hv_fetch(v, atomic))
		return 0;
	/* CPUID, RDMSR and WRMSR as everybody writes them: two bytes in every mode. */
	if (v->insn.bytes[0] == 0x0f && v->insn.avail >= 2 &&
	    (v->insn.bytes[1] == 0xa2 || (v->insn.bytes[1] & 0xfd) == 0x30))
		return 2;
	len = hv_decode_length(v->insn.bytes, v->insn.avail, hv_code_mode(v));
	if (len > 0)
		return len;
	/* Code changed under us, or runs into an unreadable page. */
	if (!atomic)
		hv_queue_exception(v, X86_TRAP_UD);
	return 0;
}

int hv_exit_skip(struct hv_vcpu *v)
{
	int len = hv_insn_length(v, true);

	if (unlikely(!len))
		return HV_SLOW;
	hv_retire(v, v->regs.rip + len);
	return HV_ENTER;
}

int hv_exit_cpuid(struct hv_vcpu *v)
{
	int len = hv_insn_length(v, true);
	u64 *gpr = v->regs.gpr;
	u32 a, b, c, d;

	if (unlikely(!len))
		return HV_SLOW;
	a = gpr[HV_RAX];
	c = gpr[HV_RCX];
	hv_cpuid(v, &a, &b, &c, &d);
	gpr[HV_RAX] = a;
	gpr[HV_RBX] = b;
	gpr[HV_RCX] = c;
	gpr[HV_RDX] = d;
	v->stat[HV_STAT_CPUID]++;
	hv_retire(v, v->regs.rip + len);
	return HV_ENTER;
}

static __always_inline int exit_msr(struct hv_vcpu *v, bool write, bool atomic)
{
	u64 *gpr = v->regs.gpr, data = write ? edx_eax(v) : 0;
	int len = hv_insn_length(v, atomic), ret;
	u32 msr = (u32)gpr[HV_RCX];

	if (!len)
		return atomic ? HV_SLOW : HV_LOOP;
	ret = write ? hv_msr_write(v, msr, data, atomic) : hv_msr_read(v, msr, &data, atomic);
	switch (ret) {
	case 0:
		if (!write) {
			gpr[HV_RAX] = (u32)data;
			gpr[HV_RDX] = data >> 32;
		}
		hv_retire(v, v->regs.rip + len);
		if (write && v->eoi_pending) {
			v->eoi_pending = false;
			return HV_USER;
		}
		break;
	case HV_MSR_SLOW:
		return HV_SLOW;
	case HV_MSR_USER:
		v->run->msr.index = msr;
		v->run->msr.write = write;
		v->run->msr.length = len;
		v->run->msr.data = data;
		v->run->exit_reason = HV_EXIT_MSR;
		return HV_USER;
	default:
		hv_queue_exception(v, X86_TRAP_GP);
	}
	v->stat[HV_STAT_MSR]++;
	return atomic ? HV_ENTER : HV_LOOP;
}

int hv_exit_rdmsr(struct hv_vcpu *v)
{
	return exit_msr(v, false, true);
}

int hv_exit_wrmsr(struct hv_vcpu *v)
{
	return exit_msr(v, true, true);
}

int hv_exit_msr_slow(struct hv_vcpu *v, bool write)
{
	return exit_msr(v, write, false);
}

int hv_exit_hlt(struct hv_vcpu *v)
{
	int ret = hv_exit_skip(v);

	if (ret != HV_ENTER)
		return ret;
	v->stat[HV_STAT_HLT]++;
	v->mp.state = HV_MP_HALTED;
	if (hv_vcpu_runnable(v)) {
		hv_vcpu_unhalt(v);
		return HV_ENTER;
	}
	return HV_LOOP;
}

/* The KVM hypercalls that the CPUID leaf announces (Documentation/virt/kvm/x86/hypercalls.rst). */
int hv_exit_hypercall(struct hv_vcpu *v)
{
	bool wide = hv_in_64bit(v);
	u64 *gpr = v->regs.gpr, mask = wide ? ~0ULL : U32_MAX, nr = gpr[HV_RAX] & mask;
	u64 a0 = gpr[HV_RBX] & mask, a1 = gpr[HV_RCX] & mask, a2 = gpr[HV_RDX] & mask,
	    a3 = gpr[HV_RSI] & mask;
	struct hv_vcpu *t;
	s64 res = -KVM_ENOSYS;
	int ret, i, width;

	if (hv_ops->get_cpl(v)) {
		res = -KVM_EPERM;
		goto out;
	}
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		res = 0;
		break;
	case KVM_HC_KICK_CPU:
		/* Wakes the vCPU with this APIC id from HLT even with interrupts off. */
		t = a1 < HV_MAX_VCPUS ? hv_vm_vcpu(v->vm, a1) : NULL;
		if (t) {
			WRITE_ONCE(t->pv_unhalt, true);
			hv_request(t, HV_REQ_EVENT);
			hv_vcpu_kick(t);
		}
		res = 0;
		break;
	case KVM_HC_SEND_IPI:
		width = wide ? 64 : 32;
		res = 0;
		for (i = 0; i < 2 * width && a2 + i < HV_MAX_VCPUS; i++) {
			struct hv_irq_msg m = {
				.dest = a2 + i, .vector = a3, .delivery = (a3 >> 8) & 7, .x2 = true,
			};

			if (((i < width ? a0 : a1) >> (i % width)) & 1)
				res += hv_irq_deliver(v->vm, v, &m);
		}
		v->stat[HV_STAT_IPIS]++;
		break;
	case KVM_HC_SCHED_YIELD:
		set_tsk_need_resched(current);
		set_preempt_need_resched();
		res = 0;
		break;
	}
out:
	ret = hv_exit_skip(v);
	if (ret == HV_ENTER)
		gpr[HV_RAX] = wide ? (u64)res : (u32)res;
	return ret;
}

int hv_exit_xsetbv(struct hv_vcpu *v)
{
	u64 data = edx_eax(v);
	int len = hv_insn_length(v, true);

	if (!len)
		return HV_SLOW;
	if (!(v->cr4 & X86_CR4_OSXSAVE)) {
		hv_queue_exception(v, X86_TRAP_UD);
	} else if (hv_ops->get_cpl(v) || (u32)v->regs.gpr[HV_RCX] || hv_set_xcr0(v, data)) {
		hv_queue_exception(v, X86_TRAP_GP);
	} else {
		hv_fpu_set_xcr0(v);
		hv_retire(v, v->regs.rip + len);
	}
	return HV_ENTER;
}

#define CODE_GROUPS (HV_GROUP(HV_GROUP_SEGS) | HV_GROUP(HV_GROUP_CONTROL))

int hv_exit_io(struct hv_vcpu *v, u16 port, u8 size, bool in, bool string, bool rep, u64 next_rip)
{
	struct hv_run *run = v->run;
	u64 len = next_rip - v->regs.rip;
	u32 data = 0;

	v->stat[HV_STAT_IO]++;
	if (!in && !string) {
		data = v->regs.gpr[HV_RAX];
		if (size < 4)
			data &= (1u << (8 * size)) - 1;
		if (hv_doorbell_ring(v->vm, true, port, size, data)) {
			v->stat[HV_STAT_DOORBELLS]++;
			hv_retire(v, next_rip);
			return HV_ENTER;
		}
	}
	if (unlikely(string))
		v->exit_groups = CODE_GROUPS;
	run->io.port = port;
	run->io.size = size;
	run->io.in = in;
	run->io.string = string;
	run->io.rep = rep;
	run->io.length = len > 15 ? 0 : len;
	run->io.data = data;
	run->exit_reason = HV_EXIT_IO;
	return HV_USER;
}

/* Bytes of the instruction into run->mem; a fetch that faults queues the fault. */
static int mem_exit(struct hv_vcpu *v, u32 reason, u64 gpa, u32 access)
{
	struct hv_exit_mem *m = &v->run->mem;

	if (!v->insn.avail && hv_fetch(v, false) == -EFAULT)
		return HV_LOOP;
	memset(m, 0, sizeof(*m));
	m->gpa = gpa;
	m->access = access;
	m->insn_len = v->insn.avail;
	memcpy(m->insn, v->insn.bytes, sizeof(m->insn));
	if (v->next_rip)
		m->length = v->next_rip - v->regs.rip;
	m->code = v->exit_code;
	v->exit_groups = CODE_GROUPS;
	v->run->exit_reason = reason;
	return HV_USER;
}

static u64 mov_value(struct hv_vcpu *v, const struct hv_mov *m)
{
	u64 val = m->imm ? m->value : v->regs.gpr[m->reg];

	if (m->high_byte)
		val >>= 8;
	return m->size == 8 ? val : val & ((1ULL << (8 * m->size)) - 1);
}

static void mov_store(struct hv_vcpu *v, const struct hv_mov *m, u64 val)
{
	u64 *r = &v->regs.gpr[m->reg];
	int dst = m->ext ? m->dst : m->size, high = m->high_byte ? 8 : 0;

	if (m->ext == 2)
		val = (u64)((s64)(val << (64 - 8 * m->size)) >> (64 - 8 * m->size));
	if (dst == 1)
		*r = (*r & ~(0xffULL << high)) | (val & 0xff) << high;
	else
		hv_write_gpr(v, m->reg, val, dst);
}

/*
 * A plain mov at a doorbell or on the xAPIC page, finished here.
 * HV_SLOW: not one of those.
 */
static int npf_device(struct hv_vcpu *v, u64 gpa, u32 access, bool atomic)
{
	bool apic = (gpa & PAGE_MASK) == hv_lapic_gpa(v);
	struct hv_mov m;
	u64 rip;
	u32 val;
	int ret;

	if ((access & (HV_ACCESS_EXEC | HV_ACCESS_PT)) ||
	    (!apic && !((access & HV_ACCESS_WRITE) && hv_doorbell_near(v->vm, gpa))))
		return HV_SLOW;
	if (!v->insn.avail && hv_fetch(v, atomic))
		return HV_SLOW;
	if (hv_decode_mov(v->insn.bytes, v->insn.avail, hv_code_mode(v), &m))
		return HV_SLOW;
	if (m.write != !!(access & HV_ACCESS_WRITE))
		return HV_SLOW;
	rip = v->regs.rip + m.length;
	if (!apic) {
		if (!hv_doorbell_ring(v->vm, false, gpa, m.size, mov_value(v, &m)))
			return HV_SLOW;
		v->stat[HV_STAT_DOORBELLS]++;
		hv_retire(v, rip);
		return HV_ENTER;
	}
	if (m.size != 4 || (gpa & 3))
		return HV_SLOW;
	v->stat[HV_STAT_APIC]++;
	if (m.write) {
		val = mov_value(v, &m);
		hv_retire(v, rip);	/* first: an EOI exit is after the instruction */
		ret = hv_lapic_write(v, gpa & ~PAGE_MASK, val);
		return ret < 0 ? HV_ENTER : ret;
	}
	ret = hv_lapic_read(v, gpa & ~PAGE_MASK, &val);
	if (ret < 0)
		val = 0;
	mov_store(v, &m, val);
	hv_retire(v, rip);
	return HV_ENTER;
}

int hv_exit_npf_fast(struct hv_vcpu *v, u64 gpa, u32 access)
{
	return npf_device(v, gpa, access, true);
}

int hv_exit_npf(struct hv_vcpu *v, u64 gpa, u32 access, bool delivering)
{
	int ret;

	v->stat[HV_STAT_NPF]++;
	trace_hv_page_fault(v, gpa, access);
	ret = delivering ? HV_SLOW : npf_device(v, gpa, access, false);
	if (ret != HV_SLOW)
		return ret == HV_ENTER ? HV_LOOP : ret;
	if (v->ev.exc_flags & HV_EXC_PENDING)	/* the fetch faulted */
		return HV_LOOP;
	/* A stack or table in device memory: no instruction could be emulated. */
	if ((gpa & PAGE_MASK) == hv_lapic_gpa(v))
		return delivering ? hv_ops->unexpected(v) : mem_exit(v, HV_EXIT_APIC, gpa, access);

	ret = hv_mmu_fault(v, gpa, access);
	switch (ret) {
	case HV_FAULT_RETRY:
	case -EINTR:		/* the loop's top finds the signal or kick */
		return HV_LOOP;
	case HV_FAULT_MMIO:
		v->stat[HV_STAT_MMIO]++;
		return delivering ? hv_ops->unexpected(v) : mem_exit(v, HV_EXIT_MMIO, gpa, access);
	}
	v->run->fault.gpa = gpa;
	v->run->fault.access = access;
	v->run->fault.cause = -ret;
	v->run->exit_reason = HV_EXIT_MEMORY_FAULT;
	return HV_USER;
}

int hv_exit_insn(struct hv_vcpu *v)
{
	return mem_exit(v, HV_EXIT_INSN, 0, 0);
}

/*
 * This CPU is going away, or the machine is.  Both marks: with the task's alone nobody would set
 * the other, which is what cond_resched() reads.  Up to 5.10 tasks stay on such a CPU until it is
 * stopped.
 */
int hv_exit_off(struct hv_vcpu *v)
{
	set_tsk_need_resched(current);
	set_preempt_need_resched();
	return hv_hw_lost() ? -EIO : HV_LOOP;
}

int hv_exit_shutdown(struct hv_vcpu *v)
{
	memset(&v->ev, 0, sizeof(v->ev));
	v->run->exit_reason = HV_EXIT_SHUTDOWN;
	return HV_USER;
}

int hv_exit_fail(struct hv_vcpu *v, u32 reason, u64 code, u64 i0, u64 i1, u64 i2)
{
	struct hv_exit_fail *f = &v->run->fail;

	f->reason = code;
	f->info[0] = i0;
	f->info[1] = i1;
	f->info[2] = i2;
	f->cpu = v->cpu;
	f->reserved = 0;
	v->exit_groups = CODE_GROUPS;
	v->run->exit_reason = reason;
	return HV_USER;
}
