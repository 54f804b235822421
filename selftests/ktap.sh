# SPDX-License-Identifier: GPL-2.0-only
#
# KTAP for tests written in shell: . "$HV_TREE/selftests/ktap.sh"
#
#	plan 3				# first; or "skip_all REASON", which ends the test
#	check "what must hold" COMMAND ARG...
#	ok "what held"; not_ok "what did not"; skip "what" "why not"
#	finish				# last: exits with the status that the cases ask for

ktap_case=0
ktap_bad=0

plan()
{
	echo "TAP version 13"
	echo "1..$1"
}

skip_all()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

ok()
{
	ktap_case=$((ktap_case + 1))
	echo "ok $ktap_case $*"
}

not_ok()
{
	ktap_case=$((ktap_case + 1))
	ktap_bad=$((ktap_bad + 1))
	echo "not ok $ktap_case $*"
}

skip()
{
	ktap_case=$((ktap_case + 1))
	echo "ok $ktap_case $1 # SKIP $2"
}

# check WHAT COMMAND...: the case holds if the command succeeds.
check()
{
	ktap_what=$1
	shift
	if "$@"; then
		ok "$ktap_what"
	else
		echo "# failed: $*"
		not_ok "$ktap_what"
	fi
}

# equal WHAT EXPECTED ACTUAL
equal()
{
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		echo "# expected: $2"
		echo "# but have: $3"
		not_ok "$1"
	fi
}

finish()
{
	[ "$ktap_bad" = 0 ]
	exit
}
