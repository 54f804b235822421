# SPDX-License-Identifier: GPL-2.0-only
# What hw_power.test and hw_power_vmx.test share.
. "$HV_TREE/selftests/ktap.sh"
cd "$HV_TREE" || exit 1
hvhost=selftests/testbed/hvhost
prog=$HV_BUILD/selftests/kernel/hw_power

# Beside the build, so that the host sees it.
where=$HV_BUILD/hw_power.$$
trap 'rm -rf "$where"' EXIT

# initrd KERNEL: for a crash kernel; it says whether its CPU has SVM on. That it is there to say so
# shows that VMX is off: a kernel cannot start with it on, because CR4.VMXE cannot be cleared then.
initrd()
{
	mods=$(selftests/testbed/kernels "$1" modules)
	rm -rf "$where"
	mkdir -p "$where/root/bin" "$where/root/dev" || return
	cp /bin/busybox "$where/root/bin"
	msr=$(find -L "$mods" -name 'msr.ko*' | head -1)
	case $msr in
	*.xz) xz -dc "$msr" >"$where/root/msr.ko" ;;
	*) cp "$msr" "$where/root/msr.ko" ;;
	esac
	cat >"$where/root/init" <<-'EOF'
		#!/bin/busybox sh
		bb=/bin/busybox
		$bb mount -t devtmpfs dev /dev
		$bb insmod /msr.ko
		# EFER, and SVME in it
		efer=$($bb dd if=/dev/cpu/0/msr bs=8 count=1 iflag=skip_bytes skip=3221225600 2>/dev/null |
			$bb hexdump -n 4 -e '1/4 "%u"')
		[ "$((${efer:-4096} & 4096))" = 0 ] && svm=off || svm=on
		echo "<4>hw_power: the crash kernel finds SVM $svm: $efer" >/dev/kmsg
		$bb reboot -f
	EOF
	chmod 755 "$where/root/init"
	(cd "$where/root" && find . | cpio -o -H newc --quiet) >"$where/initrd"
}

# power KERNEL HOW [ARG [OPTION...]]: in a host with the module. $cpu is the vendor, $prepare what
# to do before the module is loaded, and $options the module's parameters.
power()
{
	ko=$HV_BUILD/kmod-$(selftests/testbed/kernels "$1" version)/kmod/hv.ko
	log=$TMPDIR/$2-$1.log
	# 6.12 makes an oops of what the emulator does to patched code (Documentation/testing.rst).
	smp=2
	[ "$1" = 6.1 ] || smp=1
	more=
	# The checksum of a kernel to kexec is half a minute's work there, beside the guest.
	[ $cpu = svm ] || smp=1 more=--append=nowatchdog
	$hvhost --cpu $cpu --kernel "$1" --smp $smp --timeout $((${limit:-100} * ${HV_SLOW:-1})) --log "$log" $more $4 -- \
		sh -c "modprobe msr; $prepare selftests/testbed/one-cpu insmod $ko $options && $prog $2 $3" \
		</dev/null >"$TMPDIR/out" 2>&1
	status=$?
	sed 's/^/# /' "$TMPDIR/out" | head -5
}

# The kernel found nothing wrong since the module is there; it has its doubts of an emulated CPU.
quiet()
{
	! sed -n '/hv: loading out-of-tree/,$p' "$log" | grep -E 'BUG:|WARNING:|Oops|Call Trace|hv: (virtualization|leaked)'
}
