#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the shells offer, and the manual describes, are the commands and arguments
# that sipalgctl has.
set -u
source_dir=${SIPALG_SOURCE_DIR:?}/conf/completions
program=${SIPALG_BUILD_DIR:?}/sipalgctl
table=${SIPALG_SOURCE_DIR}/src/tools/sipalgctl.c
bad=0

[[ -x $program ]] || { echo "FAIL: no $program"; exit 1; }
# As the table has them, not as the help prints them
commands=$(sed -n 's/.*\.name = "\([a-z]*\)".*/\1/p' "$table" | sort)
(($(wc -w <<<"$commands") >= 8)) || { echo "FAIL: only $commands"; exit 1; }

same() { # WHAT WANTED GOT
	[[ "$2" == "$3" ]] && return
	printf 'FAIL: %s:\n%s\ninstead of\n%s\n' "$1" "$3" "$2"
	bad=1
}

# shellcheck source=/dev/null
source "$source_dir/sipalgctl.bash" || exit 1
offered() { # LINE: what bash offers behind it, sorted
	COMP_LINE=$1 COMP_POINT=${#1}
	_sipalgctl "$program"
	((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}" | sort
}
words() { printf '%s\n' "$@" | sort; }
same "bash: commands" "$commands" "$(offered "sipalgctl ")"
same "bash: commands behind options" "$commands" \
	"$(offered "sipalgctl --json --socket /nowhere ")"
same "bash: a command begun" "registrations
reload" "$(offered "sipalgctl re")"
same "bash: modes" "$(words active observe bypass)" \
	"$(offered "sipalgctl mode ")"
same "bash: a mode begun" "observe" "$(offered "sipalgctl --json mode o")"
same "bash: rules" "$(words print apply remove)" "$(offered "sipalgctl rules ")"
same "bash: no second argument" "" "$(offered "sipalgctl rules apply ")"
same "bash: a second argument" "$(words ip4 ip6 remove)" \
	"$(offered "sipalgctl --json rules print ")"
same "bash: nothing behind a file, and no complaint" "" \
	"$(offered "sipalgctl doctor /etc/a.conf " 2>&1)"
same "bash: no third" "" "$(offered "sipalgctl rules print ip4 ")"
filters=$(words phone= peer= number= call-id= method=)
same "bash: filters" "$filters" "$(offered "sipalgctl trace ")"
same "bash: one more filter" "$filters" \
	"$(offered "sipalgctl trace phone=192.0.2.1 method=BYE ")"
same "bash: a filter begun" "$(words phone= peer=)" \
	"$(offered "sipalgctl trace p")"
same "bash: its value is not known" "" "$(offered "sipalgctl trace phone=1")"
same "bash: a file to capture to" "$source_dir/sipalgctl.bash" \
	"$(offered "sipalgctl capture $source_dir/s")"
same "bash: filters behind the file" "$filters" \
	"$(offered "sipalgctl capture x.pcapng ")"
same "bash: nothing to add" "" "$(offered "sipalgctl status ")"
same "bash: an option" "--json" "$(offered "sipalgctl --j")"
same "bash: a socket" "$source_dir/sipalgctl.bash" \
	"$(offered "sipalgctl --socket $source_dir/s")"

# A Call-ID is one word, whatever readline takes for its end
_sipalgctl_calls() { printf '%s\n' "a84b:4c@192.0.2.9" "f81d@example.com"; }
same "bash: Call-IDs" "a84b:4c@192.0.2.9
f81d@example.com" "$(offered "sipalgctl calls ")"
same "bash: a Call-ID begun" "192.0.2.9" "$(offered "sipalgctl calls a84b:4c@")"
# shellcheck source=/dev/null
source "$source_dir/sipalgctl.bash"
fake() { printf '{\n  "calls": [\n    {\n      "call_id": "f8@x",\n'; }
same "Call-IDs out of JSON" "f8@x" "$(_sipalgctl_calls fake)"

manual=$SIPALG_SOURCE_DIR/docs/man/sipalgctl.8
same "not in the manual" "" "$(comm -23 <(echo "$commands") \
	<(sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$manual" | sort -u))"

if command -v zsh >/dev/null; then
	zsh -n "$source_dir/_sipalgctl" || bad=1
	in_zsh() { # the rest runs with the file loaded
		zsh -f -c 'compdef() { : }; source "$1"; shift; "$@"' zsh \
			"$source_dir/_sipalgctl" "$@"
	}
	same "zsh: commands" "$commands" \
		"$(in_zsh _sipalgctl_commands "$program" | cut -d: -f1 | sort)"
	same "zsh: help" "reload:read the configuration file again" \
		"$(in_zsh _sipalgctl_commands "$program" | grep '^reload:')"
	same "zsh: help behind arguments" "mode:show or change gateway.mode" \
		"$(in_zsh _sipalgctl_commands "$program" | grep '^mode:')"
	same "zsh: arguments" "[active|observe|bypass]" \
		"$(in_zsh _sipalgctl_arguments "$program" mode)"
	same "zsh: a second argument" "[ip4|ip6|remove]" \
		"$(in_zsh _sipalgctl_more "$program" rules print)"
	same "zsh: filters" "$filters" \
		"$(in_zsh _sipalgctl_filters "$program" capture | sort)"
	same "zsh: no arguments" "" \
		"$(in_zsh _sipalgctl_arguments "$program" status)"
else
	echo "note: no zsh here, its half was not run"
fi
exit "$bad"
