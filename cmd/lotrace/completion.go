package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/pflag"
)

func completionCommand() *command {
	shells := slices.Sorted(maps.Keys(completionScripts))
	return &command{
		name:     "completion",
		synopsis: "print a script that completes lotrace's command lines",
		operands: strings.Join(shells, "|"),
		words:    func() []string { return shells },
		examples: []string{
			"source <(lotrace completion bash)             for this shell",
			"lotrace completion zsh >~/.zfunc/_lotrace     with ~/.zfunc in $fpath",
			"lotrace completion fish >~/.config/fish/completions/lotrace.fish",
		},
		run: func(_ context.Context, inv *invocation) error {
			if len(inv.args) != 1 {
				return usagef("want one shell: %s", oneOf(shells))
			}
			shell := inv.args[0]
			if err := checkWord(shell, shells); err != nil {
				return usagef("unknown shell %q: %v", shell, err)
			}
			return completionScripts[shell].Execute(inv.stdout, completionWords())
		},
	}
}

// completable is a command as the scripts see it. The first one, without a name, is lotrace itself.
type completable struct {
	Name     string
	Synopsis string
	Operands []string // words that may follow
	Flags    []completableFlag
}

type completableFlag struct {
	Long, Short string
	Usage       string
	Value       string   // what the value is called; "" when the flag takes none
	Values      []string // what the value may be; nil when that is open
}

func completionWords() []completable {
	known := commands()
	root := completable{Operands: commandNames(known), Flags: completableFlags(rootCommand())}
	all := []completable{root}
	for _, c := range known {
		words := completable{Name: c.name, Synopsis: c.synopsis, Flags: completableFlags(c)}
		if c.words != nil {
			words.Operands = c.words()
		}
		all = append(all, words)
	}
	return all
}

func completableFlags(c *command) []completableFlag {
	flags := []completableFlag{{Long: "help", Short: "h", Usage: "explain the command"}}
	newFlagSet(c).VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		flag := completableFlag{Long: f.Name, Short: f.Shorthand, Usage: usage, Value: value}
		switch v := f.Value.(type) {
		case *enumValue:
			flag.Values = v.values
		case *enumListValue:
			flag.Values = v.values
		}
		flags = append(flags, flag)
	})
	return flags
}

// Words is the flag as one types it.
func (f completableFlag) Words() []string {
	words := []string{"--" + f.Long}
	if f.Short != "" {
		words = append(words, "-"+f.Short)
	}
	return words
}

// FlagWords is all of the command's flags as one types them.
func (c completable) FlagWords() []string {
	var words []string
	for _, f := range c.Flags {
		words = append(words, f.Words()...)
	}
	return words
}

// completionScripts is by shell.
var completionScripts = map[string]*template.Template{
	"bash": completionTemplate(bashScript),
	"fish": completionTemplate(fishScript),
	"zsh":  completionTemplate(zshScript),
}

func completionTemplate(text string) *template.Template {
	return template.Must(template.New("completion").Funcs(template.FuncMap{
		"join":    strings.Join,
		"fishstr": strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace,
		// Within single quotes; brackets and colons are _arguments' own punctuation.
		"zshstr": strings.NewReplacer(`'`, `'\''`, `\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`).Replace,
	}).Parse(text))
}

const bashScript = `# bash completion for lotrace
_lotrace() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command="" flags="" operands="" i
	# bash cuts words at "=": --output=json arrives as three of them.
	if [[ $cur == = ]]; then
		cur=""
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		{{join (index . 0).Operands "|"}})
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	COMPREPLY=()
	case "$command $prev" in
{{- range $c := .}}{{range .Flags}}{{if .Value}}
	{{range $i, $w := .Words}}{{if $i}} | {{end}}"{{$c.Name}} {{$w}}"{{end}})
		COMPREPLY=($(compgen -W "{{join .Values " "}}" -- "$cur"))
		return
		;;
{{- end}}{{end}}{{end}}
	esac
	case $command in
{{- range .}}
	"{{.Name}}")
		flags="{{join .FlagWords " "}}"
		operands="{{join .Operands " "}}"
		;;
{{- end}}
	esac
	if [[ $cur == -* || -z $operands ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	else
		COMPREPLY=($(compgen -W "$operands" -- "$cur"))
	fi
}
complete -F _lotrace lotrace
`

const zshScript = `#compdef lotrace
# zsh completion for lotrace
{{- define "flag"}} \
			'{{if .Short}}(-{{.Short}} --{{.Long}})'{-{{.Short}}{{if .Value}}+{{end}},--{{.Long}}{{if .Value}}={{end -}} }'
			{{- else}}--{{.Long}}{{if .Value}}={{end}}{{end}}[{{zshstr .Usage}}]
			{{- if .Value}}:{{zshstr .Value}}:{{if .Values}}({{join .Values " "}}){{end}}{{end}}'
{{- end}}
_lotrace() {
	local curcontext=$curcontext state line
	local -a commands=(
{{- range .}}{{if .Name}}
		'{{.Name}}:{{zshstr .Synopsis}}'
{{- end}}{{end}}
	)
	_arguments -C \
			'1:command:->command' '*::operand:->operand'
{{- range (index . 0).Flags}}{{template "flag" .}}{{end}}
	case $state in
	command)
		_describe command commands
		;;
	operand)
		case $words[1] in
{{- range .}}{{if .Name}}
		{{.Name}})
			_arguments
{{- if .Operands}} '1:operand:({{join .Operands " "}})'{{end}}
{{- range .Flags}}{{template "flag" .}}{{end}}
			;;
{{- end}}{{end}}
		esac
		;;
	esac
}
# Autoloaded from $fpath this file is the function's body; sourced, it only has to announce it.
if [[ $funcstack[1] == _lotrace ]]; then
	_lotrace "$@"
else
	compdef _lotrace lotrace
fi
`

const fishScript = `# fish completion for lotrace
complete -c lotrace -f
{{- range .}}
{{- $when := "__fish_use_subcommand"}}
{{- if .Name}}{{$when = print "__fish_seen_subcommand_from " .Name}}
complete -c lotrace -n __fish_use_subcommand -a {{.Name}} -d '{{fishstr .Synopsis}}'
{{- if .Operands}}
complete -c lotrace -n '{{$when}}' -a '{{join .Operands " "}}'
{{- end}}
{{- end}}
{{- range .Flags}}
complete -c lotrace -n '{{$when}}' -l {{.Long}}{{if .Short}} -s {{.Short}}{{end}}
{{- if .Value}} -x{{if .Values}} -a '{{join .Values " "}}'{{end}}{{end}} -d '{{fishstr .Usage}}'
{{- end}}
{{- end}}
`
