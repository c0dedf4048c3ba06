import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { eventually, type Millrace, type Publisher } from '../millrace.ts';

/** Process ids of the workers of a node. */
export function workersOf(main: number): number[] {
  const children = readFileSync(`/proc/${main}/task/${main}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return children.map(Number).filter((pid) => commandOf(pid).includes('workers/entry'));
}

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};

/** Resolves once none of these processes is there any more. */
export async function gone(pids: readonly number[], msMax = 20_000): Promise<void> {
  await eventually(`the end of ${pids.join(', ')}`, msMax, async () => {
    const left = pids.filter((pid) => commandOf(pid).includes('workers/entry'));
    if (left.length > 0) throw new Error(`${left.join(', ')} live`);
    return true;
  });
}

/** One connection of a client that keeps it. */
export class KeptConnection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #millrace: Millrace;

  constructor(millrace: Millrace) {
    this.#millrace = millrace;
  }

  ask(
    method: string,
    path: string,
    authorization: string,
    body = '',
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.#millrace.url}${path}`,
        {
          agent: this.#agent,
          method,
          timeout: 20_000,
          headers: {
            ...(authorization === '' ? {} : { authorization }),
            'content-length': Buffer.byteLength(body),
            ...headers,
          },
        },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
          answer.once('error', reject);
        },
      );
      sent.once('timeout', () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
      sent.once('error', reject);
      sent.end(body);
    });
  }

  publish({ channel, key }: Publisher, name: string): Promise<{ status: number; text: string }> {
    const body = JSON.stringify([{ n: name, v: 1 }]);
    const headers = { 'content-type': 'application/senml+json' };
    return this.ask('POST', `/channels/${channel}/messages`, `Thing ${key}`, body, headers);
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Samples of one metric, by their labels. */
export async function samples(millrace: Millrace, name: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${millrace.url}/metrics`)).text();
  const found = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, labels = '', value] = new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`).exec(line) ?? [];
    if (value !== undefined) found.set(labels, Number(value));
  }
  return found;
}

/** Workers that have a sample of a metric above 0 with this label. */
export async function workersWith(millrace: Millrace, name: string, label: string): Promise<Set<string>> {
  const found = new Set<string>();
  for (const [labels, value] of await samples(millrace, name)) {
    const [, worker] = /worker="(\d+)"/.exec(labels) ?? [];
    if (worker !== undefined && value > 0 && labels.includes(label)) found.add(worker);
  }
  return found;
}

/** Several processes take their time to start on a machine with other work. */
const READY_MS_MAX = 240_000;

/** Starts a node and waits until it and its workers are ready. */
export async function startFamily(millrace: Millrace): Promise<void> {
  millrace.launch();
  await millrace.ready(READY_MS_MAX);
}
