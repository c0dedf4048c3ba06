import { existsSync } from 'node:fs';
import { missingProgram, Program } from '../bridge/clients/program.ts';

const SCRIPT = new URL('./aiocoap-client.py', import.meta.url).pathname;
/** Where .ci/run installs it. */
const OWN = new URL('../../../.ci/aiocoap/bin/python', import.meta.url).pathname;
const PYTHON = existsSync(OWN) ? OWN : 'python3';
export const missingAiocoap = missingProgram(PYTHON, '-c', 'import aiocoap');

const ANSWER_MS_MAX = 60_000;

export interface Aiocoap {
  readonly method: 'GET' | 'POST' | 'PUT' | 'FETCH' | 'DELETE';
  readonly uri: string;
  readonly payload?: string | Buffer;
  readonly format?: number;
  readonly accept?: number;
  readonly non?: boolean;
  readonly observe?: boolean;
}
/** @shape code: `2.05` */
export interface AiocoapAnswer {
  readonly code: string;
  readonly payload: Buffer;
  readonly format: number | null;
}
interface Line {
  readonly id: number;
  readonly kind: 'ready' | 'answer' | 'notification' | 'error';
  readonly code: string;
  readonly payload: string;
  readonly format: number | null;
}

/** aiocoap's client in a process of its own. */
export class AiocoapClient {
  readonly #program: Program;
  readonly #waiting = new Map<number, (line: Line) => void>();
  readonly #listening = new Map<number, (answer: AiocoapAnswer) => void>();
  #next = 0;

  constructor() {
    this.#program = new Program([PYTHON, SCRIPT], (text) => {
      const line = JSON.parse(text) as Line;
      if (line.kind === 'notification') this.#listening.get(line.id)?.(answerOf(line));
      else this.#waiting.get(line.id)?.(line);
    });
  }

  ready(): Promise<void> {
    return this.#line(0).then(() => {});
  }

  /** @param onNotification of what is observed, after the first answer */
  async request(asked: Aiocoap, onNotification?: (answer: AiocoapAnswer) => void): Promise<AiocoapAnswer> {
    const id = ++this.#next;
    const answered = this.#line(id);
    if (onNotification !== undefined) this.#listening.set(id, onNotification);
    const payload = Buffer.from(asked.payload ?? '').toString('base64');
    this.#program.write(JSON.stringify({ ...asked, payload, id }));
    const line = await answered;
    if (line.kind === 'error') throw new Error(`aiocoap: ${line.code}`);
    return answerOf(line);
  }

  end(): Promise<void> {
    return this.#program.end();
  }

  #line(id: number): Promise<Line> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`aiocoap: ${this.#program.stderr}`)), ANSWER_MS_MAX);
      this.#waiting.set(id, (line) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(line);
      });
    });
  }
}

const answerOf = ({ code, payload, format }: Line): AiocoapAnswer => ({
  code,
  payload: Buffer.from(payload, 'base64'),
  format,
});
