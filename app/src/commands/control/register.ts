import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Call, CommandSpecification, OptionSpecification, Topic } from './specification.ts';

const CONNECTION: readonly OptionSpecification[] = [
  { flags: '--json', description: "the API's own JSON, for scripts" },
  { flags: '--wide', description: 'all columns, nothing cut' },
  { flags: '--url <url>', description: 'server (MILLRACE_URL)' },
  { flags: '--profile <name>', description: 'server and login of this profile (MILLRACE_LOGIN_PROFILE)' },
  { flags: '--org <org>', description: 'organisation, by id or name (MILLRACE_ORG)' },
  { flags: '--timeout <seconds>', description: 'how long an answer may take', default: '30' },
];
const OFFLINE = CONNECTION.slice(0, 2);

/** Adds topics as commands with subcommands. */
export function registerTopics(program: Command, topics: readonly Topic[]): void {
  for (const { name, summary, commands } of topics) {
    const topic = program.command(name).description(summary).usage('<command> [options]');
    topic.addHelpText(
      'after',
      `\nExamples:\n${indented(commands.slice(0, 6).map(({ examples }) => examples[0] ?? ''))}`,
    );
    for (const command of commands) registerCommand(topic, command);
  }
}

export function registerCommand(parent: Command, specification: CommandSpecification): void {
  const { name, summary, examples, offline } = specification;
  const command = parent.command(name).description(summary);
  for (const argument of specification.arguments ?? []) {
    const made = command.createArgument(argument.name, argument.description);
    command.addArgument(argument.choices === undefined ? made : made.choices(argument.choices));
  }
  for (const option of specification.options ?? []) command.addOption(optionOf(option));
  for (const option of offline === true ? OFFLINE : CONNECTION)
    command.addOption(optionOf(option).helpGroup('Options of every command:'));
  command.addHelpText('after', `\nExamples:\n${indented(examples)}`);
  command.action(async (...given: unknown[]) => {
    // commander: arguments…, options, command
    const options = given.at(-2) as Call['options'];
    const { run } = await import('./run.ts');
    process.exitCode = await run(specification, given.slice(0, -2) as Call['words'], options);
  });
}

function optionOf({ flags, description, choices, default: value, repeatable }: OptionSpecification): Option {
  const option = new Option(flags, description);
  if (choices !== undefined) option.choices(choices);
  if (value !== undefined) option.default(value);
  if (repeatable === true) option.argParser((one: string, before: string[] | undefined) => [...(before ?? []), one]);
  if (flags.startsWith('--timeout'))
    option.argParser((one) => {
      const seconds = Number(one);
      if (!(seconds > 0 && seconds <= 3_600)) throw new InvalidArgumentError('It must be from 0 to 3600 seconds.');
      return one;
    });
  return option;
}

const indented = (lines: readonly string[]): string => lines.map((line) => `  ${line}`).join('\n');
