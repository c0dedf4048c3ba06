import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CodecRunner,
  type Command,
  type CommandKind,
  type CommandOutcome,
  type CommandShare,
  type Commands,
  createLogger,
  createMetrics,
  EnvelopeReader,
  type Log,
  type Metrics,
  readConfig,
} from '@millrace/core';
import { TestGate } from '../../testing/gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { LoraConfig } from '../config.ts';
import { type LoraIngress, loraServer } from '../server.ts';
import { MemoryDirectory } from './memory-directory.ts';

/** What a record on the log is, for tests. */
export interface Appended {
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly contentType: string;
  readonly dedupKey: string;
  readonly dead: string;
  readonly timeUs: number;
  readonly text: string;
}

/** Commands in memory. */
export class MemoryCommands implements Commands {
  waiting: Command[] = [];
  readonly settled: [string, CommandOutcome][] = [];
  readonly #listeners = new Set<(thing: string) => void>();

  async put(command: Command): Promise<boolean> {
    this.waiting.push(command);
    for (const listener of this.#listeners) listener(command.thing);
    return true;
  }
  async take(): Promise<readonly Command[]> {
    return [];
  }
  async takeAny(
    _kinds: readonly CommandKind[],
    _leaseMs: number,
    _max: number,
    share?: CommandShare,
  ): Promise<readonly Command[]> {
    const taken = this.waiting.filter(({ org }) => share?.except.includes(org) !== true);
    this.waiting = this.waiting.filter((command) => !taken.includes(command));
    return taken;
  }
  async settle(id: string, outcome: CommandOutcome): Promise<boolean> {
    this.settled.push([id, outcome]);
    return true;
  }
  onQueued(listener: (thing: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export interface OpenLora extends LoraIngress {
  readonly log: MemoryLog;
  readonly gate: TestGate;
  readonly directory: MemoryDirectory;
  readonly commands: MemoryCommands;
  readonly metrics: Metrics;
  appended(): Appended[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** The LoRaWAN ingress over a log in memory, which nobody consumes. */
export async function openLora(
  settings: Readonly<Record<string, string>> = {},
  parts: {
    readonly directory?: MemoryDirectory;
    readonly log?: MemoryLog;
    readonly codecs?: CodecRunner;
    readonly instance?: string;
  } = {},
): Promise<OpenLora> {
  const { directory = new MemoryDirectory(), log = new MemoryLog(2) } = parts;
  const gate = new TestGate();
  const metrics = createMetrics();
  const commands = new MemoryCommands();
  const consumable = Object.assign(log, {
    committed: async () => ({ offset: -1, metadata: '' }),
    consume: async () => ({ stop: async () => {} }),
  });
  const started = await loraServer({
    config: readConfig(LoraConfig, settings),
    loopback: true,
    instance: parts.instance ?? 'test',
    log: consumable as unknown as Log,
    gate,
    directory,
    commands,
    codecs: parts.codecs ?? null,
    metrics,
    logger: createLogger({ level: 'silent' }),
  }).start();
  return {
    ...started.value,
    log,
    gate,
    directory,
    commands,
    metrics,
    appended: () => (log.records ?? []).map(opened),
    [Symbol.asyncDispose]: () => started.stop(),
  };
}

function opened(record: Uint8Array): Appended {
  const reader = new EnvelopeReader();
  if (!reader.open(record)) throw new Error('no envelope');
  const { channel, subtopic, publisher, contentType, dedupKey, timeUs } = reader;
  const [header] = reader.headers;
  const text = reader.payload.toString('utf8');
  return { channel, subtopic, publisher, contentType, dedupKey, timeUs, text, dead: header?.[1] ?? '' };
}

/** Waits until it holds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    if (waited > 20_000) throw new Error(`not within 20 s: ${what}`);
    await sleep(10);
  }
}
