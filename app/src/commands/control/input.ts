import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Failure } from './failure.ts';

const STDIN = 0;

/** The text of a file; `-` is standard input.  @throws Failure 2 */
export function readInput(path: string): string {
  try {
    return readFileSync(path === '-' ? STDIN : path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Failure(2, `${path} can not be read: ${code === 'ENOENT' ? 'there is no such file' : code}.`);
  }
}

/** JSON, YAML, or JSON lines (as a list).  @throws Failure 2 with the line */
export async function readDocument(path: string): Promise<unknown> {
  const content = readInput(path);
  if (/\.(ndjson|jsonl)$/.test(path)) return linesOf(path, content);
  if (/^\s*[[{]/.test(content)) {
    try {
      return JSON.parse(content);
    } catch {
      // JSON lines, or YAML in flow style.
      if (/^\s*\{.*\}\s*\r?\n\s*\{/.test(content)) return linesOf(path, content);
    }
  }
  const { parse } = await import('yaml');
  try {
    return parse(content, { maxAliasCount: 100 });
  } catch (error) {
    throw new Failure(2, `${path} is neither JSON nor YAML: ${(error as Error).message.split('\n')[0]}`);
  }
}

function linesOf(path: string, content: string): unknown[] {
  return content.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    try {
      return [JSON.parse(line)];
    } catch {
      throw new Failure(2, `${path}, line ${index + 1}: no JSON.`);
    }
  });
}

/** A secret on the command line can be seen by others: `@file` and `@-` read it instead. */
export const secretOf = (given: string): string => (given.startsWith('@') ? readInput(given.slice(1)).trim() : given);

/** Writes a file that only its owner reads, also where others could read an older one. */
export function writeSecret(path: string, content: string): void {
  writeFileSync(path, '', { mode: 0o600 });
  chmodSync(path, 0o600);
  writeFileSync(path, content);
}

/** A question to the person at the terminal.  @throws Failure 2 when there is none to ask */
export async function confirm(question: string, otherwise: string): Promise<boolean> {
  if (process.stdin.isTTY !== true) throw new Failure(2, `${question} There is nobody to ask here.`, otherwise);
  return /^\s*y(es)?\s*$/i.test(await answered(`${question} [y/N] `));
}

/** @throws Failure 2 */
export async function ask(question: string): Promise<string> {
  if (process.stdin.isTTY !== true)
    throw new Failure(2, 'There is nobody to ask here.', 'Give it on the command line.');
  return (await answered(question)).trim();
}

async function answered(question: string): Promise<string> {
  const asked = createInterface({ input: process.stdin, output: process.stderr });
  const stop = new AbortController();
  // Ctrl-C, and Ctrl-D.
  asked.once('SIGINT', () => stop.abort()).once('close', () => stop.abort());
  try {
    return await asked.question(question, { signal: stop.signal });
  } catch {
    throw new Failure(1, 'Stopped.');
  } finally {
    asked.close();
  }
}

/** Asks without showing what is typed. */
export async function askSecretly(question: string): Promise<string> {
  const { stdin, stderr } = process;
  if (stdin.isTTY !== true)
    throw new Failure(2, 'There is nobody to ask for the password here.', 'Give it with --password-stdin.');
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.resume();
  stdin.setEncoding('utf8');
  let typed = '';
  try {
    for await (const chunk of stdin) {
      for (const one of String(chunk)) {
        if (one === '\r' || one === '\n' || one === '\u0004') return typed;
        if (one === '\u0003') throw new Failure(1, 'Stopped.');
        typed = one === '\u007f' || one === '\b' ? typed.slice(0, -1) : typed + one;
      }
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}
