import { WebSocket } from 'ws';
import { until } from '../../delivery/testing/stage.ts';

/** A WebSocket of the `ws` package that keeps what it gets. */
export class TestSocket {
  readonly ws: WebSocket;
  /** Frames in order; binary ones as Latin-1 after a `0x`. */
  readonly frames: string[] = [];
  readonly sizes: number[] = [];
  closing: { readonly code: number; readonly reason: string } | null = null;
  /** What the server answered instead of opening. */
  refusal: {
    readonly status: number;
    readonly type: string;
    readonly body: string;
    readonly challenge: string;
  } | null = null;
  #at = 0;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}, protocols: string[] = []) {
    this.ws = new WebSocket(url, protocols, { headers, rejectUnauthorized: false });
    this.ws.on('message', (data: Buffer, isBinary) => {
      this.frames.push(isBinary ? `0x${data.toString('latin1')}` : data.toString('utf8'));
      this.sizes.push(data.length);
    });
    this.ws.on('close', (code, reason) => {
      this.closing = { code, reason: reason.toString() };
    });
    this.ws.on('error', () => {});
    this.ws.on('unexpected-response', (_request, response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        this.refusal = {
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          body,
          challenge: response.headers['www-authenticate'] ?? '',
        };
        this.closing = { code: 0, reason: '' };
        this.ws.terminate();
      });
    });
  }

  /** Opens, or throws what the server said. */
  static async open(
    url: string,
    headers?: Readonly<Record<string, string>>,
    protocols?: string[],
  ): Promise<TestSocket> {
    const socket = new TestSocket(url, headers, protocols);
    await until('it is open', () => socket.ws.readyState === WebSocket.OPEN || socket.closing !== null);
    if (socket.closing !== null && socket.frames.length === 0) {
      throw new Error(`not opened: ${JSON.stringify(socket.refusal ?? socket.closing)}`);
    }
    return socket;
  }
  /** The HTTP answer of an opening that is refused. */
  static async refused(
    url: string,
    headers?: Readonly<Record<string, string>>,
    protocols?: string[],
  ): Promise<NonNullable<TestSocket['refusal']>> {
    const socket = new TestSocket(url, headers, protocols);
    await until('it is refused', () => socket.refusal !== null || socket.ws.readyState === WebSocket.OPEN);
    const { refusal } = socket;
    socket.ws.terminate();
    if (refusal === null) throw new Error('it was opened');
    return refusal;
  }

  send(value: string | Uint8Array | Record<string, unknown>): void {
    this.ws.send(typeof value === 'string' || value instanceof Uint8Array ? value : JSON.stringify(value));
  }

  /** The next frame that was not looked at yet. */
  async next(): Promise<string> {
    await until('a frame comes', () => this.frames.length > this.#at || this.closing !== null);
    const frame = this.frames[this.#at++];
    if (frame === undefined) throw new Error(`closed: ${JSON.stringify(this.closing)}`);
    return frame;
  }
  async nextJson(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.next()) as Record<string, unknown>;
  }
  async ask(request: Record<string, unknown>): Promise<Record<string, unknown>> {
    this.send(request);
    return this.nextJson();
  }
  async closed(): Promise<{ readonly code: number; readonly reason: string }> {
    await until('it is closed', () => this.closing !== null);
    return this.closing as { code: number; reason: string };
  }
  [Symbol.dispose](): void {
    this.ws.terminate();
  }
}
