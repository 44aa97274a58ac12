# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for sipalgctl. Commands and the words of their arguments are
# those of "sipalgctl --help", so that there is no second list of them.

# The line of a command in the help: "  mode [active|observe|bypass]  show ..."
_sipalgctl_help() { # PROGRAM COMMAND
	"$1" --help 2>/dev/null | sed -n "s/^  \($2\) /\1 /p"
}

# "[ip4|ip6|remove]" of an argument; or what a filter may begin with
_sipalgctl_more() { # PROGRAM COMMAND ARGUMENT
	case $3 in *[!a-z]*) return ;; esac
	"$1" "$2" --help 2>/dev/null | sed -n "s/^$3 \(\[[^]]*\]\).*/\1/p"
}
_sipalgctl_filters() { # PROGRAM COMMAND
	"$1" "$2" --help 2>/dev/null | sed -n 's/^  \([a-z-]*=\)[A-Z].*/\1/p'
}

# Call-IDs of calls there are
_sipalgctl_calls() { # PROGRAM [OPTION]...
	"$@" --json calls 2>/dev/null |
		sed -n 's/^ *"call_id": "\(.*\)",*$/\1/p'
}

_sipalgctl() {
	# By blanks alone: ":" and "@" are part of a Call-ID
	local line=${COMP_LINE:0:COMP_POINT} program=$1
	local -a words socket=()
	local -a given=()
	local word cur command="" skip="" arguments
	read -ra words <<<"$line"
	[[ $line == *" " ]] && words+=("")
	cur=${words[-1]}
	for word in "${words[@]:1:${#words[@]}-2}"; do
		if [[ $skip ]]; then
			socket=(--socket "$word")
			skip=""
		elif [[ $word == --socket ]]; then
			skip=1
		elif [[ $word != -* && $command ]]; then
			given+=("$word")
		elif [[ $word != -* ]]; then
			command=$word
		fi
	done
	COMPREPLY=()
	if [[ $skip ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"--socket --json --all --help --version" -- "$cur")
	elif [[ ! $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(
			_sipalgctl_help "$program" "[a-z]*" | cut -d' ' -f1
		)" -- "$cur")
	else
		arguments=$(_sipalgctl_help "$program" "$command" |
			sed "s/^$command //; s/  .*//")
		((${#given[@]} != 1)) || [[ $arguments == *FILTER* ]] ||
			arguments=$(_sipalgctl_more "$program" "$command" \
				"${given[0]}")
		case ${#given[@]}$arguments in
		0*CALL-ID*)
			mapfile -t COMPREPLY < <(compgen -W "$(_sipalgctl_calls \
				"$program" "${socket[@]}")" -- "$cur")
			;;
		0*FILE*)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			;;
		[01]"["[a-z]*"|"*"]")
			mapfile -t COMPREPLY < <(compgen -W \
				"$(tr -d '[]' <<<"$arguments" | tr '|' ' ')" \
				-- "$cur")
			;;
		*FILTER*)
			mapfile -t COMPREPLY < <(compgen -W "$(
				_sipalgctl_filters "$program" "$command"
			)" -- "$cur")
			# Its value follows
			compopt -o nospace 2>/dev/null
			;;
		esac
	fi
	# readline has taken what ends with one of its own word breaks
	word=${cur%"${cur##*[:@=]}"}
	COMPREPLY=("${COMPREPLY[@]#"$word"}")
}

complete -F _sipalgctl sipalgctl
