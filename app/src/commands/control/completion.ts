import type { Command } from 'commander';

// The library's own script for bash needs another package's functions, and evaluates what is being typed.
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# bash completion of millrace
_millrace() {
  local value rest
  COMPREPLY=()
  while IFS=$'\\t' read -r value rest; do
    [[ $value == :* ]] || COMPREPLY+=("$value")
  done < <(millrace complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
# Without candidates: names of files.
complete -o default -F _millrace millrace
`,
  zsh: `#compdef millrace
# zsh completion of millrace
_millrace() {
  local value rest
  local -a candidates
  while IFS=$'\\t' read -r value rest; do
    [[ $value == :* ]] || candidates+=("\${value//:/\\\\:}\${rest:+:$rest}")
  done < <(millrace complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#candidates )); then _describe millrace candidates; else _files; fi
}
if [[ \${funcstack[1]} == _millrace ]]; then _millrace "$@"; else compdef _millrace millrace; fi
`,
  fish: `# fish completion of millrace
function __millrace_candidates
  set -l words (commandline -opc) (commandline -ct)
  set -l found (millrace complete -- $words[2..-1] 2>/dev/null | string match -rv '^:')
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c millrace -f -a '(__millrace_candidates)'
`,
};

const HOW = `
Examples:
  source <(millrace completion bash)                             for this shell; in ~/.bashrc for all
  millrace completion bash > /etc/bash_completion.d/millrace
  millrace completion zsh > ~/.zfunc/_millrace                   with ~/.zfunc in fpath
  millrace completion fish > ~/.config/fish/completions/millrace.fish`;

/** Writes what makes a shell ask `millrace complete`. */
export function registerCompletion(program: Command): void {
  const shell = program.createArgument('<shell>', 'whose completion is written').choices(Object.keys(SCRIPTS));
  program
    .command('completion')
    .description('write the completion script of a shell')
    .addArgument(shell)
    .addHelpText('after', HOW)
    .action((name: string) => {
      process.stdout.write(SCRIPTS[name] ?? '');
    });
}

const LIBRARY = 'completion-of-the-library';

/** Tells the scripts what can come next: commands, flags and their values, from the command tree itself.
 *  @param tree makes the commands that are completed */
export function registerComplete(program: Command, tree: () => Command): void {
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async () => {
      const { default: tab } = await import('@bomb.sh/tab/commander');
      const completion = tab(tree(), { completionCommandName: LIBRARY });
      completion.commands.delete(LIBRARY);
      completion.parse(process.argv.slice(process.argv.indexOf('--') + 1));
    });
}
