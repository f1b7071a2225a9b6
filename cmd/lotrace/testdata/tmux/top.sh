#!/usr/bin/env bash
# Uses lotrace top as somebody at a terminal does, on the traffic of lotrace demo, and looks at the screen
# and at what is left of the terminal.
#
#   top.sh DIR    for sockets and notes; lotrace is in the PATH
set -euo pipefail
dir=$1
patience=20 # seconds; only a broken screen needs them
export TMUX_TMPDIR=$dir LC_ALL=C.UTF-8 HISTFILE=
unset TMUX TMUX_PANE NO_COLOR

pane() { tmux -L "lotrace-$$" -f /dev/null "$@"; }
screen() { pane capture-pane -p; }
keys() { pane send-keys "$@"; }
modes() { pane display -p 'alternate #{alternate_on} cursor #{cursor_flag} mouse #{mouse_any_flag}'; }

fail() {
	echo "top.sh: $*; the screen:" >&2
	screen >&2
	exit 1
}

# until COMMAND... asks again and again, until it is true.
until_true() {
	local deadline=$((SECONDS + patience))
	until "$@"; do
		((SECONDS < deadline)) || fail "in vain: $*"
		read -rt 0.05 <&"$idle" || true # nobody writes there: a breath between two looks
	done
}
has() { screen | grep -qF -- "$1"; }
lacks() { ! has "$1"; }
await() { until_true has "$1"; }
await_not() { until_true lacks "$1"; }
in_modes() { [[ $(modes) == "$1" ]]; }
ends_with_help() { [[ $(screen | sed -n "$1p") == '? help'* ]]; }

demo=
end() {
	[[ -z $demo ]] || kill "$demo"
	pane kill-server 2>/dev/null || true
	wait
}
trap end EXIT

mkfifo "$dir/idle"
exec {idle}<>"$dir/idle"
lotrace demo --quiet --duration 10m >"$dir/demo" &
demo=$!
pane new-session -d -x 140 -y 30 "exec env 'PS1=ready$ ' bash --norc --noprofile -i" \; set -g status off
await 'ready$'
keys "stty -g >$dir/before; echo what was  before" Enter
await 'what was before'

keys 'lotrace top' Enter
await '✓ exact'
await 'REQ/S'
await 'lotrace('
in_modes 'alternate 1 cursor 0 mouse 1' || fail "$(modes)"
lacks 'what was before' || fail 'the main screen shows through'
until_true ends_with_help 30

keys s
await 'CLIENT▲'
keys S
await 'CLIENT▼'

keys / proto:udp
await '/proto:udp'
keys Enter
await 'leaves out'
await ' udp '
lacks ' tcp ' || fail 'the filter leaves TCP'
keys Escape
await_not 'leaves out'
await ' tcp '

keys Enter
await 'executable'
await 'CLIENT'
await 'the last'
keys Escape
await 'REQ/S'

pane resize-window -x 80 -y 24
until_true ends_with_help 24
await_not 'LAST '
! screen | grep -qE '.{81}' || fail 'wider than 80 columns'
pane resize-window -x 30 -y 5
await 'too small'
pane resize-window -x 140 -y 30
until_true ends_with_help 30
await 'LAST '

keys q
until_true in_modes 'alternate 0 cursor 1 mouse 0'
await 'what was before'
lacks 'REQ/S' || fail 'the screen is left as it was'
keys "stty -g >$dir/after; echo it  is over" Enter
await 'it is over'
cmp "$dir/before" "$dir/after" || fail 'the terminal has other settings than before'
