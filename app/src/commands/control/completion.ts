import type { Command } from 'commander';

const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

const HOW = `
Examples:
  millrace completion bash > /etc/bash_completion.d/millrace     or: source <(millrace completion bash)
  millrace completion zsh > ~/.zfunc/_millrace                   with ~/.zfunc in fpath
  millrace completion fish > ~/.config/fish/completions/millrace.fish`;

/** Completion of commands, flags and their values, from the command tree itself. */
export function registerCompletion(program: Command): void {
  const shell = program.createArgument('<shell>', 'whose completion is written').choices(SHELLS);
  program
    .command('completion')
    .description('write the completion script of a shell')
    .addArgument(shell)
    .addHelpText('after', HOW)
    .action(async (name: string) => {
      (await tree(program)).setup('millrace', 'millrace', name);
    });
  // The scripts ask by this what can come next.
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async () => {
      const words = process.argv.slice(process.argv.indexOf('--') + 1);
      (await tree(program)).parse(words);
    });
}

async function tree(program: Command) {
  const { default: tab } = await import('@bomb.sh/tab/commander');
  return tab(program, { completionCommandName: 'completion-of-tab' });
}
