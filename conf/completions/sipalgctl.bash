# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for sipalgctl. Commands and the words of their arguments are
# those of "sipalgctl --help", so that there is no second list of them.

# The line of a command in the help: "  mode [active|observe|bypass]  show ..."
_sipalgctl_help() { # PROGRAM COMMAND
	"$1" --help 2>/dev/null | sed -n "s/^  \($2\) /\1 /p"
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
	local word cur command="" argument="" skip="" arguments
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
			argument=$word
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
	elif [[ ! $argument ]]; then
		arguments=$(_sipalgctl_help "$program" "$command" |
			sed "s/^$command //; s/  .*//")
		case $arguments in
		*CALL-ID*)
			mapfile -t COMPREPLY < <(compgen -W "$(_sipalgctl_calls \
				"$program" "${socket[@]}")" -- "$cur")
			;;
		*FILE*)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			;;
		"["[a-z]*"|"*"]")
			mapfile -t COMPREPLY < <(compgen -W \
				"$(tr -d '[]' <<<"$arguments" | tr '|' ' ')" \
				-- "$cur")
			;;
		esac
	fi
	# readline has taken what ends with one of its own word breaks
	word=${cur%"${cur##*[:@=]}"}
	COMPREPLY=("${COMPREPLY[@]#"$word"}")
}

complete -F _sipalgctl sipalgctl
