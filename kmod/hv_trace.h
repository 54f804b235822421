/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hv_trace.h - tracepoints: the module's debugging interface, events/hv/ in
 * tracefs.  hv_main.c instantiates them.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hv

#if !defined(HV_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HV_TRACE_H

#include <linux/tracepoint.h>

struct hv_vcpu;

TRACE_EVENT(hv_entry,
	TP_PROTO(struct hv_vcpu *v),
	TP_ARGS(v),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u64, rflags)
	),
	TP_fast_assign(
		__entry->vcpu = v->id;
		__entry->rip = v->regs.rip;
		__entry->rflags = v->regs.rflags;
	),
	TP_printk("vcpu %u rip 0x%llx rflags 0x%llx", __entry->vcpu, __entry->rip, __entry->rflags)
);

TRACE_EVENT(hv_exit,
	TP_PROTO(struct hv_vcpu *v, u64 code, u64 info1, u64 info2),
	TP_ARGS(v, code, info1, info2),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, code)
		__field(u64, rip)
		__field(u64, info1)
		__field(u64, info2)
	),
	TP_fast_assign(
		__entry->vcpu = v->id;
		__entry->code = code;
		__entry->rip = v->regs.rip;
		__entry->info1 = info1;
		__entry->info2 = info2;
	),
	TP_printk("vcpu %u code 0x%llx rip 0x%llx info 0x%llx 0x%llx", __entry->vcpu,
		  __entry->code, __entry->rip, __entry->info1, __entry->info2)
);

TRACE_EVENT(hv_page_fault,
	TP_PROTO(struct hv_vcpu *v, u64 gpa, u32 access),
	TP_ARGS(v, gpa, access),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, access)
		__field(u64, gpa)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = v->id;
		__entry->access = access;
		__entry->gpa = gpa;
		__entry->rip = v->regs.rip;
	),
	TP_printk("vcpu %u gpa 0x%llx access 0x%x rip 0x%llx", __entry->vcpu, __entry->gpa,
		  __entry->access, __entry->rip)
);

/* @kind: 0 exception, 1 NMI, 2 interrupt */
TRACE_EVENT(hv_inject,
	TP_PROTO(struct hv_vcpu *v, u8 vector, int kind),
	TP_ARGS(v, vector, kind),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, vector)
		__field(u8, kind)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = v->id;
		__entry->vector = vector;
		__entry->kind = kind;
		__entry->rip = v->regs.rip;
	),
	TP_printk("vcpu %u %s 0x%x rip 0x%llx", __entry->vcpu,
		  __print_symbolic(__entry->kind, { 0, "exception" }, { 1, "nmi" },
				   { 2, "interrupt" }),
		  __entry->vector, __entry->rip)
);

#endif /* HV_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE hv_trace

#include <trace/define_trace.h>
