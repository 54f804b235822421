/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_elements.h - which elements of libvirt's domain XML the driver takes.
 */
#ifndef HV_ELEMENTS_H
#define HV_ELEMENTS_H

/**
 * hv_elements_check() - refuse what a guest could not get.
 * @xml:	a domain, as a client gave it.
 * @plain:	the same with type 'hv' written as 'kvm', the caller's; NULL if @xml
 *		needs no change.  libvirt's own parser knows no type 'hv'.
 *
 * -1 with an error set that names the element or attribute; 1 if it is not well
 * formed, which libvirt's parser says better.
 */
int hv_elements_check(const char *xml, char **plain);

#endif /* HV_ELEMENTS_H */
