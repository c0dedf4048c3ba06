import type { Client } from '@millrace/sdk';
import type { Output } from './output.ts';
import type { Connection } from './profiles.ts';

/** A command as a row of a table: what `--help`, completion and docs/cli.md tell, and what runs. */
export interface CommandSpecification {
  readonly name: string;
  readonly summary: string;
  readonly arguments?: readonly ArgumentSpecification[];
  readonly options?: readonly OptionSpecification[];
  /** Whole command lines that work. */
  readonly examples: readonly string[];
  /** It asks no node anything: takes no server, profile or organisation. */
  readonly offline?: true;
  run(call: Call): Promise<void>;
}
export interface ArgumentSpecification {
  /** As commander writes it: `<id>`, `[name]`, `<ids...>`. */
  readonly name: string;
  readonly description: string;
  readonly choices?: readonly string[];
}
export interface OptionSpecification {
  /** As commander writes it: `-f, --file <path>`. */
  readonly flags: string;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly default?: string;
  /** It may be given several times. */
  readonly repeatable?: true;
}
/** Commands of one kind of thing: `millrace things …`. */
export interface Topic {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly CommandSpecification[];
}

/** What a command is run with. */
export interface Call {
  readonly words: readonly (string | readonly string[] | undefined)[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly output: Output;
  /** Logged in as the profile says.  @throws Failure 3 when nobody is */
  client(): Promise<Client>;
  /** Somebody else than the profile says, at the same server. */
  clientWith(auth: { readonly key: string; readonly thing?: string }): Promise<Client>;
  connection(): Promise<Connection>;
  /** Organisation that the call is about.  @throws Failure when there is none */
  org(): Promise<string>;
  /** Ends with Ctrl-C. */
  readonly signal: AbortSignal;
}

export const word = (call: Call, index: number): string => String(call.words[index] ?? '');
export const words = (call: Call, index: number): readonly string[] => {
  const given = call.words[index];
  return Array.isArray(given) ? (given as readonly string[]) : given === undefined ? [] : [String(given)];
};
export function text(call: Call, name: string): string | undefined {
  const value = call.options[name];
  return typeof value === 'string' ? value : undefined;
}
export const flag = (call: Call, name: string): boolean => call.options[name] === true;
export function texts(call: Call, name: string): readonly string[] | undefined {
  const value = call.options[name];
  return Array.isArray(value) ? value.flatMap((one) => String(one).split(',')).filter((one) => one !== '') : undefined;
}
