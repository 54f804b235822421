// SPDX-License-Identifier: GPL-2.0-only
/*
 * hv_doorbell.c - a guest's write that signals an eventfd and returns at once.
 *
 * One immutable sorted array per VM, replaced as a whole: readers are vCPUs in the entry section,
 * inside vm->srcu.  Adding does not wait for them; removing does, and kicks them out first,
 * because afterwards nothing may ring any more. A write rings every doorbell that it matches;
 * exact duplicates are refused. Rings nothing: the write goes to userspace as if none were there.
 */
#include "hv.h"

struct doorbell {
	u64 address;
	u64 data;
	struct eventfd_ctx *ctx;
	bool port;
	bool match;
	u8 len;				/* 0: any */
};

struct hv_doorbells {
	struct rcu_head rcu;
	u32 count;
	struct doorbell d[];		/* sorted: memory before ports, then by address */
};

/* Index of the first that is not before (@port, @address); memory comes before ports. */
static u32 find(const struct hv_doorbells *t, bool port, u64 address)
{
	u32 lo = 0, hi = t->count, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (t->d[mid].port != port ? port : t->d[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool hv_doorbell_ring(struct hv_vm *vm, bool port, u64 address, u8 len, u64 data)
{
	const struct hv_doorbells *t = srcu_dereference(vm->doorbells, &vm->srcu);
	const struct doorbell *d, *end;
	bool rung = false;

	if (!t)
		return false;
	end = t->d + t->count;
	for (d = t->d + find(t, port, address);
	     d < end && d->port == port && d->address == address; d++) {
		if (d->len && d->len != len)
			continue;
		if (d->match && d->data != (len == 8 ? data : data & ((1ULL << (8 * len)) - 1)))
			continue;
		hv_eventfd_signal(d->ctx);
		rung = true;
	}
	return rung;
}

bool hv_doorbell_near(struct hv_vm *vm, u64 gpa)
{
	const struct hv_doorbells *t = srcu_dereference(vm->doorbells, &vm->srcu);
	u64 page = gpa & PAGE_MASK;
	u32 i;

	if (!t)
		return false;
	i = find(t, false, page);
	return i < t->count && !t->d[i].port && (t->d[i].address & PAGE_MASK) == page;
}

static int doorbell_check(const struct hv_doorbell *args)
{
	bool port = args->flags & HV_DOORBELL_PORT, match = args->flags & HV_DOORBELL_MATCH;

	if (args->len > 8 || (args->len & (args->len - 1)) || (match && !args->len) ||
	    (port && args->len == 8))
		return -EINVAL;
	if (args->address + args->len < args->address ||
	    (port && args->address + (args->len ?: 1) > 0x10000))
		return -EINVAL;
	if (match && args->len < 8 && args->data >> (8 * args->len))
		return -EINVAL;
	return 0;
}

static void free_later(struct rcu_head *rcu)
{
	hv_free(container_of(rcu, struct hv_doorbells, rcu));
}

static bool same(const struct doorbell *a, const struct doorbell *b)
{
	return a->port == b->port && a->address == b->address && a->len == b->len &&
	       a->match == b->match && a->data == b->data;
}

int hv_doorbell_set(struct hv_vm *vm, const struct hv_doorbell *args)
{
	struct hv_doorbells *old = rcu_dereference_protected(vm->doorbells,
							     lockdep_is_held(&vm->lock)), *new;
	bool remove = args->flags & HV_DOORBELL_REMOVE;
	u32 count = old ? old->count : 0, at, i;
	struct doorbell d = {
		.address = args->address,
		.data = args->flags & HV_DOORBELL_MATCH ? args->data : 0,
		.port = args->flags & HV_DOORBELL_PORT,
		.match = args->flags & HV_DOORBELL_MATCH,
		.len = args->len,
	};
	int ret = doorbell_check(args);

	if (ret)
		return ret;
	d.ctx = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(d.ctx))
		return PTR_ERR(d.ctx);

	at = old ? find(old, d.port, d.address) : 0;
	for (i = at; i < count && !same(&old->d[i], &d); i++)
		;
	if (remove)
		ret = i < count && old->d[i].ctx == d.ctx ? 0 : -ENOENT;
	else
		ret = i < count ? -EEXIST : count >= HV_MAX_DOORBELLS ? -ENOSPC : 0;
	if (ret)
		goto out_put;

	new = hv_alloc(struct_size(new, d, count + 1));
	if (!new) {
		ret = -ENOMEM;
		goto out_put;
	}
	if (remove) {
		new->count = count - 1;
		memcpy(new->d, old->d, i * sizeof(d));
		memcpy(new->d + i, old->d + i + 1, (count - i - 1) * sizeof(d));
	} else {
		new->count = count + 1;
		if (old) {
			memcpy(new->d, old->d, at * sizeof(d));
			memcpy(new->d + at + 1, old->d + at, (count - at) * sizeof(d));
		}
		new->d[at] = d;
	}
	rcu_assign_pointer(vm->doorbells, new);
	if (!remove) {
		if (old)
			call_srcu(&vm->srcu, &old->rcu, free_later);
		return 0;	/* the entry keeps the reference */
	}
	/* vCPUs stay inside vm->srcu for as long as they stay in the guest. */
	hv_vm_kick_all(vm, HV_REQ_LEAVE);
	synchronize_srcu_expedited(&vm->srcu);
	eventfd_ctx_put(old->d[i].ctx);
	hv_free(old);
out_put:
	eventfd_ctx_put(d.ctx);
	return ret;
}

/* Nobody runs any more. */
void hv_doorbell_release(struct hv_vm *vm)
{
	struct hv_doorbells *t = rcu_dereference_protected(vm->doorbells, true);
	u32 i;

	srcu_barrier(&vm->srcu);	/* before vm->srcu goes */
	for (i = 0; t && i < t->count; i++)
		eventfd_ctx_put(t->d[i].ctx);
	RCU_INIT_POINTER(vm->doorbells, NULL);
	hv_free(t);
}
