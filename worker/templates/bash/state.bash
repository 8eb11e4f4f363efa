# SPDX-License-Identifier: Apache-2.0
# What a Bash program that keeps state reads before itself (as its BASH_ENV): the session's folder, exported variables and functions
# into the shell, and out of it at its end. docs/STATE.md says what is kept. Before this text the worker puts
# __mr_most (bytes), __mr_on_error (0 or 1), __mr_asked (' NAME NAME ': variables that the request itself gives).
#
# The state is text between NULs: MRB1, then KIND NAME TEXT for each piece; d: a folder, v: a variable, f: a function. Each is taken
# by itself, so that one that Bash does not take leaves the others whole. Nothing here forks: a program may leave no room for it.
unset BASH_ENV
__mr_go=250 __mr_file=/proc/self/fd/251 # the go socket; a file in memory: the state, then a place to write to
__mr_pid=$BASHPID __mr_home=$PWD __mr_own= __mr_broken= __mr_exits= __mr_warnings=() __mr_given=0
__mr_line='{ __mr_status=$? __mr_command=$BASH_COMMAND __mr_flags=$-; __mr_begin; } 2>/dev/null; __mr_end'
declare -A __mr_was=() __mr_kept=()

__mr_warn() { # NAME REASON
    ((${#__mr_warnings[@]} < 100)) && __mr_warnings+=("$1" "$2")
}

# ---- the program's own EXIT trap is run before the state is saved: trap keeps its text aside

__mr_show() {
    local __mr_text __mr_mine=
    [[ $__mr_own ]] && __mr_mine="trap -- ${__mr_own@Q} EXIT"$'\n'
    builtin trap -p "$@" >|"$__mr_file"
    builtin mapfile -d '' -t __mr_text <"$__mr_file"
    builtin printf %s "${__mr_text[0]/"trap -- ${__mr_line@Q} EXIT"$'\n'/"$__mr_mine"}"
}

trap() {
    local __mr_signal __mr_rest=() __mr_hit= __mr_action
    case ${1-} in
    '' | -p) [[ $# == 0 || $1 ]] && { shift $(($# > 0)); __mr_show "$@"; return; } ;;
    -l) builtin trap -l; return ;;
    --) shift ;;
    esac
    __mr_action=${1-}
    if [[ $# == 1 || $1 == +([0-9]) ]]; then __mr_action=-; else shift; fi
    for __mr_signal; do
        case $__mr_signal in
        0 | [Ee][Xx][Ii][Tt] | [Ss][Ii][Gg][Ee][Xx][Ii][Tt]) [[ $BASHPID == "$__mr_pid" ]] && __mr_hit=1 || __mr_rest+=(EXIT) ;;
        # A function cannot take ERR back for its caller, and this one is not to set off the others.
        ERR) [[ $__mr_action == - ]] && builtin trap : ERR || __mr_rest+=(ERR) ;;
        DEBUG | RETURN) [[ $__mr_action == - ]] && __mr_rest+=("$__mr_signal") ||
            builtin trap -- "[[ \${FUNCNAME-}\$BASH_COMMAND == @(trap|*__mr_)* ]] || { $__mr_action"$'\n}' "$__mr_signal" ;;
        *) __mr_rest+=("$__mr_signal") ;;
        esac
    done
    [[ ! $__mr_hit ]] || __mr_own=${__mr_action#-}
    ((${#__mr_rest[@]} == 0)) || builtin trap -- "$__mr_action" "${__mr_rest[@]}"
}
declare -ft trap

# ---- out of the shell

__mr_variables() {
    local __mr_names __mr_name __mr_text
    builtin compgen -e >|"$__mr_file"
    builtin mapfile -t __mr_names <"$__mr_file"
    for __mr_name in "${__mr_names[@]}"; do
        [[ $__mr_name != @(_|SHLVL|PWD|OLDPWD|BASHOPTS|SHELLOPTS|EUID|UID|PPID|__mr_*) ]] || continue
        if [[ ${__mr_was[$__mr_name]+x} && ${!__mr_name-} == "${__mr_was[$__mr_name]}" ]]; then
            [[ ! ${__mr_kept[$__mr_name]+x} ]] || __mr_out+=(v "$__mr_name" "${__mr_kept[$__mr_name]}")
            continue
        fi
        if builtin declare -p -- "$__mr_name" >|"$__mr_file" 2>/dev/null; then
            builtin mapfile -d '' -t __mr_text <"$__mr_file"
            __mr_out+=(v "$__mr_name" "${__mr_text[0]%$'\n'}")
        else
            __mr_warn "$__mr_name" "it cannot be written as a declaration"
        fi
    done
}

__mr_functions() {
    local __mr_lines __mr_line __mr_name __mr_text
    builtin declare -F >|"$__mr_file"
    builtin mapfile -t __mr_lines <"$__mr_file"
    for __mr_line in "${__mr_lines[@]}"; do
        __mr_name=${__mr_line#declare -* }
        [[ $__mr_name != @(trap|__mr_*) ]] || continue
        if [[ $__mr_name != [A-Za-z0-9_]*([A-Za-z0-9_.:+@,/-]) || $__mr_name == +([0-9]) ]]; then
            __mr_warn "$__mr_name" "a function of such a name cannot be kept"
            continue
        fi
        builtin declare -f -- "$__mr_name" >|"$__mr_file"
        builtin mapfile -d '' -t __mr_text <"$__mr_file"
        [[ $__mr_line == "declare -f "* ]] || __mr_text[0]+=$__mr_line
        __mr_out+=(f "$__mr_name" "${__mr_text[0]}")
    done
}

__mr_frame() { # KIND LENGTH, the payload follows
    local __mr_head
    builtin printf -v __mr_head '\\x%02x' $(($2 & 255)) $(($2 >> 8 & 255)) $(($2 >> 16 & 255)) 0 "$1" 0 0 0
    builtin printf "$__mr_head"
}

__mr_bytes() { # TEXT, and a NUL behind it
    local __mr_at
    for ((__mr_at = 0; ${#1} - __mr_at > 65535; __mr_at += 65535)); do
        __mr_frame 1 65535
        builtin printf %s "${1:__mr_at:65535}"
    done
    __mr_frame 1 $((${#1} - __mr_at + 1))
    builtin printf '%s\0' "${1:__mr_at}"
}

__mr_json() {
    local __mr_text=${1:0:300}
    __mr_text=${__mr_text//[^ -~]/?}
    __mr_text=${__mr_text//\\/\\\\}
    builtin printf -v "$2" '"%s"' "${__mr_text//\"/\\\"}"
}

# Its output is the go socket. First the end of the program, which nothing changes from there on; 256: if it lives to end by itself.
__mr_send() {
    local IFS=$' \t\n' LC_ALL=C FUNCNEST= __mr_i __mr_total=5 __mr_whole=1 __mr_name __mr_reason __mr_body
    __mr_ended
    for __mr_body in "${__mr_out[@]}"; do ((__mr_total += ${#__mr_body} + 1)); done
    if ((__mr_total > __mr_most)); then
        __mr_warn '*' "the state has $__mr_total bytes, which is more than the $__mr_most that Bash may keep; the state before it is kept"
        __mr_whole=0
    fi
    [[ ! $__mr_broken ]] || __mr_whole=0
    if ((__mr_whole)); then
        __mr_bytes MRB1
        for __mr_body in "${__mr_out[@]}"; do __mr_bytes "$__mr_body"; done
    fi
    for ((__mr_i = 0; __mr_i < ${#__mr_warnings[@]}; __mr_i += 2)); do
        __mr_json "${__mr_warnings[__mr_i]}" __mr_name
        __mr_json "${__mr_warnings[__mr_i + 1]}" __mr_reason
        __mr_body="{\"name\":$__mr_name,\"reason\":$__mr_reason}"
        __mr_frame 2 ${#__mr_body}
        builtin printf %s "$__mr_body"
    done
    __mr_frame 3 1
    builtin printf "\x0$__mr_whole"
}

__mr_ended() {
    local __mr_head
    builtin printf -v __mr_head '\\x%02x' 0x50 0x54 0x52 0x4d $((__mr_status & 255)) 1 0 0
    builtin printf "$__mr_head"
}

# With -e or -u, an end other than good that no `exit` asked for.
__mr_failed() {
    [[ $__mr_flags == *[eu]* && $__mr_status != 0 && $__mr_command != exit?( *) ]]
}

__mr_save() {
    local __mr_out=()
    if __mr_failed && ((!__mr_on_error)) || [[ ! -S /proc/self/fd/$__mr_go ]]; then return; fi
    builtin trap '' PIPE
    [[ ${PWD-$__mr_home} == "$__mr_home" ]] || __mr_out=(d . "$PWD")
    __mr_variables
    __mr_functions
    ((${#__mr_out[@]} + ${#__mr_warnings[@]} + __mr_given)) || return
    __mr_send >&$__mr_go 2>/dev/null
}

# What the program traps is not to see what follows.
__mr_begin() {
    set +xTE
    builtin trap - DEBUG
}
declare -ft __mr_begin

__mr_return() { return "$1"; }

__mr_end() {
    set +euvn
    if [[ $__mr_own ]]; then
        builtin declare -F exit >/dev/null && __mr_exits=1
        [[ $__mr_exits ]] || exit() { # by which a trap of its own may end
            [[ $BASHPID != "$__mr_pid" ]] || { __mr_status=${1-$__mr_status}; unset -f exit; __mr_save; set -- "$__mr_status"; }
            builtin exit "$@"
        }
        __mr_return "$__mr_status"
        eval "$__mr_own"
        [[ $__mr_exits ]] || unset -f exit
    fi
    __mr_save
}

# ---- into it

mapfile -d '' -t __mr_in <"$__mr_file"
__mr_given=${#__mr_in[@]}
compgen -e >|"$__mr_file"
mapfile -t __mr_names <"$__mr_file"
for __mr_name in "${__mr_names[@]}"; do __mr_was[$__mr_name]=${!__mr_name-}; done
if ((__mr_given)) && [[ ${__mr_in[0]} != MRB1 || $((__mr_given % 3)) != 1 ]]; then
    __mr_broken=1 __mr_in=()
    __mr_warn '*' "the session's state is none of a Bash program; it is left as it is"
fi
for ((__mr_i = 1; __mr_i < ${#__mr_in[@]}; __mr_i += 3)); do
    __mr_name=${__mr_in[__mr_i + 1]} __mr_text=${__mr_in[__mr_i + 2]}
    case ${__mr_in[__mr_i]} in
    d) cd -- "$__mr_text" 2>/dev/null || { /bin/mkdir -p -- "$__mr_text" && cd -- "$__mr_text"; } 2>/dev/null ||
        __mr_warn "$__mr_text" "the folder cannot be made" ;;
    v) if [[ $__mr_asked == *" $__mr_name "* ]]; then
        __mr_kept[$__mr_name]=$__mr_text
    else
        eval "$__mr_text" 2>/dev/null || __mr_warn "$__mr_name" "Bash does not take its declaration"
    fi ;;
    f) eval "$__mr_text" 2>/dev/null || __mr_warn "$__mr_name" "Bash does not take its definition" ;;
    *) __mr_warn "$__mr_name" "a piece of an unknown kind" ;;
    esac
done
unset __mr_in __mr_names __mr_name __mr_text __mr_i
builtin trap "$__mr_line" EXIT
