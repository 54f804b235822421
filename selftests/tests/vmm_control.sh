#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# vmm_control.test's part in the emulated host: vmm_control.sh MODULE. Prints KTAP.
. "$HV_TREE/selftests/ktap.sh"
vmm=$HV_BUILD/vmm/vmm
guest=$HV_BUILD/selftests/guests/vmm_control.elf
work=$(mktemp -d)
cd "$work" || exit 1
mkfifo type

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for()
{
	left=$(($1 * 5))
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
		sleep 0.2
	done
}

count()
{
	[ "$(grep -c "$1" out 2>/dev/null)" -ge "$2" ]
}

# launch ARG...: a guest whose input is type; its pid in $pid.
launch()
{
	"$vmm" run --kernel "$guest" --memory 64M "$@" <type 2>err &
	pid=$!
	exec 3>type
}

# start ARG...: a guest whose serial line is type and out; its pid in $pid.
start()
{
	: >out
	launch "$@" >out
	wait_for 60 count '^ready' 1 || { echo "# no ready:"; sed 's/^/# /' out err; }
}

# ends WHAT STATUS
ends()
{
	wait $pid
	status=$?
	exec 3>&-
	[ $status = "$2" ] || sed 's/^/# /' err
	equal "$1" "$2" $status
}

plan 53

"$vmm" run --kernel "$guest" 2>err
equal "without /dev/hv: status" 1 $?
equal "one line" 1 "$(wc -l <err)"
check "that names it" grep -q /dev/hv err
check "nothing is left in /run/hv" test -z "$(ls /run/hv 2>/dev/null)"
"$vmm" info --host >out
check "info --host says why hv is not usable" grep -q '^hv: not usable: .*/dev/hv' out
"$HV_TREE"/selftests/testbed/one-cpu insmod "$1" || exit 1
"$vmm" info --host >out
check "info --host says it is ready" grep -q '^hv: ready' out

start
printf p >&3
ends "power-off" 0
check "and says so" grep -q 'powered off' err

# Nowhere to print to: said, and the guest goes on and can be typed to.
launch >/dev/full
check "output that cannot be written" wait_for 60 grep -q \
	'standard output: No space left on device; console output is lost' err
printf p >&3
ends "and the guest is still typed to" 0
launch >&-
check "output that is closed" wait_for 60 grep -q 'standard output: Bad file descriptor' err
printf p >&3
ends "and the guest is still typed to" 0

start
printf t >&3
ends "triple fault" 12
check "and says where" grep -q 'triple fault of vCPU 0 at rip 0x' err

start --set debug.exit=true
printf x >&3
ends "exit port: twice the value plus one" 11

start
printf P >&3
ends "guest panic" 14

start --set reboot=exit
printf r >&3
ends "a reboot with reboot=exit" 10

start
printf m >&3
wait_for 20 count 'mmio 4294967295' 1
check "memory nobody has reads all-ones" count 'mmio 4294967295' 1
printf r >&3
check "0xcf9 restarts the guest, memory stays" wait_for 30 count '^ready 2' 1
printf k >&3
check "the keyboard controller does too" wait_for 30 count '^ready 3' 1
printf p >&3
ends "and it still ends well" 0

start
kill -INT $pid
ends "SIGINT ends it at once" 130
start
kill -TERM $pid
ends "SIGTERM presses the power button" 0
check "the guest has seen it" count '^button' 1

"$vmm" run --detach --name ctl --cpus 2 --kernel "$guest" --memory 64M >out 2>err
equal "--detach returns when the guest runs" 0 $?
pid=$(sed -n 's/^ctl runs, pid //p' out)
check "it says which pid" test -n "$pid"
"$vmm" list >out
check "it is listed" grep -q "^ctl *$pid running *2" out
"$vmm" run --name ctl --kernel "$guest" >out 2>err
equal "the same name again is refused" 1 $?
check "with the holder's pid" grep -q "pid $pid" err
equal "no thread has a capability" "" "$(grep -h '^Cap[EPI][a-z]*:' /proc/"$pid"/task/*/status |
	grep -v ':	0*$')"
equal "nor can gain one" "" "$(grep -h NoNewPrivs /proc/"$pid"/task/*/status | grep -v '1$')"
"$vmm" info ctl >out
check "info knows the loader and the threads" grep -q 'loader: multiboot' out
"$vmm" info ctl --config >cfg
"$vmm" run --config cfg --set name=other --dry-run >out
equal "info --config can start a guest" 0 $?
"$vmm" info ctl --stats >out
check "statistics count exits" grep -Eq 'exits: [1-9]' out

# The console of a detached guest, by a client that leaves when its input ends.
talk()
{
	{ printf '%s' "$1"; sleep 2; } | timeout 3 "$vmm" console ctl >talk 2>/dev/null
	tr -d '\r' <talk | sed -n 's/^count //p' | tail -n 1
}
# The host's boot time, and the guest's TSC (2^20 ticks) and kvmclock (ms) soon after it.
clocks()
{
	talk T >/dev/null
	echo "$(cut -d. -f1 /proc/uptime)" "$(tr -d '\r' <talk | sed -n 's/^tsc \([0-9]*\) clock/\1/p' | tail -n 1)"
}
first=$(talk c)
second=$(talk c)
check "its console answers ($first, $second)" test "${second:-0}" -gt "${first:-0}"
mkfifo keys
timeout 60 script -qefc "'$vmm' console ctl" /dev/null <keys >typed 2>&1 &
script=$!
exec 3>keys
n=0
# What is typed before the terminal is raw is lost.
until grep -q 'q leaves' typed || [ $((n += 1)) -gt 60 ]; do
	printf '\035?' >&3
	sleep 0.5
done
check "Ctrl-] ? on a terminal lists the keys" grep -q 'q leaves' typed
printf '\035q' >&3
wait $script
equal "Ctrl-] q leaves" 0 $?
exec 3>&-
begin=$(clocks)
"$vmm" pause ctl
equal "pause" 0 $?
sleep 20
check "it is paused" sh -c "'$vmm' list | grep -q 'ctl.*paused'"
"$vmm" pause ctl 2>err
equal "a second pause is refused" 1 $?
before=$("$vmm" info ctl --stats --json | sed -n 's/.*"exits": *\([0-9]*\).*/\1/p' | head -n 1)
sleep 1
after=$("$vmm" info ctl --stats --json | sed -n 's/.*"exits": *\([0-9]*\).*/\1/p' | head -n 1)
equal "nothing enters the guest" "$before" "$after"
"$vmm" stop ctl 2>err
check "a paused guest cannot hear the power button" grep -q resume err
"$vmm" resume ctl
equal "resume" 0 $?
end=$(clocks)
echo "# host seconds, TSC, kvmclock: $begin before, $end after a pause of 20 s"
check "the guest's clocks stood still meanwhile" sh -c 'set -- $1 $2
	[ $((($6 - $3) / 1000)) -gt 0 ] && [ $((($6 - $3) / 1000)) -lt $(($4 - $1 - 15)) ] &&
	[ $5 -gt $2 ] && [ $((($5 - $2) * ($6 / 1000))) -lt $(($5 * ($4 - $1 - 15))) ]' sh "$begin" "$end"
third=$(talk c)
check "it counts on ($third)" test "${third:-0}" -gt "${second:-0}"
"$vmm" reset ctl
equal "reset" 0 $?
check "it has started anew" sh -c "sleep 2; printf . | timeout 3 '$vmm' console ctl | grep -q 'ready 2'"
"$vmm" stop ctl --timeout 60
equal "stop" 0 $?
check "nothing is left in /run/hv" wait_for 10 test -z "$(ls /run/hv)"

start --name dead
kill -9 $pid
wait $pid
exec 3>&-
check "after kill -9 it is not listed" sh -c "! '$vmm' list | grep -q dead"
check "and its files are gone" test -z "$(ls /run/hv)"
start --name dead
"$vmm" stop --force dead
ends "its name is free again; stop --force" 18
"$HV_TREE"/selftests/testbed/one-cpu rmmod hv
equal "the module can be removed" 0 $?
finish
