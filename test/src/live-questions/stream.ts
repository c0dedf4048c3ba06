import { WebSocket } from 'ws';
import type { Rest } from '../millrace.ts';

export interface LiveRow {
  readonly channel: string;
  readonly name: string;
  readonly publisher: string;
  readonly time: number;
  readonly value?: number | null;
}
export interface LiveFrame {
  readonly type: 'subscribed' | 'readings' | 'bucket' | 'heartbeat' | 'ended';
  readonly position?: string;
  readonly readings?: readonly LiveRow[];
  readonly time?: number;
  readonly values?: Readonly<Record<string, number>>;
  readonly revision?: number;
  readonly reason?: string;
}

/** A live question that a test has open, and all that it was told. */
export class LiveStream {
  readonly frames: LiveFrame[] = [];
  closed = false;
  readonly #close: () => void;

  private constructor(close: () => void) {
    this.#close = close;
  }

  static async sse(rest: Rest, query: string, headers: Record<string, string> = {}): Promise<LiveStream> {
    const abort = new AbortController();
    const response = await fetch(`${rest.url}/readings/live?${query}`, {
      headers: { ...(rest.authorization === '' ? {} : { authorization: rest.authorization }), ...headers },
      signal: abort.signal,
    });
    if (response.status !== 200 || response.body === null)
      throw new Error(`${response.status} ${await response.text()}`);
    const stream = new LiveStream(() => abort.abort());
    void stream.#read(response.body);
    return stream;
  }

  static async socket(rest: Rest, query: string, headers: Record<string, string> = {}): Promise<LiveStream> {
    const url = `${rest.url.replace('http', 'ws')}/readings/live?${query}`;
    const shown = rest.authorization === '' ? {} : { authorization: rest.authorization };
    const ws = new WebSocket(url, { headers: { ...shown, ...headers } });
    const stream = new LiveStream(() => ws.close());
    ws.on('message', (data) => stream.#take(JSON.parse(String(data))));
    await new Promise<void>((resolve, reject) => {
      ws.once('open', resolve);
      ws.once('error', reject);
    });
    ws.on('error', () => undefined);
    ws.once('close', () => {
      stream.closed = true;
    });
    return stream;
  }

  get rows(): LiveRow[] {
    return this.frames.flatMap(({ readings = [] }) => readings);
  }
  get buckets(): LiveFrame[] {
    return this.frames.filter(({ type }) => type === 'bucket');
  }
  get position(): string {
    return this.frames.findLast(({ position }) => position !== undefined)?.position ?? '';
  }
  get reason(): string | undefined {
    return this.frames.find(({ type }) => type === 'ended')?.reason;
  }

  close(): void {
    this.#close();
  }

  #take(frame: LiveFrame): void {
    this.frames.push(frame);
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const part of body) {
        const events = (rest + decoder.decode(part, { stream: true })).split('\n\n');
        rest = events.pop() ?? '';
        for (const event of events) {
          const data = /^data: (.*)$/m.exec(event)?.[1];
          if (data !== undefined) this.#take(JSON.parse(data) as LiveFrame);
        }
      }
    } catch {
      // Closed by the test, or by the node's end.
    }
    this.closed = true;
  }
}
