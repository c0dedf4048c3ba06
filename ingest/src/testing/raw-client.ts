import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A plain socket that speaks HTTP/1.1 only as far as a test says. */
export class RawClient {
  readonly socket: Socket;
  received = '';
  closed = false;
  readonly #changed = new Set<() => void>();

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.received += text;
      for (const wake of this.#changed) wake();
    });
    this.socket.on('error', () => {});
    const over = (): void => {
      this.closed = true;
      for (const wake of this.#changed) wake();
    };
    this.socket.on('end', over);
    this.socket.on('close', over);
  }

  write(bytes: string | Uint8Array): void {
    if (typeof bytes === 'string') this.socket.write(bytes, 'latin1');
    else this.socket.write(bytes);
  }

  /** The next final answers, in order; fewer if the connection ends before. */
  async answers(count: number): Promise<RawAnswer[]> {
    const answers: RawAnswer[] = [];
    while (answers.length < count) {
      const answer = this.#take();
      if (answer !== null) {
        if (answer.status >= 200) answers.push(answer);
      } else if (this.closed) break;
      else await this.#change();
    }
    return answers;
  }

  async answer(): Promise<RawAnswer> {
    const [answer] = await this.answers(1);
    if (answer === undefined) throw new Error('the connection ended without an answer');
    return answer;
  }

  async end(): Promise<void> {
    while (!this.closed) await this.#change();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#changed.delete(wake);
        resolve();
      };
      this.#changed.add(wake);
    });
  }

  #take(): RawAnswer | null {
    const end = this.received.indexOf('\r\n\r\n');
    if (end < 0) return null;
    const [line = '', ...fields] = this.received.slice(0, end).split('\r\n');
    const headers: Record<string, string> = {};
    for (const field of fields) {
      const colon = field.indexOf(':');
      headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
    }
    const size = Number(headers['content-length'] ?? 0);
    if (this.received.length < end + 4 + size) return null;
    const body = this.received.slice(end + 4, end + 4 + size);
    this.received = this.received.slice(end + 4 + size);
    return { status: Number(line.split(' ')[1]), headers, body };
  }
}

/** The bytes of a publish. */
export function publishRequest(
  path: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const bytes = Buffer.from(body);
  const all = { Host: 'localhost', 'Content-Length': String(bytes.length), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), bytes]);
}
